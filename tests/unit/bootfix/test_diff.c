/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The unified diff, against texts written out by hand. That patch(1) applies what it says is shown
 * by tests/contract/test_fixers.c.
 */
#include "base/own.h"
#include "base/text.h"
#include "bootfix/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void check(const char *before, const char *after, const char *expected)
{
    AUTO(text) out = {0};
    diff_unified("a/f", before, "b/f", after, &out);
    assert_string_equal(text_string(&out), expected);
}

static void test_equal_texts_have_no_diff(void **state)
{
    (void)state;
    check("a\nb\n", "a\nb\n", "");
    check("", "", "");
}

static void test_a_changed_line_comes_with_three_lines_of_context(void **state)
{
    (void)state;
    check("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nFIVE\n6\n7\n8\n9\n",
          "--- a/f\n+++ b/f\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+FIVE\n 6\n 7\n 8\n");
}

static void test_changes_far_apart_are_two_hunks_and_close_ones_are_one(void **state)
{
    (void)state;
    check("a\n1\n2\n3\n4\n5\n6\n7\nb\n", "A\n1\n2\n3\n4\n5\n6\n7\nB\n",
          "--- a/f\n+++ b/f\n@@ -1,4 +1,4 @@\n-a\n+A\n 1\n 2\n 3\n@@ -6,4 +6,4 @@\n 5\n 6\n 7\n"
          "-b\n+B\n");
    check("a\n1\n2\n3\n4\n5\n6\nb\n", "A\n1\n2\n3\n4\n5\n6\nB\n",
          "--- a/f\n+++ b/f\n@@ -1,8 +1,8 @@\n-a\n+A\n 1\n 2\n 3\n 4\n 5\n 6\n-b\n+B\n");
}

static void test_new_and_removed_files_have_empty_ranges(void **state)
{
    (void)state;
    check(NULL, "x\ny\n", "--- a/f\n+++ b/f\n@@ -0,0 +1,2 @@\n+x\n+y\n");
    check("x\n", NULL, "--- a/f\n+++ b/f\n@@ -1 +0,0 @@\n-x\n");
}

static void test_a_missing_newline_at_the_end_is_said(void **state)
{
    (void)state;
    check("x", "x\n", "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-x\n\\ No newline at end of file\n+x\n");
}

static void test_control_bytes_are_escaped_but_backslashes_and_tabs_stay(void **state)
{
    (void)state;
    check(NULL, "a\x1b[31m\\EFI\tb\n", "--- a/f\n+++ b/f\n@@ -0,0 +1 @@\n+a\\x1b[31m\\EFI\tb\n");
}

static void test_an_insertion_shows_only_what_was_inserted(void **state)
{
    (void)state;
    check("a\nb\nc\n", "a\nx\ny\nb\nc\n",
          "--- a/f\n+++ b/f\n@@ -1,3 +1,5 @@\n a\n+x\n+y\n b\n c\n");
}

/* 200,000 lines without one in common: replaced as a whole, in well under a second. */
static void test_a_huge_difference_is_bounded_and_shown_as_replaced(void **state)
{
    (void)state;
    AUTO(text) before = {0};
    AUTO(text) after = {0};
    AUTO(text) out = {0};
    for (int i = 0; i < 100000; i++) {
        text_addf(&before, "a%d\n", i);
        text_addf(&after, "b%d\n", i);
    }
    clock_t start = clock();
    diff_unified("a/f", text_string(&before), "b/f", text_string(&after), &out);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    assert_true(seconds < 5);
    assert_true(text_starts_with(out.data, "--- a/f\n+++ b/f\n@@ -1,100000 +1,100000 @@\n-a0\n"));
    assert_true(text_ends_with(out.data, "+b99999\n"));
}

/* Every text of up to four lines over a two-letter alphabet against every other, applied back. */
static void apply(const char *before, const char *diff, struct text *out)
{
    const char *at = before;
    for (const char *line = diff; *line; line = strchr(line, '\n') + 1) {
        if (text_starts_with(line, "---") || text_starts_with(line, "+++") || *line == '@')
            continue;
        if (*line == '+') {
            text_add_bytes(out, line + 1, strcspn(line + 1, "\n") + 1);
            continue;
        }
        size_t length = strcspn(at, "\n") + 1;
        assert_memory_equal(at, line + 1, length);
        if (*line == ' ')
            text_add_bytes(out, at, length);
        at += length;
    }
    text_add(out, at);
}

static void make_text(unsigned code, char *out)
{
    unsigned lines = code % 5;
    code /= 5;
    for (unsigned i = 0; i < lines; i++, code /= 2) {
        *out++ = code % 2 ? 'b' : 'a';
        *out++ = '\n';
    }
    *out = '\0';
}

static void test_diffs_of_all_small_texts_lead_from_one_to_the_other(void **state)
{
    (void)state;
    for (unsigned a = 0; a < 80; a++) {
        for (unsigned b = 0; b < 80; b++) {
            char before[16], after[16];
            make_text(a, before);
            make_text(b, after);
            AUTO(text) diff = {0};
            AUTO(text) result = {0};
            diff_unified("a/f", before, "b/f", after, &diff);
            apply(before, text_string(&diff), &result);
            assert_string_equal(text_string(&result), after);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_texts_have_no_diff),
        cmocka_unit_test(test_a_changed_line_comes_with_three_lines_of_context),
        cmocka_unit_test(test_changes_far_apart_are_two_hunks_and_close_ones_are_one),
        cmocka_unit_test(test_new_and_removed_files_have_empty_ranges),
        cmocka_unit_test(test_a_missing_newline_at_the_end_is_said),
        cmocka_unit_test(test_control_bytes_are_escaped_but_backslashes_and_tabs_stay),
        cmocka_unit_test(test_an_insertion_shows_only_what_was_inserted),
        cmocka_unit_test(test_a_huge_difference_is_bounded_and_shown_as_replaced),
        cmocka_unit_test(test_diffs_of_all_small_texts_lead_from_one_to_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
