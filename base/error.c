/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Errors: formatting, escaping, wrapping.
 */
#include "base/error.h"

#include "base/own.h"
#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Cuts at the end where the text is too long, never in the middle of an escape. */
static void store_escaped(struct error *err, const char *raw)
{
    AUTO(text) escaped = {0};
    text_add_escaped(&escaped, raw, strlen(raw));
    snprintf(err->text, sizeof(err->text), "%s", text_string(&escaped));
}

int error_set(struct error *err, int errnum, const char *format, ...)
{
    if (!err)
        return -1;
    char raw[ERROR_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(raw, sizeof(raw), format, arguments);
    va_end(arguments);

    size_t length = strlen(raw);
    if (errnum) {
        char reason[128];
        snprintf(raw + length, sizeof(raw) - length, ": %s",
                 strerror_r(errnum, reason, sizeof(reason)));
    }
    err->errnum = errnum;
    store_escaped(err, raw);
    return -1;
}

int error_wrap(struct error *err, const char *format, ...)
{
    if (!err)
        return -1;
    char context[ERROR_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(context, sizeof(context), format, arguments);
    va_end(arguments);

    struct error inner = *err;
    store_escaped(err, context);
    size_t length = strlen(err->text);
    snprintf(err->text + length, sizeof(err->text) - length, ": %s", inner.text);
    return -1;
}

bool error_is_no_space(const struct error *err)
{
    return err->errnum == ENOSPC || err->errnum == EDQUOT;
}
