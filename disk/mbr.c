/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The MBR and the chain of extended boot records. There is no specification; this follows what
 * Linux does (block/partitions/msdos.c), because the numbers must be the ones of /dev/sda5.
 *
 *   MBR ─► container (types 05, 0f, 85)
 *             EBR: slot 1 = a logical partition, from this EBR's own start
 *                  slot 2 = the next EBR, from the container's start
 */
#include "base/checked.h"
#include "disk/table.h"

#include <string.h>

#define MBR_DISK_ID 0x1b8
#define MBR_ENTRIES 0x1be
#define MBR_ENTRY_SIZE 16
#define MBR_SIGNATURE 0x1fe
#define MBR_PRIMARIES 4

enum mbr_type {
    TYPE_EXTENDED = 0x05,
    TYPE_EXTENDED_LBA = 0x0f,
    TYPE_EXTENDED_LINUX = 0x85,
    TYPE_DYNAMIC_DISK = 0x42,
    TYPE_PROTECTIVE = 0xee,
};

bool mbr_decode(const uint8_t *sector, struct mbr *mbr)
{
    if (sector[MBR_SIGNATURE] != 0x55 || sector[MBR_SIGNATURE + 1] != 0xaa)
        return false;
    mbr->disk_id = load_le32(sector + MBR_DISK_ID);
    for (size_t i = 0; i < ARRAY_LENGTH(mbr->entries); i++) {
        const uint8_t *entry = sector + MBR_ENTRIES + i * MBR_ENTRY_SIZE;

        mbr->entries[i] = (struct mbr_entry){
            .flag = entry[0],
            .type = entry[4],
            .start = load_le32(entry + 8),
            .count = load_le32(entry + 12),
        };
    }
    return true;
}

/* As Linux: an entry of type 0 with a size is /dev/sda1 all the same. */
bool mbr_entry_is_used(const struct mbr_entry *entry)
{
    return entry->count != 0;
}

bool mbr_has_partitions(const struct mbr *mbr)
{
    for (size_t i = 0; i < ARRAY_LENGTH(mbr->entries); i++) {
        if (mbr_entry_is_used(&mbr->entries[i]))
            return true;
    }
    return false;
}

bool mbr_is_protective(const struct mbr *mbr)
{
    for (size_t i = 0; i < ARRAY_LENGTH(mbr->entries); i++) {
        if (mbr->entries[i].type == TYPE_PROTECTIVE)
            return true;
    }
    return false;
}

bool mbr_is_sane(const struct mbr *mbr)
{
    for (size_t i = 0; i < ARRAY_LENGTH(mbr->entries); i++) {
        if ((mbr->entries[i].flag & 0x7f) != 0)
            return false;
        if (mbr_entry_is_used(&mbr->entries[i]) && mbr->entries[i].start == 0)
            return false;
    }
    return true;
}

bool mbr_is_boot_sector(const uint8_t *sector)
{
    static const struct {
        size_t offset;
        const char *text;
    } names[] = {
        {3, "NTFS    "},    {3, "EXFAT   "},    {0x36, "FAT12   "},
        {0x36, "FAT16   "}, {0x36, "FAT     "}, {0x52, "FAT32   "},
    };

    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        if (memcmp(sector + names[i].offset, names[i].text, 8) == 0)
            return true;
    }
    return false;
}

static bool is_container(const struct mbr_entry *entry)
{
    return mbr_entry_is_used(entry) &&
           (entry->type == TYPE_EXTENDED || entry->type == TYPE_EXTENDED_LBA ||
            entry->type == TYPE_EXTENDED_LINUX);
}

/* One walk along a chain of EBRs. All positions are sectors of the disk. */
struct chain {
    const struct block_source *disk;
    struct partition_table *table;
    struct log *log;
    uint64_t start, count; /* the container */
    unsigned *number;      /* of the next logical partition */
    size_t visited_count;
    uint64_t visited[PARTITION_MAX_LOGICAL];
};

static bool chain_visit(struct chain *chain, uint64_t sector)
{
    for (size_t i = 0; i < chain->visited_count; i++) {
        if (chain->visited[i] == sector) {
            table_doubt(chain->table, chain->log, "the chain of EBRs is a circle at sector %llu",
                        (unsigned long long)sector);
            return false;
        }
    }
    if (chain->visited_count == ARRAY_LENGTH(chain->visited)) {
        table_doubt(chain->table, chain->log, "more than %d EBRs", PARTITION_MAX_LOGICAL);
        return false;
    }
    chain->visited[chain->visited_count++] = sector;
    return true;
}

/* Adds the EBR with what lies between it and its partition. */
static int chain_add_ebr(struct chain *chain, uint64_t sector, uint64_t partition_sector,
                         struct error *err)
{
    uint64_t unit = chain->table->sector_size;
    uint64_t gap = unit;

    if (partition_sector > sector)
        gap = min_u64((partition_sector - sector) * unit, TABLE_GAP_LIMIT);
    return table_add_structure(chain->table, chain->disk, sector * unit, gap, err);
}

static int chain_add_logical(struct chain *chain, uint64_t ebr, const struct mbr_entry *entry,
                             struct error *err)
{
    struct partition partition = {
        .number = (*chain->number)++,
        .is_logical = true,
        .is_bootable = entry->flag == 0x80,
        .mbr_type = entry->type,
    };
    uint64_t first = ebr + entry->start;

    if (!range_is_inside(first - chain->start, entry->count, chain->count))
        table_doubt(chain->table, chain->log, "logical partition %u leaves its container",
                    partition.number);
    return table_add(chain->table, chain->disk, &partition, first, entry->count, chain->log, err);
}

/* The partitions of one EBR; *next becomes the following EBR, 0 at the end. */
static int chain_read_entries(struct chain *chain, uint64_t ebr, const struct mbr *record,
                              uint64_t *next, struct error *err)
{
    uint64_t first_partition = 0;

    *next = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(record->entries); i++) {
        const struct mbr_entry *entry = &record->entries[i];

        if (!mbr_entry_is_used(entry))
            continue;
        if (i >= 2 || (is_container(entry) && *next != 0) ||
            (!is_container(entry) && first_partition != 0)) {
            table_doubt(chain->table, chain->log, "EBR at sector %llu: unexpected entry %zu",
                        (unsigned long long)ebr, i + 1);
        } else if (is_container(entry)) {
            *next = chain->start + entry->start;
        } else {
            first_partition = ebr + entry->start;
            if (chain_add_logical(chain, ebr, entry, err) < 0)
                return -1;
        }
    }
    return chain_add_ebr(chain, ebr, first_partition, err);
}

static int chain_read(struct chain *chain, struct error *err)
{
    uint64_t unit = chain->table->sector_size;
    uint64_t ebr = chain->start;

    while (ebr != 0) {
        uint8_t sector[TABLE_SECTOR_MIN];
        struct mbr record;

        if (!range_is_inside(ebr - chain->start, 1, chain->count) ||
            !range_is_inside(ebr * unit, unit, chain->disk->size_bytes)) {
            table_doubt(chain->table, chain->log, "an EBR outside its container, at sector %llu",
                        (unsigned long long)ebr);
            return 0;
        }
        if (!chain_visit(chain, ebr))
            return 0;
        if (block_source_read(chain->disk, ebr * unit, sector, sizeof(sector), NULL) < 0 ||
            !mbr_decode(sector, &record)) {
            table_doubt(chain->table, chain->log, "no EBR at sector %llu", (unsigned long long)ebr);
            return chain_add_ebr(chain, ebr, 0, err);
        }
        if (chain_read_entries(chain, ebr, &record, &ebr, err) < 0)
            return -1;
    }
    return 0;
}

static int read_primaries(const struct block_source *disk, const struct mbr *mbr,
                          struct partition_table *table, struct log *log, struct error *err)
{
    for (unsigned i = 0; i < MBR_PRIMARIES; i++) {
        const struct mbr_entry *entry = &mbr->entries[i];
        struct partition partition = {
            .number = i + 1,
            .is_bootable = entry->flag == 0x80,
            .mbr_type = entry->type,
        };

        if (!mbr_entry_is_used(entry) || is_container(entry))
            continue;
        if (entry->type == TYPE_DYNAMIC_DISK)
            table_doubt(table, log, "partition %u is a Windows dynamic disk", i + 1);
        if (table_add(table, disk, &partition, entry->start, entry->count, log, err) < 0)
            return -1;
    }
    return 0;
}

/* A primary partition inside a container shares bytes with logical ones, listed or not. */
static void check_container(struct partition_table *table, const struct mbr_entry *container,
                            struct log *log)
{
    uint64_t start = (uint64_t)container->start * table->sector_size;
    uint64_t length = (uint64_t)container->count * table->sector_size;

    for (size_t i = 0; i < table->count; i++) {
        const struct partition *partition = &table->partitions[i];

        if (!partition->is_logical && partition->offset < start + length &&
            start < partition->offset + partition->length)
            table_doubt(table, log, "partition %u overlaps the extended partition",
                        partition->number);
    }
}

int mbr_read(const struct block_source *disk, const struct mbr *mbr, struct partition_table *table,
             struct log *log, struct error *err)
{
    unsigned number = MBR_PRIMARIES + 1;
    bool has_container = false;

    if (read_primaries(disk, mbr, table, log, err) < 0)
        return -1;
    for (size_t i = 0; i < MBR_PRIMARIES; i++) {
        const struct mbr_entry *entry = &mbr->entries[i];
        struct chain chain = {
            .disk = disk,
            .table = table,
            .log = log,
            .start = entry->start,
            .count = entry->count,
            .number = &number,
        };

        if (!is_container(entry))
            continue;
        if (has_container)
            table_doubt(table, log, "more than one extended partition");
        has_container = true;
        check_container(table, entry, log);
        if (chain_read(&chain, err) < 0)
            return -1;
    }
    return 0;
}
