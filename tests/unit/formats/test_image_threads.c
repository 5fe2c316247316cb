/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Images written in place by several threads at once, as a guest with several queues does: no
 * sector is lost, whatever clusters they share; what cannot be written is not leaked.
 */
#include "formats/qcow2.h"
#include "tests/lib/image_stress.h"
#include "tests/unit/formats/qcow2_fixture.h"

#include <signal.h>
#include <sys/resource.h>

#define SIZE ((uint64_t)3 << 20)
#define BASE_SIZE ((uint64_t)1000 << 10) /* the overlay is larger, and this is no whole cluster */

static char *path_of(const struct folder *folder, const char *name, char path[160])
{
    snprintf(path, 160, "%s/%s", folder->path, name);
    return path;
}

static void create(struct folder *folder, const char *name,
                   const struct image_create_options *options)
{
    char path[160];
    struct image *image = image_create(path_of(folder, name, path), options, &folder->err);

    if (!image)
        fail_msg("%s", folder->err.text);
    for (uint64_t at = 0; !options->backing_path && at < options->size_bytes; at += 65536) {
        uint8_t bytes[65536];
        size_t length = (size_t)min_u64(sizeof(bytes), options->size_bytes - at);

        memset(bytes, 0x11, sizeof(bytes));
        assert_ok(folder, image_write(image, at, bytes, length, &folder->err));
    }
    assert_ok(folder, image_finish(image, &folder->err));
    image_close(image);
}

static struct image *open_image(struct folder *folder, const char *name, const char *format)
{
    struct image_open_options options = {
        .format = format, .is_writable = true, .backing_folder = folder->path};
    char path[160];
    struct image *image = image_open(path_of(folder, name, path), &options, &folder->err);

    if (!image)
        fail_msg("%s", folder->err.text);
    unlink(path);
    return image;
}

static struct image *make_image(struct folder *folder, const char *format)
{
    struct image_create_options options = {.format = format, .size_bytes = SIZE};

    create(folder, "image", &options);
    return open_image(folder, "image", format);
}

static struct image *make_overlay(struct folder *folder, const char *base_format)
{
    struct image_create_options base = {.format = base_format, .size_bytes = BASE_SIZE};
    struct image_create_options overlay = {.format = "qcow2",
                                           .size_bytes = SIZE,
                                           .backing_path = "base",
                                           .backing_format = base_format};
    char path[160];

    create(folder, "base", &base);
    create(folder, "image", &overlay);
    struct image *image = open_image(folder, "image", "qcow2");
    unlink(path_of(folder, "base", path));
    return image;
}

/* Takes the image. */
static void run_stress(struct folder *folder, struct image *image, uint64_t shown,
                       unsigned operations)
{
    static const unsigned stripes[] = {1, 7, 128, 300};
    uint8_t *model = calloc(1, SIZE);

    assert_non_null(model);
    memset(model, 0x11, shown);
    for (unsigned i = 0; i < ARRAY_LENGTH(stripes); i++) {
        struct image_stress stress = {
            .image = image,
            .model = model,
            .threads = 4,
            .operations = operations,
            .seed = i,
            .stripe_sectors = stripes[i],
            .may_zero = true,
        };
        assert_ok(folder, image_stress_run(&stress, &folder->err));
    }
    image_close(image);
    free(model);
}

static void test_threads_lose_no_sector_of_a_raw_image(void **state)
{
    run_stress(*state, make_image(*state, "raw"), SIZE, 200);
}

static void test_threads_lose_no_sector_of_a_qcow2_image(void **state)
{
    run_stress(*state, make_image(*state, "qcow2"), SIZE, 200);
}

static void test_threads_lose_no_sector_of_an_overlay_larger_than_its_base(void **state)
{
    run_stress(*state, make_overlay(*state, "raw"), BASE_SIZE, 200);
    run_stress(*state, make_overlay(*state, "qcow2"), BASE_SIZE, 200);
}

static void test_overlay_shows_zeroes_behind_a_shorter_base(void **state)
{
    struct folder *folder = *state;
    struct image *image = make_overlay(folder, "raw");
    uint8_t bytes[4096], zeroes[4096] = {0};

    /* One sector makes the cluster that the base ends in the overlay's own. */
    memset(bytes, 0x22, 512);
    assert_ok(folder, image_write(image, BASE_SIZE - 512, bytes, 512, &folder->err));
    assert_ok(folder, block_source_read(&image->source, BASE_SIZE - 1024, bytes, sizeof(bytes),
                                        &folder->err));
    assert_int_equal(bytes[511], 0x11);
    assert_int_equal(bytes[512], 0x22);
    assert_memory_equal(bytes + 1024, zeroes, sizeof(bytes) - 1024);
    assert_ok(folder, block_source_read(&image->source, SIZE - sizeof(bytes), bytes, sizeof(bytes),
                                        &folder->err));
    assert_memory_equal(bytes, zeroes, sizeof(bytes));
    image_close(image);
}

static uint64_t allocated_bytes(const struct image *image)
{
    struct image_info info;

    image_get_info(image, &info);
    return info.allocated_bytes;
}

static void test_zeroed_clusters_of_an_existing_image_give_their_room_back(void **state)
{
    struct folder *folder = *state;
    struct image *image = make_image(folder, "qcow2");

    assert_true(allocated_bytes(image) >= SIZE);
    assert_ok(folder, image_write_zeroes(image, 0, SIZE, &folder->err));
    assert_true(allocated_bytes(image) < SIZE / 4);
    image_close(image);
}

/* A limit on the file's size stands for a full disk. */
static void test_write_that_finds_no_room_leaks_no_cluster(void **state)
{
    struct folder *folder = *state;
    struct image *image = make_overlay(folder, "raw");
    struct qcow2 *qcow2 = qcow2_of(image);
    uint8_t bytes[512] = {1};
    struct rlimit before, limit;
    uint64_t end;

    assert_ok(folder, image_write(image, 0, bytes, 512, &folder->err));
    end = atomic_load(&qcow2->file_end);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = (rlim_t)end + 1024;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (unsigned i = 1; i < 20; i++) {
        assert_int_equal(image_write(image, i * 65536, bytes, 512, &folder->err), -1);
        assert_int_equal(folder->err.errnum, EFBIG);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(atomic_load(&qcow2->file_end), end);
    assert_ok(folder, image_write(image, 65536 * 3, bytes, 512, &folder->err));
    assert_int_equal(atomic_load(&qcow2->file_end), end + 65536);
    image_close(image);
}

#define FOLDER_TEST(name) cmocka_unit_test_setup_teardown(name, folder_set_up, folder_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_threads_lose_no_sector_of_a_raw_image),
        FOLDER_TEST(test_threads_lose_no_sector_of_a_qcow2_image),
        FOLDER_TEST(test_threads_lose_no_sector_of_an_overlay_larger_than_its_base),
        FOLDER_TEST(test_overlay_shows_zeroes_behind_a_shorter_base),
        FOLDER_TEST(test_zeroed_clusters_of_an_existing_image_give_their_room_back),
        FOLDER_TEST(test_write_that_finds_no_room_leaks_no_cluster),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
