/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Messages on stderr, with the progress bar out of their way.
 */
#include "p2v/console.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void keep_warning(struct console *console, const char *line)
{
    if (console->warning_count == CONSOLE_MAX_WARNINGS) {
        console->warnings_dropped++;
        return;
    }
    console->warnings = memory_grow(console->warnings, console->warning_count + 1, sizeof(char *));
    console->warnings[console->warning_count++] = text_copy(line);
}

static bool is_shown(const struct console *console, enum log_level level)
{
    if (console->is_quiet)
        return false;
    if (level == LOG_LEVEL_WARNING)
        return console->warnings_dropped == 0;
    return level == LOG_LEVEL_INFO || console->is_verbose;
}

static void emit(struct log *log, enum log_level level, const char *line)
{
    struct console *console = (struct console *)log;
    pthread_mutex_lock(&console->lock);
    if (level == LOG_LEVEL_WARNING)
        keep_warning(console, line);
    if (is_shown(console, level)) {
        progress_clear(&console->progress);
        fprintf(stderr, "rehost: %s%s\n", level == LOG_LEVEL_WARNING ? "warning: " : "", line);
    }
    pthread_mutex_unlock(&console->lock);
}

void console_init(struct console *console)
{
    *console = (struct console){.log = {emit}, .progress = {.fd = STDERR_FILENO}};
    pthread_mutex_init(&console->lock, NULL);
}

void console_fini(struct console *console)
{
    for (size_t i = 0; i < console->warning_count; i++)
        free(console->warnings[i]);
    free(console->warnings);
    pthread_mutex_destroy(&console->lock);
}

void console_progress(struct console *console, uint64_t done_bytes, uint64_t data_bytes,
                      uint64_t stored_bytes)
{
    pthread_mutex_lock(&console->lock);
    progress_update(&console->progress, done_bytes, data_bytes, stored_bytes);
    pthread_mutex_unlock(&console->lock);
}

void console_progress_end(struct console *console)
{
    pthread_mutex_lock(&console->lock);
    progress_clear(&console->progress);
    pthread_mutex_unlock(&console->lock);
}

void console_error(struct console *console, const char *line)
{
    pthread_mutex_lock(&console->lock);
    progress_clear(&console->progress);
    fprintf(stderr, "rehost: %s\n", line);
    pthread_mutex_unlock(&console->lock);
}

void console_event(struct console *console, const char *json)
{
    pthread_mutex_lock(&console->lock);
    progress_clear(&console->progress);
    fprintf(stderr, "%s\n", json);
    pthread_mutex_unlock(&console->lock);
}
