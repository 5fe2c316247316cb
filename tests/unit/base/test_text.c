/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Growing strings, escaping, byte order, zero detection, sizes for people.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void assert_escaped(const char *raw, size_t length, const char *expected)
{
    AUTO(text) text = {0};
    text_add_escaped(&text, raw, length);
    assert_string_equal(text_string(&text), expected);
}

static void test_text_escapes_control_bytes_and_keeps_utf8(void **state)
{
    (void)state;
    assert_escaped("Grüße\t\x7f", 9, "Grüße\\x09\\x7f");
    assert_escaped("a\0b", 3, "a\\x00b");
    assert_escaped("C:\\x", 4, "C:\\\\x");
    assert_escaped("\xc3", 1, "\\xc3");                            /* cut short */
    assert_escaped("\xc0\xaf", 2, "\\xc0\\xaf");                   /* overlong */
    assert_escaped("\xed\xa0\x80", 3, "\\xed\\xa0\\x80");          /* a surrogate */
    assert_escaped("\xc2\x9b", 2, "\\xc2\\x9b");                   /* CSI as one character */
    assert_escaped("\xe2\x80\xae", 3, "\\xe2\\x80\\xae");          /* right-to-left override */
    assert_escaped("\xf4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80"); /* above U+10FFFF */
}

static void assert_last_line(const char *string, const char *expected)
{
    AUTO(text) text = {0};
    text_add(&text, string);
    assert_string_equal(text_last_line(&text), expected);
}

static void test_text_has_a_last_line_that_is_not_blank(void **state)
{
    (void)state;
    assert_last_line("", "");
    assert_last_line(" \n \n", "");
    assert_last_line("one", "one");
    assert_last_line("one\n", "one");
    assert_last_line("one\n  two words \n\n \n", "two words");
}

static void test_text_is_one_of_the_words_to_the_letter(void **state)
{
    (void)state;
    static const char *const words[] = {"on", "off", ""};
    assert_true(text_is_one_of("off", words, 3));
    assert_true(text_is_one_of("", words, 3));
    assert_false(text_is_one_of("", words, 2));
    assert_false(text_is_one_of("Off", words, 3));
    assert_false(text_is_one_of("offer", words, 3));
    assert_false(text_is_one_of("on", words, 0));
}

static void test_text_grows_and_is_taken(void **state)
{
    (void)state;
    struct text text = {0};
    assert_string_equal(text_string(&text), "");
    for (int i = 0; i < 1000; i++)
        text_addf(&text, "%d,", i);
    assert_int_equal(text.length, 10 * 2 + 90 * 3 + 900 * 4);
    AUTO_FREE char *taken = text_take(&text);
    assert_true(text_starts_with(taken, "0,1,2,") && text_ends_with(taken, ",998,999,"));
    assert_null(text.data);
    AUTO_FREE char *empty = text_take(&text);
    assert_string_equal(empty, "");
}

static void test_bytes_are_zero_sees_every_position(void **state)
{
    (void)state;
    uint8_t data[300] = {0};
    for (size_t length = 0; length <= sizeof(data); length++)
        assert_true(bytes_are_zero(data, length));
    for (size_t at = 0; at < sizeof(data); at++) {
        data[at] = 1;
        assert_false(bytes_are_zero(data, sizeof(data)));
        assert_true(bytes_are_zero(data, at));
        data[at] = 0;
    }
}

static void test_bytes_keep_their_order(void **state)
{
    (void)state;
    uint8_t data[9];
    store_le32(data + 1, 0x11223344);
    assert_int_equal(data[1], 0x44);
    assert_int_equal(load_be32(data + 1), 0x44332211);
    store_be64(data + 1, 0x0102030405060708);
    assert_int_equal(data[1], 1);
    assert_int_equal(load_le16(data + 1), 0x0201);
}

static void assert_size(uint64_t bytes, const char *expected)
{
    char buffer[32];
    assert_string_equal(bytes_format(bytes, buffer, sizeof(buffer)), expected);
}

static void test_bytes_format_for_people(void **state)
{
    (void)state;
    assert_size(0, "0 bytes");
    assert_size(1023, "1023 bytes");
    assert_size(37 * GIB + GIB / 5, "37.2 GiB");
    assert_size(1000 * MIB, "1000 MiB");
    assert_size(UINT64_MAX, "16.0 EiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_escapes_control_bytes_and_keeps_utf8),
        cmocka_unit_test(test_text_has_a_last_line_that_is_not_blank),
        cmocka_unit_test(test_text_is_one_of_the_words_to_the_letter),
        cmocka_unit_test(test_text_grows_and_is_taken),
        cmocka_unit_test(test_bytes_are_zero_sees_every_position),
        cmocka_unit_test(test_bytes_keep_their_order),
        cmocka_unit_test(test_bytes_format_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
