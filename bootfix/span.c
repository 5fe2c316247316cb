/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Lines and words of a text, borrowed from it.
 */
#include "bootfix/span.h"

#include <string.h>
#include <strings.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

bool span_next_line(const char **position, struct span *line)
{
    const char *start = *position;
    if (*start == '\0')
        return false;
    size_t length = strcspn(start, "\n");
    *line = (struct span){start, length};
    *position = start + length + (start[length] == '\n');
    return true;
}

bool span_next_word(struct span *rest, struct span *word)
{
    while (rest->length && is_blank(*rest->start))
        *rest = span_skip(*rest, 1);
    size_t length = 0;
    while (length < rest->length && !is_blank(rest->start[length]))
        length++;
    *word = (struct span){rest->start, length};
    *rest = span_skip(*rest, length);
    return length > 0;
}

struct span span_trim(struct span span)
{
    while (span.length && is_blank(*span.start))
        span = span_skip(span, 1);
    while (span.length && is_blank(span.start[span.length - 1]))
        span.length--;
    return span;
}

bool span_is(struct span span, const char *string)
{
    return span.length == strlen(string) && memcmp(span.start, string, span.length) == 0;
}

bool span_is_nocase(struct span span, const char *string)
{
    return span.length == strlen(string) && strncasecmp(span.start, string, span.length) == 0;
}

bool span_starts_with(struct span span, const char *prefix)
{
    size_t length = strlen(prefix);
    return span.length >= length && memcmp(span.start, prefix, length) == 0;
}

bool span_contains(struct span span, const char *needle)
{
    return span.length && memmem(span.start, span.length, needle, strlen(needle)) != NULL;
}

struct span span_skip(struct span span, size_t length)
{
    return (struct span){span.start + length, span.length - length};
}

char *span_copy(struct span span)
{
    struct text text = {0};
    span_add(&text, span);
    return text_take(&text);
}

void span_add(struct text *out, struct span span)
{
    if (span.length)
        text_add_bytes(out, span.start, span.length);
}

void span_add_line(struct text *out, struct span line, const char *position)
{
    span_add(out, line);
    if (position > line.start + line.length)
        text_add(out, "\n");
}

bool span_split(struct span span, char separator, struct span *key, struct span *value)
{
    const char *at = span.length ? memchr(span.start, separator, span.length) : NULL;
    if (!at)
        return false;
    size_t length = (size_t)(at - span.start);
    *key = span_trim((struct span){span.start, length});
    *value = span_trim(span_skip(span, length + 1));
    return true;
}

bool span_number(struct span span, unsigned *number)
{
    unsigned value = 0;
    if (span.length == 0 || span.length > 4)
        return false;
    for (size_t i = 0; i < span.length; i++) {
        if (span.start[i] < '0' || span.start[i] > '9')
            return false;
        value = value * 10 + (unsigned)(span.start[i] - '0');
    }
    *number = value;
    return true;
}
