/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What happens, in lines: in a file, on a console of its own, and where there is no screen on
 * stderr. The newest warnings are kept for the screen. Private to session*.c.
 */
#ifndef P2V_BOOT_SESSION_LOG_H
#define P2V_BOOT_SESSION_LOG_H

#include "base/log.h"
#include "p2v/boot/screen.h"

#include <pthread.h>

#define SESSION_LOG_OUTPUTS 3

struct session_log {
    struct log log; /* first */
    pthread_mutex_t lock;
    int outputs[SESSION_LOG_OUTPUTS]; /* owned */
    size_t output_count;
    char warnings[SCREEN_MAX_WARNINGS][160];
    size_t warning_count;
};

void session_log_init(struct session_log *log);
void session_log_fini(struct session_log *log);

/* Writes there, too; what cannot be opened is left out. */
void session_log_open(struct session_log *log, const char *path, int flags);

void session_log_copy_warnings(struct session_log *log, struct screen_model *model);
void session_log_forget_warnings(struct session_log *log);

#endif
