/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The process that freezes and thaws, and what is said to it: one byte a request, one struct a
 * reply, over a SOCK_SEQPACKET pair. Private to freeze*.c.
 */
#ifndef P2V_AGENT_FREEZE_CHILD_H
#define P2V_AGENT_FREEZE_CHILD_H

#include <stdbool.h>
#include <stddef.h>

enum freeze_verb { FREEZE_ALL = 1, FREEZE_THAW = 2 };

struct freeze_request {
    int verb;
    unsigned limit_seconds;
};

struct freeze_reply {
    int errnum;     /* of the file system that could not be frozen; 0: all are */
    size_t index;   /* which one */
    bool is_intact; /* to THAW: they were frozen until now */
};

struct freeze_target {
    int fd;
    bool is_frozen;      /* by us */
    bool is_unfreezable; /* has no freezing: watched */
};

/* The child's whole life; uses only what is safe after a fork among threads. Never returns. */
_Noreturn void freeze_child_run(int socket, struct freeze_target *targets, size_t count);

void freeze_thaw_targets(struct freeze_target *targets, size_t count);

#endif
