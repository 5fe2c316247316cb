/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * "[Section]" and "Key=Value".
 */
#include "bootfix/keyfile.h"

static bool is_section(struct span line, struct span *name)
{
    if (line.length < 2 || *line.start != '[' || line.start[line.length - 1] != ']')
        return false;
    *name = (struct span){line.start + 1, line.length - 2};
    return true;
}

bool keyfile_next(struct keyfile *keyfile)
{
    while (span_next_line(&keyfile->position, &keyfile->line)) {
        struct span line = span_trim(keyfile->line);
        if (line.length == 0 || *line.start == '#' || *line.start == ';')
            continue;
        if (is_section(line, &keyfile->section))
            continue;
        if (span_split(line, '=', &keyfile->key, &keyfile->value))
            return true;
    }
    return false;
}

bool keyfile_is(const struct keyfile *keyfile, const char *section, const char *key)
{
    return span_is(keyfile->section, section) && span_is(keyfile->key, key);
}

bool keyfile_find(const char *text, const char *section, const char *key, struct span *value)
{
    struct keyfile keyfile = {.position = text};
    bool is_found = false;
    while (keyfile_next(&keyfile)) {
        if (!keyfile_is(&keyfile, section, key))
            continue;
        *value = keyfile.value;
        is_found = true;
    }
    return is_found;
}
