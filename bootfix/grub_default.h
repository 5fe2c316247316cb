/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * /etc/default/grub and grub.d/NAME.cfg: assignments of a shell, of which only the plain ones are
 * understood: NAME=word, NAME="…", NAME='…', on one line.
 */
#ifndef BOOTFIX_GRUB_DEFAULT_H
#define BOOTFIX_GRUB_DEFAULT_H

#include "bootfix/cmdline.h"
#include "bootfix/span.h"

#include <stdbool.h>

struct grub_default_line {
    struct span line;
    struct span name;   /* empty: no assignment */
    struct span value;  /* without quotes */
    char quote;         /* '"', '\'' or 0 */
    bool is_understood; /* false: an assignment whose value is not plain */
};

void grub_default_parse_line(struct span line, struct grub_default_line *parsed);

/*
 * The file as it should be: devices of kernel command lines by UUID, GRUB's own use of UUIDs
 * allowed, and a serial console where the file sets GRUB_CMDLINE_LINUX (or at its end, when
 * is_main and nothing does).
 */
void grub_default_fix(const struct cmdline_rules *rules, const char *before, bool is_main,
                      struct text *after);

#endif
