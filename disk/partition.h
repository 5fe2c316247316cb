/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Partition tables: MBR with logical partitions, and GPT (UEFI 2.10, chapter 5). Reads only.
 *
 * Hostile tables: every start and length is checked against the disk's real size, EBR chains have a
 * step limit and may not go backwards in a circle, GPT arrays have a size limit and a CRC.
 */
#ifndef DISK_PARTITION_H
#define DISK_PARTITION_H

#include "base/error.h"
#include "base/extents.h"
#include "base/log.h"
#include "base/source.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum partition_table_kind {
    PARTITION_TABLE_NONE, /* no table: a file system on the whole disk, or nothing at all */
    PARTITION_TABLE_MBR,
    PARTITION_TABLE_GPT,
};

#define PARTITION_GUID_TEXT 37 /* "C12A7328-F81F-11D2-BA4B-00A0C93EC93B" and NUL, upper case */

struct partition {
    unsigned number;  /* as Linux counts: MBR 1-4, logical from 5; GPT entry index + 1 */
    uint64_t offset;  /* bytes */
    uint64_t length;  /* bytes, never 0, inside the disk */
    bool is_logical;  /* MBR: inside an extended partition */
    bool is_bootable; /* MBR active flag, GPT legacy-BIOS-bootable attribute */
    uint8_t mbr_type; /* MBR only; extended containers are not listed as partitions */
    char type_guid[PARTITION_GUID_TEXT]; /* GPT only, else "" */
    char guid[PARTITION_GUID_TEXT];      /* GPT only, else "" */
    char name[36 * 4 + 1];               /* GPT only, UTF-8 */
};

/* {0} is valid for partition_table_fini. */
struct partition_table {
    enum partition_table_kind kind;
    uint32_t sector_size; /* what the table was read with: 512 or 4096 */
    uint32_t mbr_disk_id; /* MBR: the signature at 0x1b8 */
    char disk_guid[PARTITION_GUID_TEXT];
    bool is_backup_used;          /* GPT: the first header or array was broken */
    bool is_doubtful;             /* something does not fit; a warning said what */
    struct partition *partitions; /* by offset */
    size_t count;

    /*
     * What a boot needs outside partitions and what the table consists of: the first sector, the
     * gap from there to the first partition (GRUB's core image; at most 2 MiB), every EBR with
     * its track, both GPT headers and arrays. Always copied.
     */
    struct extents structures;
};

#define PARTITION_MAX_LOGICAL 256
#define PARTITION_MAX_GPT_ENTRIES 4096

/*
 * Reads the table. disk->sector_size 0 means that both sizes are tried. A disk without a table
 * gives PARTITION_TABLE_NONE; with one too broken to use it is doubtful as well. -1 only when the
 * first sector cannot be read; what is unreadable elsewhere is broken, or a doubt.
 */
int partition_table_read(const struct block_source *disk, struct partition_table *table,
                         struct log *log, struct error *err);
void partition_table_fini(struct partition_table *table);

const char *partition_table_kind_name(enum partition_table_kind kind); /* "mbr", "gpt", "none" */

/* GPT type GUIDs (UEFI 2.10 table 5.7; GRUB manual "BIOS installation"). */
#define PARTITION_TYPE_ESP "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
#define PARTITION_TYPE_BIOS_BOOT "21686148-6449-6E6F-744E-656564454649"

#endif
