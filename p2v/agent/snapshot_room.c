/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Out of what a volume group has free each snapshot gets what it wants, or what it needs at least
 * and its part of the rest.
 */
#include "p2v/agent/snapshot_room.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <string.h>

/* A snapshot's room: what the volume may change in while it is sent. */
#define ROOM_PART 5u          /* of the volume */
#define ROOM_LEAST_PART 100u  /* where the group has little free */
#define ROOM_BYTES (64 * MIB) /* but not less, */
#define ROOM_LEAST_BYTES (16 * MIB)

/* In extents. More than the volume, and what it takes to say where what is, is never needed. */
static uint64_t room(const struct snapshot_volume *volume, unsigned part, uint64_t least_bytes)
{
    uint64_t bytes = max_u64(volume->size_bytes / part, least_bytes);
    uint64_t most = volume->size_bytes + volume->size_bytes / 64;
    return div_round_up(min_u64(bytes, most), volume->extent_bytes) + 1;
}

static void share(struct snapshot_plan *plan, const struct snapshot_group *group)
{
    for (size_t i = 0; i < plan->volume_count; i++) {
        struct snapshot_volume *volume = &plan->volumes[i];
        if (strcmp(volume->vg, group->vg) != 0)
            continue;
        volume->room_extents = room(volume, ROOM_PART, ROOM_BYTES);
        if (group->wanted <= group->free_extents)
            continue;
        /* What each needs at least, and its part of the rest. */
        uint64_t least = room(volume, ROOM_LEAST_PART, ROOM_LEAST_BYTES);
        double rest = (double)(group->free_extents - group->least);
        double more = (double)(volume->room_extents - least);
        volume->room_extents =
            least + (uint64_t)(rest * more / (double)(group->wanted - group->least));
    }
}

struct snapshot_group *snapshot_room_find(struct snapshot_group *groups, size_t count,
                                          const char *vg)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(groups[i].vg, vg) == 0)
            return &groups[i];
    }
    return NULL;
}

void snapshot_room_share(struct snapshot_plan *plan, struct snapshot_group *groups, size_t count)
{
    char has[32], needs[32];
    for (size_t i = 0; i < plan->volume_count; i++) {
        const struct snapshot_volume *volume = &plan->volumes[i];
        struct snapshot_group *group = snapshot_room_find(groups, count, volume->vg);
        if (!group)
            continue;
        group->extent_bytes = volume->extent_bytes;
        group->wanted += room(volume, ROOM_PART, ROOM_BYTES);
        group->least += room(volume, ROOM_LEAST_PART, ROOM_LEAST_BYTES);
    }
    for (size_t i = 0; i < count; i++) {
        const struct snapshot_group *group = &groups[i];
        if (group->least <= group->free_extents)
            share(plan, group);
        else
            snapshot_plan_obstacle(
                plan, "the volume group %s has %s free, and %s would be needed", group->vg,
                bytes_format(group->free_extents * group->extent_bytes, has, sizeof(has)),
                bytes_format(group->least * group->extent_bytes, needs, sizeof(needs)));
    }
}
