/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Token buckets by a clock of the test's own, the waits between connections, and the decisions
 * about passes.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "p2v/agent/agent_link.h"
#include "p2v/agent/limiter.h"
#include "p2v/agent/passes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_no_limit_never_waits(void **state)
{
    (void)state;
    struct bucket bucket = {0};
    assert_int_equal(bucket_take(&bucket, UINT32_MAX, 1), 0);
}

static void test_over_a_minute_the_rate_is_kept(void **state)
{
    (void)state;
    struct bucket bucket = {.units_per_second = 10 * MIB};
    int64_t now_us = 0;
    uint64_t taken = 0;
    while (now_us < 60000000) {
        now_us += bucket_take(&bucket, MIB, now_us);
        taken += MIB;
    }
    assert_in_range(taken, 599 * MIB, 602 * MIB);
}

static void test_an_idle_hour_saves_up_a_tenth_of_a_second(void **state)
{
    (void)state;
    struct bucket bucket = {.units_per_second = 1000};
    assert_int_equal(bucket_take(&bucket, 100, 3600000000), 0);
    assert_in_range(bucket_take(&bucket, 1000, 3600000000), 999000, 1001000);
}

static void test_a_clock_that_stands_or_goes_back_gives_nothing(void **state)
{
    (void)state;
    struct bucket bucket = {.units_per_second = 1000, .updated_us = 5000000};
    int64_t first_us = bucket_take(&bucket, 500, 5000000);
    assert_true(bucket_take(&bucket, 500, 4000000) > first_us);
}

static void test_waiting_ends_when_it_is_over(void **state)
{
    (void)state;
    struct limiter limiter;
    atomic_bool is_ended = true;
    limiter_init(&limiter, 1);
    int64_t began_ms = clock_ms();
    limiter_take(&limiter, 1000, NULL, &is_ended);
    assert_true(clock_ms() - began_ms < 500);
    limiter_fini(&limiter);
}

static void test_waits_double_up_to_thirty_and_vary_by_a_quarter(void **state)
{
    (void)state;
    struct retry retry;
    static const unsigned seconds[] = {1, 2, 4, 8, 16, 30, 30};
    retry_start(&retry, 0);
    for (size_t i = 0; i < ARRAY_LENGTH(seconds); i++)
        assert_int_equal(retry_next_ms(&retry, 0, 5 + (int64_t)i), seconds[i] * 1000);
    assert_int_equal(retry.failing_ms, 5);
    assert_int_equal(retry_next_ms(&retry, UINT32_MAX, 99), 37500);
    retry_start(&retry, 0);
    assert_int_equal(retry_next_ms(&retry, UINT32_MAX, 99), 1250);
}

static void test_passes_go_on_while_they_shrink_and_are_not_small(void **state)
{
    (void)state;
    struct pass_sum first = {.sent_bytes = 100 * GIB, .used_bytes = 100 * GIB};
    struct pass_sum smaller = {.sent_bytes = 2 * GIB, .used_bytes = 100 * GIB};
    struct pass_sum small = {.sent_bytes = 60 * MIB, .used_bytes = 100 * GIB};
    struct pass_sum of_little = {.sent_bytes = 60 * MIB, .used_bytes = GIB};
    assert_true(passes_want_more(&first, NULL, 1, 0));
    assert_true(passes_want_more(&smaller, &first, 2, 0));
    assert_false(passes_want_more(&smaller, &smaller, 3, 0));
    assert_false(passes_want_more(&small, &smaller, 3, 0));
    assert_true(passes_want_more(&of_little, &smaller, 3, 0));
    assert_false(passes_want_more(&smaller, &first, 4, 0)); /* five, the last one counted */
    assert_false(passes_want_more(&first, NULL, 1, 2));
}

static void test_nobody_is_frozen_for_long_without_being_asked(void **state)
{
    (void)state;
    struct pass_sum quick = {.seconds = 29}, slow = {.seconds = 31};
    assert_true(passes_may_freeze(&quick, false));
    assert_false(passes_may_freeze(&slow, false));
    assert_false(passes_may_freeze(NULL, false));
    assert_true(passes_may_freeze(&slow, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_limit_never_waits),
        cmocka_unit_test(test_over_a_minute_the_rate_is_kept),
        cmocka_unit_test(test_an_idle_hour_saves_up_a_tenth_of_a_second),
        cmocka_unit_test(test_a_clock_that_stands_or_goes_back_gives_nothing),
        cmocka_unit_test(test_waiting_ends_when_it_is_over),
        cmocka_unit_test(test_waits_double_up_to_thirty_and_vary_by_a_quarter),
        cmocka_unit_test(test_passes_go_on_while_they_shrink_and_are_not_small),
        cmocka_unit_test(test_nobody_is_frozen_for_long_without_being_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
