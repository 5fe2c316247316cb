/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Kernel command lines: devices in root= and resume= by UUID, and which consoles they name.
 */
#ifndef BOOTFIX_CMDLINE_H
#define BOOTFIX_CMDLINE_H

#include "bootfix/fixer.h"
#include "bootfix/span.h"

#include <stdbool.h>

struct cmdline_rules {
    struct fix_context *context;
    const char *fixer;  /* for warnings */
    const char *file;   /* for warnings */
    bool has_initramfs; /* without one the kernel finds its root only by PARTUUID */
};

/* Adds the arguments with unstable device names replaced; blanks and all else as they were. */
void cmdline_add_fixed(const struct cmdline_rules *rules, struct span arguments, struct text *out);

bool cmdline_has_console(struct span arguments);

/*
 * What to add at the end so that the machine also speaks on its serial port; "" when it does.
 *
 * The last console= becomes /dev/console, where init, the initramfs shell and the emergency shell
 * are. That is the serial port: a virtual machine always has one, and a screen perhaps not. Kernel
 * messages and logins stay on the screen too (tty0), if there was no console= that said otherwise.
 * A console that is named already keeps its place, and one on ttyS0 its speed.
 */
const char *cmdline_missing_console(struct span arguments);

#endif
