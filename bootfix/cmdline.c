/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Kernel command lines, word by word.
 */
#include "bootfix/cmdline.h"

#include "bootfix/spec.h"

#include <string.h>

static bool is_device_argument(struct span key)
{
    return span_is(key, "root") || span_is(key, "resume");
}

/* True when the word is KEY=DEVICE and *name is what the device becomes. */
static bool replace_device(const struct cmdline_rules *rules, struct span word, struct span *key,
                           char name[SPEC_NAME_SIZE])
{
    struct span value;
    struct spec spec;
    if (!span_split(word, '=', key, &value) || !is_device_argument(*key))
        return false;
    spec_parse(value, &spec);
    if (!spec_is_unstable(&spec))
        return false;
    const struct system *system = rules->context->system;
    const struct system_volume *volume = spec_find_volume(system, &spec, NULL);
    bool is_named = volume && (rules->has_initramfs ? spec_stable_name(system, volume, name)
                                                    : spec_partuuid_name(system, volume, name));
    if (!is_named)
        plan_warn(rules->context->plan, rules->fixer,
                  "%s: %.*s: no stable name is known for that device: left alone", rules->file,
                  (int)word.length, word.start);
    return is_named;
}

void cmdline_add_fixed(const struct cmdline_rules *rules, struct span arguments, struct text *out)
{
    struct span rest = arguments, word, key;
    const char *copied = arguments.start;
    char name[SPEC_NAME_SIZE];
    while (span_next_word(&rest, &word)) {
        if (!replace_device(rules, word, &key, name))
            continue;
        text_add_bytes(out, copied, (size_t)(word.start - copied));
        text_addf(out, "%.*s=%s", (int)key.length, key.start, name);
        copied = word.start + word.length;
    }
    span_add(out, (struct span){copied, (size_t)(arguments.start + arguments.length - copied)});
}

/* The next console=; false at the end. */
static bool next_console(struct span *rest, struct span *console)
{
    struct span word;
    while (span_next_word(rest, &word)) {
        if (!span_starts_with(word, "console="))
            continue;
        *console = span_skip(word, strlen("console="));
        return true;
    }
    return false;
}

bool cmdline_has_console(struct span arguments)
{
    struct span console;
    return next_console(&arguments, &console);
}

const char *cmdline_missing_console(struct span arguments)
{
    struct span console;
    bool has_any = false;
    while (next_console(&arguments, &console)) {
        has_any = true;
        if (span_is(console, "ttyS0") || span_starts_with(console, "ttyS0,"))
            return "";
    }
    return has_any ? "console=ttyS0,115200n8" : "console=tty0 console=ttyS0,115200n8";
}
