/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a line on the control socket asks for, done; for hypervisor/control.c.
 */
#ifndef HYPERVISOR_CONTROL_COMMANDS_H
#define HYPERVISOR_CONTROL_COMMANDS_H

#include "hypervisor/vm.h"

#include <stdbool.h>
#include <stddef.h>

/* The answer as one line with its newline; caller frees. `limits` are those in force, changed by
 * the command of that name. is_console: the connection is a console from here on. */
char *control_answer(struct vm *vm, struct guest_limits *limits, const char *line, size_t length,
                     bool *is_console);

#endif
