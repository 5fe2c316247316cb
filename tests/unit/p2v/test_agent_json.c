/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * JSON from agents: what is taken and what is refused before it can cost anything.
 */
#include "base/text.h"
#include "p2v/server/agent_json.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool is_taken(const struct text *text)
{
    struct error err = {0};
    AUTO_JSON json = agent_json_parse(text->data, text->length, "inventory", &err);
    if (!json)
        assert_int_equal(err.errnum, EPROTO);
    return json;
}

/* {"a": [[[…]]]} of so many levels. */
static bool is_depth_taken(int levels)
{
    AUTO(text) text = {0};
    text_add(&text, "{\"a\":");
    for (int i = 1; i < levels; i++)
        text_add(&text, "[");
    for (int i = 1; i < levels; i++)
        text_add(&text, "]");
    text_add(&text, "}");
    return is_taken(&text);
}

static void test_agent_json_is_limited_in_depth(void **state)
{
    (void)state;
    assert_true(is_depth_taken(AGENT_JSON_MAX_DEPTH));
    assert_false(is_depth_taken(AGENT_JSON_MAX_DEPTH + 1));
    assert_false(is_depth_taken(100000));
}

static bool is_count_taken(unsigned values)
{
    AUTO(text) text = {0};
    text_add(&text, "{\"a\":[0");
    for (unsigned i = 0; i < values - 2; i++)
        text_add(&text, ",0");
    text_add(&text, "]}");
    return is_taken(&text);
}

static void test_agent_json_is_limited_in_values(void **state)
{
    (void)state;
    assert_true(is_count_taken(AGENT_JSON_MAX_VALUES));
    assert_false(is_count_taken(AGENT_JSON_MAX_VALUES + 1));
}

static void test_brackets_in_strings_are_no_levels(void **state)
{
    AUTO(text) text = {0};
    (void)state;
    text_add(&text, "{\"\\\"[");
    for (int i = 0; i < 100; i++)
        text_add(&text, "[{");
    text_add(&text, "\": \"\\\\\"}");
    assert_true(is_taken(&text));
}

static void test_agent_json_must_be_one_object(void **state)
{
    static const char *const refused[] = {
        "", "[]", "1", "{} {}", "{\"a\":1,\"a\":2}", "{", "\"", "\"\\", "{\"a\":\"\\u0000\"}"};
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        AUTO(text) text = {0};
        text_add(&text, refused[i]);
        assert_false(is_taken(&text));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agent_json_is_limited_in_depth),
        cmocka_unit_test(test_agent_json_is_limited_in_values),
        cmocka_unit_test(test_brackets_in_strings_are_no_levels),
        cmocka_unit_test(test_agent_json_must_be_one_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
