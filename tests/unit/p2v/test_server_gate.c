/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Who may stand before the door, and who gives way.
 */
#include "p2v/server/gate.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct gate_address address(const char *text)
{
    struct gate_address result = {0};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        gate_address_of((struct sockaddr *)&v4, &result);
    else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1)
        gate_address_of((struct sockaddr *)&v6, &result);
    else
        fail();
    return result;
}

static void enter(struct gate *gate, void *who, const char *from, int64_t now)
{
    struct gate_address where = address(from);
    gate_enter(gate, who, &where, now);
}

static void *displace(struct gate *gate, const char *from, int64_t now)
{
    struct gate_address where = address(from);
    return gate_displace(gate, &where, now);
}

static int people[GATE_MAX + 1];

static void test_gate_lets_an_address_knock_many_times_at_once(void **state)
{
    struct gate gate = {.count = 0};
    (void)state;
    for (int i = 0; i < 40; i++) {
        assert_null(displace(&gate, "10.0.0.1", 1000));
        enter(&gate, &people[i], "10.0.0.1", 1000);
    }
    assert_int_equal(gate.count, 40);
}

static void test_gate_displaces_the_oldest_of_an_address_with_eight_that_dawdle(void **state)
{
    struct gate gate = {.count = 0};
    (void)state;
    enter(&gate, &people[20], "10.0.0.2", 0);
    for (int i = 0; i < GATE_MAX_PER_ADDRESS + 1; i++)
        enter(&gate, &people[i], "10.0.0.1", i);
    assert_null(displace(&gate, "10.0.0.1", GATE_GRACE_MS));
    assert_ptr_equal(displace(&gate, "10.0.0.1", 2 * GATE_GRACE_MS), &people[0]);
    assert_ptr_equal(displace(&gate, "10.0.0.1", 2 * GATE_GRACE_MS), &people[1]);
    assert_null(displace(&gate, "10.0.0.1", 2 * GATE_GRACE_MS));
    assert_null(displace(&gate, "10.0.0.2", 2 * GATE_GRACE_MS));
}

static void test_a_flood_displaces_itself_and_not_others(void **state)
{
    struct gate gate = {.count = 0};
    (void)state;
    enter(&gate, &people[0], "10.0.0.2", 0);
    for (int i = 1; i < GATE_MAX; i++)
        enter(&gate, &people[i], "10.0.0.1", 10);
    assert_ptr_equal(displace(&gate, "10.0.0.3", 20), &people[1]);
    assert_null(displace(&gate, "10.0.0.3", 20));
}

static void test_gate_counts_one_who_left_no_more(void **state)
{
    struct gate gate = {.count = 0};
    (void)state;
    for (int i = 0; i < GATE_MAX; i++)
        enter(&gate, &people[i], "10.0.0.1", 10);
    gate_leave(&gate, &people[30]);
    gate_leave(&gate, &people[GATE_MAX]); /* was never there */
    assert_int_equal(gate.count, GATE_MAX - 1);
    assert_null(displace(&gate, "10.0.0.1", 20));
    assert_ptr_equal(gate.entries[30].who, &people[31]);
}

static void test_gate_takes_an_ipv6_network_for_one_address(void **state)
{
    struct gate_address a = address("2001:db8::1"), b = address("2001:db8::2:3"),
                        c = address("2001:db8:0:1::1"), mapped = address("::ffff:10.0.0.1"),
                        plain = address("10.0.0.1");
    (void)state;
    assert_memory_equal(&a, &b, sizeof(a));
    assert_memory_not_equal(&a, &c, sizeof(a));
    assert_memory_equal(&mapped, &plain, sizeof(plain));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gate_lets_an_address_knock_many_times_at_once),
        cmocka_unit_test(test_gate_displaces_the_oldest_of_an_address_with_eight_that_dawdle),
        cmocka_unit_test(test_a_flood_displaces_itself_and_not_others),
        cmocka_unit_test(test_gate_counts_one_who_left_no_more),
        cmocka_unit_test(test_gate_takes_an_ipv6_network_for_one_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
