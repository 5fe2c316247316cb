/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * How large the snapshots become. Private to snapshot*.c.
 */
#ifndef P2V_AGENT_SNAPSHOT_ROOM_H
#define P2V_AGENT_SNAPSHOT_ROOM_H

#include "p2v/agent/snapshot_plan.h"

/* A volume group with a volume in use. */
struct snapshot_group {
    const char *vg; /* borrowed */
    uint64_t free_extents;
    uint64_t extent_bytes, wanted, least; /* found out here, in extents */
};

/* NULL: it is none of these. */
struct snapshot_group *snapshot_room_find(struct snapshot_group *groups, size_t count,
                                          const char *vg);

/* Sets the volumes' room_extents; an obstacle where a group has too little. */
void snapshot_room_share(struct snapshot_plan *plan, struct snapshot_group *groups, size_t count);

/* Why there can be no snapshots, escaped. The first one is kept: the others may follow from it. */
void snapshot_plan_obstacle(struct snapshot_plan *plan, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
