/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Formats a message, escapes it, and hands it to the caller's log.
 */
#include "base/log.h"

#include "base/own.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void emit(struct log *log, enum log_level level, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

static void emit(struct log *log, enum log_level level, const char *format, va_list arguments)
{
    if (!log)
        return;
    char raw[2048];
    vsnprintf(raw, sizeof(raw), format, arguments);
    AUTO(text) line = {0};
    text_add_escaped(&line, raw, strlen(raw));
    log->emit(log, level, text_string(&line));
}

#define DEFINE_LEVEL(name, level)                                                                  \
    void name(struct log *log, const char *format, ...)                                            \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, format);                                                               \
        emit(log, level, format, arguments);                                                       \
        va_end(arguments);                                                                         \
    }

DEFINE_LEVEL(log_warning, LOG_LEVEL_WARNING)
DEFINE_LEVEL(log_info, LOG_LEVEL_INFO)
DEFINE_LEVEL(log_detail, LOG_LEVEL_DETAIL)
