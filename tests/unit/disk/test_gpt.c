/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * GPTs, whole and broken: which copy is believed, what is said about it, and what is doubted.
 */
#include "disk/partition.h"
#include "tests/unit/disk/sparse.h"

#include <zlib.h>

#define DISK (64 * MIB)
#define ENTRIES 128
#define ENTRY_SIZE 128
#define ARRAY_SIZE (ENTRIES * ENTRY_SIZE)

struct fixture {
    struct sparse disk;
    struct kept_log log;
    struct partition_table table;
    struct error err;
    uint32_t sector;
    uint64_t last; /* LBA of the backup header */
    uint8_t *mbr, *header, *array, *backup_header, *backup_array;
};

static void seal_header(uint8_t *header, const uint8_t *array, size_t array_size)
{
    store_le32(header + 88, (uint32_t)crc32(0, array, (uInt)array_size));
    store_le32(header + 16, 0);
    store_le32(header + 16, (uint32_t)crc32(0, header, 92));
}

static void seal(struct fixture *f)
{
    memcpy(f->backup_array, f->array, ARRAY_SIZE);
    seal_header(f->header, f->array, ARRAY_SIZE);
    seal_header(f->backup_header, f->backup_array, ARRAY_SIZE);
}

static void put_header(struct fixture *f, uint8_t *header, uint64_t own, uint64_t other,
                       uint64_t array)
{
    uint64_t array_sectors = ARRAY_SIZE / f->sector;

    memcpy(header, "EFI PART", 8);
    store_le32(header + 8, 0x10000);
    store_le32(header + 12, 92);
    store_le64(header + 24, own);
    store_le64(header + 32, other);
    store_le64(header + 40, 2 + array_sectors);
    store_le64(header + 48, f->last - array_sectors - 1);
    for (uint8_t i = 0; i < 16; i++)
        header[56 + i] = i;
    store_le64(header + 72, array);
    store_le32(header + 80, ENTRIES);
    store_le32(header + 84, ENTRY_SIZE);
}

static void put_entry(struct fixture *f, int index, uint64_t first, uint64_t last)
{
    uint8_t *entry = f->array + index * ENTRY_SIZE;

    memset(entry, 0xa0 + index, 16);
    memset(entry + 16, 0xb0 + index, 16);
    store_le64(entry + 32, first);
    store_le64(entry + 40, last);
}

static void build(struct fixture *f, uint32_t sector)
{
    uint64_t array_sectors = ARRAY_SIZE / sector;

    f->sector = sector;
    f->last = DISK / sector - 1;
    sparse_init(&f->disk, DISK, sector);
    f->mbr = sparse_at(&f->disk, 0, 512);
    f->header = sparse_at(&f->disk, sector, sector);
    f->array = sparse_at(&f->disk, 2 * sector, ARRAY_SIZE);
    f->backup_array = sparse_at(&f->disk, (f->last - array_sectors) * sector, ARRAY_SIZE);
    f->backup_header = sparse_at(&f->disk, f->last * sector, sector);
    put_mbr_entry(f->mbr, 1, 0xee, 1, (uint32_t)f->last);
    put_header(f, f->header, 1, f->last, 2);
    put_header(f, f->backup_header, f->last, 1, f->last - array_sectors);
    put_entry(f, 0, 2048, 4095);
    put_entry(f, 2, 4096, 8191);
    seal(f);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    kept_log_init(&f->log);
    build(f, 512);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    partition_table_fini(&f->table);
    kept_log_fini(&f->log);
    sparse_fini(&f->disk);
    free(f);
    return 0;
}

static void read_table(struct fixture *f)
{
    assert_int_equal(partition_table_read(&f->disk.source, &f->table, &f->log.log, &f->err), 0);
}

static void assert_usual_partitions(const struct fixture *f)
{
    assert_int_equal(f->table.kind, PARTITION_TABLE_GPT);
    assert_int_equal(f->table.count, 2);
    assert_int_equal(f->table.partitions[0].number, 1);
    assert_int_equal(f->table.partitions[0].offset, 2048 * f->sector);
    assert_int_equal(f->table.partitions[0].length, 2048 * f->sector);
    assert_int_equal(f->table.partitions[1].number, 3);
    assert_int_equal(f->table.partitions[1].offset, 4096 * f->sector);
    assert_int_equal(f->table.partitions[1].length, 4096 * f->sector);
}

static void assert_doubtful(const struct fixture *f, const char *warning)
{
    assert_true(f->table.is_doubtful);
    assert_warned(&f->log, warning);
}

static void test_gpt_lists_partitions_by_entry_index(void **state)
{
    struct fixture *f = *state;

    read_table(f);
    assert_usual_partitions(f);
    assert_int_equal(f->table.sector_size, 512);
    assert_false(f->table.is_doubtful);
    assert_false(f->table.is_backup_used);
    assert_int_equal(f->log.count, 0);
}

static void test_gpt_guids_are_printed_in_their_mixed_byte_order(void **state)
{
    struct fixture *f = *state;
    static const uint8_t esp[] = {0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11,
                                  0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b};

    memcpy(f->array, esp, sizeof(esp));
    seal(f);
    read_table(f);
    assert_string_equal(f->table.partitions[0].type_guid, PARTITION_TYPE_ESP);
    assert_string_equal(f->table.partitions[0].guid, "B0B0B0B0-B0B0-B0B0-B0B0-B0B0B0B0B0B0");
    assert_string_equal(f->table.disk_guid, "03020100-0504-0706-0809-0A0B0C0D0E0F");
}

static void test_gpt_names_become_utf8_without_control_characters(void **state)
{
    struct fixture *f = *state;
    static const uint16_t name[] = {'r', 0x00f6, 0x20ac, 0xd83d, 0xde00, 0x1b, 0xd800, 'x'};

    for (size_t i = 0; i < ARRAY_LENGTH(name); i++)
        store_le16(f->array + 56 + 2 * i, name[i]);
    seal(f);
    read_table(f);
    assert_string_equal(f->table.partitions[0].name,
                        "r\xc3\xb6\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbd\xef\xbf\xbdx");
}

static void test_gpt_name_may_fill_its_field(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < 36; i++)
        store_le16(f->array + 56 + 2 * i, 0x20ac);
    seal(f);
    read_table(f);
    assert_int_equal(strlen(f->table.partitions[0].name), 36 * 3);
}

static void test_gpt_legacy_boot_attribute_makes_it_bootable(void **state)
{
    struct fixture *f = *state;

    store_le64(f->array + 48, 4);
    seal(f);
    read_table(f);
    assert_true(f->table.partitions[0].is_bootable);
    assert_false(f->table.partitions[1].is_bootable);
}

static void test_gpt_structures_are_both_copies_and_the_gap(void **state)
{
    struct fixture *f = *state;

    read_table(f);
    assert_true(extents_contain(&f->table.structures, 0, 1 * MIB));
    assert_true(extents_contain(&f->table.structures, DISK - 33 * 512, 33 * 512));
    assert_int_equal(extents_total(&f->table.structures), 1 * MIB + 33 * 512);
}

static void test_gpt_is_read_with_large_sectors_too(void **state)
{
    struct fixture *f = *state;

    for (uint32_t known = 0; known <= 4096; known += 4096) {
        sparse_fini(&f->disk);
        partition_table_fini(&f->table);
        build(f, 4096);
        f->disk.source.sector_size = known;
        read_table(f);
        assert_usual_partitions(f);
        assert_int_equal(f->table.sector_size, 4096);
        assert_false(f->table.is_doubtful);
        assert_int_equal(f->log.count, 0);
    }
}

static void test_gpt_of_the_other_sector_size_is_not_read_from_a_device(void **state)
{
    struct fixture *f = *state;

    f->disk.source.sector_size = 4096;
    read_table(f);
    assert_int_equal(f->table.kind, PARTITION_TABLE_NONE);
    assert_doubtful(f, "no GPT that can be used");
}

static void test_gpt_backup_is_used_when_the_first_header_is_broken(void **state)
{
    struct fixture *f = *state;

    f->header[57] ^= 1;
    read_table(f);
    assert_usual_partitions(f);
    assert_true(f->table.is_backup_used);
    assert_false(f->table.is_doubtful);
    assert_warned(&f->log, "the first GPT is broken (wrong checksum); its backup is used");
    assert_true(extents_contain(&f->table.structures, DISK - 33 * 512, 33 * 512));
}

static void test_gpt_backup_is_used_when_the_first_array_is_broken(void **state)
{
    struct fixture *f = *state;

    f->array[40] ^= 1;
    read_table(f);
    assert_usual_partitions(f);
    assert_true(f->table.is_backup_used);
    assert_warned(&f->log, "its array has a wrong checksum");
}

static void test_gpt_backup_is_used_when_the_first_is_wiped(void **state)
{
    struct fixture *f = *state;

    memset(f->header, 0, 512);
    memset(f->array, 0, ARRAY_SIZE);
    read_table(f);
    assert_usual_partitions(f);
    assert_true(f->table.is_backup_used);
}

static void test_gpt_unreadable_backup_is_a_warning_only(void **state)
{
    struct fixture *f = *state;

    f->disk.fail_from = DISK - 1;
    read_table(f);
    assert_usual_partitions(f);
    assert_false(f->table.is_doubtful);
    assert_warned(&f->log, "the backup GPT is broken (it cannot be read)");
}

static void test_gpt_broken_backup_is_a_warning_only(void **state)
{
    struct fixture *f = *state;

    f->backup_header[0] = 'X';
    read_table(f);
    assert_usual_partitions(f);
    assert_false(f->table.is_backup_used);
    assert_false(f->table.is_doubtful);
    assert_warned(&f->log, "the backup GPT is broken (no signature)");
    /* and is copied as it is */
    assert_true(extents_contain(&f->table.structures, DISK - 33 * 512, 33 * 512));
}

static void test_gpt_with_both_copies_broken_is_no_table(void **state)
{
    struct fixture *f = *state;

    f->header[57] ^= 1;
    f->backup_array[0] ^= 1;
    read_table(f);
    assert_int_equal(f->table.kind, PARTITION_TABLE_NONE);
    assert_int_equal(f->table.count, 0);
    assert_doubtful(f, "a protective MBR, but no GPT that can be used");
}

static void test_gpt_copies_that_differ_are_doubted(void **state)
{
    struct fixture *f = *state;

    f->backup_array[40] ^= 1;
    seal_header(f->backup_header, f->backup_array, ARRAY_SIZE);
    read_table(f);
    assert_usual_partitions(f);
    assert_doubtful(f, "the two GPTs differ");
}

static void test_gpt_of_a_grown_disk_is_read_with_a_warning(void **state)
{
    struct fixture *f = *state;

    f->disk.source.size_bytes += 8 * MIB;
    read_table(f);
    assert_usual_partitions(f);
    assert_false(f->table.is_doubtful);
    assert_warned(&f->log, "the backup GPT is not at the end of the disk");
    assert_true(extents_contain(&f->table.structures, DISK - 33 * 512, 33 * 512));
}

static void test_gpt_of_a_truncated_disk_doubts_what_is_missing(void **state)
{
    struct fixture *f = *state;

    f->disk.source.size_bytes = 6000 * 512;
    read_table(f);
    assert_int_equal(f->table.count, 2);
    assert_int_equal(f->table.partitions[1].length, (6000 - 4096) * 512);
    assert_doubtful(f, "partition 3 ends behind the end of the disk");
    assert_warned(&f->log, "the backup GPT is broken (no signature)");
}

static void test_gpt_doubts_entries_that_overlap(void **state)
{
    struct fixture *f = *state;

    put_entry(f, 1, 4000, 5000);
    seal(f);
    read_table(f);
    assert_int_equal(f->table.count, 3);
    assert_doubtful(f, "partitions 1 and 2 overlap");
}

static void test_gpt_doubts_entries_outside_the_usable_sectors(void **state)
{
    struct fixture *f = *state;

    put_entry(f, 1, 1, 1000);
    seal(f);
    read_table(f);
    assert_doubtful(f, "partition 2 lies outside the usable sectors");
}

static void test_gpt_doubts_entries_that_end_before_they_start(void **state)
{
    struct fixture *f = *state;

    put_entry(f, 1, 9000, 8999);
    put_entry(f, 4, 0, UINT64_MAX);
    put_entry(f, 5, UINT64_MAX - 1, UINT64_MAX - 1);
    seal(f);
    read_table(f);
    assert_usual_partitions(f);
    assert_doubtful(f, "partition 2 ends before it starts");
    assert_warned(&f->log, "partition 5 ends before it starts");
    assert_warned(&f->log, "partition 6 (sector");
}

static void test_gpt_hybrid_mbr_that_agrees_is_fine(void **state)
{
    struct fixture *f = *state;

    put_mbr_entry(f->mbr, 2, 0x83, 4096, 4096);
    read_table(f);
    assert_usual_partitions(f);
    assert_false(f->table.is_doubtful);
}

static void test_gpt_hybrid_mbr_that_differs_is_doubted(void **state)
{
    struct fixture *f = *state;

    put_mbr_entry(f->mbr, 2, 0x83, 4096, 4097);
    read_table(f);
    assert_usual_partitions(f);
    assert_doubtful(f, "entry 2 of the hybrid MBR fits no GPT partition");
}

static void test_gpt_gives_way_to_an_mbr_with_partitions(void **state)
{
    struct fixture *f = *state;

    put_mbr_entry(f->mbr, 1, 0x83, 2048, 10000);
    read_table(f);
    assert_int_equal(f->table.kind, PARTITION_TABLE_MBR);
    assert_int_equal(f->table.count, 1);
    assert_warned(&f->log, "remains of a GPT");
}

static void test_gpt_without_its_protective_mbr_is_doubted(void **state)
{
    struct fixture *f = *state;

    memset(f->mbr, 0, 512);
    read_table(f);
    assert_usual_partitions(f);
    assert_doubtful(f, "without its protective MBR");
}

/* The header for large sectors lies in what the other's array calls entries 24 and more. */
static void test_gpt_of_both_sector_sizes_is_doubted(void **state)
{
    struct fixture *f = *state;
    uint64_t last = DISK / 4096 - 1;
    uint8_t *header = f->array + 4096 - 1024;
    uint8_t *array = sparse_at(&f->disk, 8 * MIB, ARRAY_SIZE);

    f->disk.source.sector_size = 0;
    f->sector = 4096;
    put_header(f, header, 1, last, 8 * MIB / 4096);
    seal_header(header, array, ARRAY_SIZE);
    f->sector = 512;
    seal(f);
    read_table(f);
    assert_int_equal(f->table.sector_size, 512);
    assert_doubtful(f, "two GPTs, for sectors of 512 and of 4096 bytes");
}

/* Each field of the header that sizes anything, with a right checksum around the lie. */
static void test_gpt_lying_header_is_refused(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int offset, bytes;
        uint64_t value;
        const char *problem;
    } lies[] = {
        {8, 4, 0x20000, "unknown revision"},
        {12, 4, 91, "impossible header size"},
        {12, 4, 513, "impossible header size"},
        {12, 4, UINT32_MAX, "impossible header size"},
        {24, 8, 2, "it says that it is elsewhere"},
        {72, 8, 0, "its array is outside the disk"},
        {72, 8, UINT64_MAX, "its array is outside the disk"},
        {72, 8, DISK / 512 - 1, "its array is outside the disk"},
        {80, 4, 0, "impossible number of entries"},
        {80, 4, UINT32_MAX, "impossible number of entries"},
        {80, 4, PARTITION_MAX_GPT_ENTRIES + 1, "impossible number of entries"},
        {84, 4, 0, "impossible entry size"},
        {84, 4, 64, "impossible entry size"},
        {84, 4, 129, "impossible entry size"},
        {84, 4, UINT32_MAX, "impossible entry size"},
    };

    for (size_t i = 0; i < ARRAY_LENGTH(lies); i++) {
        sparse_fini(&f->disk);
        build(f, 512);
        if (lies[i].bytes == 4)
            store_le32(f->header + lies[i].offset, (uint32_t)lies[i].value);
        else
            store_le64(f->header + lies[i].offset, lies[i].value);
        store_le32(f->header + 16, 0);
        store_le32(f->header + 16, (uint32_t)crc32(0, f->header, 92));
        partition_table_fini(&f->table);
        read_table(f);
        assert_usual_partitions(f);
        assert_true(f->table.is_backup_used);
        assert_warned(&f->log, lies[i].problem);
        kept_log_fini(&f->log);
    }
}

static void test_gpt_other_lba_that_lies_is_only_a_warning(void **state)
{
    struct fixture *f = *state;
    static const uint64_t places[] = {0, 1, 5, DISK / 512, UINT64_MAX};

    for (size_t i = 0; i < ARRAY_LENGTH(places); i++) {
        store_le64(f->header + 32, places[i]);
        seal(f);
        partition_table_fini(&f->table);
        read_table(f);
        assert_usual_partitions(f);
        assert_false(f->table.is_backup_used);
    }
}

static void test_gpt_disk_too_small_for_one_has_none(void **state)
{
    struct fixture *f = *state;

    for (uint64_t size = 512; size < 3 * 512; size += 256) {
        f->disk.source.size_bytes = size;
        partition_table_fini(&f->table);
        read_table(f);
        assert_int_equal(f->table.kind, PARTITION_TABLE_NONE);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_gpt_lists_partitions_by_entry_index),
        CASE(test_gpt_guids_are_printed_in_their_mixed_byte_order),
        CASE(test_gpt_names_become_utf8_without_control_characters),
        CASE(test_gpt_name_may_fill_its_field),
        CASE(test_gpt_legacy_boot_attribute_makes_it_bootable),
        CASE(test_gpt_structures_are_both_copies_and_the_gap),
        CASE(test_gpt_is_read_with_large_sectors_too),
        CASE(test_gpt_of_the_other_sector_size_is_not_read_from_a_device),
        CASE(test_gpt_backup_is_used_when_the_first_header_is_broken),
        CASE(test_gpt_backup_is_used_when_the_first_array_is_broken),
        CASE(test_gpt_backup_is_used_when_the_first_is_wiped),
        CASE(test_gpt_unreadable_backup_is_a_warning_only),
        CASE(test_gpt_broken_backup_is_a_warning_only),
        CASE(test_gpt_with_both_copies_broken_is_no_table),
        CASE(test_gpt_copies_that_differ_are_doubted),
        CASE(test_gpt_of_a_grown_disk_is_read_with_a_warning),
        CASE(test_gpt_of_a_truncated_disk_doubts_what_is_missing),
        CASE(test_gpt_doubts_entries_that_overlap),
        CASE(test_gpt_doubts_entries_outside_the_usable_sectors),
        CASE(test_gpt_doubts_entries_that_end_before_they_start),
        CASE(test_gpt_hybrid_mbr_that_agrees_is_fine),
        CASE(test_gpt_hybrid_mbr_that_differs_is_doubted),
        CASE(test_gpt_gives_way_to_an_mbr_with_partitions),
        CASE(test_gpt_without_its_protective_mbr_is_doubted),
        CASE(test_gpt_of_both_sector_sizes_is_doubted),
        CASE(test_gpt_lying_header_is_refused),
        CASE(test_gpt_other_lba_that_lies_is_only_a_warning),
        CASE(test_gpt_disk_too_small_for_one_has_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
