/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Refcounts of qcow2 images written in place, for every width, through the growth of blocks and
 * tables; counted again by the fixture's own checker.
 */
#include "formats/qcow2.h"
#include "tests/unit/formats/qcow2_fixture.h"

static void write_every(struct folder *folder, struct image *image, size_t step, size_t length)
{
    AUTO_FREE uint8_t *data = malloc(length);

    memset(data, 0x5a, length);
    for (uint64_t at = 0; at + length <= image->source.size_bytes; at += step)
        assert_ok(folder, image_write(image, at, data, length, &folder->err));
}

static void test_qcow2_refcounts_of_every_width_stay_right(void **state)
{
    struct folder *folder = *state;

    for (unsigned order = 0; order <= 6; order++) {
        struct made made = made_new(9, order, 1 << 20);

        made_store(&made, folder->file);
        AUTO_PTR(image) image = folder_open(folder, true);
        assert_non_null(image);
        write_every(folder, image, 5000, 700);
        write_every(folder, image, 7000, 1200);
        assert_ok(folder, image_write_zeroes(image, 100000, 300000, &folder->err));
        image_close(take_ptr(&image));
        check_refcounts(folder->file);
        free(made.bytes);
    }
}

/* 64-bit counts in 512-byte clusters: a block counts 32 KiB, the table's cluster 2 MiB. */
static void test_qcow2_refcount_table_grows(void **state)
{
    struct folder *folder = *state;
    struct made made = made_new(9, 6, 12 << 20);
    AUTO_FREE uint8_t *data = malloc(300000);
    uint8_t byte;

    made_store(&made, folder->file);
    memset(data, 0x5a, 300000);
    AUTO_PTR(image) image = folder_open(folder, true);
    assert_non_null(image);
    for (uint64_t at = 0; at + 300000 < image->source.size_bytes; at += 300000) {
        assert_ok(folder, image_write(image, at, data, 300000, &folder->err));
        if (at % 900000 == 0)
            check_refcounts(folder->file);
    }
    image_close(take_ptr(&image));
    check_refcounts(folder->file);
    image = folder_open(folder, false);
    assert_non_null(image);
    assert_ok(folder, block_source_read(&image->source, 11 << 20, &byte, 1, &folder->err));
    assert_int_equal(byte, 0x5a);
    free(made.bytes);
}

/* Clusters behind the end of the file that count as used (preallocation) are not handed out. */
static void test_qcow2_allocation_steps_over_clusters_counted_behind_the_end(void **state)
{
    struct folder *folder = *state;
    struct made made = made_new(9, 4, 1 << 16);
    size_t used = made.length / made.cluster_size;
    uint8_t byte = 1;
    struct stat status;

    made_set_refcount(&made, used + 3, 4, 1);
    made_store(&made, folder->file);
    AUTO_PTR(image) image = folder_open(folder, true);
    assert_non_null(image);
    for (uint64_t at = 0; at < 8 * 512; at += 512)
        assert_ok(folder, image_write(image, at, &byte, 1, &folder->err));
    assert_int_equal(stat(folder->file, &status), 0);
    /* 9 clusters more, and the one stepped over with what was before it. */
    assert_true((size_t)status.st_size >= (used + 10) * 512);
    int fd = open(folder->file, O_RDONLY | O_CLOEXEC);
    for (uint64_t i = 0; i < 64; i++) {
        uint8_t entry[8], l2[8];

        assert_int_equal(pread(fd, l2, 8, 3 * 512), 8);
        assert_int_equal(pread(fd, entry, 8, (off_t)((load_be64(l2) & QCOW2_ENTRY_OFFSET) + i * 8)),
                         8);
        assert_int_not_equal((load_be64(entry) & QCOW2_ENTRY_OFFSET) / 512, used + 3);
    }
    close(fd);
    free(made.bytes);
}

static void assert_write_refused(struct folder *folder, const struct made *made, const char *text)
{
    uint8_t byte = 1;

    made_store(made, folder->file);
    AUTO_PTR(image) image = folder_open(folder, true);
    assert_non_null(image);
    assert_int_equal(image_write(image, 0, &byte, 1, &folder->err), -1);
    if (!strstr(folder->err.text, text))
        fail_msg("refused by '%s', not by '%s'", folder->err.text, text);
}

static void test_qcow2_refcounts_that_lie_are_refused(void **state)
{
    struct folder *folder = *state;
    struct made made = made_new(9, 4, 1 << 16);
    uint8_t *table = made.bytes + 512;

    store_be64(table, (uint64_t)1 << 40);
    assert_write_refused(folder, &made, "not in the file");
    store_be64(table, 1000);
    assert_write_refused(folder, &made, "not in the file");
    store_be64(table, 1024);
    memset(made.bytes + 1024, 0xff, 512); /* everything is used, for ever */
    uint64_t l2 = made_add_cluster(&made, 4);
    store_be64(made.bytes + 3 * 512, l2); /* shared: it must be copied, and counted down */
    store_be16(made.bytes + 1024 + l2 / 512 * 2, 0);
    assert_write_refused(folder, &made, "damaged");
    free(made.bytes);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_set_up, folder_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_qcow2_refcounts_of_every_width_stay_right),
        TEST(test_qcow2_refcount_table_grows),
        TEST(test_qcow2_allocation_steps_over_clusters_counted_behind_the_end),
        TEST(test_qcow2_refcounts_that_lie_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
