/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Token buckets as properties, with a clock of the test's own: whatever is asked for, the rate
 * holds over any time; waits are exact; nothing is saved up beyond 50 ms.
 */
#include "base/bytes.h"
#include "hypervisor/throttle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define SECOND_NS INT64_C(1000000000)
#define START_NS (1234 * SECOND_NS)

static const uint64_t byte_rates[] = {1000, 1 << 20, 10 * 1000 * 1000, UINT64_C(1) << 34};

/* Asks as fast as it may, with requests of a size up to `most`; bytes moved in `seconds`. */
static uint64_t move(struct throttle *throttle, unsigned seconds, uint64_t most, unsigned seed,
                     int64_t *last_ns)
{
    int64_t now = START_NS, end = START_NS + seconds * SECOND_NS;
    uint64_t moved = 0;

    for (;;) {
        uint64_t length = 1 + (uint64_t)rand_r(&seed) % most;

        now += throttle_wait_ns(throttle, now);
        if (now >= end)
            return moved;
        assert_int_equal(throttle_wait_ns(throttle, now), 0);
        throttle_take(throttle, length, 1, now);
        moved += length;
        *last_ns = now;
    }
}

static void test_rate_holds_within_one_request_and_one_burst(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(byte_rates); i++) {
        for (unsigned seed = 0; seed < 5; seed++) {
            struct throttle_rates rates = {.bytes_per_second = byte_rates[i]};
            uint64_t most = byte_rates[i] / 50 + 1, rate = byte_rates[i];
            struct throttle throttle;
            int64_t last;

            throttle_init(&throttle, &rates, START_NS);
            uint64_t moved = move(&throttle, 10, most, seed, &last);
            assert_true(moved <= 10 * rate + rate / 20 + most);
            assert_true(moved >= 10 * rate - most);
            throttle_fini(&throttle);
        }
    }
}

static void test_request_larger_than_a_second_is_paid_for_afterwards(void **state)
{
    struct throttle_rates rates = {.bytes_per_second = 1000000};
    struct throttle throttle;
    int64_t wait;

    (void)state;
    throttle_init(&throttle, &rates, START_NS);
    throttle_take(&throttle, 4050000, 1, START_NS);
    wait = throttle_wait_ns(&throttle, START_NS);
    assert_in_range(wait, 4 * SECOND_NS, 4 * SECOND_NS + 10);
    throttle_fini(&throttle);
}

static void test_wait_is_exact(void **state)
{
    static const uint64_t costs[] = {1, 511, 4096, 65536, 1 << 20};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(byte_rates); i++) {
        for (size_t j = 0; j < ARRAY_LENGTH(costs); j++) {
            struct throttle_rates rates = {.bytes_per_second = byte_rates[i]};
            struct throttle throttle;

            throttle_init(&throttle, &rates, START_NS);
            throttle_take(&throttle, byte_rates[i] / 20 + costs[j], 1, START_NS);
            int64_t wait = throttle_wait_ns(&throttle, START_NS);
            if (wait > 1000)
                assert_true(throttle_wait_ns(&throttle, START_NS + wait - 1000) > 0);
            assert_int_equal(throttle_wait_ns(&throttle, START_NS + wait), 0);
            throttle_fini(&throttle);
        }
    }
}

static void test_no_limit_never_waits(void **state)
{
    struct throttle throttle;

    (void)state;
    throttle_init(&throttle, &(struct throttle_rates){0}, START_NS);
    throttle_take(&throttle, UINT64_MAX, UINT64_MAX, START_NS);
    assert_int_equal(throttle_wait_ns(&throttle, START_NS), 0);
    throttle_fini(&throttle);
}

static void test_quiet_hour_saves_up_50_ms_worth(void **state)
{
    struct throttle_rates rates = {.operations_per_second = 200};
    int64_t now = START_NS + 3600 * SECOND_NS;
    struct throttle throttle;
    unsigned operations = 0;

    (void)state;
    throttle_init(&throttle, &rates, START_NS);
    while (throttle_wait_ns(&throttle, now) == 0) {
        throttle_take(&throttle, 1 << 20, 1, now);
        operations++;
    }
    assert_in_range(operations, 10, 11);
    throttle_fini(&throttle);
}

static void test_slower_of_both_limits_decides(void **state)
{
    struct throttle_rates rates = {.bytes_per_second = 1000000, .operations_per_second = 100};
    struct throttle throttle;

    (void)state;
    throttle_init(&throttle, &rates, START_NS);
    throttle_take(&throttle, 550000, 6, START_NS); /* half a second of bytes, 10 ms of operations */
    assert_in_range(throttle_wait_ns(&throttle, START_NS), SECOND_NS / 2, SECOND_NS / 2 + 10);
    throttle_take(&throttle, 0, 99, START_NS);
    assert_in_range(throttle_wait_ns(&throttle, START_NS), SECOND_NS, SECOND_NS + 10);
    throttle_fini(&throttle);
}

static void test_new_rate_counts_at_once_and_debts_stay(void **state)
{
    struct throttle_rates rates = {.bytes_per_second = 1000};
    struct throttle throttle;

    (void)state;
    throttle_init(&throttle, &rates, START_NS);
    throttle_take(&throttle, 10050, 1, START_NS);
    assert_in_range(throttle_wait_ns(&throttle, START_NS), 10 * SECOND_NS, 10 * SECOND_NS + 10);
    rates.bytes_per_second = 10000;
    throttle_set(&throttle, &rates, START_NS);
    assert_in_range(throttle_wait_ns(&throttle, START_NS), SECOND_NS, SECOND_NS + 10);
    throttle_set(&throttle, &(struct throttle_rates){0}, START_NS);
    assert_int_equal(throttle_wait_ns(&throttle, START_NS), 0);
    throttle_set(&throttle, &rates, START_NS);
    assert_int_equal(throttle_wait_ns(&throttle, START_NS), 0);
    throttle_fini(&throttle);
}

static void test_clock_that_goes_back_fills_nothing(void **state)
{
    struct throttle_rates rates = {.bytes_per_second = 1000};
    struct throttle throttle;
    int64_t wait;

    (void)state;
    throttle_init(&throttle, &rates, START_NS);
    throttle_take(&throttle, 1000, 1, START_NS);
    wait = throttle_wait_ns(&throttle, START_NS);
    assert_int_equal(throttle_wait_ns(&throttle, START_NS - SECOND_NS), wait);
    assert_int_equal(throttle_wait_ns(&throttle, START_NS), wait);
    throttle_fini(&throttle);
}

static void test_endless_debt_is_waited_for_in_hours(void **state)
{
    struct throttle_rates rates = {.bytes_per_second = 1};
    struct throttle throttle;

    (void)state;
    throttle_init(&throttle, &rates, START_NS);
    throttle_take(&throttle, UINT64_MAX, 1, START_NS);
    assert_int_equal(throttle_wait_ns(&throttle, START_NS), 3600 * SECOND_NS);
    throttle_fini(&throttle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate_holds_within_one_request_and_one_burst),
        cmocka_unit_test(test_request_larger_than_a_second_is_paid_for_afterwards),
        cmocka_unit_test(test_wait_is_exact),
        cmocka_unit_test(test_no_limit_never_waits),
        cmocka_unit_test(test_quiet_hour_saves_up_50_ms_worth),
        cmocka_unit_test(test_slower_of_both_limits_decides),
        cmocka_unit_test(test_new_rate_counts_at_once_and_debts_stay),
        cmocka_unit_test(test_clock_that_goes_back_fills_nothing),
        cmocka_unit_test(test_endless_debt_is_waited_for_in_hours),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
