/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the commands say on stderr, and the warnings kept for the report. This is the log that they
 * hand to the libraries.
 */
#ifndef P2V_CONSOLE_H
#define P2V_CONSOLE_H

#include "base/log.h"
#include "p2v/progress.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* A hostile disk could warn without end; what is beyond this is counted only. */
#define CONSOLE_MAX_WARNINGS 200

struct console {
    struct log log; /* first */
    bool is_quiet;  /* errors only */
    bool is_verbose;
    struct progress progress; /* taken away around messages */
    pthread_mutex_t lock;     /* guards what follows and the output */
    char **warnings;
    size_t warning_count, warnings_dropped;
};

void console_init(struct console *console);
void console_fini(struct console *console);

/* As progress_update, between messages. */
void console_progress(struct console *console, uint64_t done_bytes, uint64_t data_bytes,
                      uint64_t stored_bytes);
void console_progress_end(struct console *console);

/* One JSON object as a line on stderr, for a program that reads it. */
void console_event(struct console *console, const char *json);

/* A line on stderr whatever the verbosity: errors. */
void console_error(struct console *console, const char *line);

#endif
