/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Where libraries say what a person may want to know. A library never prints: it hands each
 * message to the log that its caller gave it. A NULL log drops everything.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level {
    LOG_LEVEL_WARNING, /* goes into the report; something is not as it should be */
    LOG_LEVEL_INFO,    /* what is being done */
    LOG_LEVEL_DETAIL,  /* -v */
};

struct log {
    /* `line` is one printable line without newline, borrowed. May be called from any thread. */
    void (*emit)(struct log *log, enum log_level level, const char *line);
};

void log_warning(struct log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_info(struct log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_detail(struct log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
