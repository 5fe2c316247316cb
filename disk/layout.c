/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Puts a disk together: its table, what each partition holds, and what of the disk is used. Where
 * the table cannot be trusted, all of the disk is.
 */
#include "disk/layout.h"

#include "base/checked.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void layout_fini(struct layout *layout)
{
    for (size_t i = 0; i < layout->count; i++)
        usedmap_fini(&layout->volumes[i].map);
    free(layout->volumes);
    extents_fini(&layout->used);
    partition_table_fini(&layout->table);
    *layout = (struct layout){0};
}

static const char *volume_name(const struct volume *volume, char *buffer, size_t size)
{
    if (volume->partition)
        snprintf(buffer, size, "partition %u", volume->partition->number);
    else
        snprintf(buffer, size, "the disk");
    return buffer;
}

static int read_volume(const struct block_source *disk, struct volume *volume, struct log *log,
                       struct error *err)
{
    struct block_slice slice;
    char name[32];

    volume_name(volume, name, sizeof(name));
    struct error cause = {0};
    if (block_slice_init(&slice, disk, volume->offset, volume->length, err) < 0)
        return error_wrap(err, "%s", name);
    bool is_probed = probe_read(&slice.source, &volume->probe, &cause) == 0;
    volume->driver = usedmap_driver_for(&volume->probe);
    if (usedmap_read(volume->driver, &slice.source, &volume->map, err) < 0)
        return error_wrap(err, "%s", name);
    if (!is_probed)
        usedmap_doubt(&volume->map, "%s", cause.text);
    if (volume->probe.is_ambiguous)
        usedmap_doubt(&volume->map, "several kinds of content claim it");
    if (!volume->map.is_certain)
        log_warning(log, "%s: all of it is copied: %s", name, volume->map.doubt);
    return 0;
}

static int read_volumes(const struct block_source *disk, struct layout *layout, struct log *log,
                        struct error *err)
{
    bool is_whole = layout->table.kind == PARTITION_TABLE_NONE;
    size_t count = is_whole ? 1 : layout->table.count;

    layout->volumes = calloc(count, sizeof(*layout->volumes));
    if (!layout->volumes && count > 0)
        return error_set(err, ENOMEM, "%zu volumes", count);
    for (size_t i = 0; i < count; i++) {
        struct volume *volume = &layout->volumes[layout->count++];

        volume->length = disk->size_bytes;
        if (!is_whole) {
            volume->partition = &layout->table.partitions[i];
            volume->offset = volume->partition->offset;
            volume->length = volume->partition->length;
        }
        if (read_volume(disk, volume, log, err) < 0)
            return -1;
    }
    return 0;
}

/*
 * A table on a disk that itself belongs to a RAID or holds a file system describes something
 * else, or is left over.
 */
static void check_whole_disk(const struct block_source *disk, struct layout *layout,
                             struct log *log)
{
    struct error cause = {0};
    struct probe probe;

    if (layout->table.kind == PARTITION_TABLE_NONE)
        return;
    if (probe_read(disk, &probe, &cause) < 0) {
        layout->table.is_doubtful = true;
        log_warning(log, "the disk: %s", cause.text);
        return;
    }
    if (probe.type[0] == '\0' && !probe.is_ambiguous)
        return;
    layout->table.is_doubtful = true;
    log_warning(log, "the disk has a partition table and is a whole of type %s as well",
                probe.is_ambiguous ? "(several)" : probe.type);
}

/* What of the disk has to be copied. */
static int collect_used(const struct block_source *disk, struct layout *layout, struct log *log,
                        struct error *err)
{
    if (layout->table.is_doubtful)
        log_warning(log, "the partition table is doubtful: the whole disk is copied");
    if (layout->table.is_doubtful ||
        (layout->table.kind != PARTITION_TABLE_NONE && layout->table.count == 0))
        return extents_add(&layout->used, 0, disk->size_bytes, err);
    if (extents_add_all(&layout->used, &layout->table.structures, 0, err) < 0)
        return -1;
    for (size_t i = 0; i < layout->count; i++) {
        const struct volume *volume = &layout->volumes[i];

        if (extents_add_all(&layout->used, &volume->map.used, volume->offset, err) < 0)
            return -1;
    }
    return 0;
}

int layout_read(const struct block_source *disk, struct layout *layout, struct log *log,
                struct error *err)
{
    *layout = (struct layout){0};
    if (disk->size_bytes == 0)
        return 0;
    if (partition_table_read(disk, &layout->table, log, err) < 0)
        return -1;
    check_whole_disk(disk, layout, log);
    if (read_volumes(disk, layout, log, err) < 0 || collect_used(disk, layout, log, err) < 0) {
        layout_fini(layout);
        return -1;
    }
    return 0;
}
