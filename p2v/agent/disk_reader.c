/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The two ways to read: p2v/copy_work.h has the parts.
 */
#include "p2v/agent/disk_reader.h"

#include "base/checked.h"
#include "p2v/copy_work.h"

#include <errno.h>
#include <string.h>

/* Where the source does not say. */
#define SECTOR 512u

/* So many chunks in a row that cannot be read, or of which no sector can: is there a disk at all?
 */
#define MAX_BAD_STREAK 1024u
#define MAX_DEAD_STREAK 16u

/* Reads what of the range is inside the source. */
static int read_plain(const struct disk_reader *reader, uint64_t offset, size_t length,
                      uint8_t *buffer, struct error *err)
{
    const struct block_source *source = reader->source;
    if (offset >= source->size_bytes)
        return 0;
    size_t inside = (size_t)min_u64(length, source->size_bytes - offset);
    return block_source_read(source, offset, buffer, inside, err);
}

static int read_sector(const struct disk_reader *reader, bool is_last, struct error *err)
{
    uint8_t sector[4096];
    uint64_t size = reader->source->size_bytes;
    size_t length = reader->source->sector_size ? reader->source->sector_size : SECTOR;
    length = (size_t)min_u64(min_u64(length, sizeof(sector)), size);
    return block_source_read(reader->source, is_last ? size - length : 0, sector, length, err);
}

/* After so many failures in a row the first and the last sector tell whether there is a disk. */
static int probe_disk(struct disk_reader *reader, struct error *err)
{
    if (read_sector(reader, false, err) != 0 && read_sector(reader, true, NULL) != 0)
        return error_wrap(err, "nothing can be read any more");
    atomic_store(&reader->bad_streak, 0);
    return 0;
}

static int note_streak(struct disk_reader *reader, unsigned bad, bool is_any_good, unsigned most,
                       struct error *err)
{
    if (is_any_good) {
        atomic_store_explicit(&reader->bad_streak, 0, memory_order_relaxed);
        return 0;
    }
    if (atomic_fetch_add(&reader->bad_streak, bad) + bad <= most)
        return 0;
    return probe_disk(reader, err);
}

static int read_chunks(struct disk_reader *reader, const struct extent *range, uint8_t *buffer,
                       uint16_t *bad, struct error *err)
{
    unsigned count = (unsigned)div_round_up(range->length, CHUNK_SIZE), failed = 0;
    for (unsigned i = 0; i < count; i++) {
        size_t start = (size_t)i * CHUNK_SIZE;
        size_t length = (size_t)min_u64(CHUNK_SIZE, range->length - start);
        struct error cause = {0};
        if (read_plain(reader, range->offset + start, length, buffer + start, &cause) == 0)
            continue;
        if (!copy_is_medium_error(&cause)) {
            if (err)
                *err = cause;
            return -1;
        }
        memset(buffer + start, 0, length);
        *bad |= (uint16_t)(1u << i);
        failed++;
    }
    return note_streak(reader, failed, failed < count, MAX_BAD_STREAK, err);
}

int disk_read_unit(struct disk_reader *reader, const struct extent *range, uint8_t *buffer,
                   uint16_t *bad, struct error *err)
{
    struct error cause = {0};
    *bad = 0;
    if (read_plain(reader, range->offset, range->length, buffer, &cause) != 0) {
        if (!copy_is_medium_error(&cause)) {
            if (err)
                *err = cause;
            return -1;
        }
        if (read_chunks(reader, range, buffer, bad, err) != 0)
            return -1;
    } else {
        note_streak(reader, 0, true, 0, NULL);
    }
    copy_mask_unused(reader->used, range, buffer);
    return 0;
}

/* The second chance, a sector at a time; `still` gets what fails again. */
static int read_again(const struct disk_reader *reader, const struct extent *chunk,
                      const struct extent *bad, uint8_t *buffer, struct extents *still,
                      struct error *err)
{
    size_t sector = reader->source->sector_size ? reader->source->sector_size : SECTOR;
    for (uint64_t done = 0; done < bad->length; done += sector) {
        uint64_t offset = bad->offset + done;
        size_t length = (size_t)min_u64(sector, bad->length - done);
        struct error cause = {0};
        if (block_source_read(reader->source, offset, buffer + (offset - chunk->offset), length,
                              &cause) == 0)
            continue;
        if (!copy_is_medium_error(&cause)) {
            if (err)
                *err = cause;
            return -1;
        }
        memset(buffer + (offset - chunk->offset), 0, length);
        if (extents_add(still, offset, length, err) != 0)
            return -1;
    }
    return 0;
}

int disk_read_patiently(struct disk_reader *reader, const struct extent *chunk, uint8_t *buffer,
                        struct extents *bad, struct error *err)
{
    struct extents first = {0};
    int result = copy_read(reader->source, reader->used, chunk, buffer, &first, err);
    uint64_t bad_bytes = extents_total(&first);
    for (size_t i = 0; result == 0 && i < first.count; i++)
        result = read_again(reader, chunk, &first.items[i], buffer, bad, err);
    extents_fini(&first);
    if (result == 0)
        result = note_streak(reader, 1, bad_bytes < chunk->length, MAX_DEAD_STREAK, err);
    return result;
}
