/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The qcow2 mapping: what entries mean, which are refused, and that a lying table costs neither
 * memory nor a crash.
 */
#include "formats/qcow2.h"
#include "tests/unit/formats/qcow2_fixture.h"

#define BITS 9
#define CLUSTER ((size_t)1 << BITS)

/* 64 KiB in clusters of 512 bytes: two L1 entries, of which the first has an L2 table. */
static struct made make_mapped(uint64_t *l2)
{
    struct made made = made_new(BITS, 4, 65536);

    *l2 = made_add_cluster(&made, 4);
    store_be64(made.bytes + 3 * CLUSTER, *l2 | QCOW2_ENTRY_COPIED);
    return made;
}

static void assert_refused_to_open(struct folder *folder, const struct made *made, const char *text)
{
    made_store(made, folder->file);
    assert_null(folder_open(folder, false));
    if (!strstr(folder->err.text, text))
        fail_msg("refused by '%s', not by '%s'", folder->err.text, text);
}

static void test_qcow2_open_refuses_bad_l1_entries(void **state)
{
    struct folder *folder = *state;
    uint64_t l2;
    struct made made = make_mapped(&l2);
    uint8_t *l1 = made.bytes + 3 * CLUSTER;

    store_be64(l1 + 8, l2 | QCOW2_ENTRY_COPIED);
    assert_refused_to_open(folder, &made, "share the table");
    store_be64(l1 + 8, l2 + 512 * 1000);
    assert_refused_to_open(folder, &made, "behind the end");
    store_be64(l1 + 8, (uint64_t)1 << 56);
    assert_refused_to_open(folder, &made, "reserved bits");
    store_be64(l1 + 8, 1);
    assert_refused_to_open(folder, &made, "reserved bits");
    free(made.bytes);
}

/* The first guest cluster has this entry: what reading it says. */
static int read_entry(struct folder *folder, struct made *made, uint64_t l2, uint64_t entry,
                      uint8_t *buffer)
{
    struct image *image;
    int result;

    store_be64(made->bytes + l2, entry);
    made_store(made, folder->file);
    image = folder_open(folder, false);
    if (!image)
        fail_msg("%s", folder->err.text);
    result = block_source_read(&image->source, 0, buffer, CLUSTER, &folder->err);
    image_close(image);
    return result;
}

static void assert_entry_refused(struct folder *folder, struct made *made, uint64_t l2,
                                 uint64_t entry, const char *text)
{
    uint8_t buffer[CLUSTER];

    assert_int_equal(read_entry(folder, made, l2, entry, buffer), -1);
    if (!strstr(folder->err.text, text))
        fail_msg("refused by '%s', not by '%s'", folder->err.text, text);
}

static void test_qcow2_read_refuses_bad_l2_entries(void **state)
{
    struct folder *folder = *state;
    uint64_t l2;
    struct made made = make_mapped(&l2);
    uint64_t end = made.length;

    assert_entry_refused(folder, &made, l2, end, "behind the end");
    assert_entry_refused(folder, &made, l2, l2 | 2, "reserved bits");
    assert_entry_refused(folder, &made, l2, l2 | (uint64_t)1 << 56, "reserved bits");
    assert_entry_refused(folder, &made, l2, QCOW2_ENTRY_COPIED, "inside the header");
    assert_entry_refused(folder, &made, l2, QCOW2_ENTRY_COMPRESSED | end, "not in the file");
    assert_entry_refused(folder, &made, l2, QCOW2_ENTRY_COMPRESSED | 100, "not in the file");
    assert_entry_refused(folder, &made, l2, QCOW2_ENTRY_COMPRESSED | QCOW2_ENTRY_COPIED | l2,
                         "marked as owned");
    store_be32(made.bytes + 4, 2); /* version 2 has no zero clusters */
    assert_entry_refused(folder, &made, l2, QCOW2_ENTRY_ZERO, "version 2");
    free(made.bytes);
}

static void test_qcow2_read_knows_both_kinds_of_zero_clusters(void **state)
{
    struct folder *folder = *state;
    uint64_t l2;
    struct made made = make_mapped(&l2);
    uint64_t data = made_add_cluster(&made, 4);
    uint8_t buffer[CLUSTER];

    memset(made.bytes + data, 0x77, CLUSTER);
    assert_ok(folder, read_entry(folder, &made, l2, data, buffer));
    assert_int_equal(buffer[CLUSTER - 1], 0x77);
    assert_ok(folder, read_entry(folder, &made, l2, data | QCOW2_ENTRY_ZERO, buffer));
    assert_true(bytes_are_zero(buffer, CLUSTER));
    assert_ok(folder, read_entry(folder, &made, l2, QCOW2_ENTRY_ZERO, buffer));
    assert_true(bytes_are_zero(buffer, CLUSTER));
    free(made.bytes);
}

static void test_qcow2_read_fills_what_a_file_lacks_of_its_last_cluster(void **state)
{
    struct folder *folder = *state;
    uint64_t l2;
    struct made made = make_mapped(&l2);
    uint64_t data = made_add_cluster(&made, 4);
    uint8_t buffer[CLUSTER];

    memset(made.bytes + data, 0x77, CLUSTER);
    made.length -= 112;
    assert_ok(folder, read_entry(folder, &made, l2, data, buffer));
    assert_int_equal(buffer[CLUSTER - 113], 0x77);
    assert_true(bytes_are_zero(buffer + CLUSTER - 112, 112));
    free(made.bytes);
}

static void test_qcow2_map_joins_runs_and_skips_zeroes(void **state)
{
    struct folder *folder = *state;
    uint64_t l2;
    struct made made = make_mapped(&l2);
    uint64_t data = made_add_cluster(&made, 4);

    for (size_t i = 4; i < 8; i++) /* four guest clusters may well be the same host cluster */
        store_be64(made.bytes + l2 + i * 8, data);
    store_be64(made.bytes + l2 + 8 * 8, QCOW2_ENTRY_ZERO);
    store_be64(made.bytes + l2 + 9 * 8, data | QCOW2_ENTRY_ZERO);
    store_be64(made.bytes + l2 + 10 * 8, data);
    made_store(&made, folder->file);
    AUTO_PTR(image) image = folder_open(folder, false);
    AUTO(extents) map = {0};
    AUTO(extents) own = {0};

    assert_non_null(image);
    assert_ok(folder, block_source_map(&image->source, 0, 65536, &map, &folder->err));
    assert_int_equal(map.count, 2);
    assert_int_equal(map.items[0].offset, 4 * CLUSTER);
    assert_int_equal(map.items[0].length, 4 * CLUSTER);
    assert_int_equal(map.items[1].offset, 10 * CLUSTER);
    /* What the file says about a range is its own, be it zeroes. */
    assert_ok(folder, image_map_own(image, &own, &folder->err));
    assert_int_equal(own.count, 1);
    assert_int_equal(own.items[0].length, 7 * CLUSTER);
    free(made.bytes);
}

/* 32 TiB that no L2 table maps: looked up in no time, and at no cost. */
static void test_qcow2_map_of_a_huge_empty_disk_is_cheap(void **state)
{
    struct folder *folder = *state;
    struct made made = made_new(16, 4, (uint64_t)32 << 40);
    uint8_t byte = 1;

    made_store(&made, folder->file);
    AUTO_PTR(image) image = folder_open(folder, false);
    AUTO(extents) map = {0};

    assert_non_null(image);
    assert_ok(folder,
              block_source_map(&image->source, 0, image->source.size_bytes, &map, &folder->err));
    assert_int_equal(map.count, 0);
    assert_ok(folder, block_source_read(&image->source, image->source.size_bytes - 1, &byte, 1,
                                        &folder->err));
    assert_int_equal(byte, 0);
    free(made.bytes);
}

static void test_qcow2_info_tells_what_the_header_says(void **state)
{
    struct folder *folder = *state;
    struct made made = made_new(12, 4, 1 << 20);
    struct image_info info;

    made_store(&made, folder->file);
    AUTO_PTR(image) image = folder_open(folder, false);
    assert_non_null(image);
    image_get_info(image, &info);
    assert_int_equal(info.cluster_size, 4096);
    assert_int_equal(info.version, 3);
    assert_null(info.backing_file);
    assert_int_equal(info.snapshots, 0);
    assert_true(info.allocated_bytes > 0);
    free(made.bytes);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_set_up, folder_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_qcow2_open_refuses_bad_l1_entries),
        TEST(test_qcow2_read_refuses_bad_l2_entries),
        TEST(test_qcow2_read_knows_both_kinds_of_zero_clusters),
        TEST(test_qcow2_read_fills_what_a_file_lacks_of_its_last_cluster),
        TEST(test_qcow2_map_joins_runs_and_skips_zeroes),
        TEST(test_qcow2_map_of_a_huge_empty_disk_is_cheap),
        TEST(test_qcow2_info_tells_what_the_header_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
