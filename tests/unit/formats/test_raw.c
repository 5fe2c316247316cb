/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Raw images: sparse files, sizes that are no multiple of a sector, holes.
 */
#include "formats/image.h"
#include "tests/unit/formats/qcow2_fixture.h"

static struct image *open_raw(struct folder *folder, bool is_writable)
{
    struct image_open_options options = {.format = "raw", .is_writable = is_writable};
    struct image *image = image_open(folder->file, &options, &folder->err);

    if (!image)
        fail_msg("%s", folder->err.text);
    return image;
}

static void make_file(struct folder *folder, off_t size)
{
    int fd = open(folder->file, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    close(fd);
}

static void test_raw_of_odd_size_reads_with_zeroes_up_to_a_sector(void **state)
{
    struct folder *folder = *state;
    uint8_t buffer[1024];

    make_file(folder, 0);
    int fd = open(folder->file, O_WRONLY | O_CLOEXEC);
    memset(buffer, 5, 1000);
    assert_int_equal(write(fd, buffer, 1000), 1000);
    close(fd);
    AUTO_PTR(image) image = open_raw(folder, false);
    assert_int_equal(image->source.size_bytes, 1024);
    memset(buffer, 9, sizeof(buffer));
    assert_ok(folder, block_source_read(&image->source, 0, buffer, 1024, &folder->err));
    assert_int_equal(buffer[999], 5);
    assert_true(bytes_are_zero(buffer + 1000, 24));
    memset(buffer, 9, sizeof(buffer));
    assert_ok(folder, block_source_read(&image->source, 1010, buffer, 14, &folder->err));
    assert_true(bytes_are_zero(buffer, 14));
    assert_int_equal(block_source_read(&image->source, 1020, buffer, 5, &folder->err), -1);
}

static void test_raw_of_odd_size_grows_when_its_tail_is_written(void **state)
{
    struct folder *folder = *state;
    uint8_t byte = 7;

    make_file(folder, 1000);
    AUTO_PTR(image) image = open_raw(folder, true);
    assert_ok(folder, image_write(image, 1010, &byte, 1, &folder->err));
    byte = 0;
    assert_ok(folder, block_source_read(&image->source, 1010, &byte, 1, &folder->err));
    assert_int_equal(byte, 7);
}

static void test_raw_that_shrinks_while_it_is_read_is_an_error(void **state)
{
    struct folder *folder = *state;
    uint8_t buffer[512];

    make_file(folder, 8192);
    AUTO_PTR(image) image = open_raw(folder, false);
    assert_int_equal(truncate(folder->file, 4096), 0);
    assert_int_equal(block_source_read(&image->source, 4096, buffer, 512, &folder->err), -1);
    assert_string_not_equal(folder->err.text, "");
}

static void test_raw_map_finds_data_between_holes(void **state)
{
    struct folder *folder = *state;
    AUTO_FREE uint8_t *data = malloc(65536);
    AUTO(extents) map = {0};
    AUTO(extents) part = {0};

    make_file(folder, 1 << 20);
    AUTO_PTR(image) image = open_raw(folder, true);
    memset(data, 1, 65536);
    assert_ok(folder, image_write(image, 131072, data, 65536, &folder->err));
    assert_ok(folder, image_write(image, 524288, data, 65536, &folder->err));
    assert_ok(folder, block_source_map(&image->source, 0, 1 << 20, &map, &folder->err));
    assert_int_equal(map.count, 2);
    assert_int_equal(map.items[0].offset, 131072);
    assert_int_equal(map.items[0].length, 65536);
    assert_int_equal(map.items[1].offset, 524288);
    assert_ok(folder, block_source_map(&image->source, 135168, 4096, &part, &folder->err));
    assert_int_equal(part.count, 1);
    assert_int_equal(part.items[0].offset, 135168);
    assert_int_equal(part.items[0].length, 4096);
}

static void test_raw_write_zeroes_punches_holes(void **state)
{
    struct folder *folder = *state;
    AUTO_FREE uint8_t *data = malloc(1 << 20);
    struct image_info before, after;

    make_file(folder, 1 << 20);
    AUTO_PTR(image) image = open_raw(folder, true);
    memset(data, 1, 1 << 20);
    assert_ok(folder, image_write(image, 0, data, 1 << 20, &folder->err));
    image_get_info(image, &before);
    assert_ok(folder, image_write_zeroes(image, 100, (1 << 20) - 200, &folder->err));
    image_get_info(image, &after);
    assert_true(after.allocated_bytes + (1 << 19) < before.allocated_bytes);
    assert_ok(folder, block_source_read(&image->source, 0, data, 1 << 20, &folder->err));
    assert_int_equal(data[99], 1);
    assert_true(bytes_are_zero(data + 100, (1 << 20) - 200));
    assert_int_equal(data[(1 << 20) - 100], 1);
}

static void test_raw_is_what_no_other_driver_knows(void **state)
{
    struct folder *folder = *state;
    struct image_open_options options = {0};

    make_file(folder, 0); /* an empty file is a disk of no bytes */
    AUTO_PTR(image) image = image_open(folder->file, &options, &folder->err);
    assert_non_null(image);
    assert_string_equal(image->driver->name, "raw");
    assert_int_equal(image->source.size_bytes, 0);
    options.format = "no such format";
    assert_null(image_open(folder->file, &options, &folder->err));
    assert_non_null(strstr(folder->err.text, "no such format"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_set_up, folder_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_raw_of_odd_size_reads_with_zeroes_up_to_a_sector),
        TEST(test_raw_of_odd_size_grows_when_its_tail_is_written),
        TEST(test_raw_that_shrinks_while_it_is_read_is_an_error),
        TEST(test_raw_map_finds_data_between_holes),
        TEST(test_raw_write_zeroes_punches_holes),
        TEST(test_raw_is_what_no_other_driver_knows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
