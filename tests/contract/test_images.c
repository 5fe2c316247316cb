/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What every image driver must do, in a loop over image_drivers[]: a new driver is tested the
 * moment it is listed. Failing reads and writes are in test_images_faults.c.
 */
#include "tests/contract/image_fixture.h"

#include <pthread.h>

static void test_a_new_image_reads_as_zeroes_where_nothing_was_written(void **state)
{
    struct fixture *fixture = *state;

    for_each_writer(driver)
    {
        fixture_make(fixture, driver, 0);
        AUTO_PTR(image) image = fixture_open(fixture, driver, false);
        fixture_compare(fixture, image);
    }
}

static void test_what_was_written_is_read_before_and_after_finish(void **state)
{
    struct fixture *fixture = *state;

    for_each_writer(driver)
    {
        fixture_reset(fixture);
        struct image *image = fixture_create(fixture, driver);

        for (unsigned i = 0; i < 150; i++)
            assert_ok(fixture, fixture_scribble(fixture, image));
        fixture_compare(fixture, image);
        assert_ok(fixture, image_finish(image, &fixture->err));
        fixture_compare(fixture, image);
        image_close(image);
        image = fixture_open(fixture, driver, false);
        fixture_compare(fixture, image);
        image_close(image);
    }
}

static void test_an_existing_image_is_written_in_place(void **state)
{
    struct fixture *fixture = *state;

    for_each_writer(driver)
    {
        fixture_make(fixture, driver, 40);
        for (unsigned session = 0; session < 3; session++) {
            AUTO_PTR(image) image = fixture_open(fixture, driver, true);

            for (unsigned i = 0; i < 60; i++)
                assert_ok(fixture, fixture_scribble(fixture, image));
            fixture_compare(fixture, image);
            assert_ok(fixture, image_flush(image, &fixture->err));
        }
        AUTO_PTR(image) image = fixture_open(fixture, driver, false);
        fixture_compare(fixture, image);
    }
}

static void test_the_map_leaves_out_nothing_but_zeroes(void **state)
{
    struct fixture *fixture = *state;

    for_each_writer(driver)
    {
        fixture_make(fixture, driver, 30);
        AUTO_PTR(image) image = fixture_open(fixture, driver, false);
        AUTO(extents) data = {0};
        size_t at = 0;

        assert_ok(fixture, block_source_map(&image->source, 0, MODEL_SIZE, &data, &fixture->err));
        assert_true(extents_total(&data) < MODEL_SIZE);
        for (size_t i = 0; i <= data.count; i++) {
            size_t next = i < data.count ? (size_t)data.items[i].offset : MODEL_SIZE;

            assert_true(bytes_are_zero(fixture->model + at, next - at));
            if (i < data.count)
                at = next + (size_t)data.items[i].length;
        }
        assert_true(at <= MODEL_SIZE);
    }
}

static void test_the_map_of_a_part_is_a_part_of_the_map(void **state)
{
    struct fixture *fixture = *state;

    for_each_writer(driver)
    {
        fixture_make(fixture, driver, 30);
        AUTO_PTR(image) image = fixture_open(fixture, driver, false);
        AUTO(extents) whole = {0};
        AUTO(extents) pieces = {0};

        assert_ok(fixture, block_source_map(&image->source, 0, MODEL_SIZE, &whole, &fixture->err));
        for (uint64_t at = 0; at < MODEL_SIZE; at += 100003)
            assert_ok(fixture,
                      block_source_map(&image->source, at, min_u64(100003, MODEL_SIZE - at),
                                       &pieces, &fixture->err));
        assert_int_equal(whole.count, pieces.count);
        assert_memory_equal(whole.items, pieces.items, whole.count * sizeof(*whole.items));
    }
}

static void test_zeroes_take_no_space(void **state)
{
    struct fixture *fixture = *state;

    for_each_writer(driver)
    {
        struct stat status;

        fixture_reset(fixture);
        struct image *image = fixture_create(fixture, driver);
        assert_ok(fixture, image_write_zeroes(image, 0, MODEL_SIZE, &fixture->err));
        assert_ok(fixture, image_finish(image, &fixture->err));
        image_close(image);
        assert_int_equal(stat(fixture->path, &status), 0);
        assert_true((uint64_t)status.st_blocks * 512 <= 4 * MODEL_CLUSTER + 65536);
    }
}

struct writer {
    struct fixture *fixture;
    struct image *image;
    unsigned index;
    struct error err;
    int result;
};

static void *write_every_fourth_cluster(void *argument)
{
    struct writer *writer = argument;
    uint64_t at = writer->index * MODEL_CLUSTER;

    for (; at < MODEL_SIZE && writer->result == 0; at += 4 * MODEL_CLUSTER)
        writer->result = image_write(writer->image, at, writer->fixture->model + at,
                                     (size_t)min_u64(MODEL_CLUSTER, MODEL_SIZE - at), &writer->err);
    return NULL;
}

static void *read_everything(void *argument)
{
    struct writer *reader = argument;
    uint8_t *buffer = malloc(MODEL_CLUSTER);

    for (uint64_t at = 0; at + 5000 <= MODEL_SIZE && reader->result == 0; at += 5000) {
        reader->result = block_source_read(&reader->image->source, at, buffer, 5000, &reader->err);
        if (reader->result == 0 && memcmp(buffer, reader->fixture->model + at, 5000) != 0)
            reader->result = error_set(&reader->err, 0, "differs at %llu", (unsigned long long)at);
    }
    free(buffer);
    return NULL;
}

static void run_threads(struct fixture *fixture, struct image *image, void *(*run)(void *))
{
    struct writer writers[4];
    pthread_t threads[4];

    for (unsigned i = 0; i < 4; i++) {
        writers[i] = (struct writer){.fixture = fixture, .image = image, .index = i};
        assert_int_equal(pthread_create(&threads[i], NULL, run, &writers[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        if (writers[i].result != 0)
            fail_msg("%s", writers[i].err.text);
    }
}

static void test_threads_write_and_read_at_once(void **state)
{
    struct fixture *fixture = *state;

    for_each_writer(driver)
    {
        fixture_reset(fixture);
        for (size_t i = 0; i < MODEL_SIZE; i++)
            fixture->model[i] = (uint8_t)(i / 977);
        struct image *image = fixture_create(fixture, driver);
        run_threads(fixture, image, write_every_fourth_cluster);
        assert_ok(fixture, image_finish(image, &fixture->err));
        image_close(image);

        image = fixture_open(fixture, driver, true);
        run_threads(fixture, image, write_every_fourth_cluster);
        image_close(image);
        image = fixture_open(fixture, driver, false);
        run_threads(fixture, image, read_everything);
        image_close(image);
    }
}

static void test_an_unfinished_image_does_not_open(void **state)
{
    struct fixture *fixture = *state;

    for_each_writer(driver)
    {
        if (!driver->probe)
            continue; /* raw has no header that could say so */
        fixture_reset(fixture);
        struct image *image = fixture_create(fixture, driver);

        for (unsigned i = 0; i < 20; i++)
            assert_ok(fixture, fixture_scribble(fixture, image));
        assert_ok(fixture, image_flush(image, &fixture->err));
        image_close(image);
        assert_null(fixture_try_open(fixture, driver, false));
        assert_non_null(strstr(fixture->err.text, fixture->path));
        /* Nor is it taken for a raw image when the format is told from the file. */
        struct image_open_options options = {0};
        assert_null(image_open(fixture->path, &options, &fixture->err));
    }
}

static void test_a_truncated_image_is_noticed(void **state)
{
    struct fixture *fixture = *state;

    for_each_writer(driver)
    {
        struct stat status;

        if (!driver->probe)
            continue;
        fixture_make(fixture, driver, 40);
        assert_int_equal(stat(fixture->path, &status), 0);
        for (off_t size = status.st_size - 1; size >= 0; size = size * 7 / 8 - 1) {
            assert_int_equal(truncate(fixture->path, size), 0);
            fixture->err = (struct error){0};
            assert_null(fixture_try_open(fixture, driver, false));
            assert_string_not_equal(fixture->err.text, "");
        }
    }
}

/* Opens, maps and reads all of whatever it is. Nothing may crash, and no failure may be silent. */
static void try_everything(struct fixture *fixture, const struct image_driver *driver)
{
    AUTO(extents) data = {0};
    AUTO_FREE uint8_t *buffer = malloc(1 << 20);
    AUTO_PTR(image) image = fixture_try_open(fixture, driver, false);

    if (!image) {
        assert_string_not_equal(fixture->err.text, "");
        return;
    }
    if (image->source.size_bytes > 4 * MODEL_SIZE)
        return;
    block_source_map(&image->source, 0, image->source.size_bytes, &data, &fixture->err);
    for (uint64_t at = 0; at < image->source.size_bytes; at += 1 << 20) {
        fixture->err = (struct error){0};
        if (block_source_read(&image->source, at, buffer,
                              (size_t)min_u64(1 << 20, image->source.size_bytes - at),
                              &fixture->err) != 0)
            assert_string_not_equal(fixture->err.text, "");
    }
}

static void test_a_damaged_header_is_survived(void **state)
{
    struct fixture *fixture = *state;
    static const uint8_t values[] = {0x00, 0x01, 0x7f, 0xff};

    for_each_writer(driver)
    {
        fixture_make(fixture, driver, 20);
        int fd = open(fixture->path, O_RDWR | O_CLOEXEC);
        assert_true(fd >= 0);
        for (off_t at = 0; at < 128; at++) {
            uint8_t original;

            assert_int_equal(pread(fd, &original, 1, at), 1);
            for (size_t i = 0; i < sizeof(values); i++) {
                fixture->err = (struct error){0};
                assert_int_equal(pwrite(fd, &values[i], 1, at), 1);
                try_everything(fixture, driver);
            }
            assert_int_equal(pwrite(fd, &original, 1, at), 1);
        }
        close(fd);
        AUTO_PTR(image) image = fixture_open(fixture, driver, false);
        fixture_compare(fixture, image);
    }
}

static void test_a_second_writer_is_refused(void **state)
{
    struct fixture *fixture = *state;

    for_each_writer(driver)
    {
        fixture_make(fixture, driver, 1);
        AUTO_PTR(image) first = fixture_open(fixture, driver, true);

        assert_null(fixture_try_open(fixture, driver, true));
        assert_int_equal(fixture->err.errnum, EBUSY);
        assert_null(fixture_try_open(fixture, driver, false));
        image_close(take_ptr(&first));

        AUTO_PTR(image) reader = fixture_open(fixture, driver, false);
        AUTO_PTR(image) second = fixture_open(fixture, driver, false);
        assert_null(fixture_try_open(fixture, driver, true));
        assert_int_equal(fixture->err.errnum, EBUSY);
        assert_non_null(reader);
        assert_non_null(second);
    }
}

static void test_writes_outside_or_without_permission_are_refused(void **state)
{
    struct fixture *fixture = *state;
    uint8_t byte = 1;

    for_each_writer(driver)
    {
        fixture_make(fixture, driver, 1);
        struct image *image = fixture_open(fixture, driver, false);

        assert_int_equal(image_write(image, 0, &byte, 1, &fixture->err), -1);
        assert_int_equal(image_write_zeroes(image, 0, 1, &fixture->err), -1);
        image_close(image);
        image = fixture_open(fixture, driver, true);
        assert_int_equal(image_write(image, MODEL_SIZE, &byte, 1, &fixture->err), -1);
        assert_int_equal(fixture->err.errnum, ERANGE);
        assert_int_equal(image_write_zeroes(image, 1, UINT64_MAX, &fixture->err), -1);
        assert_int_equal(fixture->err.errnum, ERANGE);
        assert_int_equal(image_write(image, MODEL_SIZE, &byte, 0, &fixture->err), 0);
        image_close(image);
    }
}

static void test_create_refuses_what_cannot_be(void **state)
{
    struct fixture *fixture = *state;

    for_each_writer(driver)
    {
        struct image_create_options options = {.format = driver->name, .size_bytes = MODEL_SIZE};

        fixture_make(fixture, driver, 1);
        assert_null(image_create(fixture->path, &options, &fixture->err));
        assert_int_equal(fixture->err.errnum, EEXIST);
        unlink(fixture->path);
        options.size_bytes = IMAGE_MAX_SIZE + 512;
        assert_null(image_create(fixture->path, &options, &fixture->err));
        options.size_bytes = 511;
        assert_null(image_create(fixture->path, &options, &fixture->err));
        options.size_bytes = 512;
        if (!driver->can_back) {
            options.backing_path = "base";
            assert_null(image_create(fixture->path, &options, &fixture->err));
        }
        assert_int_equal(access(fixture->path, F_OK), -1);
    }
}

static void test_frames_are_refused_where_there_is_no_compression(void **state)
{
    struct fixture *fixture = *state;
    uint8_t frame[16] = {0};

    for_each_writer(driver)
    {
        if (driver->can_compress)
            continue;
        fixture_reset(fixture);
        AUTO_PTR(image) image = fixture_create(fixture, driver);
        assert_int_equal(image_write_frame(image, 0, frame, sizeof(frame), &fixture->err), -1);
        assert_int_equal(fixture->err.errnum, ENOTSUP);
    }
}

static void test_the_smallest_and_the_largest_image_are_made(void **state)
{
    struct fixture *fixture = *state;
    static const uint64_t sizes[] = {0, 512, IMAGE_MAX_SIZE};

    for_each_writer(driver)
    {
        for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
            struct image_create_options options = {.format = driver->name, .size_bytes = sizes[i]};
            uint8_t sector[512], read[512];

            fixture_reset(fixture);
            struct image *image = image_create(fixture->path, &options, &fixture->err);
            if (!image && fixture->err.errnum == EFBIG && !driver->probe)
                continue; /* the file system has no files that large */
            if (!image)
                fail_msg("%s", fixture->err.text);
            memset(sector, 0xa5, sizeof(sector));
            if (sizes[i])
                assert_ok(fixture, image_write(image, sizes[i] - 512, sector, 512, &fixture->err));
            assert_ok(fixture, image_finish(image, &fixture->err));
            image_close(image);
            image = fixture_open(fixture, driver, false);
            assert_int_equal(image->source.size_bytes, sizes[i]);
            if (sizes[i])
                assert_ok(fixture, block_source_read(&image->source, sizes[i] - 512, read, 512,
                                                     &fixture->err));
            assert_true(!sizes[i] || memcmp(read, sector, 512) == 0);
            image_close(image);
        }
    }
}

static void test_drivers_are_found_by_name_and_describe_themselves(void **state)
{
    (void)state;
    assert_null(image_driver_find("no such format"));
    for (size_t i = 0; image_drivers[i]; i++) {
        assert_ptr_equal(image_driver_find(image_drivers[i]->name), image_drivers[i]);
        assert_non_null(image_drivers[i]->description);
        assert_non_null(image_drivers[i]->extension);
        assert_non_null(image_drivers[i]->open);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_a_new_image_reads_as_zeroes_where_nothing_was_written),
        TEST(test_what_was_written_is_read_before_and_after_finish),
        TEST(test_an_existing_image_is_written_in_place),
        TEST(test_the_map_leaves_out_nothing_but_zeroes),
        TEST(test_the_map_of_a_part_is_a_part_of_the_map),
        TEST(test_zeroes_take_no_space),
        TEST(test_threads_write_and_read_at_once),
        TEST(test_an_unfinished_image_does_not_open),
        TEST(test_a_truncated_image_is_noticed),
        TEST(test_a_damaged_header_is_survived),
        TEST(test_a_second_writer_is_refused),
        TEST(test_writes_outside_or_without_permission_are_refused),
        TEST(test_create_refuses_what_cannot_be),
        TEST(test_frames_are_refused_where_there_is_no_compression),
        TEST(test_the_smallest_and_the_largest_image_are_made),
        TEST(test_drivers_are_found_by_name_and_describe_themselves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
