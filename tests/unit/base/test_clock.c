/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Waiting for a condition by the monotonic clock.
 */
#include "base/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define WAIT_MS 120

/* By the time of day it would be over at once: that deadline was in 1970. */
static void a_wait_ends_at_its_deadline_by_the_monotonic_clock(void **state)
{
    (void)state;
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t condition;
    clock_condition_init(&condition);
    int64_t began_ms = clock_ms();
    struct timespec until = clock_deadline(WAIT_MS);
    int result = 0;
    pthread_mutex_lock(&lock);
    while (result == 0)
        result = pthread_cond_timedwait(&condition, &lock, &until);
    pthread_mutex_unlock(&lock);
    assert_int_equal(result, ETIMEDOUT);
    assert_true(clock_ms() - began_ms >= WAIT_MS - 1);
    pthread_cond_destroy(&condition);
}

static void a_deadline_is_a_proper_time(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        struct timespec now, until;
        clock_gettime(CLOCK_MONOTONIC, &now);
        until = clock_deadline(i * 7);
        int64_t ahead_ns =
            (until.tv_sec - now.tv_sec) * INT64_C(1000000000) + until.tv_nsec - now.tv_nsec;
        assert_in_range(until.tv_nsec, 0, 999999999);
        assert_true(ahead_ns >= i * INT64_C(7000000));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wait_ends_at_its_deadline_by_the_monotonic_clock),
        cmocka_unit_test(a_deadline_is_a_proper_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
