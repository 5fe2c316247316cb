/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Taking the snapshots:
 *
 *     report, plan ─ keep LVM's metadata ─ lvcreate each ─ reset ──► freeze ─ start all, put aside
 *     the rest in use ─ thaw ──► read by way of them
 *
 * lvcreate freezes a volume's file system itself, which older kernels refuse when it is frozen
 * already; and several volumes' snapshots would be of several moments. So the snapshots are made
 * first and begin anew when all stands still. LVM sees nothing but snapshots of its own.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/text.h"
#include "disk/layout.h"
#include "p2v/agent/snapshot_lvm.h"
#include "p2v/agent/snapshot_machine.h"
#include "p2v/agent/snapshot_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Why not, for people; the steps return 0 then. */
struct reason {
    char *text;
    size_t size;
};

static int give_up(const struct reason *reason, const char *text)
{
    snprintf(reason->text, reason->size, "%s", text);
    return 0;
}

/* --- what there is --- */

static int keep_areas(struct snapshots *snapshots, const struct snapshot_areas *areas,
                      struct error *err)
{
    int result = 1;
    for (size_t i = 0; result == 1 && i < areas->count; i++) {
        const struct snapshot_area *area = &areas->items[i];
        result =
            snapshot_aside_add(&snapshots->aside, area->disk, snapshots_disk(snapshots, area->disk),
                               area->offset, area->length, err);
    }
    return result;
}

/* LVM writes around the kernel's memory of the whole disk. */
static void forget_read(const struct snapshots *snapshots)
{
    for (size_t i = 0; i < snapshots->options.disk_count; i++)
        live_source_drop(snapshots->options.disks[i].source);
}

/* `segments` becomes what the plan was made from. */
static int read_plan(struct snapshots *snapshots, struct text *segments, struct error *err)
{
    AUTO(text) volumes = {0};
    struct snapshot_machine machine = {snapshot_machine_find, snapshot_machine_is_swap,
                                       &snapshots->options};
    free(snapshots->taken);
    snapshots->taken = NULL;
    snapshot_plan_fini(&snapshots->plan);
    if (snapshot_lvm_report(&volumes, segments, err) != 0)
        return -1;
    return snapshot_plan_read(&snapshots->plan, text_string(&volumes), text_string(segments),
                              &machine, err);
}

/* The metadata as it is without our snapshots: unchanged between two equal reports. */
static int make_plan(struct snapshots *snapshots, const struct reason *reason, struct error *err)
{
    AUTO(text) segments = {0}, volumes_after = {0}, segments_after = {0};
    if (read_plan(snapshots, &segments, err) != 0)
        return -1;
    if (snapshots->plan.obstacle[0])
        return give_up(reason, snapshots->plan.obstacle);
    forget_read(snapshots);
    snapshots->aside.left_bytes = snapshot_machine_memory();
    int result = keep_areas(snapshots, &snapshots->plan.metadata, err);
    if (result <= 0)
        return result == 0 ? give_up(reason, "too little memory for LVM's metadata") : -1;
    if (snapshot_lvm_report(&volumes_after, &segments_after, err) != 0)
        return -1;
    if (strcmp(text_string(&segments), text_string(&segments_after)) != 0)
        return give_up(reason, "somebody is changing a volume group");
    return 1;
}

static bool is_member(const struct snapshot_plan *plan, size_t disk, uint64_t offset)
{
    for (size_t i = 0; i < plan->members.count; i++) {
        if (plan->members.items[i].disk == disk && plan->members.items[i].offset == offset)
            return true;
    }
    return false;
}

/* What could be put aside, so that nothing stands still in vain. */
static int check_use(const struct snapshots *snapshots, const struct snapshot_use *use,
                     const struct reason *reason)
{
    char size[32];
    if (use->bytes <= snapshots->aside.left_bytes)
        return 1;
    snprintf(reason->text, reason->size,
             "%s is on no logical volume, and too much to be kept in memory (%s)", use->what,
             bytes_format(use->bytes, size, sizeof(size)));
    return 0;
}

static int note_live(struct snapshots *snapshots, const struct snapshot_area *area,
                     const struct reason *reason, struct error *err)
{
    struct snapshot_use use;
    struct snapshot_areas *areas = &snapshots->live;
    if (is_member(&snapshots->plan, area->disk, area->offset))
        return 1;
    if (snapshot_machine_use(&snapshots->options.disks[area->disk], area->offset, &use, err) != 0)
        return -1;
    if (!use.is_live)
        return 1;
    areas->items = memory_grow(areas->items, areas->count + 1, sizeof(*areas->items));
    areas->items[areas->count++] = *area;
    return check_use(snapshots, &use, reason);
}

/* The partitions in use that are not LVM's. */
static int find_live(struct snapshots *snapshots, size_t disk, const struct reason *reason,
                     struct error *err)
{
    struct partition_table table = {0};
    const struct block_source *block = snapshots_disk(snapshots, disk);
    struct snapshot_area whole = {disk, 0, block->size_bytes};
    if (partition_table_read(block, &table, NULL, err) != 0)
        return -1;
    int result = table.is_doubtful ? give_up(reason, "a partition table is doubtful") : 1;
    if (result == 1 && table.kind == PARTITION_TABLE_NONE)
        result = note_live(snapshots, &whole, reason, err);
    for (size_t i = 0; result == 1 && i < table.count; i++) {
        struct snapshot_area area = {disk, table.partitions[i].offset, table.partitions[i].length};
        result = note_live(snapshots, &area, reason, err);
    }
    partition_table_fini(&table);
    return result;
}

/* As far as it can be told without doing anything. */
int snapshots_check(struct snapshots *snapshots, struct error *err)
{
    char text[256];
    struct reason reason = {text, sizeof(text)};
    AUTO(text) segments = {0};
    if (read_plan(snapshots, &segments, err) != 0)
        return -1;
    if (snapshots->plan.obstacle[0])
        return error_set(err, 0, "%s", snapshots->plan.obstacle);
    int result = 1;
    snapshots->aside.left_bytes = snapshot_machine_memory();
    for (size_t i = 0; result == 1 && i < snapshots->options.disk_count; i++)
        result = find_live(snapshots, i, &reason, err);
    snapshots_drop(snapshots); /* what it has noted */
    return result == 0 ? error_set(err, 0, "%s", text) : result == 1 ? 0 : -1;
}

/* --- making them --- */

static int find_own(struct snapshots *snapshots, const struct snapshot_owns *owns, size_t number,
                    struct error *err)
{
    struct snapshot_taken *taken = &snapshots->taken[number];
    const struct snapshot_volume *volume = &snapshots->plan.volumes[number];
    AUTO_FREE char *name = text_format("%s%zu", SNAPSHOT_NAME, number);
    for (size_t i = 0; i < owns->count; i++) {
        const struct snapshot_own *own = &owns->items[i];
        if (strcmp(own->vg, volume->vg) != 0 || strcmp(own->name, name) != 0 || !own->is_active)
            continue;
        taken->dm = (struct snapshot_dm){own->major, own->minor};
        return 0;
    }
    return error_set(err, 0, "%s/%s is not there after lvcreate", volume->vg, name);
}

static int create(struct snapshots *snapshots, struct error *err)
{
    struct snapshot_owns owns = {0};
    const struct snapshot_plan *plan = &snapshots->plan;
    int result = 0;
    snapshots->taken = memory_new(plan->volume_count, sizeof(*snapshots->taken));
    snapshots->has_some = true;
    for (size_t i = 0; result == 0 && i < plan->volume_count; i++)
        result = snapshot_lvm_create(&plan->volumes[i], i, err);
    if (result == 0)
        result = snapshot_lvm_list(&owns, err);
    for (size_t i = 0; result == 0 && i < plan->volume_count; i++)
        result = find_own(snapshots, &owns, i, err);
    for (size_t i = 0; result == 0 && i < plan->volume_count; i++)
        result = snapshot_dm_reset(&snapshots->taken[i].dm, err);
    snapshot_owns_fini(&owns);
    return result;
}

/* --- the moment --- */

/* What is used of a partition, by its file system's word, which now is certain. */
static int put_aside(struct snapshots *snapshots, const struct snapshot_area *area,
                     struct error *err)
{
    struct block_slice slice;
    struct probe probe = {0};
    struct usedmap map = {0};
    const struct block_source *block = snapshots_disk(snapshots, area->disk);
    if (block_slice_init(&slice, block, area->offset, area->length, err) != 0 ||
        probe_read(&slice.source, &probe, err) != 0 ||
        usedmap_read(usedmap_driver_for(&probe), &slice.source, &map, err) != 0)
        return -1;
    int result = 1;
    for (size_t i = 0; result == 1 && i < map.used.count; i++)
        result = snapshot_aside_add(&snapshots->aside, area->disk, block,
                                    area->offset + map.used.items[i].offset,
                                    map.used.items[i].length, err);
    usedmap_fini(&map);
    return result;
}

static int start_all(struct snapshots *snapshots, const struct reason *reason, struct error *err)
{
    for (size_t i = 0; i < snapshots->plan.volume_count; i++) {
        if (snapshot_dm_start(&snapshots->taken[i].dm, err) != 0)
            return -1;
    }
    for (size_t i = 0; i < snapshots->live.count; i++) {
        int result = put_aside(snapshots, &snapshots->live.items[i], err);
        if (result == 0)
            return give_up(reason, "what is in use beside the logical volumes is too much for the "
                                   "memory");
        if (result < 0)
            return -1;
    }
    return 1;
}

static int stop_the_world(struct snapshots *snapshots, const struct reason *reason,
                          struct error *err)
{
    const struct snapshots_options *options = &snapshots->options;
    double began = clock_seconds();
    int result = options->freeze(options->context, err);
    if (result <= 0)
        return result == 0 ? give_up(reason, "the file systems cannot be frozen") : -1;
    double frozen = clock_seconds();
    result = start_all(snapshots, reason, err);
    bool is_intact = options->thaw(options->context);
    log_detail(options->log, "frozen for %.2f s (%.2f s to get there)", clock_seconds() - frozen,
               frozen - began);
    if (result == 1 && !is_intact)
        return give_up(reason, "something was written while the file systems were frozen");
    return result;
}

/* --- reading by way of them --- */

/* What udev or others have read of the snapshot before it began anew is not to be seen again. */
static int open_taken(struct snapshots *snapshots, size_t number, struct error *err)
{
    struct snapshot_taken *taken = &snapshots->taken[number];
    AUTO_FREE char *path = snapshot_dm_path(taken->dm.major, taken->dm.minor);
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, BLKFLSBUF, 0) != 0)
        return error_set(err, errno, "open %s", path);
    taken->device = device_open(path, err);
    if (!taken->device)
        return -1;
    if (device_source(taken->device)->size_bytes != snapshots->plan.volumes[number].size_bytes)
        return error_set(err, 0, "%s has another size than its volume", path);
    return 0;
}

static int lay_over(struct snapshots *snapshots, size_t disk, struct error *err)
{
    const struct snapshot_plan *plan = &snapshots->plan;
    const struct snapshot_aside *aside = &snapshots->aside;
    size_t count = 0;
    struct overlay_part *parts = memory_new(plan->part_count + aside->count + 1, sizeof(*parts));
    for (size_t i = 0; i < plan->part_count; i++) {
        const struct snapshot_part *part = &plan->parts[i];
        if (part->disk == disk)
            parts[count++] =
                (struct overlay_part){part->offset,
                                      part->length,
                                      device_source(snapshots->taken[part->volume].device),
                                      part->start,
                                      part->stripe_bytes,
                                      part->stripes};
    }
    for (size_t i = 0; i < aside->count; i++) {
        const struct aside_piece *piece = aside->pieces[i];
        if (piece->disk == disk)
            parts[count++] = (struct overlay_part){.offset = piece->offset,
                                                   .length = piece->memory.source.size_bytes,
                                                   .source = &piece->memory.source,
                                                   .stripes = 1};
    }
    int result = snapshot_overlay_set(snapshots->overlays[disk], parts, count, err);
    free(parts);
    return result;
}

static int show(struct snapshots *snapshots, struct error *err)
{
    int result = 0;
    forget_read(snapshots);
    for (size_t i = 0; result == 0 && i < snapshots->plan.volume_count; i++)
        result = open_taken(snapshots, i, err);
    for (size_t i = 0; result == 0 && i < snapshots->options.disk_count; i++)
        result = lay_over(snapshots, i, err);
    return result == 0 ? snapshots_read_used(snapshots, err) : -1;
}

/* --- */

static int take(struct snapshots *snapshots, const struct reason *reason, struct error *err)
{
    int result = make_plan(snapshots, reason, err);
    for (size_t i = 0; result == 1 && i < snapshots->options.disk_count; i++)
        result = find_live(snapshots, i, reason, err);
    if (result != 1)
        return result;
    if (create(snapshots, err) != 0)
        return -1;
    result = stop_the_world(snapshots, reason, err);
    if (result == 1 && show(snapshots, err) != 0)
        return -1;
    return result;
}

int snapshots_take(struct snapshots *snapshots, char *obstacle, size_t size, struct error *err)
{
    struct reason reason = {obstacle, size};
    snapshots_drop(snapshots);
    int result = take(snapshots, &reason, err);
    snapshots->is_taken = result == 1;
    if (result != 1)
        snapshots_drop(snapshots);
    return result;
}
