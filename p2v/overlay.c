/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Makes overlays, and commits them in batches: an open overlay holds its base against writers, so
 * reading the one and writing the other take turns.
 */
#include "p2v/overlay.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "formats/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_CHUNKS 256 /* 16 MiB */

struct batch {
    size_t count;
    uint64_t offsets[BATCH_CHUNKS];
    size_t lengths[BATCH_CHUNKS];
    uint8_t data[BATCH_CHUNKS][CHUNK_SIZE];
    uint8_t before[CHUNK_SIZE];
};

struct commit {
    const struct overlay *overlay;
    struct manifest *manifest; /* or NULL */
    struct extents own;        /* what the overlay stores, widened to chunks */
    uint64_t position;         /* everything before it is committed */
    uint64_t changed_bytes;
    struct batch *batch;
};

static struct image *open_base(const struct overlay *overlay, bool is_writable, struct error *err)
{
    struct image_open_options options = {.format = overlay->base_format,
                                         .is_writable = is_writable,
                                         .backing_folder = overlay->folder};
    return image_open(overlay->base_path, &options, err);
}

static struct image *open_overlay(const struct overlay *overlay, struct error *err)
{
    struct image_open_options options = {.format = "qcow2", .backing_folder = overlay->folder};
    return image_open(overlay->path, &options, err);
}

int overlay_create(const struct overlay *overlay, struct error *err)
{
    AUTO_PTR(image) base = open_base(overlay, false, err);
    if (!base)
        return -1;
    struct image_create_options options = {.format = "qcow2",
                                           .size_bytes = base->source.size_bytes,
                                           .backing_path = overlay->base_name,
                                           .backing_format = overlay->base_format};
    AUTO_PTR(image) image = image_create(overlay->path, &options, err);
    return image ? image_finish(image, err) : -1;
}

static int map_overlay(struct commit *commit, struct error *err)
{
    AUTO_PTR(image) image = open_overlay(commit->overlay, err);
    if (!image || image_map_own(image, &commit->own, err) != 0)
        return -1;
    return extents_align(&commit->own, CHUNK_SIZE, image->source.size_bytes, err);
}

/* The manifest is to say what the disk holds then, also where an interrupted run wrote it already.
 */
static int record(struct commit *commit, uint64_t offset, const uint8_t *data, size_t length,
                  struct error *err)
{
    struct manifest *manifest = commit->manifest;
    uint64_t index = offset / CHUNK_SIZE;
    struct chunk_name name = {0};
    if (!manifest)
        return 0;
    enum chunk_state before = manifest_state(manifest, index);
    if (bytes_are_zero(data, length))
        return before == CHUNK_DATA ? manifest_change(manifest, index, CHUNK_ZERO, &name, err) : 0;
    chunk_name_compute(data, length, &name);
    if (before == CHUNK_DATA && memcmp(manifest_name(manifest, index), &name, sizeof(name)) == 0)
        return 0;
    return manifest_change(manifest, index, CHUNK_DATA, &name, err);
}

/* Takes a chunk into the batch unless the base holds the same. */
static int load_chunk(struct commit *commit, const struct image *image, const struct image *base,
                      uint64_t offset, size_t length, struct error *err)
{
    struct batch *batch = commit->batch;
    uint8_t *data = batch->data[batch->count];
    if (block_source_read(&image->source, offset, data, length, err) != 0 ||
        block_source_read(&base->source, offset, batch->before, length, err) != 0 ||
        record(commit, offset, data, length, err) != 0)
        return -1;
    if (memcmp(data, batch->before, length) == 0)
        return 0;
    batch->offsets[batch->count] = offset;
    batch->lengths[batch->count++] = length;
    return 0;
}

/* Fills the batch from the position on; position becomes UINT64_MAX at the end. */
static int load_batch(struct commit *commit, struct error *err)
{
    AUTO_PTR(image) image = open_overlay(commit->overlay, err);
    AUTO_PTR(image) base = image ? open_base(commit->overlay, false, err) : NULL;
    if (!base)
        return -1;
    commit->batch->count = 0;
    for (size_t i = extents_find(&commit->own, commit->position); i < commit->own.count; i++) {
        uint64_t end = commit->own.items[i].offset + commit->own.items[i].length;
        uint64_t offset = max_u64(commit->own.items[i].offset, commit->position);
        for (; offset < end; offset += CHUNK_SIZE) {
            commit->position = offset;
            if (commit->batch->count == BATCH_CHUNKS)
                return 0;
            size_t length = (size_t)min_u64(CHUNK_SIZE, end - offset);
            if (load_chunk(commit, image, base, offset, length, err) != 0)
                return -1;
        }
    }
    commit->position = UINT64_MAX;
    return 0;
}

static int store_chunk(struct commit *commit, struct image *base, size_t i, struct error *err)
{
    uint64_t offset = commit->batch->offsets[i];
    size_t length = commit->batch->lengths[i];
    const uint8_t *data = commit->batch->data[i];
    commit->changed_bytes += length;
    if (bytes_are_zero(data, length))
        return image_write_zeroes(base, offset, length, err);
    return image_write(base, offset, data, length, err);
}

static int store_batch(struct commit *commit, struct error *err)
{
    AUTO_PTR(image) base = open_base(commit->overlay, true, err);
    if (!base)
        return -1;
    for (size_t i = 0; i < commit->batch->count; i++) {
        if (store_chunk(commit, base, i, err) != 0)
            return -1;
    }
    return image_flush(base, err);
}

static int run(struct commit *commit, struct error *err)
{
    commit->batch = malloc(sizeof(*commit->batch));
    if (!commit->batch)
        return error_set(err, ENOMEM, "commit %s", commit->overlay->path);
    if (map_overlay(commit, err) != 0)
        return -1;
    while (commit->position != UINT64_MAX) {
        if (load_batch(commit, err) != 0 || store_batch(commit, err) != 0)
            return -1;
    }
    return 0;
}

int overlay_commit(const struct overlay *overlay, struct manifest *manifest,
                   uint64_t *changed_bytes, struct error *err)
{
    struct commit commit = {.overlay = overlay, .manifest = manifest};
    int result = run(&commit, err);
    extents_fini(&commit.own);
    free(commit.batch);
    *changed_bytes = commit.changed_bytes;
    return result;
}
