/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Progress: what a person and a program read.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "p2v/json.h"
#include "p2v/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct progress some_progress(void)
{
    struct progress progress = {.fd = -1};
    progress_start(&progress, "copy", "disk0", 400 * MIB, 10 * GIB);
    return progress;
}

static void test_progress_bar_shows_used_rate_and_time_left(void **state)
{
    (void)state;
    struct progress progress = some_progress();
    struct progress_figures figures = {.done_bytes = 100 * MIB, .seconds = 2};
    AUTO(text) out = {0};
    progress_format_bar(&progress, &figures, &out);
    assert_string_equal(out.data, "disk0  400.0 MiB used of 10.0 GiB  "
                                  "[======>                 ] 25%  52 MB/s  eta 0:06");
}

static void test_progress_bar_shows_compression_when_there_is_some(void **state)
{
    (void)state;
    struct progress progress = some_progress();
    struct progress_figures figures = {100 * MIB, 90 * MIB, 45 * MIB, 2};
    AUTO(text) out = {0};
    progress_format_bar(&progress, &figures, &out);
    assert_non_null(strstr(out.data, "  2.0x compressed  eta"));
}

static void test_progress_knows_no_rate_at_the_start(void **state)
{
    (void)state;
    struct progress progress = some_progress();
    struct progress_figures figures = {.done_bytes = 0, .seconds = 0};
    AUTO(text) out = {0};
    progress_format_bar(&progress, &figures, &out);
    assert_non_null(strstr(out.data, " 0%  0 MB/s  eta -:--"));
}

static void test_progress_is_never_more_than_done(void **state)
{
    (void)state;
    struct progress progress = some_progress();
    struct progress_figures figures = {.done_bytes = 999 * MIB, .seconds = 2};
    AUTO(text) out = {0};
    progress_format_bar(&progress, &figures, &out);
    assert_non_null(strstr(out.data, "[========================] 100%"));
    assert_non_null(strstr(out.data, "eta 0:00"));
    struct progress nothing = {.fd = -1};
    progress_start(&nothing, "copy", "disk1", 0, GIB);
    AUTO(text) empty = {0};
    progress_format_bar(&nothing, &(struct progress_figures){.seconds = 1}, &empty);
    assert_non_null(strstr(empty.data, "100%"));
}

static void test_progress_json_is_json(void **state)
{
    (void)state;
    struct progress progress = some_progress();
    struct progress_figures figures = {.done_bytes = 100 * MIB, .seconds = 2};
    AUTO(text) out = {0};
    progress_format_json(&progress, &figures, &out);
    AUTO_JSON json = json_loads(out.data, 0, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "disk")), "disk0");
    assert_string_equal(json_string_value(json_object_get(json, "action")), "copy");
    assert_int_equal(json_integer_value(json_object_get(json, "done_bytes")), 100 * MIB);
    assert_int_equal(json_integer_value(json_object_get(json, "seconds_left")), 6);
    AUTO(text) first = {0};
    progress_format_json(&progress, &(struct progress_figures){.done_bytes = 0}, &first);
    AUTO_JSON unknown = json_loads(first.data, 0, NULL);
    assert_true(json_is_null(json_object_get(unknown, "seconds_left")));
}

static void test_progress_time_grows_from_minutes_to_hours(void **state)
{
    (void)state;
    char buffer[32];
    assert_string_equal(progress_format_time(0, buffer, sizeof(buffer)), "0:00");
    assert_string_equal(progress_format_time(192, buffer, sizeof(buffer)), "3:12");
    assert_string_equal(progress_format_time(3727, buffer, sizeof(buffer)), "1:02:07");
    assert_string_equal(progress_format_time(-1, buffer, sizeof(buffer)), "-:--");
    assert_string_equal(progress_format_time(1e12, buffer, sizeof(buffer)), "-:--");
}

static void test_progress_mode_is_chosen_by_word(void **state)
{
    (void)state;
    assert_int_equal(progress_mode_for("json", -1), PROGRESS_JSON);
    assert_int_equal(progress_mode_for("bar", -1), PROGRESS_BAR);
    assert_int_equal(progress_mode_for("none", -1), PROGRESS_NONE);
    assert_int_equal(progress_mode_for(NULL, -1), PROGRESS_NONE); /* no terminal */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_progress_bar_shows_used_rate_and_time_left),
        cmocka_unit_test(test_progress_bar_shows_compression_when_there_is_some),
        cmocka_unit_test(test_progress_knows_no_rate_at_the_start),
        cmocka_unit_test(test_progress_is_never_more_than_done),
        cmocka_unit_test(test_progress_json_is_json),
        cmocka_unit_test(test_progress_time_grows_from_minutes_to_hours),
        cmocka_unit_test(test_progress_mode_is_chosen_by_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
