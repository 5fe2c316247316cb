/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * PID 1 and what it starts. Private to init*.c and its tests.
 */
#ifndef P2V_BOOT_INIT_PRIVATE_H
#define P2V_BOOT_INIT_PRIVATE_H

#include "base/text.h"

#define INIT_LOG "/run/rehost.log" /* what the session says; shown on the second terminal */

/* What PID 1 is to run; each in a process of its own. */
struct init_work {
    int (*set_up)(void);  /* once, at first: to its end */
    int (*beside)(void);  /* beside the session, started again when it ends with 0; or NULL */
    int (*session)(void); /* started again until its status says what to do: see boot_exit */
    int first_pause_ms, last_pause_ms; /* between two sessions; it doubles */
    int patience_ms;                   /* for what is asked to end */
};

/* Never returns and never exits. */
void init_run(const struct init_work *work) __attribute__((noreturn));

/* A line for people: on the console and in the log. Allocates nothing. */
void init_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- what is run (init_setup.c) --- */

int init_set_up(void);

#endif
