/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Reads piece by piece: from a part up to the end of its stripe, or from the disk up to the next
 * part.
 */
#include "p2v/agent/snapshot_overlay.h"

#include "base/checked.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct snapshot_overlay {
    struct block_source source;
    const struct block_source *base;
    struct overlay_part *parts; /* by offset */
    size_t count;
    atomic_bool is_lost;
};

/* Where a byte of the part (0 is its first) is in the source. */
static uint64_t place_of(const struct overlay_part *part, uint64_t position)
{
    if (part->stripes <= 1)
        return part->start + position;
    uint64_t stripe = position / part->stripe_bytes, inside = position % part->stripe_bytes;
    return part->start + stripe * part->stripe_bytes * part->stripes + inside;
}

/* --- reading --- */

/* Index of the first part that ends after the offset. */
static size_t find_part(const struct snapshot_overlay *overlay, uint64_t offset)
{
    size_t low = 0, high = overlay->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct overlay_part *part = &overlay->parts[middle];
        if (part->offset + part->length > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* A snapshot that has overflowed cannot be read; the disk below it can. */
static int read_part(struct snapshot_overlay *overlay, const struct overlay_part *part,
                     uint64_t offset, void *buffer, size_t length, struct error *err)
{
    uint64_t place = place_of(part, offset - part->offset);
    if (block_source_read(part->source, place, buffer, length, err) == 0)
        return 0;
    if (block_source_read(overlay->base, offset, buffer, length, NULL) != 0)
        return -1;
    atomic_store(&overlay->is_lost, true);
    return 0;
}

static uint64_t stripe_left(const struct overlay_part *part, uint64_t position)
{
    uint64_t left = part->length - position;
    if (part->stripes <= 1)
        return left;
    return min_u64(left, part->stripe_bytes - position % part->stripe_bytes);
}

static int overlay_read(const struct block_source *source, uint64_t offset, void *buffer,
                        size_t length, struct error *err)
{
    struct snapshot_overlay *overlay = (struct snapshot_overlay *)(uintptr_t)source;
    size_t index = find_part(overlay, offset);
    for (size_t done = 0, piece; done < length; done += piece) {
        uint64_t at = offset + done, left = length - done;
        void *into = (uint8_t *)buffer + done;
        const struct overlay_part *part = index < overlay->count ? &overlay->parts[index] : NULL;
        int result;
        if (part && at >= part->offset) {
            piece = (size_t)min_u64(left, stripe_left(part, at - part->offset));
            result = read_part(overlay, part, at, into, piece, err);
            index += at + piece == part->offset + part->length;
        } else {
            piece = (size_t)min_u64(left, part ? part->offset - at : left);
            result = block_source_read(overlay->base, at, into, piece, err);
        }
        if (result != 0)
            return -1;
    }
    return 0;
}

static const struct block_source_ops overlay_ops = {.read = overlay_read};

/* --- */

struct snapshot_overlay *snapshot_overlay_new(const struct block_source *base)
{
    struct snapshot_overlay *overlay = memory_new(1, sizeof(*overlay));
    overlay->source = (struct block_source){&overlay_ops, base->size_bytes, base->sector_size};
    overlay->base = base;
    return overlay;
}

void snapshot_overlay_free(struct snapshot_overlay *overlay)
{
    if (!overlay)
        return;
    snapshot_overlay_clear(overlay);
    free(overlay);
}

const struct block_source *snapshot_overlay_block(const struct snapshot_overlay *overlay)
{
    return &overlay->source;
}

void snapshot_overlay_clear(struct snapshot_overlay *overlay)
{
    free(overlay->parts);
    overlay->parts = NULL;
    overlay->count = 0;
}

bool snapshot_overlay_is_lost(const struct snapshot_overlay *overlay)
{
    return atomic_load(&overlay->is_lost);
}

static int compare_parts(const void *left, const void *right)
{
    const struct overlay_part *a = left, *b = right;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

static int check_part(const struct snapshot_overlay *overlay, const struct overlay_part *part,
                      const struct overlay_part *before, struct error *err)
{
    bool is_striped = part->stripes > 1;
    if (part->length == 0 || part->stripes == 0 || (is_striped && part->stripe_bytes == 0) ||
        !range_is_inside(part->offset, part->length, overlay->source.size_bytes))
        return error_set(err, 0, "a part of %" PRIu64 " bytes at 0x%" PRIx64, part->length,
                         part->offset);
    if (before && before->offset + before->length > part->offset)
        return error_set(err, 0, "two parts at 0x%" PRIx64, part->offset);
    /* The last byte is the highest: a part has as many stripes as the volume's piece of it. */
    if (part->start >= part->source->size_bytes ||
        (is_striped && part->length / part->stripe_bytes >
                           part->source->size_bytes / part->stripe_bytes / part->stripes) ||
        part->length > part->source->size_bytes ||
        place_of(part, part->length - 1) >= part->source->size_bytes)
        return error_set(err, 0, "the part at 0x%" PRIx64 " is not in its source", part->offset);
    return 0;
}

int snapshot_overlay_set(struct snapshot_overlay *overlay, const struct overlay_part *parts,
                         size_t count, struct error *err)
{
    struct overlay_part *sorted = memory_new(count + 1, sizeof(*sorted));
    int result = 0;
    if (count)
        memcpy(sorted, parts, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), compare_parts);
    for (size_t i = 0; result == 0 && i < count; i++)
        result = check_part(overlay, &sorted[i], i ? &sorted[i - 1] : NULL, err);
    if (result != 0) {
        free(sorted);
        return -1;
    }
    snapshot_overlay_clear(overlay);
    overlay->parts = sorted;
    overlay->count = count;
    atomic_store(&overlay->is_lost, false);
    return 0;
}
