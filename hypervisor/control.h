/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Ruling a running machine from outside: a Unix socket that takes one JSON object a line and
 * answers each with one (docs/vm-control.md), in the loop's thread.
 *
 *     {"do": "stats"}                         {"ok": true, "state": "running", ...}
 *     {"do": "limits", "cpu_percent": 50}     {"ok": true}
 *     {"do": "console"}                       {"ok": true}, then the console's bytes, both ways
 *
 * pause, resume, powerdown, reset, stop, stats, limits (the fields of the definition's; 0 lifts
 * one), balloon {"bytes"}, console. A line that is not understood is answered with "ok": false and
 * an "error"; a client that sends more than CONTROL_MAX_LINE without a newline is closed.
 */
#ifndef HYPERVISOR_CONTROL_H
#define HYPERVISOR_CONTROL_H

#include "hypervisor/vm.h"

#define CONTROL_MAX_LINE 4096
#define CONTROL_MAX_CLIENTS 16
#define CONTROL_BACKLOG ((size_t)64 << 10) /* of the console, shown to who attaches */

struct control;

/*
 * Before the machine is made: binds and listens (mode 0600, in a folder that is the caller's own).
 * A socket that nobody listens on any more is replaced; one that somebody does is EBUSY.
 */
struct control *control_new(const char *path, struct log *log, struct error *err);
void control_free(struct control *control); /* NULL-safe; after the machine was freed */

/*
 * The console for vm_options when it is nobody's terminal: what clients type, and where the guest's
 * text goes, to those attached and to the backlog.
 */
struct console_ends control_console(struct control *control);

/* The machine is there, with these limits; serves from when its loop runs. */
int control_start(struct control *control, struct vm *vm, const struct guest_limits *limits,
                  struct error *err);

/*
 * Closes the clients; before the machine is freed. NULL-safe. The socket's name stays: from inside
 * the sandbox nothing can be removed. Who started the machine does that.
 */
void control_stop(struct control *control);

#endif
