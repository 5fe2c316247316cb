/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Finds out which partition table a disk has and with which sector size it was written, lets mbr.c
 * and gpt.c read it, and checks what all tables have in common: nothing overlaps, nothing lies
 * outside the disk.
 */
#include "disk/partition.h"

#include "base/checked.h"
#include "disk/probe.h"
#include "disk/table.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void partition_table_fini(struct partition_table *table)
{
    free(table->partitions);
    extents_fini(&table->structures);
    *table = (struct partition_table){0};
}

const char *partition_table_kind_name(enum partition_table_kind kind)
{
    static const char *const names[] = {
        [PARTITION_TABLE_NONE] = "none",
        [PARTITION_TABLE_MBR] = "mbr",
        [PARTITION_TABLE_GPT] = "gpt",
    };

    return (size_t)kind < ARRAY_LENGTH(names) ? names[kind] : "none";
}

void table_doubt(struct partition_table *table, struct log *log, const char *format, ...)
{
    char line[256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    table->is_doubtful = true;
    log_warning(log, "partition table: %s", line);
}

static int append(struct partition_table *table, const struct partition *partition,
                  struct error *err)
{
    struct partition *grown =
        reallocarray(table->partitions, table->count + 1, sizeof(*table->partitions));

    if (!grown)
        return error_set(err, ENOMEM, "partition %u", partition->number);
    table->partitions = grown;
    table->partitions[table->count++] = *partition;
    return 0;
}

int table_add(struct partition_table *table, const struct block_source *disk,
              const struct partition *partition, uint64_t first_sector, uint64_t sector_count,
              struct log *log, struct error *err)
{
    struct partition added = *partition;

    if (!checked_mul(first_sector, table->sector_size, &added.offset) ||
        added.offset >= disk->size_bytes || sector_count == 0) {
        table_doubt(table, log,
                    "partition %u (sector %llu, %llu sectors) is not on this disk of %llu bytes",
                    added.number, (unsigned long long)first_sector,
                    (unsigned long long)sector_count, (unsigned long long)disk->size_bytes);
        return 0;
    }
    if (!checked_mul(sector_count, table->sector_size, &added.length) ||
        !range_is_inside(added.offset, added.length, disk->size_bytes)) {
        table_doubt(table, log, "partition %u ends behind the end of the disk (%llu bytes)",
                    added.number, (unsigned long long)disk->size_bytes);
        added.length = disk->size_bytes - added.offset;
    }
    return append(table, &added, err);
}

int table_add_structure(struct partition_table *table, const struct block_source *disk,
                        uint64_t offset, uint64_t length, struct error *err)
{
    if (offset >= disk->size_bytes)
        return 0;
    return extents_add(&table->structures, offset, min_u64(length, disk->size_bytes - offset), err);
}

static int compare_partitions(const void *left, const void *right)
{
    const struct partition *a = left, *b = right;

    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    return (a->number > b->number) - (a->number < b->number);
}

static void check_overlaps(struct partition_table *table, struct log *log)
{
    for (size_t i = 1; i < table->count; i++) {
        const struct partition *before = &table->partitions[i - 1], *here = &table->partitions[i];

        if (here->offset - before->offset < before->length) {
            table_doubt(table, log, "partitions %u and %u overlap", before->number, here->number);
            return;
        }
    }
}

/* Sorts, checks, and adds the start of the disk with the gap to the first partition. */
static int complete(struct partition_table *table, const struct block_source *disk, struct log *log,
                    struct error *err)
{
    uint64_t gap = TABLE_GAP_LIMIT;

    if (table->count > 1)
        qsort(table->partitions, table->count, sizeof(*table->partitions), compare_partitions);
    check_overlaps(table, log);
    if (table->count > 0)
        gap = min_u64(gap, table->partitions[0].offset);
    return table_add_structure(table, disk, 0, max_u64(gap, table->sector_size), err);
}

/*
 * Tries every possible sector size. More than one table (a disk once used with the other size) is
 * a doubt, and the first is kept.
 */
static int find_gpt(const struct block_source *disk, const struct mbr *mbr,
                    struct partition_table *table, bool *is_damaged, struct log *log,
                    struct error *err)
{
    int found = 0;

    for (uint32_t size = TABLE_SECTOR_MIN; size <= TABLE_SECTOR_MAX;
         size *= TABLE_SECTOR_MAX / TABLE_SECTOR_MIN) {
        struct partition_table candidate = {.sector_size = size};

        if (disk->sector_size != 0 && disk->sector_size != size)
            continue;
        int status = gpt_read(disk, mbr, &candidate, is_damaged, found ? NULL : log, err);
        if (status == 1 && !found) {
            partition_table_fini(table);
            *table = candidate;
            found = 1;
            continue;
        }
        partition_table_fini(&candidate);
        if (status < 0)
            return -1;
        if (status == 1)
            table_doubt(table, log, "there are two GPTs, for sectors of 512 and of 4096 bytes");
    }
    return found;
}

/* How many partitions hold something that libblkid knows. */
static size_t count_known(const struct block_source *disk, const struct partition_table *table)
{
    size_t known = 0;

    for (size_t i = 0; i < table->count; i++) {
        struct block_slice slice;
        struct probe probe;

        if (block_slice_init(&slice, disk, table->partitions[i].offset, table->partitions[i].length,
                             NULL) == 0 &&
            probe_read(&slice.source, &probe, NULL) == 0)
            known += probe.type[0] != '\0';
    }
    return known;
}

/*
 * An MBR does not say its sector size. Of an image, whose sectors nobody knows, 512 is believed
 * unless the table fits the disk with 4096 as well; then the contents decide.
 */
static int choose_sector_size(const struct block_source *disk, const struct mbr *mbr,
                              struct partition_table *table, struct log *log, struct error *err)
{
    struct partition_table large = {
        .kind = table->kind, .mbr_disk_id = table->mbr_disk_id, .sector_size = TABLE_SECTOR_MAX};
    int status = mbr_read(disk, mbr, &large, NULL, err);

    if (status == 0 && !large.is_doubtful && large.count > 0) {
        bool is_small_known = count_known(disk, table) > 0;
        bool is_large_known = count_known(disk, &large) > 0;

        if (is_small_known == is_large_known) {
            table_doubt(table, log, "the MBR fits sectors of 512 and of 4096 bytes alike");
        } else if (is_large_known) {
            struct partition_table small = *table;

            *table = large;
            large = small;
        }
    }
    partition_table_fini(&large);
    return status;
}

static int read_mbr(const struct block_source *disk, const struct mbr *mbr,
                    struct partition_table *table, struct log *log, struct error *err)
{
    table->sector_size = disk->sector_size ? disk->sector_size : TABLE_SECTOR_MIN;
    if (mbr_read(disk, mbr, table, log, err) < 0)
        return -1;
    if (disk->sector_size != 0 || table->is_doubtful || table->count == 0 ||
        disk->size_bytes % TABLE_SECTOR_MAX != 0)
        return 0;
    return choose_sector_size(disk, mbr, table, log, err);
}

/*
 * What there is beside, or instead of, a GPT. No table at all is no doubt; one that cannot be used
 * is: then nothing that seems to lie on the whole disk may decide what is copied.
 */
static int read_without_gpt(const struct block_source *disk, const uint8_t *sector,
                            const struct mbr *mbr, bool has_mbr, bool is_gpt_damaged,
                            struct partition_table *table, struct log *log, struct error *err)
{
    bool is_boot_sector = has_mbr && mbr_is_boot_sector(sector);
    bool has_partitions = has_mbr && mbr_has_partitions(mbr);

    if (has_mbr && mbr_is_protective(mbr)) {
        table_doubt(table, log, "a protective MBR, but no GPT that can be used");
        return 0;
    }
    if (is_gpt_damaged && has_partitions)
        log_warning(log, "partition table: remains of a GPT without its protective MBR; ignored");
    else if (is_gpt_damaged)
        table_doubt(table, log, "the remains of a GPT, and nothing else");
    if (!has_partitions || (is_boot_sector && !mbr_is_sane(mbr)))
        return 0;
    if (!mbr_is_sane(mbr)) {
        table_doubt(table, log, "the first sector is signed as an MBR, but it is none");
        return 0;
    }
    table->kind = PARTITION_TABLE_MBR;
    table->mbr_disk_id = mbr->disk_id;
    if (read_mbr(disk, mbr, table, log, err) < 0)
        return -1;
    if (is_boot_sector)
        table_doubt(table, log, "the first sector is an MBR and a file system's boot sector");
    return 0;
}

/* GPT first: a protective or hybrid MBR gives way to it (UEFI 2.10, 5.2.3). */
static int read_table(const struct block_source *disk, struct partition_table *table,
                      struct log *log, struct error *err)
{
    uint8_t sector[TABLE_SECTOR_MIN];
    struct mbr mbr = {0};
    bool is_damaged = false;

    if (block_source_read(disk, 0, sector, sizeof(sector), err) < 0)
        return -1;
    bool has_mbr = mbr_decode(sector, &mbr);
    bool is_protected = has_mbr && mbr_is_protective(&mbr);
    int found = find_gpt(disk, &mbr, table, &is_damaged, is_protected ? log : NULL, err);
    if (found < 0)
        return -1;
    if (found && (is_protected || !has_mbr || !mbr_has_partitions(&mbr))) {
        table->kind = PARTITION_TABLE_GPT;
        table->mbr_disk_id = mbr.disk_id;
        if (!is_protected)
            table_doubt(table, log, "a GPT without its protective MBR");
        return 0;
    }
    if (found) { /* Linux does the same: real MBR partitions mean that the GPT is a left-over */
        partition_table_fini(table);
        is_damaged = true;
    }
    return read_without_gpt(disk, sector, &mbr, has_mbr, is_damaged, table, log, err);
}

int partition_table_read(const struct block_source *disk, struct partition_table *table,
                         struct log *log, struct error *err)
{
    *table = (struct partition_table){0};
    if (disk->size_bytes < TABLE_SECTOR_MIN)
        return 0;
    if (read_table(disk, table, log, err) < 0 ||
        (table->kind != PARTITION_TABLE_NONE && complete(table, disk, log, err) < 0)) {
        partition_table_fini(table);
        return error_wrap(err, "partition table");
    }
    if (table->kind == PARTITION_TABLE_NONE) {
        bool is_doubtful = table->is_doubtful;

        partition_table_fini(table);
        table->is_doubtful = is_doubtful;
    }
    return 0;
}
