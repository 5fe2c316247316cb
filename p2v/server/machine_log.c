/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Appends whole lines, so that a job's own output in the same file is not cut by them.
 */
#include "p2v/server/machine_log.h"

#include "base/io.h"
#include "base/own.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void write_line(const struct machine_log *log, enum log_level level, const char *line)
{
    char when[32];
    struct tm parts;
    time_t now = time(NULL);
    gmtime_r(&now, &parts);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &parts);
    AUTO_FREE char *text =
        text_format("%s %s%s\n", when, level == LOG_LEVEL_WARNING ? "warning: " : "", line);
    /* A full disk must not stop a transfer because of its log. */
    io_write(log->fd, text, strlen(text), NULL);
}

static void emit(struct log *base, enum log_level level, const char *line)
{
    struct machine_log *log = (struct machine_log *)base;
    if (atomic_fetch_add(&log->lines, 1) >= MACHINE_LOG_MAX_LINES)
        return;
    if (log->fd >= 0)
        write_line(log, level, line);
    if (!log->server)
        return;
    AUTO_FREE char *named = text_format("%s: %s", log->name, line);
    log->server->emit(log->server, level, named);
}

void machine_log_init(struct machine_log *log, int folder_fd, const char *name, struct log *server)
{
    *log = (struct machine_log){.log = {emit}, .server = server};
    snprintf(log->name, sizeof(log->name), "%s", name);
    AUTO_FREE char *file = text_format("%s.log", name);
    log->fd = openat(folder_fd, file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (log->fd < 0)
        log_warning(server, "%s: no log: %s", name, strerror(errno));
}

void machine_log_fini(struct machine_log *log)
{
    if (log->log.emit && log->fd >= 0)
        close(log->fd);
    log->fd = -1;
}
