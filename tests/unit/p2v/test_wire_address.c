/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What people write for a server: names, addresses, ports.
 */
#include "base/bytes.h"
#include "p2v/wire/link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_addresses_are_split_into_host_and_port(void **state)
{
    static const char *const good[][3] = {
        {"conv", "conv", "7443"},
        {"conv.example.org:99", "conv.example.org", "99"},
        {"10.0.0.7:65535", "10.0.0.7", "65535"},
        {"[2001:db8::7]:1", "2001:db8::7", "1"},
        {"[2001:db8::7]", "2001:db8::7", "7443"},
        {"2001:db8::7", "2001:db8::7", "7443"},
    };
    static const char *const bad[] = {
        "",        ":7443", "conv:",  "conv:0",  "conv:65536", "conv:http",
        "a b:1",   "[::1",  "[::1]x", "[]:5",    "conv:-1",    "conv:+1",
        "conv:1 ", "a/b",   "[::1]:", "conv: 1", "a\n"};
    struct link_address address;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
        assert_int_equal(link_address_parse(good[i][0], &address, NULL), 0);
        assert_string_equal(address.host, good[i][1]);
        assert_string_equal(address.port, good[i][2]);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        if (link_address_parse(bad[i], &address, NULL) == 0)
            fail_msg("'%s' was taken", bad[i]);
    }
    char longest[300];
    memset(longest, 'h', sizeof(longest));
    longest[256] = '\0';
    assert_int_equal(link_address_parse(longest, &address, NULL), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_are_split_into_host_and_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
