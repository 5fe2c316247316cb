/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A running machine whose disks can be had as of one moment: one pass, and no freeze; unless that
 * moment does not last.
 */
#include "tests/unit/p2v/fake_machine.h"

static struct held {
    bool can_hold, does_last;
    unsigned holds, asks;
} held;

static bool on_hold(void *context)
{
    (void)context;
    held.holds++;
    return held.can_hold;
}

static bool is_held(void *context)
{
    (void)context;
    held.asks++;
    return held.does_last;
}

static struct fixture *begin_live(bool can_hold, bool does_last)
{
    struct fixture *fixture = begin();
    held = (struct held){.can_hold = can_hold, .does_last = does_last};
    add_disk(fixture, 4 * MIB);
    use(fixture, 0, 0, 4 * MIB);
    fixture->sender_disks[0].is_live = true;
    fixture->options.hold = on_hold;
    fixture->options.is_held = is_held;
    return fixture;
}

static void test_one_moment_takes_one_pass_and_no_freeze(void **state)
{
    (void)state;
    struct fixture *fixture = begin_live(true, true);
    send_machine(fixture);
    assert_arrived(fixture, 0);
    assert_int_equal(held.holds, 1);
    assert_int_equal(fixture->result.disks[0].passes, 1);
    assert_int_equal(fixture->server.consistency, WIRE_FROZEN);
    assert_int_equal(fixture->freezes, 0);
    end(fixture);
}

static void test_a_moment_that_does_not_last_is_followed_by_passes_and_a_freeze(void **state)
{
    (void)state;
    struct fixture *fixture = begin_live(true, false);
    send_machine(fixture);
    assert_arrived(fixture, 0);
    assert_true(fixture->result.disks[0].passes >= 2);
    assert_int_equal(fixture->freezes, 1);
    assert_int_equal(fixture->server.consistency, WIRE_FROZEN);
    end(fixture);
}

static void test_a_moment_that_did_not_last_and_no_freeze_is_not_called_consistent(void **state)
{
    (void)state;
    struct fixture *fixture = begin_live(true, false);
    fixture->freeze_result = 0;
    send_machine(fixture);
    assert_int_equal(fixture->server.consistency, WIRE_NOT_CONSISTENT);
    end(fixture);
}

static void test_what_cannot_be_held_goes_as_ever(void **state)
{
    (void)state;
    struct fixture *fixture = begin_live(false, true);
    send_machine(fixture);
    assert_arrived(fixture, 0);
    assert_int_equal(held.holds, 1);
    assert_int_equal(held.asks, 0);
    assert_int_equal(fixture->freezes, 1);
    end(fixture);
}

static void test_disks_at_rest_are_not_held(void **state)
{
    (void)state;
    struct fixture *fixture = begin_live(true, true);
    fixture->sender_disks[0].is_live = false;
    send_machine(fixture);
    assert_int_equal(held.holds, 0);
    assert_int_equal(fixture->server.consistency, WIRE_AT_REST);
    end(fixture);
}

static void test_a_server_that_forgot_all_at_the_end_is_told_again_of_the_same_moment(void **state)
{
    (void)state;
    struct fixture *fixture = begin_live(true, true);
    fixture->server.forgets_at_end = true;
    send_machine(fixture);
    assert_arrived(fixture, 0);
    assert_int_equal(held.holds, 1);
    assert_int_equal(fixture->freezes, 0);
    assert_int_equal(fixture->server.consistency, WIRE_FROZEN);
    end(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_moment_takes_one_pass_and_no_freeze),
        cmocka_unit_test(test_a_moment_that_does_not_last_is_followed_by_passes_and_a_freeze),
        cmocka_unit_test(test_a_moment_that_did_not_last_and_no_freeze_is_not_called_consistent),
        cmocka_unit_test(test_what_cannot_be_held_goes_as_ever),
        cmocka_unit_test(test_disks_at_rest_are_not_held),
        cmocka_unit_test(test_a_server_that_forgot_all_at_the_end_is_told_again_of_the_same_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
