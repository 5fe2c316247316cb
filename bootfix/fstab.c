/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Lines of fstab(5) and crypttab(5).
 */
#include "bootfix/fstab.h"

#include <string.h>

void fstab_parse_line(struct span line, struct fstab_line *parsed)
{
    *parsed = (struct fstab_line){.line = line};
    struct span rest = line, word;
    while (parsed->field_count < FSTAB_MAX_FIELDS && span_next_word(&rest, &word)) {
        if (parsed->field_count == 0 && *word.start == '#')
            return;
        parsed->fields[parsed->field_count++] = word;
    }
}

void fstab_add_replaced(const struct fstab_line *parsed, size_t field, const char *value,
                        struct text *out)
{
    struct span old = parsed->fields[field];
    const char *end = parsed->line.start + parsed->line.length;
    size_t before = (size_t)(old.start - parsed->line.start);
    size_t new_length = strlen(value);
    text_add_bytes(out, parsed->line.start, before);
    text_add(out, value);
    struct span rest = {old.start + old.length, (size_t)(end - (old.start + old.length))};
    size_t blanks = 0;
    while (blanks < rest.length && rest.start[blanks] == ' ')
        blanks++;
    bool is_followed = blanks < rest.length && rest.start[blanks] != '\t';
    if (is_followed && blanks > 0) {
        size_t column = old.length + blanks;
        size_t wanted = column > new_length ? column - new_length : 1;
        for (size_t i = 0; i < wanted; i++)
            text_add(out, " ");
        rest = span_skip(rest, blanks);
    }
    span_add(out, rest);
}

bool fstab_has_option(const struct fstab_line *parsed, size_t field, const char *option)
{
    if (field >= parsed->field_count)
        return false;
    struct span rest = parsed->fields[field];
    while (rest.length) {
        const char *comma = memchr(rest.start, ',', rest.length);
        size_t length = comma ? (size_t)(comma - rest.start) : rest.length;
        struct span one = {rest.start, length}, key, value;
        if (span_is(one, option) || (span_split(one, '=', &key, &value) && span_is(key, option)))
            return true;
        rest = span_skip(rest, length + (comma != NULL));
    }
    return false;
}
