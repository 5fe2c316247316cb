/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Several threads on one image at once: each writes, zeroes and reads stripes of its own, which
 * share clusters with those of the others, and knows what must be there. For unit tests and for
 * the tool that a script runs between two qemu-img checks.
 */
#ifndef TESTS_IMAGE_STRESS_H
#define TESTS_IMAGE_STRESS_H

#include "base/bytes.h"
#include "base/checked.h"
#include "formats/image.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define STRESS_MAX_THREADS 8
#define STRESS_SECTOR ((size_t)512)

struct image_stress {
    struct image *image;
    uint8_t *model; /* what the image shows, all of it */
    unsigned threads, operations, seed;
    unsigned stripe_sectors; /* stripe n is thread n % threads' own */
    bool may_zero;
};

struct stress_thread {
    const struct image_stress *stress;
    unsigned index, seed;
    pthread_t thread;
    int result;
    struct error err;
};

/* A range of sectors in a stripe of this thread's. */
static inline void stress_choose(struct stress_thread *thread, uint64_t *offset, size_t *length)
{
    const struct image_stress *stress = thread->stress;
    size_t stripe = stress->stripe_sectors * STRESS_SECTOR;
    uint64_t stripes = stress->image->source.size_bytes / stripe / stress->threads;
    uint64_t start = ((uint64_t)rand_r(&thread->seed) % stripes * stress->threads + thread->index);
    size_t first = (size_t)rand_r(&thread->seed) % stress->stripe_sectors;

    *length =
        (1 + (size_t)rand_r(&thread->seed) % (stress->stripe_sectors - first)) * STRESS_SECTOR;
    *offset = start * stripe + first * STRESS_SECTOR;
}

static inline int stress_read(struct stress_thread *thread, uint64_t offset, size_t length,
                              uint8_t *buffer)
{
    const struct image_stress *stress = thread->stress;

    if (block_source_read(&stress->image->source, offset, buffer, length, &thread->err) < 0)
        return -1;
    if (memcmp(buffer, stress->model + offset, length) != 0)
        return error_set(&thread->err, EIO, "%zu bytes at 0x%llx are not what was written", length,
                         (unsigned long long)offset);
    return 0;
}

static inline int stress_once(struct stress_thread *thread, uint8_t *buffer)
{
    const struct image_stress *stress = thread->stress;
    unsigned choice = (unsigned)rand_r(&thread->seed) % 16;
    uint64_t offset;
    size_t length;

    stress_choose(thread, &offset, &length);
    if (choice < 6)
        return stress_read(thread, offset, length, buffer);
    if (choice < 8 && stress->may_zero) {
        memset(stress->model + offset, 0, length);
        return image_write_zeroes(stress->image, offset, length, &thread->err);
    }
    memset(stress->model + offset, 1 + rand_r(&thread->seed) % 255, length);
    return image_write(stress->image, offset, stress->model + offset, length, &thread->err);
}

static inline void *stress_main(void *context)
{
    struct stress_thread *thread = context;
    uint8_t *buffer = malloc(thread->stress->stripe_sectors * STRESS_SECTOR);

    for (unsigned i = 0; i < thread->stress->operations && thread->result == 0; i++)
        thread->result = stress_once(thread, buffer);
    free(buffer);
    return NULL;
}

/* All of the image against the model. */
static inline int image_stress_verify(const struct image_stress *stress, struct error *err)
{
    uint8_t buffer[65536];

    for (uint64_t at = 0; at < stress->image->source.size_bytes; at += sizeof(buffer)) {
        size_t length = (size_t)min_u64(sizeof(buffer), stress->image->source.size_bytes - at);

        if (block_source_read(&stress->image->source, at, buffer, length, err) < 0)
            return -1;
        if (memcmp(buffer, stress->model + at, length) != 0)
            return error_set(err, EIO, "%zu bytes at 0x%llx are not the model's", length,
                             (unsigned long long)at);
    }
    return 0;
}

static inline int image_stress_run(const struct image_stress *stress, struct error *err)
{
    struct stress_thread threads[STRESS_MAX_THREADS] = {0};
    int result = 0;

    for (unsigned i = 0; i < stress->threads; i++) {
        threads[i] =
            (struct stress_thread){.stress = stress, .index = i, .seed = stress->seed * 31 + i};
        if (pthread_create(&threads[i].thread, NULL, stress_main, &threads[i]) != 0)
            abort();
    }
    for (unsigned i = 0; i < stress->threads; i++) {
        pthread_join(threads[i].thread, NULL);
        if (threads[i].result < 0 && result == 0) {
            *err = threads[i].err;
            result = -1;
        }
    }
    return result < 0 ? -1 : image_stress_verify(stress, err);
}

#endif
