/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the contract tests of image drivers share: a folder of their own, and a model of a disk in
 * memory that is written alongside an image and compared with it.
 */
#ifndef TESTS_CONTRACT_IMAGE_FIXTURE_H
#define TESTS_CONTRACT_IMAGE_FIXTURE_H

#include "base/bytes.h"
#include "base/checked.h"
#include "formats/image.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* No multiple of a cluster, and above one L2 slice of 32 MiB. */
#define MODEL_SIZE ((size_t)40 * 1024 * 1024 + 512 * 3)
#define MODEL_CLUSTER ((size_t)65536)

struct fixture {
    char folder[64];
    char path[128];
    struct error err;
    uint8_t *model; /* MODEL_SIZE bytes: what the image should read as */
    unsigned seed;
};

static inline int fixture_set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    /* In memory where possible: these tests sync a great deal. */
    snprintf(fixture->folder, sizeof(fixture->folder), "%s/rehost-images-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(fixture->folder));
    snprintf(fixture->path, sizeof(fixture->path), "%s/image", fixture->folder);
    fixture->model = calloc(1, MODEL_SIZE);
    assert_non_null(fixture->model);
    *state = fixture;
    return 0;
}

static inline int fixture_tear_down(void **state)
{
    struct fixture *fixture = *state;

    unlink(fixture->path);
    rmdir(fixture->folder);
    free(fixture->model);
    free(fixture);
    return 0;
}

/* A fresh model and no file, for the next driver of a loop. */
static inline void fixture_reset(struct fixture *fixture)
{
    unlink(fixture->path);
    memset(fixture->model, 0, MODEL_SIZE);
    fixture->err = (struct error){0};
    srandom(fixture->seed = 1);
}

#define assert_ok(fixture, call)                                                                   \
    do {                                                                                           \
        if ((call) != 0)                                                                           \
            fail_msg("%s", (fixture)->err.text);                                                   \
    } while (0)

static inline struct image *fixture_create(struct fixture *fixture,
                                           const struct image_driver *driver)
{
    struct image_create_options options = {.format = driver->name, .size_bytes = MODEL_SIZE};
    struct image *image = image_create(fixture->path, &options, &fixture->err);

    if (!image)
        fail_msg("%s", fixture->err.text);
    return image;
}

static inline struct image *fixture_try_open(struct fixture *fixture,
                                             const struct image_driver *driver, bool is_writable)
{
    struct image_open_options options = {.format = driver->name, .is_writable = is_writable};

    return image_open(fixture->path, &options, &fixture->err);
}

static inline struct image *fixture_open(struct fixture *fixture, const struct image_driver *driver,
                                         bool is_writable)
{
    struct image *image = fixture_try_open(fixture, driver, is_writable);

    if (!image)
        fail_msg("%s", fixture->err.text);
    return image;
}

/* A range that is often, but not always, aligned to sectors or clusters. */
static inline void fixture_pick_range(uint64_t *offset, size_t *length)
{
    static const uint64_t units[] = {1, 512, MODEL_CLUSTER, MODEL_CLUSTER};
    uint64_t unit = units[random() % 4];

    *offset = (uint64_t)random() % (MODEL_SIZE / unit) * unit;
    *length = (size_t)(((uint64_t)random() % 9 + 1) * unit);
    if (random() % 8 == 0)
        *length *= 16;
    *length = (size_t)min_u64(*length, MODEL_SIZE - *offset);
}

/* One random write or zeroing of image and model. */
static inline int fixture_scribble(struct fixture *fixture, struct image *image)
{
    uint64_t offset;
    size_t length;

    fixture_pick_range(&offset, &length);
    if (random() % 4 == 0) {
        memset(fixture->model + offset, 0, length);
        return image_write_zeroes(image, offset, length, &fixture->err);
    }
    for (size_t i = 0; i < length; i++)
        fixture->model[offset + i] = (uint8_t)(offset + i * 7 + fixture->seed);
    fixture->seed = fixture->seed * 1103515245 + 12345;
    return image_write(image, offset, fixture->model + offset, length, &fixture->err);
}

/* The image reads as the model says, in steps that fit nothing. */
static inline void fixture_compare(struct fixture *fixture, const struct image *image)
{
    uint8_t *buffer = malloc(MODEL_SIZE);

    assert_int_equal(image->source.size_bytes, MODEL_SIZE);
    for (size_t at = 0, step; at < MODEL_SIZE; at += step) {
        step = (size_t)min_u64(1 + (uint64_t)random() % 3000000, MODEL_SIZE - at);
        assert_ok(fixture, block_source_read(&image->source, at, buffer + at, step, &fixture->err));
    }
    for (size_t i = 0; memcmp(buffer, fixture->model, MODEL_SIZE) != 0; i++) {
        if (buffer[i] != fixture->model[i])
            fail_msg("%s: byte 0x%zx is 0x%02x, not 0x%02x", image->driver->name, i, buffer[i],
                     fixture->model[i]);
    }
    free(buffer);
}

/* A finished image with random content; the model has it too. */
static inline void fixture_make(struct fixture *fixture, const struct image_driver *driver,
                                unsigned writes)
{
    fixture_reset(fixture);
    struct image *image = fixture_create(fixture, driver);

    for (unsigned i = 0; i < writes; i++)
        assert_ok(fixture, fixture_scribble(fixture, image));
    assert_ok(fixture, image_finish(image, &fixture->err));
    image_close(image);
}

/* Every driver that can make images. */
#define for_each_writer(driver)                                                                    \
    for (const struct image_driver *const *writer_ = image_drivers, *driver = *writer_; *writer_;  \
         driver = *++writer_)                                                                      \
        if (driver->create)

#endif
