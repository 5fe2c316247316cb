/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The sender's insides, shared by sender.c (the way through) and sender_watch.c (what is looked at
 * from time to time) and by nobody else. Everything here belongs to sender_run's thread.
 */
#ifndef P2V_AGENT_SENDER_PARTS_H
#define P2V_AGENT_SENDER_PARTS_H

#include "p2v/agent/compressor.h"
#include "p2v/agent/disk_sender.h"
#include "p2v/agent/passes.h"
#include "p2v/agent/sender_control.h"

struct sender_run {
    const struct sender_options *options;
    struct sender_result *result;
    struct wire_machine machine;
    struct pipeline_shared shared;
    struct sender_control *control;
    struct disk_sender *disks[WIRE_MAX_DISKS];
    bool is_known[WIRE_MAX_DISKS]; /* that the disk failed: the log was told */

    bool is_frozen;
    int64_t thaw_ms; /* when that ends whatever happens; 0: never */
    uint32_t pass;   /* the one that is on, or the next */

    struct compression compression;
    struct cpu_ticks ticks;
    uint64_t seen_bytes, seen_blocked_ns;
    int64_t sampled_ms, progress_ms, status_ms;
};

/* Looks after everything until no disk is busy. -1: stopped, or the control connection gave up. */
int sender_watch(struct sender_run *run, struct error *err);

/* One look: progress, STATUS, compression, the end of a freeze. */
void sender_tick(struct sender_run *run);

/* -1: it is over for all disks. */
int sender_check(struct sender_run *run, struct error *err);

void sender_thaw(struct sender_run *run);

#endif
