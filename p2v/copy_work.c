/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Which ranges of a disk to copy, and reading them: around holes, without what is not used, and
 * around sectors that cannot be read.
 */
#include "p2v/copy_work.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/own.h"
#include "p2v/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* How much of the source's map is looked at in one go: bounds the memory for a fragmented one. */
#define COPY_WINDOW (256 * MIB)

/* The smallest piece that is tried alone, where the source does not say. */
#define COPY_SECTOR 512u

/* How far ahead of the reading threads the source is asked for. */
#define COPY_READ_AHEAD (16 * MIB)

static uint64_t end_of(const struct extent *extent)
{
    return extent->offset + extent->length;
}

int copy_cursor_init(struct copy_cursor *cursor, const struct block_source *source,
                     const struct extents *used, struct manifest *manifest, struct error *err)
{
    *cursor = (struct copy_cursor){.source = source, .manifest = manifest};
    if (extents_add_all(&cursor->chunks, used, 0, err) != 0 ||
        extents_align(&cursor->chunks, CHUNK_SIZE, copy_target_size(source->size_bytes), err) != 0)
        return -1;
    return 0;
}

void copy_cursor_fini(struct copy_cursor *cursor)
{
    extents_fini(&cursor->chunks);
    extents_fini(&cursor->window);
}

static int load_window(struct copy_cursor *cursor, uint64_t start, struct error *err)
{
    const struct block_source *source = cursor->source;
    uint64_t length = min_u64(COPY_WINDOW, source->size_bytes - start);
    extents_fini(&cursor->window);
    if (block_source_map(source, start, length, &cursor->window, err) != 0 ||
        extents_align(&cursor->window, CHUNK_SIZE, copy_target_size(source->size_bytes), err) != 0)
        return -1;
    cursor->window_end = start + COPY_WINDOW;
    return 0;
}

static void record_hole(struct copy_cursor *cursor, uint64_t start, uint64_t end)
{
    if (!cursor->manifest)
        return;
    for (uint64_t offset = start; offset < end; offset += CHUNK_SIZE)
        manifest_set(cursor->manifest, offset / CHUNK_SIZE, CHUNK_ZERO, NULL);
}

/* The first data in [start, end) by the window; its length is 0 when there is none. */
static struct extent data_in_window(const struct copy_cursor *cursor, uint64_t start, uint64_t end)
{
    size_t i = extents_find(&cursor->window, start);
    if (i == cursor->window.count || cursor->window.items[i].offset >= end)
        return (struct extent){end, 0};
    uint64_t first = max_u64(cursor->window.items[i].offset, start);
    return (struct extent){first, min_u64(end_of(&cursor->window.items[i]), end) - first};
}

int copy_cursor_next(struct copy_cursor *cursor, uint64_t unit_bytes, struct extent *range,
                     struct error *err)
{
    while (cursor->index < cursor->chunks.count) {
        const struct extent *chunks = &cursor->chunks.items[cursor->index];
        uint64_t start = max_u64(chunks->offset, cursor->offset);
        if (start >= end_of(chunks)) {
            cursor->index++;
            continue;
        }
        if (start >= cursor->window_end && load_window(cursor, start, err) != 0)
            return -1;
        *range = data_in_window(cursor, start, min_u64(end_of(chunks), cursor->window_end));
        range->length = min_u64(range->length, unit_bytes - (range->offset & (unit_bytes - 1)));
        record_hole(cursor, start, range->offset);
        cursor->offset = end_of(range);
        if (range->length > 0)
            return 1;
    }
    return 0;
}

bool copy_is_medium_error(const struct error *err)
{
    switch (err->errnum) {
    case EIO:
    case EILSEQ:  /* failed protection information */
    case ENODATA: /* the kernel's name for 'critical medium error' */
    case EBADMSG:
    case EREMOTEIO:
        return true;
    default:
        return false;
    }
}

/* Halves down to a sector, in order, so that what is good is read in the largest pieces. */
static int read_in_pieces(const struct block_source *source, uint64_t offset, size_t length,
                          uint8_t *buffer, struct extents *bad, struct error *err)
{
    size_t sector = source->sector_size ? source->sector_size : COPY_SECTOR;
    struct error cause = {0};
    if (block_source_read(source, offset, buffer, length, &cause) == 0)
        return 0;
    if (!copy_is_medium_error(&cause)) {
        if (err)
            *err = cause;
        return -1;
    }
    if (length <= sector) {
        memset(buffer, 0, length);
        return extents_add(bad, offset, length, err);
    }
    size_t first = (size_t)align_up(length / 2, sector);
    if (read_in_pieces(source, offset, first, buffer, bad, err) != 0)
        return -1;
    if (first == length)
        return 0;
    return read_in_pieces(source, offset + first, length - first, buffer + first, bad, err);
}

/* Calls for every part of the range that is used; the gaps between them become zeroes. */
static int read_used(const struct block_source *source, const struct extents *used,
                     const struct extent *range, uint8_t *buffer, struct extents *bad,
                     bool is_read_already, struct error *err)
{
    uint64_t position = range->offset;
    for (size_t i = extents_find(used, position);
         i < used->count && used->items[i].offset < end_of(range); i++) {
        uint64_t start = max_u64(used->items[i].offset, position);
        uint64_t end = min_u64(end_of(&used->items[i]), end_of(range));
        memset(buffer + (position - range->offset), 0, start - position);
        if (!is_read_already && read_in_pieces(source, start, end - start,
                                               buffer + (start - range->offset), bad, err) != 0)
            return -1;
        position = end;
    }
    memset(buffer + (position - range->offset), 0, end_of(range) - position);
    return 0;
}

void copy_mask_unused(const struct extents *used, const struct extent *range, uint8_t *buffer)
{
    read_used(NULL, used, range, buffer, NULL, true, NULL);
}

int copy_read(const struct block_source *source, const struct extents *used,
              const struct extent *range, uint8_t *buffer, struct extents *bad, struct error *err)
{
    /* One read over small gaps is faster than many between them. */
    size_t length = (size_t)min_u64(range->length, source->size_bytes - range->offset);
    struct error cause = {0};
    bool is_read = block_source_read(source, range->offset, buffer, length, &cause) == 0;
    if (!is_read && !copy_is_medium_error(&cause)) {
        if (err)
            *err = cause;
        return -1;
    }
    return read_used(source, used, range, buffer, bad, is_read, err);
}

/* --- reading ahead --- */

void copy_read_ahead_open(struct copy_read_ahead *ahead, const char *path)
{
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) : -1;
    *ahead = (struct copy_read_ahead){.fd = fd};
}

void copy_read_ahead_close(struct copy_read_ahead *ahead)
{
    own_close(&ahead->fd);
    ahead->fd = -1;
}

void copy_read_ahead_from(struct copy_read_ahead *ahead, uint64_t offset)
{
    uint64_t from = max_u64(offset, ahead->end);
    if (ahead->fd < 0 || from + COPY_READ_AHEAD / 2 > offset + COPY_READ_AHEAD)
        return;
    uint64_t length = offset + COPY_READ_AHEAD - from;
    posix_fadvise(ahead->fd, (off_t)from, (off_t)length, POSIX_FADV_WILLNEED);
    ahead->end = from + length;
}
