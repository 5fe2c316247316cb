/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * MBR and EBR chains: what Linux would list, and every way in which a chain can lie.
 */
#include "disk/partition.h"
#include "tests/unit/disk/sparse.h"

#define SECTOR ((uint64_t)512)
#define DISK (1 * GIB)

struct fixture {
    struct sparse disk;
    struct kept_log log;
    struct partition_table table;
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

static void assert_partition(const struct fixture *f, size_t index, unsigned number, uint64_t start,
                             uint64_t count)
{
    assert_true(index < f->table.count);
    assert_int_equal(f->table.partitions[index].number, number);
    assert_int_equal(f->table.partitions[index].offset, start * SECTOR);
    assert_int_equal(f->table.partitions[index].length, count * SECTOR);
}

static void assert_copied(const struct fixture *f, uint64_t sector, uint64_t count)
{
    assert_true(extents_contain(&f->table.structures, sector * SECTOR, count * SECTOR));
}

static void assert_doubtful(const struct fixture *f, const char *warning)
{
    assert_true(f->table.is_doubtful);
    assert_warned(&f->log, warning);
}

/* An EBR with a logical partition 8 sectors behind it; next is a sector of the disk, 0: none. */
static uint8_t *put_ebr(struct fixture *f, uint64_t container, uint64_t at, uint32_t count,
                        uint64_t next)
{
    uint8_t *sector = sparse_at(&f->disk, at * SECTOR, 512);

    put_mbr_entry(sector, 1, 0x83, 8, count);
    if (next)
        put_mbr_entry(sector, 2, 0x05, (uint32_t)(next - container), 1000);
    return sector;
}

static void test_mbr_lists_primary_partitions_by_offset(void **state)
{
    struct fixture *f = *state;

    store_le32(f->mbr + 0x1b8, 0xcafe1234);
    put_mbr_entry(f->mbr, 1, 0x83, 400000, 1000);
    put_mbr_entry(f->mbr, 3, 0x82, 2048, 100000);
    f->mbr[0x1be] = 0x80;
    read_table(f);
    assert_int_equal(f->table.kind, PARTITION_TABLE_MBR);
    assert_int_equal(f->table.mbr_disk_id, 0xcafe1234);
    assert_int_equal(f->table.count, 2);
    assert_partition(f, 0, 3, 2048, 100000);
    assert_partition(f, 1, 1, 400000, 1000);
    assert_true(f->table.partitions[1].is_bootable);
    assert_false(f->table.partitions[0].is_bootable);
    assert_int_equal(f->table.partitions[0].mbr_type, 0x82);
    assert_false(f->table.is_doubtful);
    assert_int_equal(f->log.count, 0);
}

static void test_mbr_structures_are_the_gap_to_the_first_partition(void **state)
{
    struct fixture *f = *state;

    put_mbr_entry(f->mbr, 1, 0x83, 2048, 100000);
    read_table(f);
    assert_int_equal(f->table.structures.count, 1);
    assert_int_equal(f->table.structures.items[0].offset, 0);
    assert_int_equal(f->table.structures.items[0].length, 2048 * SECTOR);
}

static void test_mbr_gap_is_copied_up_to_two_mebibytes(void **state)
{
    struct fixture *f = *state;

    put_mbr_entry(f->mbr, 1, 0x83, 200000, 100000);
    read_table(f);
    assert_int_equal(extents_total(&f->table.structures), 2 * MIB);
}

static void test_mbr_first_sector_is_copied_even_where_a_partition_starts_in_it(void **state)
{
    struct fixture *f = *state;

    put_mbr_entry(f->mbr, 1, 0x83, 1, 100000);
    read_table(f);
    assert_copied(f, 0, 1);
    assert_int_equal(extents_total(&f->table.structures), SECTOR);
}

static void test_mbr_lists_logical_partitions_from_five(void **state)
{
    struct fixture *f = *state;

    put_mbr_entry(f->mbr, 1, 0x83, 2048, 2048);
    put_mbr_entry(f->mbr, 2, 0x0f, 10000, 100000);
    put_ebr(f, 10000, 10000, 500, 20000);
    put_ebr(f, 10000, 20000, 600, 30000);
    put_ebr(f, 10000, 30000, 700, 0);
    read_table(f);
    assert_int_equal(f->table.count, 4);
    assert_partition(f, 1, 5, 10008, 500);
    assert_partition(f, 2, 6, 20008, 600);
    assert_partition(f, 3, 7, 30008, 700);
    assert_true(f->table.partitions[3].is_logical);
    assert_false(f->table.partitions[0].is_logical);
    assert_copied(f, 10000, 8);
    assert_copied(f, 20000, 8);
    assert_copied(f, 30000, 8);
    assert_false(extents_touch(&f->table.structures, 10008 * SECTOR, 1));
    assert_false(f->table.is_doubtful);
}

static void test_mbr_knows_all_three_types_of_container(void **state)
{
    struct fixture *f = *state;
    static const uint8_t types[] = {0x05, 0x0f, 0x85};

    put_ebr(f, 10000, 10000, 500, 0);
    for (size_t i = 0; i < ARRAY_LENGTH(types); i++) {
        put_mbr_entry(f->mbr, 4, types[i], 10000, 100000);
        read_table(f);
        assert_int_equal(f->table.count, 1);
        assert_partition(f, 0, 5, 10008, 500);
        partition_table_fini(&f->table);
    }
}

static void test_mbr_entry_of_type_0_with_a_size_is_a_partition(void **state)
{
    struct fixture *f = *state;

    put_mbr_entry(f->mbr, 1, 0x00, 2048, 4096);
    put_mbr_entry(f->mbr, 2, 0x83, 8192, 0);
    read_table(f);
    assert_int_equal(f->table.count, 1);
    assert_partition(f, 0, 1, 2048, 4096);
}

static void test_mbr_chain_may_go_backwards(void **state)
{
    struct fixture *f = *state;

    put_mbr_entry(f->mbr, 1, 0x05, 10000, 100000);
    put_ebr(f, 10000, 10000, 500, 50000);
    put_ebr(f, 10000, 50000, 600, 20000);
    put_ebr(f, 10000, 20000, 700, 0);
    read_table(f);
    assert_int_equal(f->table.count, 3);
    assert_partition(f, 1, 7, 20008, 700);
    assert_partition(f, 2, 6, 50008, 600);
    assert_false(f->table.is_doubtful);
}

static void test_mbr_empty_ebr_at_the_head_takes_no_number(void **state)
{
    struct fixture *f = *state;
    uint8_t *head = sparse_at(&f->disk, 10000 * SECTOR, 512);

    put_mbr_entry(f->mbr, 1, 0x05, 10000, 100000);
    put_mbr_entry(head, 2, 0x05, 10000, 1000);
    put_ebr(f, 10000, 20000, 600, 0);
    read_table(f);
    assert_int_equal(f->table.count, 1);
    assert_partition(f, 0, 5, 20008, 600);
    assert_copied(f, 10000, 1);
}

static void test_mbr_circle_of_ebrs_ends_in_doubt(void **state)
{
    struct fixture *f = *state;

    put_mbr_entry(f->mbr, 1, 0x05, 10000, 100000);
    put_ebr(f, 10000, 10000, 500, 20000);
    put_ebr(f, 10000, 20000, 600, 30000);
    put_ebr(f, 10000, 30000, 600, 20000);
    read_table(f);
    assert_int_equal(f->table.count, 3);
    assert_doubtful(f, "circle");
}

static void test_mbr_ebr_that_points_to_itself_ends_in_doubt(void **state)
{
    struct fixture *f = *state;
    uint8_t *ebr = sparse_at(&f->disk, 10000 * SECTOR, 512);

    put_mbr_entry(f->mbr, 1, 0x05, 10000, 100000);
    put_mbr_entry(ebr, 1, 0x83, 8, 10);
    put_mbr_entry(ebr, 2, 0x05, 0, 1);
    read_table(f);
    assert_int_equal(f->table.count, 1);
    assert_doubtful(f, "circle");
}

static void test_mbr_chain_has_a_step_limit(void **state)
{
    struct fixture *f = *state;

    put_mbr_entry(f->mbr, 1, 0x05, 10000, 1000000);
    for (uint64_t i = 0; i < PARTITION_MAX_LOGICAL + 20; i++)
        put_ebr(f, 10000, 10000 + i * 100, 10, 10000 + (i + 1) * 100);
    read_table(f);
    assert_int_equal(f->table.count, PARTITION_MAX_LOGICAL);
    assert_doubtful(f, "more than 256 EBRs");
}

static void test_mbr_doubts_chains_that_leave_the_container_or_the_disk(void **state)
{
    struct fixture *f = *state;
    uint8_t *ebr = put_ebr(f, 10000, 10000, 500, 20000);

    put_mbr_entry(f->mbr, 1, 0x05, 10000, 5000);
    put_ebr(f, 10000, 20000, 500, 0);
    read_table(f);
    assert_int_equal(f->table.count, 1);
    assert_doubtful(f, "outside its container");

    partition_table_fini(&f->table);
    put_mbr_entry(f->mbr, 1, 0x05, 10000, 0xffffffff);
    put_mbr_entry(ebr, 2, 0x05, 0xfffffff0, 1);
    read_table(f);
    assert_int_equal(f->table.count, 1);
    assert_true(f->table.is_doubtful);
}

static void test_mbr_doubts_a_missing_ebr_signature(void **state)
{
    struct fixture *f = *state;

    put_mbr_entry(f->mbr, 1, 0x05, 10000, 100000);
    put_ebr(f, 10000, 10000, 500, 20000);
    read_table(f);
    assert_int_equal(f->table.count, 1);
    assert_doubtful(f, "no EBR at sector 20000");
    assert_copied(f, 20000, 1);
}

static void test_mbr_doubts_surplus_entries_in_an_ebr(void **state)
{
    struct fixture *f = *state;
    uint8_t *ebr = put_ebr(f, 10000, 10000, 500, 0);

    put_mbr_entry(f->mbr, 1, 0x05, 10000, 100000);
    put_mbr_entry(ebr, 3, 0x83, 1000, 100);
    read_table(f);
    assert_doubtful(f, "unexpected entry 3");
}

static void test_mbr_doubts_a_logical_partition_outside_its_container(void **state)
{
    struct fixture *f = *state;

    put_mbr_entry(f->mbr, 1, 0x05, 10000, 100);
    put_ebr(f, 10000, 10000, 500, 0);
    read_table(f);
    assert_doubtful(f, "leaves its container");
}

static void test_mbr_doubts_overlaps(void **state)
{
    struct fixture *f = *state;

    put_mbr_entry(f->mbr, 1, 0x83, 2048, 100000);
    put_mbr_entry(f->mbr, 2, 0x83, 100000, 100000);
    read_table(f);
    assert_doubtful(f, "partitions 1 and 2 overlap");

    partition_table_fini(&f->table);
    put_mbr_entry(f->mbr, 2, 0x05, 90000, 100000);
    put_ebr(f, 90000, 90000, 10, 0);
    read_table(f);
    assert_doubtful(f, "overlaps the extended partition");
}

static void test_mbr_partition_behind_the_end_is_cut_or_left_out(void **state)
{
    struct fixture *f = *state;
    uint64_t sectors = DISK / SECTOR;

    put_mbr_entry(f->mbr, 1, 0x83, 2048, 0xffffffff);
    put_mbr_entry(f->mbr, 2, 0x83, (uint32_t)sectors, 1);
    read_table(f);
    assert_int_equal(f->table.count, 1);
    assert_partition(f, 0, 1, 2048, sectors - 2048);
    assert_doubtful(f, "ends behind the end of the disk");
    assert_warned(&f->log, "partition 2 (sector 2097152, 1 sectors) is not on this disk");
}

static void test_mbr_doubts_a_dynamic_disk(void **state)
{
    struct fixture *f = *state;

    put_mbr_entry(f->mbr, 1, 0x42, 63, 100000);
    read_table(f);
    assert_doubtful(f, "dynamic disk");
}

static void test_mbr_boot_sector_of_a_file_system_is_no_table(void **state)
{
    struct fixture *f = *state;

    memcpy(f->mbr + 3, "NTFS    ", 8);
    memset(f->mbr + 0x1be, 'x', 64);
    f->mbr[0x1fe] = 0x55;
    f->mbr[0x1ff] = 0xaa;
    read_table(f);
    assert_int_equal(f->table.kind, PARTITION_TABLE_NONE);
    assert_int_equal(f->log.count, 0);
    assert_false(f->table.is_doubtful);
    assert_int_equal(f->table.structures.count, 0);
}

static void test_mbr_over_the_text_of_a_boot_sector_is_doubted(void **state)
{
    struct fixture *f = *state;

    memcpy(f->mbr + 0x52, "FAT32   ", 8);
    put_mbr_entry(f->mbr, 1, 0x83, 2048, 100000);
    read_table(f);
    assert_int_equal(f->table.kind, PARTITION_TABLE_MBR);
    assert_true(f->table.is_doubtful);
}

static void test_mbr_with_impossible_flags_is_no_table(void **state)
{
    struct fixture *f = *state;

    put_mbr_entry(f->mbr, 1, 0x83, 2048, 100000);
    f->mbr[0x1be] = 0x7f;
    read_table(f);
    assert_int_equal(f->table.kind, PARTITION_TABLE_NONE);
    assert_doubtful(f, "it is none");
}

static void test_mbr_without_entries_is_no_table(void **state)
{
    struct fixture *f = *state;

    f->mbr[0x1fe] = 0x55;
    f->mbr[0x1ff] = 0xaa;
    read_table(f);
    assert_int_equal(f->table.kind, PARTITION_TABLE_NONE);
}

static void test_mbr_without_signature_is_no_table(void **state)
{
    struct fixture *f = *state;

    put_mbr_entry(f->mbr, 1, 0x83, 2048, 100000);
    f->mbr[0x1ff] = 0;
    read_table(f);
    assert_int_equal(f->table.kind, PARTITION_TABLE_NONE);
}

static void test_mbr_of_a_disk_with_large_sectors_counts_in_them(void **state)
{
    struct fixture *f = *state;

    f->disk.source.sector_size = 4096;
    put_mbr_entry(f->mbr, 1, 0x83, 256, 1000);
    read_table(f);
    assert_int_equal(f->table.sector_size, 4096);
    assert_int_equal(f->table.partitions[0].offset, 1 * MIB);
    assert_int_equal(f->table.partitions[0].length, 4096000);
    assert_false(f->table.is_doubtful);
}

static void test_mbr_of_an_image_is_read_with_the_sectors_that_fit_its_contents(void **state)
{
    struct fixture *f = *state;

    f->disk.source.sector_size = 0;
    put_mbr_entry(f->mbr, 1, 0x82, 256, 10000);
    put_swap(&f->disk, 256 * 4096, 10000 * 4096, 4096);
    read_table(f);
    assert_int_equal(f->table.sector_size, 4096);
    assert_int_equal(f->table.partitions[0].offset, 256 * 4096);
    assert_false(f->table.is_doubtful);

    partition_table_fini(&f->table);
    f->disk.count--; /* the swap header is elsewhere now */
    free(f->disk.pieces[f->disk.count].data);
    put_swap(&f->disk, 256 * 512, 10000 * 512, 4096);
    read_table(f);
    assert_int_equal(f->table.sector_size, 512);
    assert_int_equal(f->table.partitions[0].offset, 256 * 512);
    assert_false(f->table.is_doubtful);

    partition_table_fini(&f->table);
    put_swap(&f->disk, 256 * 4096, 10000 * 4096, 4096);
    read_table(f);
    assert_int_equal(f->table.sector_size, 512);
    assert_doubtful(f, "512 and of 4096");
}

static void test_mbr_of_an_image_that_only_small_sectors_fit_is_believed(void **state)
{
    struct fixture *f = *state;

    f->disk.source.sector_size = 0;
    put_mbr_entry(f->mbr, 1, 0x83, 2048, (uint32_t)(DISK / SECTOR - 2048));
    read_table(f);
    assert_int_equal(f->table.sector_size, 512);
    assert_false(f->table.is_doubtful);
    assert_int_equal(f->log.count, 0);
}

static void test_mbr_unreadable_first_sector_is_an_error(void **state)
{
    struct fixture *f = *state;

    put_mbr_entry(f->mbr, 1, 0x83, 2048, 100000);
    f->disk.fail_from = 1;
    assert_int_equal(partition_table_read(&f->disk.source, &f->table, &f->log.log, &f->err), -1);
    assert_non_null(strstr(f->err.text, "partition table: read 512 bytes at 0x0"));
}

static void test_mbr_unreadable_ebr_ends_in_doubt(void **state)
{
    struct fixture *f = *state;

    put_mbr_entry(f->mbr, 1, 0x83, 2048, 1000);
    put_mbr_entry(f->mbr, 2, 0x05, 10000, 100000);
    put_ebr(f, 10000, 10000, 500, 0);
    f->disk.fail_from = 10000 * SECTOR;
    read_table(f);
    assert_int_equal(f->table.count, 1);
    assert_doubtful(f, "no EBR at sector 10000");
}

static void test_mbr_disk_smaller_than_a_sector_has_no_table(void **state)
{
    struct fixture *f = *state;

    for (uint64_t size = 0; size < 512; size += 511) {
        f->disk.source.size_bytes = size;
        read_table(f);
        assert_int_equal(f->table.kind, PARTITION_TABLE_NONE);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_mbr_lists_primary_partitions_by_offset),
        CASE(test_mbr_structures_are_the_gap_to_the_first_partition),
        CASE(test_mbr_gap_is_copied_up_to_two_mebibytes),
        CASE(test_mbr_first_sector_is_copied_even_where_a_partition_starts_in_it),
        CASE(test_mbr_lists_logical_partitions_from_five),
        CASE(test_mbr_knows_all_three_types_of_container),
        CASE(test_mbr_entry_of_type_0_with_a_size_is_a_partition),
        CASE(test_mbr_chain_may_go_backwards),
        CASE(test_mbr_empty_ebr_at_the_head_takes_no_number),
        CASE(test_mbr_circle_of_ebrs_ends_in_doubt),
        CASE(test_mbr_ebr_that_points_to_itself_ends_in_doubt),
        CASE(test_mbr_chain_has_a_step_limit),
        CASE(test_mbr_doubts_chains_that_leave_the_container_or_the_disk),
        CASE(test_mbr_doubts_a_missing_ebr_signature),
        CASE(test_mbr_doubts_surplus_entries_in_an_ebr),
        CASE(test_mbr_doubts_a_logical_partition_outside_its_container),
        CASE(test_mbr_doubts_overlaps),
        CASE(test_mbr_partition_behind_the_end_is_cut_or_left_out),
        CASE(test_mbr_doubts_a_dynamic_disk),
        CASE(test_mbr_boot_sector_of_a_file_system_is_no_table),
        CASE(test_mbr_over_the_text_of_a_boot_sector_is_doubted),
        CASE(test_mbr_with_impossible_flags_is_no_table),
        CASE(test_mbr_without_entries_is_no_table),
        CASE(test_mbr_without_signature_is_no_table),
        CASE(test_mbr_of_a_disk_with_large_sectors_counts_in_them),
        CASE(test_mbr_of_an_image_is_read_with_the_sectors_that_fit_its_contents),
        CASE(test_mbr_of_an_image_that_only_small_sectors_fit_is_believed),
        CASE(test_mbr_unreadable_first_sector_is_an_error),
        CASE(test_mbr_unreadable_ebr_ends_in_doubt),
        CASE(test_mbr_disk_smaller_than_a_sector_has_no_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
