/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Errors read outer to inner, stay printable and stay inside their buffer.
 */
#include "base/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_error_reads_outer_to_inner(void **state)
{
    (void)state;
    struct error err = {0};
    assert_int_equal(error_set(&err, EIO, "read %d bytes", 4096), -1);
    assert_int_equal(error_wrap(&err, "send %s", "sda"), -1);
    assert_string_equal(err.text, "send sda: read 4096 bytes: Input/output error");
    assert_int_equal(err.errnum, EIO);
}

static void test_error_without_errno_has_no_reason(void **state)
{
    (void)state;
    struct error err = {0};
    error_set(&err, 0, "cluster_bits is 99");
    assert_string_equal(err.text, "cluster_bits is 99");
}

static void test_error_escapes_what_a_guest_named(void **state)
{
    (void)state;
    struct error err = {0};
    error_set(&err, 0, "file %s", "a\nb\x1b[31m");
    error_wrap(&err, "fix\r%s", "\xff");
    assert_string_equal(err.text, "fix\\x0d\\xff: file a\\x0ab\\x1b[31m");
}

static void test_error_cuts_a_long_text(void **state)
{
    (void)state;
    struct error err = {0};
    char path[3 * ERROR_TEXT_SIZE];
    memset(path, 'x', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    error_set(&err, ENOENT, "%s", path);
    error_wrap(&err, "%s", path);
    assert_int_equal(strlen(err.text), ERROR_TEXT_SIZE - 1);
}

static void test_error_may_be_dropped(void **state)
{
    (void)state;
    assert_int_equal(error_set(NULL, EIO, "nobody asks"), -1);
    assert_int_equal(error_wrap(NULL, "nobody asks"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_reads_outer_to_inner),
        cmocka_unit_test(test_error_without_errno_has_no_reason),
        cmocka_unit_test(test_error_escapes_what_a_guest_named),
        cmocka_unit_test(test_error_cuts_a_long_text),
        cmocka_unit_test(test_error_may_be_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
