/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * systemd.link(5) files.
 */
#include "bootfix/link_file.h"

#include "bootfix/interfaces.h"
#include "bootfix/keyfile.h"

#include <string.h>

bool link_file_names(const char *text, const char *name)
{
    struct span value;
    return keyfile_find(text, "Link", "Name", &value) && span_is(value, name);
}

static bool is_mac_key(struct span key)
{
    return span_is(key, "MACAddress") || span_is(key, "PermanentMACAddress");
}

static bool lists_mac(struct span list, const char *mac)
{
    struct span word;
    char parsed[18];
    while (span_next_word(&list, &word))
        if (interface_parse_mac(word.start, word.length, parsed) && strcmp(parsed, mac) == 0)
            return true;
    return false;
}

bool link_file_matches_mac(const char *text, const char *mac)
{
    struct keyfile entry = {.position = text};
    bool is_listed = false;
    while (keyfile_next(&entry)) {
        if (!span_is(entry.section, "Match"))
            continue;
        if (is_mac_key(entry.key))
            is_listed |= lists_mac(entry.value, mac);
        else if (!span_is(entry.key, "Type") || !span_is(entry.value, "ether"))
            return false;
    }
    return is_listed;
}

/* What the virtual card cannot have: then the file is not about it. */
static bool excludes(const struct keyfile *entry, const char *mac)
{
    if (is_mac_key(entry->key))
        return !lists_mac(entry->value, mac);
    if (span_is(entry->key, "OriginalName"))
        return !span_is(entry->value, "*") && !span_starts_with(entry->value, "e");
    return span_is(entry->key, "Path") || span_is(entry->key, "Driver") ||
           span_is(entry->key, "Type") || span_is(entry->key, "Kind") ||
           span_is(entry->key, "Property") || span_is(entry->key, "Virtualization") ||
           span_is(entry->key, "Host");
}

bool link_file_may_rename(const char *text, const char *mac)
{
    struct keyfile entry = {.position = text};
    bool has_name = false;
    while (keyfile_next(&entry)) {
        if (span_is(entry.section, "Match") && excludes(&entry, mac))
            return false;
        has_name |= keyfile_is(&entry, "Link", "Name") || keyfile_is(&entry, "Link", "NamePolicy");
    }
    return has_name;
}

void link_file_add_match(struct text *out, const char *mac, bool has_type)
{
    text_addf(out, "[Match]\nMACAddress=%s\n", mac);
    if (has_type)
        text_add(out, "Type=ether\n");
}

void link_file_rematch(const char *text, const char *mac, bool has_type, struct text *out)
{
    struct span line;
    bool is_match = false, is_written = false;
    for (const char *position = text; span_next_line(&position, &line);) {
        struct span trimmed = span_trim(line);
        bool is_header = span_starts_with(trimmed, "[");
        bool is_comment = span_starts_with(trimmed, "#") || span_starts_with(trimmed, ";");
        if (is_header)
            is_match = span_is(trimmed, "[Match]");
        if (is_header && is_match && !is_written) {
            link_file_add_match(out, mac, has_type);
            is_written = true;
        }
        if (!is_match || is_comment || trimmed.length == 0)
            span_add_line(out, line, position);
    }
    if (is_written)
        return;
    if (out->length && out->data[out->length - 1] != '\n')
        text_add(out, "\n");
    text_add(out, "\n");
    link_file_add_match(out, mac, has_type);
}
