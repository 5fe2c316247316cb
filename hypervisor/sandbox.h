/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What is left to a process whose guest is hostile code: no privileges, no new ones, no core dumps,
 * and for each kind of thread a short list of system calls. Everything is open by then: no list has
 * a call that opens, connects, executes or makes a thread. A call that is not listed kills.
 *
 * The order: open everything and make all threads (they wait); sandbox_close in the main thread;
 * then each thread sandbox_enter before it touches anything that a guest wrote. A thread made after
 * its maker's sandbox_enter would have both lists upon it.
 */
#ifndef HYPERVISOR_SANDBOX_H
#define HYPERVISOR_SANDBOX_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define SANDBOX_MAX_CALLS 50 /* of each list */

enum sandbox_kind {
    SANDBOX_VCPU, /* KVM_RUN and what device registers lead to; also the CPU cap's thread */
    SANDBOX_IO,   /* a disk's queue: reads and writes files that are open */
    SANDBOX_LOOP, /* the reactor: sockets and terminals that are open, the control socket */
    SANDBOX_KINDS,
};

/* Whom root becomes: nobody, in nobody's group. */
#define SANDBOX_UID 65534
#define SANDBOX_GID 65534

/*
 * For the process: as root it becomes this user, in this group alone; no core dumps, nobody may
 * trace it or read its memory. sandbox_enter has no effect before this.
 */
int sandbox_close(uid_t uid, gid_t gid, struct error *err);

/* For the calling thread: no capabilities, none to be won, only that list. Once; again is no error.
 */
int sandbox_enter(enum sandbox_kind kind, struct error *err);

/* How many system calls a list has. */
size_t sandbox_count(enum sandbox_kind kind);

#endif
