/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Writing qcow2 images in place: shared clusters and tables are copied, feature bits respected,
 * overlays leave their backing file alone.
 */
#include "formats/qcow2.h"
#include "tests/unit/formats/qcow2_fixture.h"

#define CLUSTER ((size_t)512)

static uint8_t byte_at(struct folder *folder, const struct image *image, uint64_t offset)
{
    uint8_t byte = 0;

    assert_ok(folder, block_source_read(&image->source, offset, &byte, 1, &folder->err));
    return byte;
}

/* Guest clusters 0 and 1 are one host cluster, counted twice. */
static struct made make_shared(uint64_t *l2, uint64_t *data)
{
    struct made made = made_new(9, 4, 32768);

    *l2 = made_add_cluster(&made, 4);
    *data = made_add_cluster(&made, 4);
    store_be16(made.bytes + 2 * CLUSTER + *data / CLUSTER * 2, 2);
    store_be64(made.bytes + 3 * CLUSTER, *l2 | QCOW2_ENTRY_COPIED);
    store_be64(made.bytes + *l2, *data);
    store_be64(made.bytes + *l2 + 8, *data);
    memset(made.bytes + *data, 0x33, CLUSTER);
    return made;
}

static void test_qcow2_write_copies_a_shared_cluster(void **state)
{
    struct folder *folder = *state;
    uint64_t l2, data;
    struct made made = make_shared(&l2, &data);

    made_store(&made, folder->file);
    AUTO_PTR(image) image = folder_open(folder, true);
    assert_non_null(image);
    assert_ok(folder, image_write(image, 10, "x", 1, &folder->err));
    assert_int_equal(byte_at(folder, image, 9), 0x33);
    assert_int_equal(byte_at(folder, image, 10), 'x');
    assert_int_equal(byte_at(folder, image, 512 + 10), 0x33);
    assert_ok(folder, image_write_zeroes(image, 512, 512, &folder->err));
    assert_int_equal(byte_at(folder, image, 512 + 10), 0);
    image_close(take_ptr(&image));
    check_refcounts(folder->file);
    free(made.bytes);
}

static void test_qcow2_write_copies_a_shared_table(void **state)
{
    struct folder *folder = *state;
    uint64_t l2, data;
    struct made made = make_shared(&l2, &data);
    uint8_t table[8], entry[8];
    int fd;

    /* As a snapshot would have it: the table is counted twice and not owned. */
    store_be64(made.bytes + 3 * CLUSTER, l2);
    store_be16(made.bytes + 2 * CLUSTER + l2 / CLUSTER * 2, 2);
    made_store(&made, folder->file);
    AUTO_PTR(image) image = folder_open(folder, true);
    assert_non_null(image);
    assert_ok(folder, image_write(image, 5 * CLUSTER, "new", 3, &folder->err));
    assert_int_equal(byte_at(folder, image, 0), 0x33);
    image_close(take_ptr(&image));
    fd = open(folder->file, O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(fd, table, 8, 3 * CLUSTER), 8);
    assert_int_not_equal(load_be64(table) & QCOW2_ENTRY_OFFSET, l2);
    assert_true(load_be64(table) & QCOW2_ENTRY_COPIED);
    assert_int_equal(pread(fd, entry, 8, (off_t)l2 + 5 * 8), 8);
    assert_int_equal(load_be64(entry), 0); /* the snapshot's is as it was */
    close(fd);
    free(made.bytes);
}

static void test_qcow2_write_overwrites_what_it_owns_where_it_is(void **state)
{
    struct folder *folder = *state;
    struct made made = made_new(9, 4, 32768);
    struct stat before, after;

    made_store(&made, folder->file);
    AUTO_PTR(image) image = folder_open(folder, true);
    assert_non_null(image);
    assert_ok(folder, image_write(image, 1000, "first", 5, &folder->err));
    assert_int_equal(stat(folder->file, &before), 0);
    assert_ok(folder, image_write(image, 1001, "again", 5, &folder->err));
    assert_int_equal(stat(folder->file, &after), 0);
    assert_int_equal(before.st_size, after.st_size);
    assert_int_equal(byte_at(folder, image, 1000), 'f');
    assert_int_equal(byte_at(folder, image, 1005), 'n');
    free(made.bytes);
}

static void test_qcow2_write_refuses_to_overwrite_tables(void **state)
{
    struct folder *folder = *state;
    uint64_t l2, data;
    struct made made = make_shared(&l2, &data);
    static const uint64_t tables[] = {1 * CLUSTER, 3 * CLUSTER};

    for (size_t i = 0; i < ARRAY_LENGTH(tables); i++) {
        store_be64(made.bytes + l2, tables[i] | QCOW2_ENTRY_COPIED);
        made_store(&made, folder->file);
        AUTO_PTR(image) image = folder_open(folder, true);
        assert_non_null(image);
        assert_int_equal(image_write(image, 0, "x", 1, &folder->err), -1);
        assert_non_null(strstr(folder->err.text, "overlaps its tables"));
    }
    free(made.bytes);
}

static void test_qcow2_write_clears_autoclear_bits_at_the_first_write(void **state)
{
    struct folder *folder = *state;
    struct made made = made_new(9, 4, 32768);
    uint8_t bits[8];
    int fd;

    store_be64(made.bytes + 88, 0x8001);
    made_store(&made, folder->file);
    fd = open(folder->file, O_RDONLY | O_CLOEXEC);
    AUTO_PTR(image) image = folder_open(folder, true);
    assert_non_null(image);
    assert_int_equal(pread(fd, bits, 8, 88), 8);
    assert_int_equal(load_be64(bits), 0x8001);
    assert_ok(folder, image_write(image, 0, "x", 1, &folder->err));
    assert_int_equal(pread(fd, bits, 8, 88), 8);
    assert_int_equal(load_be64(bits), 0);
    close(fd);
    free(made.bytes);
}

static void test_qcow2_a_dirty_image_is_read_but_not_written(void **state)
{
    struct folder *folder = *state;
    struct made made = made_new(9, 4, 32768);

    made.bytes[79] = QCOW2_INCOMPATIBLE_DIRTY;
    made_store(&made, folder->file);
    assert_null(folder_open(folder, true));
    assert_non_null(strstr(folder->err.text, "qemu-img check"));
    AUTO_PTR(image) image = folder_open(folder, false);
    assert_non_null(image);
    free(made.bytes);
}

static void test_qcow2_write_zeroes_gives_clusters_up(void **state)
{
    struct folder *folder = *state;
    struct made made = made_new(9, 4, 32768);
    AUTO(extents) own = {0};
    uint8_t data[4096];

    memset(data, 7, sizeof(data));
    made_store(&made, folder->file);
    AUTO_PTR(image) image = folder_open(folder, true);
    assert_non_null(image);
    assert_ok(folder, image_write(image, 0, data, sizeof(data), &folder->err));
    assert_ok(folder, image_write_zeroes(image, 300, 3000, &folder->err));
    assert_int_equal(byte_at(folder, image, 299), 7);
    assert_int_equal(byte_at(folder, image, 300), 0);
    assert_int_equal(byte_at(folder, image, 3299), 0);
    assert_int_equal(byte_at(folder, image, 3300), 7);
    assert_ok(folder, image_map_own(image, &own, &folder->err));
    assert_int_equal(own.count, 2);
    assert_int_equal(extents_total(&own), 512 + 1024);
    image_close(take_ptr(&image));
    check_refcounts(folder->file);
    free(made.bytes);
}

static void make_raw(struct folder *folder, const char *name, size_t size, int fill)
{
    char path[160];
    uint8_t *bytes = malloc(size);

    memset(bytes, fill, size);
    snprintf(path, sizeof(path), "%s/%s", folder->path, name);
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, bytes, size), size);
    close(fd);
    free(bytes);
}

static void test_qcow2_an_overlay_shows_what_is_below_and_keeps_what_is_written(void **state)
{
    struct folder *folder = *state;
    struct image_create_options create = {.format = "qcow2",
                                          .size_bytes = 300032,
                                          .backing_path = "base.raw",
                                          .backing_format = "raw"};
    struct image_open_options options = {.is_writable = true, .backing_folder = folder->path};
    AUTO(extents) map = {0};
    char base[160];

    make_raw(folder, "base.raw", 200000, 0x11); /* shorter, and no multiple of 512 */
    struct image *image = image_create(folder->file, &create, &folder->err);
    assert_non_null(image);
    assert_int_equal(image_write(image, 5, "x", 1, &folder->err), -1); /* not finished yet */
    image_close(image);
    unlink(folder->file);
    image = image_create(folder->file, &create, &folder->err);
    assert_non_null(image);
    assert_ok(folder, image_finish(image, &folder->err));
    image_close(image);

    image = image_open(folder->file, &options, &folder->err);
    assert_non_null(image);
    assert_int_equal(byte_at(folder, image, 199999), 0x11);
    assert_int_equal(byte_at(folder, image, 200000), 0);
    assert_int_equal(byte_at(folder, image, 300031), 0);
    assert_ok(folder, image_write(image, 199990, "0123456789abcdef", 16, &folder->err));
    assert_ok(folder, image_write_zeroes(image, 0, 65536 + 100, &folder->err));
    assert_int_equal(byte_at(folder, image, 199989), 0x11);
    assert_int_equal(byte_at(folder, image, 200001), 'b');
    assert_int_equal(byte_at(folder, image, 200006), 0);
    assert_int_equal(byte_at(folder, image, 65536 + 99), 0);
    assert_int_equal(byte_at(folder, image, 65536 + 100), 0x11);
    assert_ok(folder, block_source_map(&image->source, 0, 300032, &map, &folder->err));
    assert_int_equal(map.items[0].offset, 65536);
    image_close(image);
    check_refcounts(folder->file);
    snprintf(base, sizeof(base), "%s/base.raw", folder->path);
    unlink(base);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_set_up, folder_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_qcow2_write_copies_a_shared_cluster),
        TEST(test_qcow2_write_copies_a_shared_table),
        TEST(test_qcow2_write_overwrites_what_it_owns_where_it_is),
        TEST(test_qcow2_write_refuses_to_overwrite_tables),
        TEST(test_qcow2_write_clears_autoclear_bits_at_the_first_write),
        TEST(test_qcow2_a_dirty_image_is_read_but_not_written),
        TEST(test_qcow2_write_zeroes_gives_clusters_up),
        TEST(test_qcow2_an_overlay_shows_what_is_below_and_keeps_what_is_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
