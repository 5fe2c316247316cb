/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For the tests of what reads JSON: a value of a text that is JSON for sure.
 */
#ifndef TESTS_JSON_FIXTURE_H
#define TESTS_JSON_FIXTURE_H

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Caller decrefs. */
static inline json_t *parse(const char *text)
{
    json_error_t cause;
    json_t *json = json_loads(text, 0, &cause);
    if (!json)
        fail_msg("%s at %d", cause.text, cause.position);
    return json;
}

#endif
