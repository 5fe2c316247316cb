/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A token bucket for bytes and one for operations, for what a guest may move a second. What is too
 * much is allowed once and paid for afterwards: the wait is the exact time until the debt is gone,
 * so the rate holds however large requests are. Pure: the clock is the caller's.
 */
#ifndef HYPERVISOR_THROTTLE_H
#define HYPERVISOR_THROTTLE_H

#include <pthread.h>
#include <stdint.h>

struct throttle_rates { /* 0: no limit */
    uint64_t bytes_per_second, operations_per_second;
};

/* Several devices and threads may share one: a guest's disks together keep its limit. */
struct throttle {
    pthread_mutex_t lock;
    struct throttle_rates rates;
    double bytes, operations; /* in the buckets; below zero: owed */
    int64_t filled_ns;
};

void throttle_init(struct throttle *throttle, const struct throttle_rates *rates, int64_t now_ns);
void throttle_fini(struct throttle *throttle);
void throttle_set(struct throttle *throttle, const struct throttle_rates *rates, int64_t now_ns);

/* Nanoseconds to wait before the next request may begin; 0: it may now. */
int64_t throttle_wait_ns(struct throttle *throttle, int64_t now_ns);

/* A request begins: takes its cost, into debt if need be. */
void throttle_take(struct throttle *throttle, uint64_t bytes, uint64_t operations, int64_t now_ns);

#endif
