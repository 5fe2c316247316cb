/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whatever an agent calls its machine, the name is one folder of the pool and no other file.
 */
#include "p2v/server/machine_name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_machine_name_knows_what_is_valid(void **state)
{
    (void)state;
    static const char *const right[] = {"a", "web01", "web-01.example.com", "9_x", "a.partially"};
    static const char *const wrong[] = {"",         ".",        "..",       ".rehost", "-x",
                                        "a/b",      "a..b",     "a b",      "a\n",     "a.partial",
                                        "a.UPDATE", "\xc3\xa4", "x.update", "a\\b"};
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
        assert_true(machine_name_is_valid(right[i]));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(machine_name_is_valid(wrong[i]));
}

static void test_machine_name_makes_a_name_of_anything(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"web01", "web01"},
                                           {"web 01.example", "web-01.example"},
                                           {"", "machine"},
                                           {"../../etc", "etc"},
                                           {"a....b", "a.b"},
                                           {"...", "machine"},
                                           {".hidden", "hidden"},
                                           {"x.partial", "x-partial"},
                                           {"x.Partial.update", "x.Partial-update"},
                                           {"x.update.", "x-update"},
                                           {"m\xc3\xbcller", "m-ller"},
                                           {"a\033[31mb", "a-31mb"}};
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        char name[MACHINE_NAME_SIZE];
        machine_name_make(pairs[i][0], name);
        assert_string_equal(name, pairs[i][1]);
    }
}

static void test_machine_name_made_of_any_bytes_is_valid(void **state)
{
    (void)state;
    static const char letters[] = ".-_/aZ9 u\x80\np";
    uint32_t seed = 1;
    for (int round = 0; round < 20000; round++) {
        char text[100], name[MACHINE_NAME_SIZE], numbered[MACHINE_NAME_SIZE];
        size_t length = (seed >> 8) % 99;
        for (size_t i = 0; i < length; i++) {
            seed = seed * 1664525 + 1013904223;
            text[i] = letters[(seed >> 16) % (sizeof(letters) - 1)];
        }
        seed = seed * 1664525 + 1013904223;
        snprintf(text + length, sizeof(text) - length, "%s", round % 3 ? "" : ".update");
        machine_name_make(text, name);
        assert_true(machine_name_is_valid(name));
        machine_name_number(name, 1 + (unsigned)round, numbered);
        assert_true(machine_name_is_valid(numbered));
    }
}

static void test_machine_name_with_a_number_stays_short(void **state)
{
    (void)state;
    char name[MACHINE_NAME_SIZE], numbered[MACHINE_NAME_SIZE];
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    machine_name_number(name, 12, numbered);
    assert_int_equal(strlen(numbered), MACHINE_NAME_SIZE - 1);
    assert_string_equal(numbered + MACHINE_NAME_SIZE - 1 - 4, "x-12");
    machine_name_number("web01", 1, numbered);
    assert_string_equal(numbered, "web01");
}

static void test_machine_uuid_has_one_spelling(void **state)
{
    (void)state;
    char uuid[MACHINE_ID_SIZE];
    machine_uuid_make("4C4C4544-0042-3510-8051-B4C04F4E3358\n", uuid);
    assert_string_equal(uuid, "4c4c4544004235108051b4c04f4e3358");
    static const char *const nothing[] = {"",
                                          "00000000-0000-0000-0000-000000000000",
                                          "ffffffff-ffff-ffff-ffff-ffffffffffff",
                                          "03000200-0400-0500-0006-000700080009",
                                          "12345678-1234-5678-90ab-cddeefaabbcc",
                                          "FEFEFEFE-FEFE-FEFE-FEFE-FEFEFEFEFEFE",
                                          "4C4C4544-0042-3510-8051-B4C04F4E33",
                                          "4C4C4544-0042-3510-8051-B4C04F4E335800",
                                          "not a uuid but of thirty-two letters long"};
    for (size_t i = 0; i < sizeof(nothing) / sizeof(nothing[0]); i++) {
        machine_uuid_make(nothing[i], uuid);
        assert_string_equal(uuid, "");
    }
}

static void test_machine_serial_that_is_nobodys_is_unknown(void **state)
{
    (void)state;
    char serial[MACHINE_ID_SIZE], longest[200];
    static const char *const nothing[] = {"",
                                          "To Be Filled By O.E.M.",
                                          "to be filled by O.E.M",
                                          "Default string",
                                          "0123456789",
                                          "None",
                                          "N/A",
                                          "System Serial Number",
                                          "Not Specified",
                                          "000000000",
                                          "XXXXXXXX",
                                          "................"};
    for (size_t i = 0; i < sizeof(nothing) / sizeof(nothing[0]); i++) {
        machine_serial_make(nothing[i], serial);
        assert_string_equal(serial, "");
    }
    machine_serial_make(" CZJ-82401 \n", serial);
    assert_string_equal(serial, "czj82401");
    memset(longest, 'a', sizeof(longest));
    memcpy(longest, "b", 1);
    longest[sizeof(longest) - 1] = '\0';
    machine_serial_make(longest, serial);
    assert_int_equal(strlen(serial), MACHINE_ID_SIZE - 1);
}

static void test_machine_without_a_name_is_called_after_its_hardware(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"PowerEdge R720", "4XK2J5J", "PowerEdge-R720-4XK2J5J"},
        {"System Product Name", "4XK2J5J", "4XK2J5J"},
        {"", "4XK2J5J", "4XK2J5J"},
        {"PowerEdge R720", "To Be Filled By O.E.M.", "machine"},
        {"PowerEdge R720", "", "machine"},
        {"P\x1b[2J/..", "a.partial", "P-2J-a-partial"},
        {"A product whose name is as long as no other product's of this maker", "S1",
         "A-product-whose-name-is-as-long-as-no-other-product-s-of-thi-S1"},
        {"P", "A serial number that is far longer than any machine's name may ever be in a pool",
         "A-serial-number-that-is-far-longer-than-any-machine-s-name-may"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char hardware[MACHINE_NAME_SIZE], name[MACHINE_NAME_SIZE];
        machine_name_of_hardware(cases[i][0], cases[i][1], hardware);
        machine_name_make(hardware, name);
        assert_true(machine_name_is_valid(name));
        assert_string_equal(name, cases[i][2]);
    }
}

static void test_machine_mark_is_found_in_a_program_and_nothing_else_is(void **state)
{
    (void)state;
    static const char *const none[] = {"rehost 1.0",
                                       "",
                                       " id=",
                                       "rehost id=0123456789abcde",
                                       "rehost id=0123456789abcdef0",
                                       "rehost id=0123456789ABCDEF",
                                       "rehost id=0123456789abcdeg",
                                       "id=0123456789abcdef",
                                       "rehost id=0123456789abcdef "};
    char mark[MACHINE_MARK_SIZE];
    machine_mark_find("rehost 1.0 id=0123456789abcdef", mark);
    assert_string_equal(mark, "0123456789abcdef");
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        machine_mark_find(none[i], mark);
        assert_string_equal(mark, "");
    }
}

static void test_machine_mark_is_of_what_identifies_a_machine(void **state)
{
    (void)state;
    static const char uuid[] = "4C4C4544-0042-3510-8052-B4C04F4B3132";
    char mark[MACHINE_MARK_SIZE], same[MACHINE_MARK_SIZE], other[MACHINE_MARK_SIZE];
    machine_mark_make(uuid, "4XK2J5J", mark);
    machine_mark_make("4c4c4544-0042-3510-8052-b4c04f4b3132", "4xk2j5j ", same);
    machine_mark_make(uuid, "To Be Filled By O.E.M.", other);
    /* printf '4c4c454400423510...\n4xk2j5j\n' | sha256sum */
    assert_string_equal(mark, "6ba15fb67e5b2220");
    assert_string_equal(mark, same);
    assert_string_not_equal(mark, other);
    machine_mark_make("00000000-0000-0000-0000-000000000000", "None", mark);
    assert_string_equal(mark, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_machine_name_knows_what_is_valid),
        cmocka_unit_test(test_machine_name_makes_a_name_of_anything),
        cmocka_unit_test(test_machine_name_made_of_any_bytes_is_valid),
        cmocka_unit_test(test_machine_name_with_a_number_stays_short),
        cmocka_unit_test(test_machine_uuid_has_one_spelling),
        cmocka_unit_test(test_machine_without_a_name_is_called_after_its_hardware),
        cmocka_unit_test(test_machine_mark_is_found_in_a_program_and_nothing_else_is),
        cmocka_unit_test(test_machine_mark_is_of_what_identifies_a_machine),
        cmocka_unit_test(test_machine_serial_that_is_nobodys_is_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
