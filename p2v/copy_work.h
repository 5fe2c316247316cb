/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The copying engine's parts: which ranges to read next, and reading them with care. Private to
 * p2v/copy*.c and its tests.
 */
#ifndef P2V_COPY_WORK_H
#define P2V_COPY_WORK_H

#include "base/extents.h"
#include "base/source.h"
#include "formats/manifest.h"

#include <stdbool.h>
#include <stddef.h>

/* Walks the chunks that are used and that the source's own map does not call holes. */
struct copy_cursor {
    const struct block_source *source;
    struct extents chunks; /* what is used, widened to chunks */
    size_t index;          /* in chunks */
    uint64_t offset;       /* everything before it was given out */
    struct extents window; /* the source's data, widened to chunks, up to window_end */
    uint64_t window_end;
    struct manifest *manifest; /* holes are recorded there as zero; may be NULL */
};

int copy_cursor_init(struct copy_cursor *cursor, const struct block_source *source,
                     const struct extents *used, struct manifest *manifest, struct error *err);
void copy_cursor_fini(struct copy_cursor *cursor);

/* The next range, inside one multiple of `unit_bytes`: 1, 0 at the end, or -1. */
int copy_cursor_next(struct copy_cursor *cursor, uint64_t unit_bytes, struct extent *range,
                     struct error *err);

/*
 * Reads a range of whole chunks; what is not used, or beyond the source's end, is zero in the
 * buffer. Sectors that the medium cannot read are zero there and added to `bad`.
 */
int copy_read(const struct block_source *source, const struct extents *used,
              const struct extent *range, uint8_t *buffer, struct extents *bad, struct error *err);

/* Asks the kernel for what comes next, so that the disk works while the cores hash. */
struct copy_read_ahead {
    int fd; /* -1: nothing is asked for */
    uint64_t end;
};
void copy_read_ahead_open(struct copy_read_ahead *ahead, const char *path); /* NULL: none */
void copy_read_ahead_close(struct copy_read_ahead *ahead);
void copy_read_ahead_from(struct copy_read_ahead *ahead, uint64_t offset);

/* Makes what is not used of a range that was read zero. */
void copy_mask_unused(const struct extents *used, const struct extent *range, uint8_t *buffer);

/* A fault of the medium at that place, as opposed to one of ours or of the image's structure. */
bool copy_is_medium_error(const struct error *err);

#endif
