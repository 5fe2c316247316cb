/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A disk put together: what has to be copied of it, and when that is everything.
 */
#include "disk/layout.h"
#include "tests/unit/disk/sparse.h"

#define DISK (1 * GIB)
#define SECTOR ((uint64_t)512)

struct fixture {
    struct sparse disk;
    struct kept_log log;
    struct layout layout;
    struct error err;
    uint8_t *mbr;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    sparse_init(&f->disk, DISK, 512);
    kept_log_init(&f->log);
    f->mbr = sparse_at(&f->disk, 0, 512);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    layout_fini(&f->layout);
    kept_log_fini(&f->log);
    sparse_fini(&f->disk);
    free(f);
    return 0;
}

static void read_layout(struct fixture *f)
{
    assert_int_equal(layout_read(&f->disk.source, &f->layout, &f->log.log, &f->err), 0);
}

static void assert_all_used(const struct fixture *f)
{
    assert_int_equal(f->layout.used.count, 1);
    assert_int_equal(f->layout.used.items[0].offset, 0);
    assert_int_equal(f->layout.used.items[0].length, f->disk.source.size_bytes);
}

static void test_layout_used_is_the_structures_and_the_used_part_of_volumes(void **state)
{
    struct fixture *f = *state;

    put_mbr_entry(f->mbr, 1, 0x82, 2048, 100000);
    put_mbr_entry(f->mbr, 2, 0x83, 200000, 1000);
    put_swap(&f->disk, 1 * MIB, 100000 * SECTOR, 4096);
    read_layout(f);
    assert_int_equal(f->layout.count, 2);
    assert_string_equal(f->layout.volumes[0].probe.type, "swap");
    assert_string_equal(f->layout.volumes[0].driver->name, "swap");
    assert_ptr_equal(f->layout.volumes[0].partition, &f->layout.table.partitions[0]);
    assert_int_equal(f->layout.volumes[0].offset, 1 * MIB);
    assert_int_equal(f->layout.volumes[0].map.used.items[0].offset, 0);
    assert_string_equal(f->layout.volumes[1].driver->name, "unknown");
    /* the gap and the header page; what mkswap left behind its last whole page; all of the other */
    assert_int_equal(f->layout.used.count, 2);
    assert_int_equal(f->layout.used.items[0].offset, 0);
    assert_int_equal(f->layout.used.items[0].length, 1 * MIB + 4096);
    assert_int_equal(f->layout.used.items[1].offset, 200000 * SECTOR);
    assert_int_equal(f->layout.used.items[1].length, 1000 * SECTOR);
    assert_int_equal(f->log.count, 0);
}

static void test_layout_of_a_doubtful_table_is_the_whole_disk(void **state)
{
    struct fixture *f = *state;

    put_mbr_entry(f->mbr, 1, 0x82, 2048, 100000);
    put_mbr_entry(f->mbr, 2, 0x83, 90000, 100000);
    put_swap(&f->disk, 1 * MIB, 100000 * SECTOR, 4096);
    read_layout(f);
    assert_int_equal(f->layout.count, 2);
    assert_all_used(f);
    assert_warned(&f->log, "the whole disk is copied");
}

static void test_layout_without_a_table_is_one_volume(void **state)
{
    struct fixture *f = *state;

    put_swap(&f->disk, 0, DISK, 4096);
    read_layout(f);
    assert_int_equal(f->layout.table.kind, PARTITION_TABLE_NONE);
    assert_int_equal(f->layout.count, 1);
    assert_null(f->layout.volumes[0].partition);
    assert_int_equal(f->layout.volumes[0].length, DISK);
    assert_int_equal(extents_total(&f->layout.used), 4096);
}

static void test_layout_of_an_unknown_disk_is_all_used(void **state)
{
    struct fixture *f = *state;

    read_layout(f);
    assert_int_equal(f->layout.count, 1);
    assert_string_equal(f->layout.volumes[0].driver->name, "unknown");
    assert_all_used(f);
}

static void test_layout_of_a_broken_gpt_is_all_used(void **state)
{
    struct fixture *f = *state;

    put_mbr_entry(f->mbr, 1, 0xee, 1, 1000);
    read_layout(f);
    assert_all_used(f);
    assert_warned(&f->log, "no GPT that can be used");
}

/* An old superblock may show where a table is broken; it is not to decide what is copied. */
static void test_layout_of_a_broken_table_ignores_what_the_whole_disk_seems_to_hold(void **state)
{
    struct fixture *f = *state;
    uint8_t *header = put_swap(&f->disk, 0, DISK, 4096);

    put_mbr_entry(header, 1, 0x83, 2048, 1000);
    header[0x1be] = 0x11;
    read_layout(f);
    assert_int_equal(f->layout.table.kind, PARTITION_TABLE_NONE);
    assert_string_equal(f->layout.volumes[0].probe.type, "swap");
    assert_all_used(f);
    assert_warned(&f->log, "the whole disk is copied");
}

static void test_layout_of_a_disk_of_no_size_is_empty(void **state)
{
    struct fixture *f = *state;

    f->disk.source.size_bytes = 0;
    read_layout(f);
    assert_int_equal(f->layout.count, 0);
    assert_int_equal(f->layout.used.count, 0);
}

static void test_layout_names_each_doubtful_volume(void **state)
{
    struct fixture *f = *state;
    uint8_t *header;

    put_mbr_entry(f->mbr, 1, 0x82, 2048, 100000);
    header = put_swap(&f->disk, 1 * MIB, 100000 * SECTOR, 4096);
    memcpy(header + 4086, "S1SUSPEND\0", 10);
    read_layout(f);
    assert_false(f->layout.volumes[0].map.is_certain);
    assert_warned(&f->log, "partition 1: all of it is copied: swap: a hibernated system");
    assert_true(extents_contain(&f->layout.used, 1 * MIB, 100000 * SECTOR));
}

static void test_layout_of_a_raid_member_with_a_table_is_the_whole_disk(void **state)
{
    struct fixture *f = *state;
    uint8_t *super = sparse_at(&f->disk, DISK - 8192, 4096);
    uint64_t sum = 0;

    put_mbr_entry(f->mbr, 1, 0x82, 2048, 100000);
    put_swap(&f->disk, 1 * MIB, 100000 * SECTOR, 4096);
    store_le32(super, 0xa92b4efc);
    store_le32(super + 4, 1);
    store_le64(super + 144, (DISK - 8192) / 512);
    for (size_t i = 0; i < 256; i += 4)
        sum += load_le32(super + i);
    store_le32(super + 216, (uint32_t)((sum & 0xffffffff) + (sum >> 32)));
    read_layout(f);
    assert_all_used(f);
    assert_warned(&f->log, "linux_raid_member");
}

static void test_layout_goes_on_where_a_volume_cannot_be_read(void **state)
{
    struct fixture *f = *state;

    put_mbr_entry(f->mbr, 1, 0x82, 2048, 100000);
    put_mbr_entry(f->mbr, 2, 0x82, 1000000, 100000);
    put_swap(&f->disk, 1 * MIB, 100000 * SECTOR, 4096);
    put_swap(&f->disk, 1000000 * SECTOR, 100000 * SECTOR, 4096);
    f->disk.fail_from = 1000000 * SECTOR;
    read_layout(f);
    assert_true(f->layout.volumes[0].map.is_certain);
    assert_false(f->layout.volumes[1].map.is_certain);
    assert_warned(&f->log, "partition 2: all of it is copied: probe: read");
    assert_true(extents_contain(&f->layout.used, 1000000 * SECTOR, 100000 * SECTOR));
}

static void test_layout_fails_without_the_first_sector(void **state)
{
    struct fixture *f = *state;

    f->disk.fail_from = 1;
    assert_int_equal(layout_read(&f->disk.source, &f->layout, &f->log.log, &f->err), -1);
    assert_non_null(strstr(f->err.text, "Input/output error"));
    assert_int_equal(f->layout.count, 0);
}

static void test_layout_of_the_largest_disk_reads_little(void **state)
{
    struct fixture *f = *state;

    f->disk.source.size_bytes = 64 * TIB;
    f->disk.source.sector_size = 0;
    put_mbr_entry(f->mbr, 1, 0x82, 2048, 0xfffff000);
    put_swap(&f->disk, 1 * MIB, 0xfffff000 * SECTOR, 4096);
    read_layout(f);
    assert_true(f->disk.bytes_read < 40 * MIB);
    assert_true(extents_total(&f->layout.used) < 4 * MIB);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_layout_used_is_the_structures_and_the_used_part_of_volumes),
        CASE(test_layout_of_a_doubtful_table_is_the_whole_disk),
        CASE(test_layout_without_a_table_is_one_volume),
        CASE(test_layout_of_an_unknown_disk_is_all_used),
        CASE(test_layout_of_a_broken_gpt_is_all_used),
        CASE(test_layout_of_a_broken_table_ignores_what_the_whole_disk_seems_to_hold),
        CASE(test_layout_of_a_disk_of_no_size_is_empty),
        CASE(test_layout_names_each_doubtful_volume),
        CASE(test_layout_of_a_raid_member_with_a_table_is_the_whole_disk),
        CASE(test_layout_goes_on_where_a_volume_cannot_be_read),
        CASE(test_layout_fails_without_the_first_sector),
        CASE(test_layout_of_the_largest_disk_reads_little),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
