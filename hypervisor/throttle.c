/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Token buckets, filled when somebody looks. They hold 50 ms worth at most, so that a guest that
 * was quiet for a while gets no more than its rate over any time that one would measure.
 */
#include "hypervisor/throttle.h"

#define BURST_SECONDS 0.05
#define NANOSECONDS 1e9
#define MAX_WAIT_NS (INT64_C(3600) * 1000000000)

static double fill_bucket(double tokens, uint64_t rate, double seconds)
{
    double most = (double)rate * BURST_SECONDS;

    tokens += (double)rate * seconds;
    return tokens < most ? tokens : most;
}

/* A clock that stands or goes back fills nothing. */
static void fill_locked(struct throttle *throttle, int64_t now_ns)
{
    double seconds = (double)(now_ns - throttle->filled_ns) / NANOSECONDS;

    if (now_ns <= throttle->filled_ns)
        return;
    throttle->bytes = fill_bucket(throttle->bytes, throttle->rates.bytes_per_second, seconds);
    throttle->operations =
        fill_bucket(throttle->operations, throttle->rates.operations_per_second, seconds);
    throttle->filled_ns = now_ns;
}

/* How long a bucket needs to be out of debt. The 2 ns more make up for rounding. */
static int64_t debt_ns(double tokens, uint64_t rate)
{
    double wait;

    if (rate == 0 || tokens >= 0)
        return 0;
    wait = -tokens / (double)rate * NANOSECONDS + 2;
    return wait < (double)MAX_WAIT_NS ? (int64_t)wait : MAX_WAIT_NS;
}

void throttle_init(struct throttle *throttle, const struct throttle_rates *rates, int64_t now_ns)
{
    *throttle = (struct throttle){.filled_ns = now_ns};
    pthread_mutex_init(&throttle->lock, NULL);
    throttle_set(throttle, rates, now_ns);
}

void throttle_fini(struct throttle *throttle)
{
    pthread_mutex_destroy(&throttle->lock);
}

/* What is owed stays owed; a limit that is new, or was lifted, begins without debt. */
static double change_bucket(double tokens, uint64_t old_rate, uint64_t rate)
{
    return old_rate && rate ? fill_bucket(tokens, rate, 0) : (double)rate * BURST_SECONDS;
}

void throttle_set(struct throttle *throttle, const struct throttle_rates *rates, int64_t now_ns)
{
    pthread_mutex_lock(&throttle->lock);
    fill_locked(throttle, now_ns);
    throttle->bytes =
        change_bucket(throttle->bytes, throttle->rates.bytes_per_second, rates->bytes_per_second);
    throttle->operations = change_bucket(
        throttle->operations, throttle->rates.operations_per_second, rates->operations_per_second);
    throttle->rates = *rates;
    pthread_mutex_unlock(&throttle->lock);
}

int64_t throttle_wait_ns(struct throttle *throttle, int64_t now_ns)
{
    int64_t bytes, operations;

    pthread_mutex_lock(&throttle->lock);
    fill_locked(throttle, now_ns);
    bytes = debt_ns(throttle->bytes, throttle->rates.bytes_per_second);
    operations = debt_ns(throttle->operations, throttle->rates.operations_per_second);
    pthread_mutex_unlock(&throttle->lock);
    return bytes > operations ? bytes : operations;
}

void throttle_take(struct throttle *throttle, uint64_t bytes, uint64_t operations, int64_t now_ns)
{
    pthread_mutex_lock(&throttle->lock);
    fill_locked(throttle, now_ns);
    if (throttle->rates.bytes_per_second)
        throttle->bytes -= (double)bytes;
    if (throttle->rates.operations_per_second)
        throttle->operations -= (double)operations;
    pthread_mutex_unlock(&throttle->lock);
}
