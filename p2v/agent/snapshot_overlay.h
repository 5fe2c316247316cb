/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A disk of which some ranges are read from elsewhere: what lies on logical volumes from their
 * snapshots, what was put aside from memory. Private to snapshot*.c.
 */
#ifndef P2V_AGENT_SNAPSHOT_OVERLAY_H
#define P2V_AGENT_SNAPSHOT_OVERLAY_H

#include "base/error.h"
#include "base/own.h"
#include "base/source.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A range of the disk and where it is found in a source:
 *
 *     linear     disk   [offset ........ length)      source [start ........ length)
 *     striped    disk   [s0][s1][s2]                  source [s0].. ..[s1].. ..[s2]    of 3 stripes
 */
struct overlay_part {
    uint64_t offset, length;           /* bytes of the disk */
    const struct block_source *source; /* borrowed */
    uint64_t start;                    /* bytes; of the first stripe's first byte when striped */
    uint64_t stripe_bytes;             /* when stripes > 1 */
    unsigned stripes;                  /* 1: linear */
};

struct snapshot_overlay; /* begins with struct block_source */

/* `base` is borrowed. Without parts it reads as the base. */
struct snapshot_overlay *snapshot_overlay_new(const struct block_source *base);
void snapshot_overlay_free(struct snapshot_overlay *overlay);
OWN_DEFINE_PTR(snapshot_overlay, snapshot_overlay_free)
const struct block_source *snapshot_overlay_block(const struct snapshot_overlay *overlay);

/*
 * Takes a copy of the parts, in any order; they may not overlap, nor reach out of the disk or of
 * their sources. Not while somebody reads, as clear.
 */
int snapshot_overlay_set(struct snapshot_overlay *overlay, const struct overlay_part *parts,
                         size_t count, struct error *err);
void snapshot_overlay_clear(struct snapshot_overlay *overlay);

/* A source could not be read where the disk could, which then was. */
bool snapshot_overlay_is_lost(const struct snapshot_overlay *overlay);

#endif
