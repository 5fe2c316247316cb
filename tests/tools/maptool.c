/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For the integration tests: what disk/ thinks of an image, in lines that a shell can compare, and
 * copies in which every byte that it calls free is poisoned.
 *
 *     maptool table FILE [SECTOR]     the partition table
 *     maptool used FILE               FILE is one volume: its driver, its doubt, its used ranges
 *     maptool disk FILE               the used ranges of a whole disk
 *     maptool poison FILE OUT         FILE is one volume
 *     maptool poison-disk FILE OUT
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "disk/device.h"
#include "disk/layout.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define STEP (64 * KIB)
#define POISON 0xdb

static void print_warning(struct log *log, enum log_level level, const char *line)
{
    (void)log;
    if (level == LOG_LEVEL_WARNING)
        printf("warning %s\n", line);
}

static struct log warnings = {.emit = print_warning};

static void print_extents(const struct extents *used)
{
    for (size_t i = 0; i < used->count; i++)
        printf("used %" PRIu64 " %" PRIu64 "\n", used->items[i].offset, used->items[i].length);
    printf("total %" PRIu64 "\n", extents_total(used));
}

/* With a sector size the file is read as a device of that sector size would be. */
static int print_table(const struct block_source *disk, uint32_t sector_size, struct error *err)
{
    struct block_slice slice;
    struct partition_table table;

    if (block_slice_init(&slice, disk, 0, disk->size_bytes, err) < 0)
        return -1;
    slice.source.sector_size = sector_size;
    if (partition_table_read(&slice.source, &table, &warnings, err) < 0)
        return -1;
    printf("kind %s\nsector %u\nid %08x\nguid %s\nbackup %d\ndoubtful %d\n",
           partition_table_kind_name(table.kind), table.sector_size, table.mbr_disk_id,
           table.disk_guid, table.is_backup_used, table.is_doubtful);
    for (size_t i = 0; i < table.count; i++) {
        const struct partition *partition = &table.partitions[i];

        printf("partition %u %" PRIu64 " %" PRIu64 " ", partition->number, partition->offset,
               partition->length);
        if (table.kind == PARTITION_TABLE_GPT)
            printf("%s %s %s\n", partition->type_guid, partition->guid, partition->name);
        else
            printf("%x%s%s\n", partition->mbr_type, partition->is_bootable ? " bootable" : "",
                   partition->is_logical ? " logical" : "");
    }
    print_extents(&table.structures);
    partition_table_fini(&table);
    return 0;
}

static int read_volume(const struct block_source *volume, struct usedmap *map, struct error *err)
{
    struct probe probe;
    struct timespec start, end;

    if (probe_read(volume, &probe, err) < 0)
        return -1;
    const struct usedmap_driver *driver = usedmap_driver_for(&probe);
    clock_gettime(CLOCK_MONOTONIC, &start);
    if (usedmap_read(driver, volume, map, err) < 0)
        return -1;
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("type %s\ndriver %s\ncertain %d\ndoubt %s\nranges %zu\nmicroseconds %ld\n", probe.type,
           driver->name, map->is_certain, map->doubt, map->used.count,
           (end.tv_sec - start.tv_sec) * 1000000 + (end.tv_nsec - start.tv_nsec) / 1000);
    return 0;
}

static int copy_range(const struct block_source *from, int to, uint64_t offset, uint64_t length,
                      struct error *err)
{
    AUTO_FREE uint8_t *buffer = memory_new(STEP, 1);

    for (uint64_t done = 0; done < length; done += STEP) {
        size_t step = (size_t)min_u64(STEP, length - done);

        if (block_source_read(from, offset + done, buffer, step, err) < 0 ||
            io_write_at(to, buffer, step, offset + done, err) < 0)
            return -1;
    }
    return 0;
}

static int poison(const struct block_source *from, const struct extents *used, const char *path,
                  struct error *err)
{
    AUTO_CLOSE int to = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    AUTO_FREE uint8_t *garbage = memory_new(STEP, 1);

    if (to < 0)
        return error_set(err, 0, "cannot create %s", path);
    memset(garbage, POISON, STEP);
    for (uint64_t offset = 0; offset < from->size_bytes; offset += STEP) {
        if (io_write_at(to, garbage, (size_t)min_u64(STEP, from->size_bytes - offset), offset,
                        err) < 0)
            return -1;
    }
    for (size_t i = 0; i < used->count; i++) {
        if (copy_range(from, to, used->items[i].offset, used->items[i].length, err) < 0)
            return -1;
    }
    return 0;
}

static int run_volume(const struct block_source *source, const char *out, struct error *err)
{
    AUTO(usedmap) map = {0};

    if (read_volume(source, &map, err) < 0)
        return -1;
    if (out)
        return poison(source, &map.used, out, err);
    print_extents(&map.used);
    return 0;
}

static int run_disk(const struct block_source *source, const char *out, struct error *err)
{
    AUTO(layout) layout = {0};

    if (layout_read(source, &layout, &warnings, err) < 0)
        return -1;
    for (size_t i = 0; i < layout.count; i++)
        printf("volume %" PRIu64 " %" PRIu64 " %s %s %d\n", layout.volumes[i].offset,
               layout.volumes[i].length, layout.volumes[i].probe.type,
               layout.volumes[i].driver->name, layout.volumes[i].map.is_certain);
    if (out)
        return poison(source, &layout.used, out, err);
    print_extents(&layout.used);
    return 0;
}

static int run(int argc, char **argv, struct error *err)
{
    const char *command = argc >= 3 ? argv[1] : "";
    const char *third = argc >= 4 ? argv[3] : NULL;
    AUTO_PTR(device) device = device_open(argc >= 3 ? argv[2] : "", err);

    if (!device)
        return -1;
    const struct block_source *source = device_source(device);
    if (strcmp(command, "table") == 0)
        return print_table(source, third ? (uint32_t)atoi(third) : source->sector_size, err);
    if (strcmp(command, "used") == 0 || (strcmp(command, "poison") == 0 && third))
        return run_volume(source, third, err);
    if (strcmp(command, "disk") == 0 || (strcmp(command, "poison-disk") == 0 && third))
        return run_disk(source, third, err);
    return error_set(err, 0, "usage: maptool table|used|disk|poison|poison-disk FILE [OUT]");
}

int main(int argc, char **argv)
{
    struct error err = {0};

    if (run(argc, argv, &err) < 0) {
        fprintf(stderr, "maptool: %s\n", err.text);
        return 1;
    }
    return 0;
}
