/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Several buffers at once give what one buffer gives: over every kind of cluster, at every border,
 * with buffers of any length.
 */
#include "formats/qcow2.h"
#include "tests/unit/formats/qcow2_fixture.h"

#include <sys/uio.h>

#define SIZE ((uint64_t)1 << 20)
#define BASE_SIZE ((uint64_t)300 << 10)
#define MAX_PARTS 40

static struct image *create(struct folder *folder, const char *name, const char *format,
                            uint64_t size, const char *base)
{
    struct image_create_options options = {.format = format,
                                           .size_bytes = size,
                                           .backing_path = base,
                                           .backing_format = base ? "raw" : NULL};
    char path[160];

    snprintf(path, sizeof(path), "%s/%s", folder->path, name);
    struct image *image = image_create(path, &options, &folder->err);
    if (!image)
        fail_msg("%s", folder->err.text);
    return image;
}

static struct image *reopen(struct folder *folder, struct image *image, const char *name,
                            const char *format)
{
    struct image_open_options options = {
        .format = format, .is_writable = true, .backing_folder = folder->path};
    char path[160];

    assert_ok(folder, image_finish(image, &folder->err));
    image_close(image);
    snprintf(path, sizeof(path), "%s/%s", folder->path, name);
    image = image_open(path, &options, &folder->err);
    if (!image)
        fail_msg("%s", folder->err.text);
    return image;
}

/* Data over a raw base that ends inside of a cluster, with zeroed and untouched clusters. */
static struct image *make_overlay(struct folder *folder, uint8_t *model)
{
    struct image *image = create(folder, "base", "raw", BASE_SIZE, NULL);
    char path[160];

    memset(model, 0, SIZE);
    memset(model, 0x11, BASE_SIZE);
    assert_ok(folder, image_write(image, 0, model, BASE_SIZE, &folder->err));
    image_close(image);
    image = reopen(folder, create(folder, "image", "qcow2", SIZE, "base"), "image", "qcow2");
    memset(model + 100000, 0x22, 50000);
    assert_ok(folder, image_write(image, 100000, model + 100000, 50000, &folder->err));
    memset(model + 196608, 0, 65536);
    assert_ok(folder, image_write_zeroes(image, 196608, 65536, &folder->err));
    snprintf(path, sizeof(path), "%s/base", folder->path);
    unlink(path);
    return image;
}

static struct image *make_raw(struct folder *folder, uint8_t *model)
{
    struct image *image = create(folder, "image", "raw", SIZE, NULL);

    memset(model, 0x33, SIZE);
    assert_ok(folder, image_write(image, 0, model, SIZE, &folder->err));
    return reopen(folder, image, "image", "raw");
}

/* Cuts a buffer into parts of random lengths, some of none; how long they are together. */
static size_t cut(uint8_t *buffer, struct iovec parts[MAX_PARTS], size_t *count, unsigned *seed)
{
    size_t at = 0;

    *count = 1 + (size_t)rand_r(seed) % MAX_PARTS;
    for (size_t i = 0; i < *count; i++) {
        size_t length = rand_r(seed) % 8 ? (size_t)rand_r(seed) % 9000 : 0;

        parts[i] = (struct iovec){buffer + at, length};
        at += length;
    }
    return at;
}

static void try_many(struct folder *folder, struct image *image, uint8_t *model)
{
    uint8_t *buffer = malloc((size_t)MAX_PARTS * 9000);
    struct iovec parts[MAX_PARTS];
    unsigned seed = 1;

    assert_non_null(buffer);
    for (int i = 0; i < 600; i++) {
        size_t count, length = cut(buffer, parts, &count, &seed);
        uint64_t offset = (uint64_t)rand_r(&seed) % (SIZE - length + 1);

        if (i % 3 == 0) {
            memset(buffer, rand_r(&seed), length);
            memcpy(model + offset, buffer, length);
            assert_ok(folder, image_writev(image, offset, parts, count, &folder->err));
        } else {
            memset(buffer, 0xee, length);
            assert_ok(folder, image_readv(image, offset, parts, count, &folder->err));
            assert_memory_equal(buffer, model + offset, length);
        }
    }
    uint8_t *all = malloc(SIZE);
    assert_non_null(all);
    assert_ok(folder, block_source_read(&image->source, 0, all, SIZE, &folder->err));
    assert_memory_equal(all, model, SIZE);
    free(all);
    free(buffer);
    image_close(image);
    free(model);
}

static void test_overlay_gives_several_buffers_what_it_gives_one(void **state)
{
    uint8_t *model = malloc(SIZE);

    assert_non_null(model);
    try_many(*state, make_overlay(*state, model), model);
}

static void test_raw_gives_several_buffers_what_it_gives_one(void **state)
{
    uint8_t *model = malloc(SIZE);

    assert_non_null(model);
    try_many(*state, make_raw(*state, model), model);
}

static void test_ranges_that_do_not_lie_inside_are_refused(void **state)
{
    struct folder *folder = *state;
    uint8_t *model = malloc(SIZE), bytes[1024];
    struct iovec parts[] = {{bytes, 512}, {bytes + 512, 512}};
    struct iovec endless[] = {{bytes, SIZE_MAX}, {bytes, 2}};

    assert_non_null(model);
    struct image *image = make_raw(folder, model);
    assert_int_equal(image_readv(image, SIZE - 512, parts, 2, &folder->err), -1);
    assert_int_equal(folder->err.errnum, ERANGE);
    assert_int_equal(image_writev(image, UINT64_MAX - 100, parts, 2, &folder->err), -1);
    assert_int_equal(folder->err.errnum, ERANGE);
    assert_int_equal(image_readv(image, 0, endless, 2, &folder->err), -1);
    assert_int_equal(folder->err.errnum, EOVERFLOW);
    assert_int_equal(image_readv(image, 0, parts, IMAGE_MAX_PARTS + 1, &folder->err), -1);
    assert_ok(folder, image_readv(image, SIZE, parts, 0, &folder->err));
    image->is_writable = false;
    assert_int_equal(image_writev(image, 0, parts, 2, &folder->err), -1);
    assert_int_equal(folder->err.errnum, EBADF);
    image_close(image);
    free(model);
}

#define FOLDER_TEST(name) cmocka_unit_test_setup_teardown(name, folder_set_up, folder_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_overlay_gives_several_buffers_what_it_gives_one),
        FOLDER_TEST(test_raw_gives_several_buffers_what_it_gives_one),
        FOLDER_TEST(test_ranges_that_do_not_lie_inside_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
