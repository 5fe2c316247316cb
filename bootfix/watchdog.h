/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An appliance that hangs (an accelerator that cannot run it, a hostile file system) would stop its
 * caller for ever: libguestfs has no time limit. The watchdog kills the appliance's processes when
 * a deadline passes; the pending call then fails as after any crash.
 */
#ifndef BOOTFIX_WATCHDOG_H
#define BOOTFIX_WATCHDOG_H

#include "base/error.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#define WATCHDOG_MAX_CHILDREN 64

/* {0} is a watchdog that was not started. */
struct watchdog {
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;
    struct timespec deadline;
    pid_t owner;                        /* thread whose children are watched */
    pid_t known[WATCHDOG_MAX_CHILDREN]; /* children that it had before, which are spared */
    size_t known_count;
    bool is_running, is_armed, is_stopping, has_fired;
};

int watchdog_start(struct watchdog *watchdog, struct error *err);
void watchdog_stop(struct watchdog *watchdog); /* NULL-safe, also when it was not started */

/*
 * From now on, unless armed again or disarmed within `seconds`, every child that the calling thread
 * has started since watchdog_start is killed.
 */
void watchdog_arm(struct watchdog *watchdog, unsigned seconds);
void watchdog_disarm(struct watchdog *watchdog);
bool watchdog_has_fired(struct watchdog *watchdog);

#endif
