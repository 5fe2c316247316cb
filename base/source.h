/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * struct block_source: what a disk and a disk image have in common for their readers. Partition,
 * volume and file-system code sees only this, so it works on images and on metal alike.
 *
 * A source is embedded in its implementation (a device, an image, a slice of another source), which
 * keeps whatever it needs behind it.
 */
#ifndef BASE_SOURCE_H
#define BASE_SOURCE_H

#include "base/error.h"
#include "base/extents.h"

#include <stdint.h>

struct block_source;

struct block_source_ops {
    /* Reads exactly `length` bytes inside the source. Several threads may call it at once. */
    int (*read)(const struct block_source *source, uint64_t offset, void *buffer, size_t length,
                struct error *err);

    /*
     * Optional. Adds to `data` the ranges of [offset, offset + length) that may hold anything but
     * zeroes. Without it everything may.
     */
    int (*map)(const struct block_source *source, uint64_t offset, uint64_t length,
               struct extents *data, struct error *err);
};

struct block_source {
    const struct block_source_ops *ops;
    uint64_t size_bytes;
    uint32_t sector_size; /* logical sector in bytes; 0 when the source cannot know (an image) */
};

/* Reads exactly `length` bytes; a range outside the source is an error (ERANGE), never cut. */
int block_source_read(const struct block_source *source, uint64_t offset, void *buffer,
                      size_t length, struct error *err);

/* As ops->map; a source without it reports the whole range. */
int block_source_map(const struct block_source *source, uint64_t offset, uint64_t length,
                     struct extents *data, struct error *err);

/* A part of another source (a partition), which is borrowed and must outlive it. */
struct block_slice {
    struct block_source source;
    const struct block_source *parent;
    uint64_t start; /* bytes */
};

/* Fails when the part does not lie inside the parent. Nothing to free. */
int block_slice_init(struct block_slice *slice, const struct block_source *parent, uint64_t start,
                     uint64_t length, struct error *err);

/* A buffer as a source (tests, fuzzing, superblocks already read); the buffer is borrowed. */
struct block_memory {
    struct block_source source;
    const void *data;
};
void block_memory_init(struct block_memory *memory, const void *data, size_t length);

#endif
