/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Limits that several threads share: bytes a second on the wire, CPU time a second. A token bucket
 * that may go into debt: whoever took too much sleeps until it is paid.
 */
#ifndef P2V_AGENT_LIMITER_H
#define P2V_AGENT_LIMITER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

/* The arithmetic alone. Units are whatever the caller counts. */
struct bucket {
    uint64_t units_per_second; /* 0: no limit */
    double tokens;             /* below 0: debt */
    int64_t updated_us;
};

/* Takes `units` at a moment (microseconds, forward only); how long to wait before going on. */
int64_t bucket_take(struct bucket *bucket, uint64_t units, int64_t now_us);

struct limiter {
    pthread_mutex_t lock;
    struct bucket bucket; /* guarded by lock */
};
void limiter_init(struct limiter *limiter, uint64_t units_per_second);
void limiter_fini(struct limiter *limiter);

/* Takes and waits; returns soon after one of the flags (each may be NULL) becomes true. */
void limiter_take(struct limiter *limiter, uint64_t units, const atomic_bool *stop,
                  const atomic_bool *is_ended);

/* A thread's CPU time since the last call (nanoseconds), for a limiter of those units. */
struct cpu_clock {
    int64_t last_ns;
};
void cpu_clock_start(struct cpu_clock *clock);
uint64_t cpu_clock_lap(struct cpu_clock *clock);

#endif
