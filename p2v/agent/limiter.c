/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Token buckets, and the waiting for them.
 */
#include "p2v/agent/limiter.h"

#include <time.h>

/* What may be saved up while nothing is taken, and the longest sleep without looking at a flag. */
#define BURST_SECONDS 0.1
#define SLICE_US 20000

int64_t bucket_take(struct bucket *bucket, uint64_t units, int64_t now_us)
{
    if (bucket->units_per_second == 0)
        return 0;
    double rate = (double)bucket->units_per_second;
    double most = rate * BURST_SECONDS;
    if (now_us > bucket->updated_us)
        bucket->tokens += rate * 1e-6 * (double)(now_us - bucket->updated_us);
    if (bucket->tokens > most)
        bucket->tokens = most;
    bucket->updated_us = now_us;
    bucket->tokens -= (double)units;
    return bucket->tokens >= 0 ? 0 : (int64_t)(-bucket->tokens / rate * 1e6) + 1;
}

static int64_t clock_ns(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void limiter_init(struct limiter *limiter, uint64_t units_per_second)
{
    pthread_mutex_init(&limiter->lock, NULL);
    limiter->bucket = (struct bucket){.units_per_second = units_per_second,
                                      .updated_us = clock_ns(CLOCK_MONOTONIC) / 1000};
}

void limiter_fini(struct limiter *limiter)
{
    pthread_mutex_destroy(&limiter->lock);
}

static int is_set(const atomic_bool *flag)
{
    return flag && atomic_load_explicit(flag, memory_order_relaxed);
}

void limiter_take(struct limiter *limiter, uint64_t units, const atomic_bool *stop,
                  const atomic_bool *is_ended)
{
    if (limiter->bucket.units_per_second == 0)
        return;
    pthread_mutex_lock(&limiter->lock);
    int64_t wait_us = bucket_take(&limiter->bucket, units, clock_ns(CLOCK_MONOTONIC) / 1000);
    pthread_mutex_unlock(&limiter->lock);
    while (wait_us > 0 && !is_set(stop) && !is_set(is_ended)) {
        int64_t slice_us = wait_us < SLICE_US ? wait_us : SLICE_US;
        struct timespec slice = {.tv_nsec = slice_us * 1000};
        nanosleep(&slice, NULL);
        wait_us -= slice_us;
    }
}

void cpu_clock_start(struct cpu_clock *clock)
{
    clock->last_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t cpu_clock_lap(struct cpu_clock *clock)
{
    int64_t now_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    int64_t used_ns = now_ns - clock->last_ns;
    clock->last_ns = now_ns;
    return used_ns > 0 ? (uint64_t)used_ns : 0;
}
