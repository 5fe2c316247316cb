/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Fetching packages with apt, which needs no root for it: `apt-get download` writes into the folder
 * it runs in, and checks what it got against the signed lists of this machine.
 */
#include "base/bytes.h"
#include "base/child.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/media/packages.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define APT_TIMEOUT_MS (30 * 60 * 1000)

/* The options of apt-get before the names. */
#define MAX_OPTIONS 12

/* The line that says why, of what apt wrote. */
static int apt_failed(const struct text *complaints, const char *program, int status,
                      struct error *err)
{
    const char *text = text_string(complaints), *line = strstr(text, "E: ");
    if (!line)
        line = text;
    return error_set(err, 0, "%s: exit status %d: %.*s (apt-get update may help)", program, status,
                     (int)strcspn(line, "\n"), line);
}

static int run_apt(const char *const argv[], const char *program, struct text *out,
                   struct error *err)
{
    const struct child_limits limits = {.timeout_ms = APT_TIMEOUT_MS};
    AUTO(text) complaints = {0};
    int status = child_run(argv, NULL, out, &complaints, &limits, err);
    if (status < 0)
        return error_wrap(err, "fetch packages");
    return status == 0 ? 0 : apt_failed(&complaints, program, status, err);
}

static int ask_apt(struct name_list *names, struct error *err)
{
    static const char *const options[] = {"apt-cache",       "depends",       "--recurse",
                                          "--no-recommends", "--no-suggests", "--no-conflicts",
                                          "--no-breaks",     "--no-replaces", "--no-enhances"};
    const char *argv[ARRAY_LENGTH(options) + PACKAGES_MAX + 1];
    size_t count = ARRAY_LENGTH(options);
    AUTO(text) out = {0};
    memcpy(argv, options, sizeof(options));
    for (size_t i = 0; i < names->count && i < PACKAGES_MAX; i++)
        argv[count++] = names->items[i];
    argv[count] = NULL;
    if (run_apt(argv, "apt-cache", &out, err) != 0)
        return -1;
    packages_parse_apt(text_string(&out), out.length, names);
    return 0;
}

/* env(1) changes the folder: the names are apt's own, nothing is put together for a shell. */
static int run_download(const char *folder, const char *option, const struct name_list *names,
                        struct text *out, struct error *err)
{
    const char *argv[MAX_OPTIONS + PACKAGES_MAX + 1] = {"env",     "-C",       folder, "LC_ALL=C",
                                                        "apt-get", "download", option};
    size_t count = 7;
    for (size_t i = 0; i < names->count && i < PACKAGES_MAX; i++)
        argv[count++] = names->items[i];
    argv[count] = NULL;
    return run_apt(argv, "apt-get", out, err);
}

/* Which of them the folder lacks, or has in another version than apt would take. */
static int find_newer(const char *folder, const struct name_list *names, struct name_list *wanted,
                      struct error *err)
{
    AUTO(text) uris = {0};
    AUTO(name_list) files = {0};
    if (run_download(folder, "--print-uris", names, &uris, err) != 0)
        return -1;
    packages_parse_uris(text_string(&uris), uris.length, &files);
    for (size_t i = 0; i < files.count; i++) {
        AUTO_FREE char *name =
            text_format("%.*s", (int)strcspn(files.items[i], "_"), files.items[i]);
        AUTO_FREE char *path = text_format("%s/%s", folder, files.items[i]);
        if (access(path, R_OK) != 0)
            name_list_add(wanted, name);
    }
    return 0;
}

int packages_fetch(const struct packages *packages, const char *folder, bool is_followed,
                   struct log *log, struct error *err)
{
    AUTO(name_list) names = {0};
    AUTO(name_list) wanted = {0};
    for (size_t i = 0; packages_wanted[i]; i++)
        name_list_add(&names, packages_wanted[i]);
    if (ask_apt(&names, err) != 0)
        return -1;
    for (size_t i = 0; i < names.count && !is_followed; i++) {
        if (!packages_find(packages, names.items[i]))
            name_list_add(&wanted, names.items[i]);
    }
    if (is_followed && find_newer(folder, &names, &wanted, err) != 0)
        return -1;
    if (!wanted.count)
        return 0;
    log_info(log, "fetching %zu packages into %s", wanted.count, folder);
    return run_download(folder, "-q", &wanted, NULL, err);
}
