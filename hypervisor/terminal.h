/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest's console on a person's terminal: raw, so that every key is the guest's, but ^] quits.
 */
#ifndef HYPERVISOR_TERMINAL_H
#define HYPERVISOR_TERMINAL_H

#include "base/error.h"
#include "hypervisor/loop.h"

#include <stdbool.h>
#include <termios.h>

#define TERMINAL_QUIT 0x1d /* ^] */

struct terminal {
    int in;   /* what is typed, for the guest: stdin, or a pipe from it; -1: nobody types */
    int feed; /* the pipe's other end; -1: stdin is no terminal */
    struct termios before;
    bool is_raw;
    struct loop_watch watch;
    void (*quit)(void *context);
    void *context;
};

/* Looks what stdin is; changes nothing yet. */
int terminal_open(struct terminal *terminal, struct error *err);

/* The terminal becomes raw; `quit` is called in the loop's thread. Nothing to do without one. */
int terminal_start(struct terminal *terminal, struct loop *loop, void (*quit)(void *context),
                   void *context, struct error *err);

/* Restores it; also when it was not opened ({.in = -1, .feed = -1}). */
void terminal_close(struct terminal *terminal);

#endif
