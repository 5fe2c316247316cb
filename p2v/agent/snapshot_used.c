/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What of the disks is used at the snapshots' moment: of a logical volume in use what its file
 * system says, which nobody has mounted in the snapshot and which was frozen cleanly; nothing of
 * free extents, where the snapshots' rooms are among them, nor of what is swapped out.
 */
#include "base/checked.h"
#include "disk/layout.h"
#include "p2v/agent/snapshot_private.h"

/* The volume's own map. A doubt means all of it. */
static int read_volume(struct snapshots *snapshots, size_t index, struct error *err)
{
    struct snapshot_taken *taken = &snapshots->taken[index];
    const struct snapshot_volume *volume = &snapshots->plan.volumes[index];
    struct probe probe = {0};
    struct usedmap map = {0};
    const struct block_source *source = device_source(taken->device);
    if (probe_read(source, &probe, err) != 0 ||
        usedmap_read(usedmap_driver_for(&probe), source, &map, err) != 0)
        return -1;
    taken->is_used_certain = map.is_certain && !probe.is_ambiguous;
    if (!taken->is_used_certain)
        log_info(snapshots->options.log, "%s/%s: all of it is copied: %s", volume->vg, volume->name,
                 map.doubt[0] ? map.doubt : "several kinds of content claim it");
    int result = extents_add_all(&taken->used, &map.used, 0, err);
    usedmap_fini(&map);
    return result;
}

/* Adds what of the volume's range lies on the part. */
static int add_range(const struct snapshot_part *part, const struct extent *range,
                     struct extents *used, struct error *err)
{
    uint64_t unit = part->stripes > 1 ? part->stripe_bytes : part->length;
    uint64_t step = unit * part->stripes, end = range->offset + range->length;
    uint64_t first = range->offset > part->start ? (range->offset - part->start) / step : 0;
    for (uint64_t i = first; i < part->length / unit; i++) {
        uint64_t stripe = part->start + i * step; /* in the volume */
        uint64_t from = max_u64(range->offset, stripe), to = min_u64(end, stripe + unit);
        if (stripe >= end)
            break;
        if (from < to &&
            extents_add(used, part->offset + i * unit + (from - stripe), to - from, err) != 0)
            return -1;
    }
    return 0;
}

/* Instead of all of the part. */
static int narrow(const struct snapshot_part *part, const struct extents *volume,
                  struct extents *used, struct error *err)
{
    struct extents mine = {0};
    int result = extents_remove(used, part->offset, part->length, err);
    uint64_t unit = part->stripes > 1 ? part->stripe_bytes : part->length;
    uint64_t end = part->start + part->length / unit * unit * part->stripes;
    for (size_t i = extents_find(volume, part->start);
         result == 0 && i < volume->count && volume->items[i].offset < end; i++)
        result = add_range(part, &volume->items[i], &mine, err);
    if (result == 0)
        result = extents_add_all(used, &mine, 0, err);
    extents_fini(&mine);
    return result;
}

static int remove_areas(const struct snapshot_areas *areas, size_t disk, struct extents *used,
                        struct error *err)
{
    for (size_t i = 0; i < areas->count; i++) {
        const struct snapshot_area *area = &areas->items[i];
        if (area->disk == disk && extents_remove(used, area->offset, area->length, err) != 0)
            return -1;
    }
    return 0;
}

static int read_disk(struct snapshots *snapshots, size_t disk, struct error *err)
{
    struct layout layout;
    const struct snapshot_plan *plan = &snapshots->plan;
    struct extents *used = &snapshots->used[disk];
    if (layout_read(snapshots_block(snapshots, disk), &layout, NULL, err) != 0)
        return -1;
    int result = extents_add_all(used, &layout.used, 0, err);
    layout_fini(&layout);
    for (size_t i = 0; result == 0 && i < plan->part_count; i++) {
        const struct snapshot_part *part = &plan->parts[i];
        const struct snapshot_taken *taken = &snapshots->taken[part->volume];
        if (part->disk == disk && taken->is_used_certain)
            result = narrow(part, &taken->used, used, err);
    }
    if (result == 0 && (remove_areas(&plan->free, disk, used, err) != 0 ||
                        remove_areas(&plan->swap, disk, used, err) != 0))
        return -1;
    return result;
}

int snapshots_read_used(struct snapshots *snapshots, struct error *err)
{
    int result = 0;
    for (size_t i = 0; result == 0 && i < snapshots->plan.volume_count; i++)
        result = read_volume(snapshots, i, err);
    for (size_t i = 0; result == 0 && i < snapshots->options.disk_count; i++)
        result = read_disk(snapshots, i, err);
    return result;
}
