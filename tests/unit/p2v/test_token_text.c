/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Tokens, codes and lifetimes as they are typed.
 */
#include "p2v/server/token_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* RFC 4648, section 10, without the padding. */
static void test_base32_writes_the_standards_examples(void **state)
{
    (void)state;
    static const char *const examples[][2] = {{"", ""},
                                              {"f", "MY"},
                                              {"fo", "MZXQ"},
                                              {"foo", "MZXW6"},
                                              {"foob", "MZXW6YQ"},
                                              {"fooba", "MZXW6YTB"},
                                              {"foobar", "MZXW6YTBOI"}};
    for (size_t i = 0; i < 7; i++) {
        char text[32];
        base32_encode((const uint8_t *)examples[i][0], strlen(examples[i][0]), text);
        assert_string_equal(text, examples[i][1]);
    }
}

static void test_token_text_is_read_as_it_was_written(void **state)
{
    (void)state;
    uint8_t secret[TOKEN_SECRET_SIZE], read[TOKEN_SECRET_SIZE];
    char text[WIRE_TOKEN_LENGTH + 1];
    for (unsigned bit = 0; bit < 128; bit++) {
        memset(secret, bit % 2 ? 0xff : 0, sizeof(secret));
        secret[bit / 8] ^= (uint8_t)(1u << bit % 8);
        token_text_encode(secret, text);
        assert_int_equal(strlen(text), WIRE_TOKEN_LENGTH);
        assert_true(token_text_decode(text, read));
        assert_memory_equal(read, secret, sizeof(secret));
    }
}

static void test_token_text_has_one_spelling_but_for_case(void **state)
{
    (void)state;
    uint8_t upper[TOKEN_SECRET_SIZE], lower[TOKEN_SECRET_SIZE];
    assert_true(token_text_decode("ABCDEFGHIJKLMNOPQRSTUVWX2E", upper));
    assert_true(token_text_decode("abcdefghijklmnopqrstuvwx2e", lower));
    assert_memory_equal(upper, lower, sizeof(upper));
    static const char *const wrong[] = {"",
                                        "ABCDEFGHIJKLMNOPQRSTUVWX2",
                                        "ABCDEFGHIJKLMNOPQRSTUVWX2EA",
                                        "ABCDEFGHIJKLMNOPQRSTUVWX2F", /* unused bits */
                                        "ABCDEFGHIJKLMNOPQRSTUVWX1E",
                                        "ABCDEFGHIJKLMNOPQRSTUVWX8E",
                                        "ABCDEFGHIJKLM-OPQRSTUVWX2E",
                                        "ABCDEFGHIJKLMNOPQRSTUVWX\xc3\x84"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(token_text_decode(wrong[i], upper));
}

static void test_agent_code_is_the_identitys_first_forty_bits(void **state)
{
    (void)state;
    char code[AGENT_CODE_SIZE];
    uint8_t identity[WIRE_IDENTITY_SIZE];
    memset(identity, 0xff, sizeof(identity));
    memcpy(identity, "fooba", 5);
    agent_code(identity, code);
    assert_string_equal(code, "MZXW-6YTB");
}

static void test_agent_code_is_read_however_it_is_typed(void **state)
{
    (void)state;
    static const char *const right[] = {"MZXW-6YTB", "mzxw6ytb", " mzxw 6ytb", "MZXW6-YTB"};
    static const char *const wrong[] = {"", "MZXW", "MZXW-6YTBA", "MZXW-6YT1", "MZXW_6YTB"};
    char code[AGENT_CODE_SIZE];
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
        assert_true(agent_code_parse(right[i], code));
        assert_string_equal(code, "MZXW-6YTB");
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(agent_code_parse(wrong[i], code));
}

static void test_lifetime_has_a_number_and_a_unit(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t seconds;
    } right[] = {{"45s", 45}, {"30m", 1800}, {"8h", 28800}, {"2d", 172800}, {"1w", 604800}};
    static const char *const wrong[] = {
        "",     "8",   "h",     "0h", "-1h",  " 8h", "8hh",
        "1.5h", "8 h", "3651d", "1y", "0x1h", "8H",  "99999999999999999999h"};
    uint64_t seconds;
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
        assert_true(lifetime_parse(right[i].text, &seconds));
        assert_int_equal(seconds, right[i].seconds);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(lifetime_parse(wrong[i], &seconds));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base32_writes_the_standards_examples),
        cmocka_unit_test(test_token_text_is_read_as_it_was_written),
        cmocka_unit_test(test_token_text_has_one_spelling_but_for_case),
        cmocka_unit_test(test_agent_code_is_the_identitys_first_forty_bits),
        cmocka_unit_test(test_agent_code_is_read_however_it_is_typed),
        cmocka_unit_test(test_lifetime_has_a_number_and_a_unit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
