/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The session's log. A console whose output somebody stopped may not stop the session: what it does
 * not take at once is lost there.
 */
#include "p2v/boot/session_log.h"

#include "base/own.h"
#include "base/text.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The newest last; the same one again is not repeated. */
static void keep_warning(struct session_log *log, const char *line)
{
    size_t size = sizeof(log->warnings[0]);
    if (log->warning_count > 0 &&
        strncmp(log->warnings[log->warning_count - 1], line, size - 1) == 0)
        return;
    if (log->warning_count == SCREEN_MAX_WARNINGS) {
        memmove(log->warnings[0], log->warnings[1], (SCREEN_MAX_WARNINGS - 1) * size);
        log->warning_count--;
    }
    snprintf(log->warnings[log->warning_count++], size, "%.*s", (int)size - 1, line);
}

static void emit(struct log *base, enum log_level level, const char *line)
{
    struct session_log *log = (struct session_log *)base;
    char clock[16];
    time_t now = time(NULL);
    struct tm parts;
    strftime(clock, sizeof(clock), "%H:%M:%S", gmtime_r(&now, &parts));
    AUTO_FREE char *text =
        text_format("%s %s%s\n", clock, level == LOG_LEVEL_WARNING ? "warning: " : "", line);
    pthread_mutex_lock(&log->lock);
    if (level == LOG_LEVEL_WARNING)
        keep_warning(log, line);
    for (size_t i = 0; i < log->output_count; i++) {
        ssize_t ignored = write(log->outputs[i], text, strlen(text));
        (void)ignored;
    }
    pthread_mutex_unlock(&log->lock);
}

void session_log_init(struct session_log *log)
{
    *log = (struct session_log){.log = {emit}};
    pthread_mutex_init(&log->lock, NULL);
}

void session_log_fini(struct session_log *log)
{
    for (size_t i = 0; i < log->output_count; i++)
        close(log->outputs[i]);
    pthread_mutex_destroy(&log->lock);
}

void session_log_open(struct session_log *log, const char *path, int flags)
{
    if (log->output_count == SESSION_LOG_OUTPUTS)
        return;
    int fd = open(path, flags | O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd >= 0)
        log->outputs[log->output_count++] = fd;
}

void session_log_copy_warnings(struct session_log *log, struct screen_model *model)
{
    pthread_mutex_lock(&log->lock);
    memcpy(model->warnings, log->warnings, sizeof(model->warnings));
    model->warning_count = log->warning_count;
    pthread_mutex_unlock(&log->lock);
}

void session_log_forget_warnings(struct session_log *log)
{
    pthread_mutex_lock(&log->lock);
    log->warning_count = 0;
    pthread_mutex_unlock(&log->lock);
}
