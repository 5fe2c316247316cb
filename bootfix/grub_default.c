/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * /etc/default/grub, line by line.
 */
#include "bootfix/grub_default.h"

#include "base/bytes.h"

#include <ctype.h>
#include <string.h>

#define CMDLINE "GRUB_CMDLINE_LINUX"
#define CMDLINE_DEFAULT "GRUB_CMDLINE_LINUX_DEFAULT"

static size_t name_length(struct span text)
{
    size_t length = 0;
    while (length < text.length &&
           (isalnum((unsigned char)text.start[length]) || text.start[length] == '_'))
        length++;
    return length;
}

/* Nothing, or a comment, may follow a value. */
static bool is_end(struct span rest)
{
    bool is_separated = rest.length == 0 || *rest.start == ' ' || *rest.start == '\t';
    rest = span_trim(rest);
    return rest.length == 0 || (is_separated && *rest.start == '#');
}

/* The length up to the closing quote; false without one. A backslash protects only in "…". */
static bool quoted_length(struct span rest, char quote, size_t *length)
{
    for (size_t i = 0; i < rest.length; i++) {
        if (rest.start[i] == '\\' && quote == '"') {
            i++;
        } else if (rest.start[i] == quote) {
            *length = i;
            return true;
        }
    }
    return false;
}

static bool parse_value(struct span rest, struct grub_default_line *parsed)
{
    size_t length = 0;
    if (rest.length && (*rest.start == '"' || *rest.start == '\'')) {
        parsed->quote = *rest.start;
        rest = span_skip(rest, 1);
        if (!quoted_length(rest, parsed->quote, &length))
            return false;
        parsed->value = (struct span){rest.start, length};
        return is_end(span_skip(rest, length + 1));
    }
    while (length < rest.length && !strchr(" \t\r\"'\\`;&|()<>", rest.start[length]))
        length++;
    parsed->value = (struct span){rest.start, length};
    return is_end(span_skip(rest, length));
}

void grub_default_parse_line(struct span line, struct grub_default_line *parsed)
{
    *parsed = (struct grub_default_line){.line = line, .is_understood = true};
    struct span rest = span_trim(line);
    if (span_starts_with(rest, "export "))
        rest = span_trim(span_skip(rest, strlen("export ")));
    size_t length = name_length(rest);
    if (length == 0 || length >= rest.length || rest.start[length] != '=')
        return;
    parsed->name = (struct span){rest.start, length};
    parsed->is_understood = parse_value(span_skip(rest, length + 1), parsed);
}

static bool is_cmdline(struct span name)
{
    return span_starts_with(name, CMDLINE) || span_is(name, "GRUB_CMDLINE_XEN_DEFAULT");
}

/* "$GRUB_CMDLINE_LINUX more": what the variable held before stays in it. */
static bool keeps_old_value(struct span value)
{
    return span_contains(value, "$" CMDLINE) || span_contains(value, "${" CMDLINE);
}

/*
 * GRUB_CMDLINE_LINUX stands on every command line. GRUB_CMDLINE_LINUX_DEFAULT follows it on most,
 * so where that one names consoles, the serial one has to come last there too.
 */
static const char *missing_console(const struct grub_default_line *parsed)
{
    bool is_all = span_is(parsed->name, CMDLINE);
    bool is_default = span_is(parsed->name, CMDLINE_DEFAULT) && cmdline_has_console(parsed->value);
    if ((!is_all && !is_default) || keeps_old_value(parsed->value))
        return "";
    return cmdline_missing_console(parsed->value);
}

static void add_cmdline(const struct cmdline_rules *rules, const struct grub_default_line *parsed,
                        struct text *out)
{
    AUTO(text) value = {0};
    cmdline_add_fixed(rules, parsed->value, &value);
    const char *console = missing_console(parsed);
    if (console[0])
        text_addf(&value, "%s%s", value.length ? " " : "", console);
    char quote = parsed->quote ? parsed->quote : '"';
    bool is_same =
        value.length == parsed->value.length && span_is(parsed->value, text_string(&value));
    if (is_same) {
        span_add(out, parsed->line);
        return;
    }
    const char *value_start = parsed->value.start - (parsed->quote != 0);
    const char *value_end = parsed->value.start + parsed->value.length + (parsed->quote != 0);
    const char *end = parsed->line.start + parsed->line.length;
    text_add_bytes(out, parsed->line.start, (size_t)(value_start - parsed->line.start));
    text_addf(out, "%c%s%c", quote, text_string(&value), quote);
    text_add_bytes(out, value_end, (size_t)(end - value_end));
}

/* With these set, update-grub would write the guest's device names of the day into grub.cfg. */
static bool forbids_uuids(const struct grub_default_line *parsed)
{
    return (span_is(parsed->name, "GRUB_DISABLE_LINUX_UUID") ||
            span_is(parsed->name, "GRUB_DISABLE_UUID")) &&
           span_is_nocase(parsed->value, "true");
}

static void fix_line(const struct cmdline_rules *rules, const struct grub_default_line *parsed,
                     struct text *out)
{
    if (is_cmdline(parsed->name) && parsed->is_understood) {
        add_cmdline(rules, parsed, out);
        return;
    }
    if (is_cmdline(parsed->name))
        plan_warn(rules->context->plan, rules->fixer,
                  "%s: the value of %.*s is not understood: left alone", rules->file,
                  (int)parsed->name.length, parsed->name.start);
    if (forbids_uuids(parsed))
        text_add(out, "#");
    span_add(out, parsed->line);
}

void grub_default_fix(const struct cmdline_rules *rules, const char *before, bool is_main,
                      struct text *after)
{
    struct span line;
    struct grub_default_line parsed;
    bool has_cmdline = false;
    for (const char *position = before; span_next_line(&position, &line);) {
        grub_default_parse_line(line, &parsed);
        has_cmdline |= span_is(parsed.name, CMDLINE);
        fix_line(rules, &parsed, after);
        span_add_line(after, (struct span){line.start + line.length, 0}, position);
    }
    if (has_cmdline || !is_main)
        return;
    if (after->length && after->data[after->length - 1] != '\n')
        text_add(after, "\n");
    text_addf(after, "%s=\"%s\"\n", CMDLINE, cmdline_missing_console((struct span){"", 0}));
}
