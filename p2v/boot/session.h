/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The boot medium's work, from looking at the machine to the last word; and the process above it
 * that cannot be allowed to fail.
 *
 * PID 1 (boot_init) mounts what a system needs, starts udev, loads drivers, then runs the session
 * (boot_session) as its child: a session that ends badly is started again, and goes on from the
 * last safe point. The session's exit status says what PID 1 does next.
 */
#ifndef P2V_BOOT_SESSION_H
#define P2V_BOOT_SESSION_H

#include "base/error.h"

enum boot_exit {
    BOOT_EXIT_POWER_OFF = 10,
    BOOT_EXIT_REBOOT = 11,
};

/* The hidden first argument with which PID 1 starts the session. */
#define BOOT_SESSION_ARGUMENT "--boot-session"

/* As PID 1, with rehost-agent as /init; does not return. */
void boot_init(void) __attribute__((noreturn));

/* Returns what to exit with. */
int boot_session(void);

#endif
