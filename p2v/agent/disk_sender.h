/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One disk's thread: pass after pass as it is told, each over as many connections as it takes.
 * Private to the sender.
 */
#ifndef P2V_AGENT_DISK_SENDER_H
#define P2V_AGENT_DISK_SENDER_H

#include "base/error.h"
#include "base/own.h"
#include "p2v/agent/disk_pipeline.h"
#include "p2v/agent/sender.h"
#include "p2v/agent/sender_control.h"

#include <stdbool.h>
#include <stdint.h>

struct disk_sender;

/* Everything is borrowed. */
struct disk_sender_options {
    const struct sender_options *sender;
    size_t disk; /* in sender->disks */
    struct sender_control *control;
    struct pipeline_shared *shared;
    uint64_t memory_bytes;
    unsigned threads;
};

struct disk_sender *disk_sender_start(const struct disk_sender_options *options, struct error *err);
void disk_sender_stop(struct disk_sender *sender);
OWN_DEFINE_PTR(disk_sender, disk_sender_stop)

/* Ends what it does without waiting for it; before stopping several. NULL-safe. */
void disk_sender_cancel(struct disk_sender *sender);

/* Begins a pass; only when it is not busy and has not failed. */
void disk_sender_begin(struct disk_sender *sender, uint32_t pass, bool is_last);

struct disk_sender_state {
    bool is_busy;
    bool has_failed;
    bool is_sent; /* the last pass has been PASSED */
    bool is_connected;
    uint32_t pass, passes; /* the one begun last; how many were PASSED */
    bool is_last;
    unsigned generation; /* of the session in which a pass was PASSED last */
    uint64_t pass_sent_bytes;
    struct pipeline_counts counts;
    unsigned reconnects;
    uint64_t bytes_on_wire; /* of connections that have ended */
    struct error error;
};
void disk_sender_look(struct disk_sender *sender, struct disk_sender_state *state);

/* Adds the exact ranges that could not be read; only while it is not busy. */
int disk_sender_add_unreadable(const struct disk_sender *sender, struct extents *unreadable,
                               struct error *err);

#endif
