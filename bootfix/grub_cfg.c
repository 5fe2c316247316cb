/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The kernel lines of a grub.cfg.
 */
#include "bootfix/grub_cfg.h"

#include <string.h>

enum command { COMMAND_OTHER, COMMAND_LINUX, COMMAND_MODULE, COMMAND_INITRD, COMMAND_END };

/* The command of a line; *arguments is what stands behind it. */
static enum command parse_command(struct span line, struct span *arguments)
{
    struct span word;
    *arguments = line;
    if (!span_next_word(arguments, &word))
        return COMMAND_OTHER;
    if (span_is(word, "linux") || span_is(word, "linux16") || span_is(word, "linuxefi"))
        return COMMAND_LINUX;
    if (span_is(word, "module") || span_is(word, "module2"))
        return COMMAND_MODULE;
    if (span_is(word, "initrd") || span_is(word, "initrd16") || span_is(word, "initrdefi"))
        return COMMAND_INITRD;
    if (span_is(word, "}") || span_is(word, "menuentry") || span_is(word, "submenu"))
        return COMMAND_END;
    return COMMAND_OTHER;
}

/* Between a kernel's line and the end of its menu entry. */
static bool is_initrd_ahead(const char *position)
{
    struct span line, arguments;
    while (span_next_line(&position, &line)) {
        switch (parse_command(line, &arguments)) {
        case COMMAND_INITRD:
            return true;
        case COMMAND_LINUX:
        case COMMAND_END:
            return false;
        case COMMAND_MODULE: /* Xen loads the initramfs as a module, too */
        case COMMAND_OTHER:
            break;
        }
    }
    return false;
}

/* Quotes, comments and several commands on the line need more of a shell than is known here. */
static bool is_plain(struct span arguments)
{
    for (size_t i = 0; i < arguments.length; i++) {
        if (strchr("\\\"';|{}<>&", arguments.start[i]) && arguments.start[i])
            return false;
        if (arguments.start[i] == '#' && (i == 0 || arguments.start[i - 1] == ' '))
            return false;
    }
    return true;
}

/* memtest and other images that are loaded as if they were kernels take no such arguments. */
static bool is_linux_kernel(struct span arguments)
{
    struct span image;
    if (!span_next_word(&arguments, &image))
        return false;
    return span_contains(image, "vmlinu") || span_contains(image, "bzImage") ||
           span_contains(arguments, "root=");
}

static bool names_unstable_device(struct span line)
{
    return span_contains(line, "root=/dev/sd") || span_contains(line, "root=/dev/hd") ||
           span_contains(line, "root=/dev/nvme") || span_contains(line, "root=/dev/disk/by-");
}

static void fix_kernel_line(struct cmdline_rules *rules, struct span line, struct span arguments,
                            bool has_console, struct text *out)
{
    struct span command = {line.start, (size_t)(arguments.start - line.start)};
    span_add(out, command);
    const char *console = has_console ? cmdline_missing_console(arguments) : "";
    if (!console[0]) {
        cmdline_add_fixed(rules, arguments, out);
        return;
    }
    while (arguments.length && strchr(" \t\r", arguments.start[arguments.length - 1]))
        arguments.length--;
    cmdline_add_fixed(rules, arguments, out);
    text_addf(out, " %s", console);
}

static void fix_line(struct cmdline_rules *rules, struct span line, const char *behind,
                     struct text *out, struct grub_cfg_counts *counts)
{
    struct span arguments;
    enum command command = parse_command(line, &arguments);
    bool is_kernel = command == COMMAND_LINUX && is_linux_kernel(arguments);
    bool is_module = command == COMMAND_MODULE && span_contains(arguments, "root=");
    bool is_comment = span_starts_with(span_trim(line), "#");
    counts->kernels += is_kernel;
    if ((is_kernel || is_module) && is_plain(arguments)) {
        rules->has_initramfs = is_module || is_initrd_ahead(behind);
        fix_kernel_line(rules, line, arguments, is_kernel, out);
        return;
    }
    if (is_kernel || (!is_comment && names_unstable_device(line)))
        plan_warn(rules->context->plan, rules->fixer,
                  "%s: a line is not understood, left alone: %.*s", rules->file,
                  (int)(line.length < 200 ? line.length : 200), line.start);
    span_add(out, line);
}

void grub_cfg_fix(struct cmdline_rules *rules, const char *before, struct text *after,
                  struct grub_cfg_counts *counts)
{
    struct span line;
    *counts = (struct grub_cfg_counts){0};
    text_add(after, "");
    for (const char *position = before; span_next_line(&position, &line);) {
        size_t start = after->length;
        fix_line(rules, line, position, after, counts);
        struct span result = {after->data + start, after->length - start};
        counts->changed +=
            result.length != line.length || memcmp(result.start, line.start, line.length) != 0;
        span_add_line(after, (struct span){line.start + line.length, 0}, position);
    }
}
