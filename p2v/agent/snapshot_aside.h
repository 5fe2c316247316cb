/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Ranges of disks that are put aside in memory: what is in use and on no logical volume, and what
 * LVM writes for itself. Private to snapshot*.c.
 */
#ifndef P2V_AGENT_SNAPSHOT_ASIDE_H
#define P2V_AGENT_SNAPSHOT_ASIDE_H

#include "base/error.h"
#include "base/source.h"

#include <stddef.h>
#include <stdint.h>

struct aside_piece {
    size_t disk;
    uint64_t offset;
    struct block_memory memory; /* of zeroes: borrowed */
    void *data;                 /* owned; NULL: zeroes */
};

struct snapshot_aside {
    struct aside_piece **pieces; /* each at its place: sources do not move */
    size_t count;
    uint64_t left_bytes; /* of memory; the caller sets it */
};
void snapshot_aside_fini(struct snapshot_aside *aside);

/* Reads the range. 1; 0: it is more than there is memory for; -1. */
int snapshot_aside_add(struct snapshot_aside *aside, size_t disk, const struct block_source *block,
                       uint64_t offset, uint64_t length, struct error *err);

#endif
