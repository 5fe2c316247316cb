/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The snapshots' insides, shared by snapshot.c (what is kept, and for how long) and snapshot_take.c
 * (the way there) and by nobody else.
 */
#ifndef P2V_AGENT_SNAPSHOT_PRIVATE_H
#define P2V_AGENT_SNAPSHOT_PRIVATE_H

#include "disk/device.h"
#include "p2v/agent/snapshot.h"
#include "p2v/agent/snapshot_aside.h"
#include "p2v/agent/snapshot_dm.h"
#include "p2v/agent/snapshot_overlay.h"
#include "p2v/agent/snapshot_plan.h"

/* Of one volume of the plan. */
struct snapshot_taken {
    struct snapshot_dm dm;
    struct device *device; /* the snapshot, opened; NULL: not yet, or no more */
    double used_percent;
    struct extents used; /* of the volume, in its bytes */
    bool is_used_certain;
};

struct snapshots {
    struct snapshots_options options;
    int lock;
    struct snapshot_overlay **overlays; /* one for each disk */
    struct extents *used;               /* likewise */

    bool is_taken; /* the disks are read by way of the snapshots */
    bool has_some; /* in the volume groups: to be removed */
    struct snapshot_plan plan;
    struct snapshot_taken *taken; /* one for each volume of the plan */
    struct snapshot_areas live;   /* what is put aside when everything stands still: partitions */
    struct snapshot_aside aside;
};

/* What is used of each disk, when all can be read by way of the snapshots. */
int snapshots_read_used(struct snapshots *snapshots, struct error *err);

/* Whether there is anything against snapshots, as far as LVM's reports tell. -1: there is. */
int snapshots_check(struct snapshots *snapshots, struct error *err);

/* The disk itself. */
const struct block_source *snapshots_disk(const struct snapshots *snapshots, size_t disk);

#endif
