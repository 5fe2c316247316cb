/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Pieces of a text that is edited line by line: lines, and words between blanks. A span borrows
 * from the text; nothing here allocates but span_copy.
 */
#ifndef BOOTFIX_SPAN_H
#define BOOTFIX_SPAN_H

#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

struct span {
    const char *start;
    size_t length;
};

/* The next line without its newline; *position moves behind the newline. False at the end. */
bool span_next_line(const char **position, struct span *line);

/* The next word of a line, moving *rest behind it; blanks are spaces, tabs and CR. */
bool span_next_word(struct span *rest, struct span *word);

/* Without blanks at both ends. */
struct span span_trim(struct span span);

bool span_is(struct span span, const char *string);
bool span_is_nocase(struct span span, const char *string);
bool span_starts_with(struct span span, const char *prefix);
bool span_contains(struct span span, const char *needle);

/* Behind a prefix that is known to be there. */
struct span span_skip(struct span span, size_t length);

char *span_copy(struct span span); /* caller frees */
void span_add(struct text *out, struct span span);

/* Adds the line and the newline that it had: none when the text ends without one. */
void span_add_line(struct text *out, struct span line, const char *position);

/*
 * Divides at the first `separator`: "key = value" gives trimmed key and value. False without it.
 */
bool span_split(struct span span, char separator, struct span *key, struct span *value);

/* At most four digits, nothing else; false for anything larger or empty. */
bool span_number(struct span span, unsigned *number);

#endif
