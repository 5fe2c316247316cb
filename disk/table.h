/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the readers of partition tables share: the decoded first sector, and adding partitions to a
 * table with every claim checked against the disk. Private to disk/.
 */
#ifndef DISK_TABLE_H
#define DISK_TABLE_H

#include "base/bytes.h"
#include "disk/partition.h"

#define TABLE_SECTOR_MIN 512u
#define TABLE_SECTOR_MAX 4096u

/* How much of a gap before a partition is copied: GRUB's core image and its kin live there. */
#define TABLE_GAP_LIMIT (2 * MIB)

struct mbr_entry {
    uint8_t flag;          /* 0x80: active */
    uint8_t type;          /* 0: no entry */
    uint32_t start, count; /* sectors */
};

struct mbr {
    uint32_t disk_id;
    struct mbr_entry entries[4];
};

/* False without the 55 aa signature. `sector` is 512 bytes: an MBR or an EBR. */
bool mbr_decode(const uint8_t *sector, struct mbr *mbr);

bool mbr_entry_is_used(const struct mbr_entry *entry);
bool mbr_has_partitions(const struct mbr *mbr); /* any used entry */
bool mbr_is_protective(const struct mbr *mbr);  /* an entry of type 0xee */
bool mbr_is_sane(const struct mbr *mbr);        /* could be a table, not code or text */

/* The boot sector of FAT, exFAT or NTFS ends with 55 aa too. */
bool mbr_is_boot_sector(const uint8_t *sector);

/* Lists primary and logical partitions. table->sector_size is set. -1 for failing reads only. */
int mbr_read(const struct block_source *disk, const struct mbr *mbr, struct partition_table *table,
             struct log *log, struct error *err);

/*
 * Reads the GPT with table->sector_size. Returns 1 when a table was read, 0 when neither copy can
 * be used (*is_damaged: there are remains of one), -1 when out of memory.
 */
int gpt_read(const struct block_source *disk, const struct mbr *mbr, struct partition_table *table,
             bool *is_damaged, struct log *log, struct error *err);

/*
 * Adds a partition given in sectors. What does not lie inside the disk is cut, or left out when
 * nothing remains, and makes the table doubtful. `offset` and `length` of the template are ignored.
 */
int table_add(struct partition_table *table, const struct block_source *disk,
              const struct partition *partition, uint64_t first_sector, uint64_t sector_count,
              struct log *log, struct error *err);

/* Adds a structure, cut to the disk. */
int table_add_structure(struct partition_table *table, const struct block_source *disk,
                        uint64_t offset, uint64_t length, struct error *err);

/* A warning, and the table is doubtful from now on. */
void table_doubt(struct partition_table *table, struct log *log, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
