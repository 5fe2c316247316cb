/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The GUID partition table (UEFI 2.10, 5.3): two headers with CRCs, each with its own array of
 * entries. The first is believed when it is whole, else the one at the end of the disk.
 *
 *   LBA 0 protective MBR │ 1 header │ 2.. array │ partitions … │ array │ last LBA: header
 */
#include "base/checked.h"
#include "disk/table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define HEADER_SIZE_MIN 92
#define ENTRY_SIZE_MIN 128
#define ENTRY_SIZE_MAX 4096
#define NAME_UNITS 36
#define GUID_SIZE 16
#define ATTRIBUTE_LEGACY_BOOT ((uint64_t)1 << 2)

/* One decoded header, and its array once read. {0} is valid for gpt_copy_fini. */
struct gpt_copy {
    uint64_t own_lba, other_lba;
    uint64_t first_usable, last_usable;
    uint64_t array_lba;
    uint32_t entry_count, entry_size;
    uint32_t array_crc;
    uint8_t disk_guid[GUID_SIZE];
    uint8_t *array; /* owned */
    bool is_signed; /* something that calls itself a GPT header was there */
};

static void gpt_copy_fini(struct gpt_copy *copy)
{
    free(copy->array);
    copy->array = NULL;
}

static size_t array_bytes(const struct gpt_copy *copy)
{
    return (size_t)copy->entry_count * copy->entry_size;
}

/* The text form has its first three fields in little-endian order (UEFI 2.10, appendix A). */
static void format_guid(const uint8_t *guid, char text[PARTITION_GUID_TEXT])
{
    snprintf(text, PARTITION_GUID_TEXT, "%08X-%04X-%04X-%02X%02X-%02X%02X%02X%02X%02X%02X",
             load_le32(guid), load_le16(guid + 4), load_le16(guid + 6), guid[8], guid[9], guid[10],
             guid[11], guid[12], guid[13], guid[14], guid[15]);
}

static bool header_crc_is_right(uint8_t *sector, uint32_t header_size)
{
    uint32_t stored = load_le32(sector + 16);

    store_le32(sector + 16, 0);
    return crc32(0, sector, header_size) == stored;
}

/* Says why a header cannot be used, or NULL. `sector` is changed. */
static const char *decode_header(uint8_t *sector, uint32_t sector_size, uint64_t lba,
                                 struct gpt_copy *copy)
{
    uint32_t header_size = load_le32(sector + 12);

    copy->is_signed = memcmp(sector, "EFI PART", 8) == 0;
    if (!copy->is_signed)
        return "no signature";
    if (load_le32(sector + 8) >> 16 != 1)
        return "unknown revision";
    if (header_size < HEADER_SIZE_MIN || header_size > sector_size)
        return "impossible header size";
    if (!header_crc_is_right(sector, header_size))
        return "wrong checksum";
    copy->own_lba = load_le64(sector + 24);
    copy->other_lba = load_le64(sector + 32);
    copy->first_usable = load_le64(sector + 40);
    copy->last_usable = load_le64(sector + 48);
    memcpy(copy->disk_guid, sector + 56, GUID_SIZE);
    copy->array_lba = load_le64(sector + 72);
    copy->entry_count = load_le32(sector + 80);
    copy->entry_size = load_le32(sector + 84);
    copy->array_crc = load_le32(sector + 88);
    if (copy->own_lba != lba)
        return "it says that it is elsewhere";
    if (copy->entry_count == 0 || copy->entry_count > PARTITION_MAX_GPT_ENTRIES)
        return "impossible number of entries";
    if (copy->entry_size < ENTRY_SIZE_MIN || copy->entry_size > ENTRY_SIZE_MAX ||
        !is_power_of_two(copy->entry_size))
        return "impossible entry size";
    return NULL;
}

/* Returns 1 when the array fits its checksum, 0 when not (*problem says why), -1: no memory. */
static int read_array(const struct block_source *disk, uint32_t sector_size, struct gpt_copy *copy,
                      const char **problem, struct error *err)
{
    uint64_t offset;

    *problem = "its array is outside the disk";
    if (copy->array_lba < 2 || !checked_mul(copy->array_lba, sector_size, &offset) ||
        !range_is_inside(offset, array_bytes(copy), disk->size_bytes))
        return 0;
    free(copy->array);
    copy->array = malloc(array_bytes(copy));
    if (!copy->array)
        return error_set(err, ENOMEM, "GPT array");
    *problem = "its array cannot be read";
    if (block_source_read(disk, offset, copy->array, array_bytes(copy), NULL) < 0)
        return 0;
    *problem = "its array has a wrong checksum";
    return crc32(0, copy->array, (uInt)array_bytes(copy)) == copy->array_crc;
}

/*
 * Returns 1 when there is a whole copy at that place, 0 when not, -1: no memory. An unreadable
 * sector is no reason to give up: there are two copies, and without them all of the disk is used.
 */
static int read_copy(const struct block_source *disk, uint32_t sector_size, uint64_t lba,
                     struct gpt_copy *copy, const char **problem, struct error *err)
{
    uint8_t sector[TABLE_SECTOR_MAX];
    uint64_t offset;

    *problem = "outside the disk";
    if (!checked_mul(lba, sector_size, &offset) ||
        !range_is_inside(offset, sector_size, disk->size_bytes))
        return 0;
    *problem = "it cannot be read";
    if (block_source_read(disk, offset, sector, sector_size, NULL) < 0)
        return 0;
    *problem = decode_header(sector, sector_size, lba, copy);
    return *problem ? 0 : read_array(disk, sector_size, copy, problem, err);
}

static char *encode_utf8(char *to, uint32_t character)
{
    static const uint8_t leads[] = {0, 0x00, 0xc0, 0xe0, 0xf0};
    int length = character < 0x80 ? 1 : character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;

    for (int i = length - 1; i > 0; i--, character >>= 6)
        to[i] = (char)(0x80 | (character & 0x3f));
    to[0] = (char)(leads[length] | character);
    return to + length;
}

/* UTF-16LE to UTF-8; what is no printable character becomes U+FFFD. */
static void decode_name(const uint8_t *from, char *to)
{
    for (size_t i = 0; i < NAME_UNITS; i++) {
        uint32_t unit = load_le16(from + 2 * i);

        if (unit == 0)
            break;
        if (unit >= 0xd800 && unit < 0xdc00 && i + 1 < NAME_UNITS) {
            uint32_t low = load_le16(from + 2 * (i + 1));

            if (low >= 0xdc00 && low < 0xe000) {
                unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                i++;
            }
        }
        if (unit < 0x20 || (unit >= 0x7f && unit < 0xa0) || (unit >= 0xd800 && unit < 0xe000))
            unit = 0xfffd;
        to = encode_utf8(to, unit);
    }
    *to = '\0';
}

static int add_entry(const struct block_source *disk, const struct gpt_copy *copy, uint32_t index,
                     struct partition_table *table, struct log *log, struct error *err)
{
    const uint8_t *entry = copy->array + (size_t)index * copy->entry_size;
    uint64_t first = load_le64(entry + 32), last = load_le64(entry + 40);
    struct partition partition = {
        .number = index + 1,
        .is_bootable = (load_le64(entry + 48) & ATTRIBUTE_LEGACY_BOOT) != 0,
    };

    if (bytes_are_zero(entry, GUID_SIZE))
        return 0;
    format_guid(entry, partition.type_guid);
    format_guid(entry + GUID_SIZE, partition.guid);
    decode_name(entry + 56, partition.name);
    if (first < copy->first_usable || last > copy->last_usable)
        table_doubt(table, log, "partition %u lies outside the usable sectors", partition.number);
    if (last < first || last == UINT64_MAX) {
        table_doubt(table, log, "partition %u ends before it starts", partition.number);
        return 0;
    }
    return table_add(table, disk, &partition, first, last - first + 1, log, err);
}

static int add_copy_structures(const struct block_source *disk, const struct gpt_copy *copy,
                               struct partition_table *table, struct error *err)
{
    uint64_t unit = table->sector_size;

    if (table_add_structure(table, disk, copy->own_lba * unit, unit, err) < 0)
        return -1;
    if (!copy->array)
        return 0;
    return table_add_structure(table, disk, copy->array_lba * unit,
                               align_up(array_bytes(copy), unit), err);
}

/* Both say the same but for where they are themselves. */
static bool copies_agree(const struct gpt_copy *a, const struct gpt_copy *b)
{
    return a->entry_count == b->entry_count && a->entry_size == b->entry_size &&
           a->array_crc == b->array_crc && a->first_usable == b->first_usable &&
           a->last_usable == b->last_usable && memcmp(a->disk_guid, b->disk_guid, GUID_SIZE) == 0;
}

/*
 * In a hybrid MBR the other entries name partitions of the GPT once more. One that fits no GPT
 * partition means that the two tables describe different disks.
 */
static void check_hybrid(const struct mbr *mbr, struct partition_table *table, struct log *log)
{
    for (size_t i = 0; i < ARRAY_LENGTH(mbr->entries); i++) {
        const struct mbr_entry *entry = &mbr->entries[i];
        bool is_known = entry->type == 0xee || !mbr_entry_is_used(entry);

        for (size_t j = 0; j < table->count && !is_known; j++)
            is_known = table->partitions[j].offset == (uint64_t)entry->start * table->sector_size &&
                       table->partitions[j].length == (uint64_t)entry->count * table->sector_size;
        if (!is_known)
            table_doubt(table, log, "entry %zu of the hybrid MBR fits no GPT partition", i + 1);
    }
}

/* Where the second header may be: where the first says, and at the end of the disk. */
static int read_backup(const struct block_source *disk, uint32_t sector_size,
                       const struct gpt_copy *first, bool is_first_good, struct gpt_copy *backup,
                       const char **problem, struct error *err)
{
    uint64_t last_lba = disk->size_bytes / sector_size - 1;
    int status = 0;

    if (is_first_good && first->other_lba > 1) {
        status = read_copy(disk, sector_size, first->other_lba, backup, problem, err);
        if (status != 0 || first->other_lba == last_lba)
            return status;
    }
    return read_copy(disk, sector_size, last_lba, backup, problem, err);
}

static void report(const struct block_source *disk, const struct gpt_copy *first,
                   const char *first_problem, const struct gpt_copy *backup,
                   const char *backup_problem, struct partition_table *table, struct log *log)
{
    uint64_t last_lba = disk->size_bytes / table->sector_size - 1;

    if (first_problem)
        log_warning(log, "partition table: the first GPT is broken (%s); its backup is used",
                    first_problem);
    else if (backup_problem)
        log_warning(log, "partition table: the backup GPT is broken (%s)", backup_problem);
    else if (!copies_agree(first, backup))
        table_doubt(table, log, "the two GPTs differ");
    else if (backup->own_lba != last_lba)
        log_warning(log,
                    "partition table: the backup GPT is not at the end of the disk "
                    "(sector %llu of %llu)",
                    (unsigned long long)backup->own_lba, (unsigned long long)last_lba + 1);
}

static int add_all(const struct block_source *disk, const struct gpt_copy *copy,
                   struct partition_table *table, struct log *log, struct error *err)
{
    format_guid(copy->disk_guid, table->disk_guid);
    for (uint32_t i = 0; i < copy->entry_count; i++) {
        if (add_entry(disk, copy, i, table, log, err) < 0)
            return -1;
    }
    return 0;
}

static int read_both(const struct block_source *disk, const struct mbr *mbr,
                     struct partition_table *table, struct gpt_copy *first, struct gpt_copy *backup,
                     struct log *log, struct error *err)
{
    const char *first_problem, *backup_problem;
    int is_first_good = read_copy(disk, table->sector_size, 1, first, &first_problem, err);
    if (is_first_good < 0)
        return -1;
    int is_backup_good = read_backup(disk, table->sector_size, first, is_first_good == 1, backup,
                                     &backup_problem, err);
    if (is_backup_good < 0)
        return -1;
    if (!is_first_good && !is_backup_good)
        return 0;
    if (is_first_good)
        first_problem = NULL;
    if (is_backup_good)
        backup_problem = NULL;
    table->is_backup_used = !is_first_good;
    report(disk, first, first_problem, backup, backup_problem, table, log);
    if (add_all(disk, is_first_good ? first : backup, table, log, err) < 0 ||
        (is_first_good && add_copy_structures(disk, first, table, err) < 0) ||
        (is_backup_good && add_copy_structures(disk, backup, table, err) < 0))
        return -1;
    check_hybrid(mbr, table, log);
    return 1;
}

/* A broken copy is copied as it is too: the sectors where it stands by default. */
static int add_default_structures(const struct block_source *disk, struct partition_table *table,
                                  struct error *err)
{
    uint64_t unit = table->sector_size;
    uint64_t length = unit + 16 * KIB; /* the header and an array of the usual size */
    uint64_t end = align_down(disk->size_bytes, unit);

    if (table_add_structure(table, disk, unit, length, err) < 0)
        return -1;
    return table_add_structure(table, disk, end - min_u64(end, length), disk->size_bytes, err);
}

int gpt_read(const struct block_source *disk, const struct mbr *mbr, struct partition_table *table,
             bool *is_damaged, struct log *log, struct error *err)
{
    struct gpt_copy first = {0}, backup = {0};
    int status = 0;

    if (disk->size_bytes / table->sector_size >= 3) {
        status = read_both(disk, mbr, table, &first, &backup, log, err);
        *is_damaged |= status == 0 && (first.is_signed || backup.is_signed);
        if (status == 1 && add_default_structures(disk, table, err) < 0)
            status = -1;
    }
    gpt_copy_fini(&first);
    gpt_copy_fini(&backup);
    return status;
}
