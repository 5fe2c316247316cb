/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The reactor: one thread that waits for descriptors (epoll) and calls who watches them. What may
 * block has a thread of its own instead.
 */
#ifndef HYPERVISOR_LOOP_H
#define HYPERVISOR_LOOP_H

#include "base/error.h"

#include <stdint.h>

struct loop;

/* Lives as long as it is watched. `events` are epoll's. */
struct loop_watch {
    void (*ready)(void *context, uint32_t events); /* in the loop's thread */
    void *context;
    int fd; /* borrowed */
};

struct loop *loop_new(struct error *err);
void loop_free(struct loop *loop); /* NULL-safe */

/* Any thread. Changing events: EPOLLIN, EPOLLOUT, 0 for silence (errors are reported all the same).
 */
int loop_add(struct loop *loop, struct loop_watch *watch, uint32_t events, struct error *err);
int loop_change(struct loop *loop, struct loop_watch *watch, uint32_t events, struct error *err);

/* In the loop's thread, or while it does not run: `ready` is not called after it. */
void loop_remove(struct loop *loop, struct loop_watch *watch);

/* Until loop_stop, which any thread may call, also before. */
int loop_run(struct loop *loop, struct error *err);
void loop_stop(struct loop *loop);

#endif
