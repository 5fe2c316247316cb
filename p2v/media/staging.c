/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The programs are started through env(1), which gives them SOURCE_DATE_EPOCH, UTC, and the folders
 * of the system's programs in PATH; never through a shell.
 */
#include "p2v/media/staging.h"

#include "base/bytes.h"
#include "base/child.h"
#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOOL_TIMEOUT_MS (10 * 60 * 1000)
#define MAX_ARGUMENTS 96
#define ENV_NOT_FOUND 127

int staging_open(struct staging *staging, uint64_t date, struct error *err)
{
    const char *folder = getenv("TMPDIR");
    AUTO_FREE char *base =
        text_format("%s/rehost-media-XXXXXX", folder && folder[0] ? folder : "/tmp");
    *staging = (struct staging){.date = date};
    if (!mkdtemp(base))
        return error_set(err, errno, "make a temporary folder %s", base);
    staging->base = take_ptr(&base);
    return 0;
}

void staging_fini(struct staging *staging)
{
    if (staging->base)
        folder_remove(AT_FDCWD, staging->base, NULL);
    free(take_ptr(&staging->base));
}

char *staging_path(const struct staging *staging, const char *name)
{
    return text_format("%s/%s", staging->base, name);
}

static int write_and_date(const struct staging *staging, const char *path, const void *data,
                          size_t length, struct error *err)
{
    const struct timespec times[2] = {{.tv_sec = (time_t)staging->date},
                                      {.tv_sec = (time_t)staging->date}};
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return error_set(err, errno, "make %s", path);
    if (io_write(fd, data, length, err) != 0)
        return error_wrap(err, "write %s", path);
    if (fchmod(fd, 0644) != 0 || futimens(fd, times) != 0 || close(take_fd(&fd)) != 0)
        return error_set(err, errno, "write %s", path);
    return 0;
}

int staging_write(const struct staging *staging, const char *name, const void *data, size_t length,
                  struct error *err)
{
    for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
        AUTO_FREE char *folder = text_format("%s/%.*s", staging->base, (int)(slash - name), name);
        if (mkdir(folder, 0755) != 0 && errno != EEXIST)
            return error_set(err, errno, "make folder %s", folder);
    }
    AUTO_FREE char *path = staging_path(staging, name);
    return write_and_date(staging, path, data, length, err);
}

/* Not everybody has the folders of the system's programs in PATH. Caller frees. */
static char *search_path(void)
{
    const char *path = getenv("PATH");
    return text_format("%s:/usr/sbin:/sbin", path && *path ? path : "/usr/bin:/bin");
}

static bool is_installed(const char *program)
{
    AUTO_FREE char *path = search_path();
    char *save = NULL;
    for (char *folder = strtok_r(path, ":", &save); folder; folder = strtok_r(NULL, ":", &save)) {
        AUTO_FREE char *file = text_format("%s/%s", folder, program);
        if (access(file, X_OK) == 0)
            return true;
    }
    return false;
}

int staging_check_tools(const struct staging_tool *tools, struct error *err)
{
    for (; tools->program; tools++) {
        if (!is_installed(tools->program))
            return error_set(err, 0, "%s is not installed: apt-get install %s", tools->program,
                             tools->package);
    }
    return 0;
}

int staging_run(const struct staging *staging, const char *const argv[], const char *package,
                struct error *err)
{
    const struct child_limits limits = {.timeout_ms = TOOL_TIMEOUT_MS};
    AUTO_FREE char *path = search_path();
    AUTO_FREE char *date = text_format("SOURCE_DATE_EPOCH=%llu", (unsigned long long)staging->date);
    AUTO_FREE char *search = text_format("PATH=%s", path);
    const char *command[MAX_ARGUMENTS] = {"env", "TZ=UTC", "LC_ALL=C", "MTOOLS_SKIP_CHECK=1"};
    size_t count = 4;
    command[count++] = date;
    command[count++] = search;
    for (size_t i = 0; argv[i] && count < ARRAY_LENGTH(command) - 1; i++)
        command[count++] = argv[i];
    AUTO(text) complaints = {0};
    int status = child_run(command, NULL, NULL, &complaints, &limits, err);
    if (status == ENV_NOT_FOUND)
        return error_set(err, 0, "%s is not installed: apt-get install %s", argv[0], package);
    const char *why = text_last_line(&complaints);
    if (status > 0)
        return error_set(err, 0, "%s: exit status %d: %s", argv[0], status,
                         why[0] ? why : "no reason given");
    return status;
}
