/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Answers in debconf's data base.
 */
#include "bootfix/debconf.h"

#include <string.h>

/* The paragraph that starts with "Name: QUESTION", up to its empty line. */
static bool find_paragraph(const char *text, const char *question, struct span *paragraph)
{
    struct span line, key, value;
    const char *start = NULL;
    for (const char *position = text; span_next_line(&position, &line);) {
        if (start && line.length == 0) {
            *paragraph = (struct span){start, (size_t)(line.start - start)};
            return true;
        }
        if (span_split(line, ':', &key, &value) && span_is(key, "Name") && span_is(value, question))
            start = line.start;
    }
    if (start)
        *paragraph = (struct span){start, strlen(start)};
    return start != NULL;
}

/* The next line inside a paragraph; its continuation lines are lines of their own. */
static bool next_line_of(struct span paragraph, const char **position, struct span *line)
{
    return *position < paragraph.start + paragraph.length && span_next_line(position, line);
}

bool debconf_find(const char *text, const char *question, struct span *value)
{
    struct span paragraph, line, key;
    if (!find_paragraph(text, question, &paragraph))
        return false;
    for (const char *position = paragraph.start; next_line_of(paragraph, &position, &line);)
        if (span_split(line, ':', &key, value) && span_is(key, "Value"))
            return true;
    return false;
}

/* debconf wants the fields in no order of its own; a value that is new goes before the owners. */
static void add_answered(struct span paragraph, const char *value, struct text *out)
{
    struct span line, key, old;
    bool has_value = false, has_flags = false;
    for (const char *position = paragraph.start; next_line_of(paragraph, &position, &line);) {
        bool is_field = line.length && *line.start != ' ' && span_split(line, ':', &key, &old);
        if (is_field && span_is(key, "Value")) {
            text_addf(out, "Value: %s\n", value);
            has_value = true;
            continue;
        }
        if (is_field && span_is(key, "Owners") && !has_value) {
            text_addf(out, "Value: %s\n", value);
            has_value = true;
        }
        if (is_field && span_is(key, "Variables") && !has_flags) {
            text_add(out, "Flags: seen\n");
            has_flags = true;
        }
        has_flags |= is_field && span_is(key, "Flags");
        span_add(out, line);
        text_add(out, "\n");
    }
    if (!has_flags)
        text_add(out, "Flags: seen\n");
}

bool debconf_set(const char *text, const char *question, const char *value, struct text *out)
{
    struct span paragraph;
    if (!find_paragraph(text, question, &paragraph))
        return false;
    text_add_bytes(out, text, (size_t)(paragraph.start - text));
    add_answered(paragraph, value, out);
    text_add(out, paragraph.start + paragraph.length);
    return true;
}
