/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For the unit tests of disk/: a source of any size that is zero but for a few pieces, which counts
 * what is read of it and can fail; and a log that keeps its lines.
 */
#ifndef TESTS_UNIT_DISK_SPARSE_H
#define TESTS_UNIT_DISK_SPARSE_H

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/log.h"
#include "base/source.h"
#include "base/text.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SPARSE_PIECES 512

struct sparse {
    struct block_source source;
    struct {
        uint64_t offset;
        size_t length;
        uint8_t *data;
    } pieces[SPARSE_PIECES];
    size_t count;
    uint64_t bytes_read;
    uint64_t fail_from; /* reads that touch this offset or more fail; 0: none does */
};

static inline int sparse_read(const struct block_source *source, uint64_t offset, void *buffer,
                              size_t length, struct error *err)
{
    struct sparse *sparse = (struct sparse *)(uintptr_t)source;

    sparse->bytes_read += length;
    if (sparse->fail_from && offset + length > sparse->fail_from)
        return error_set(err, EIO, "read %zu bytes at 0x%llx", length, (unsigned long long)offset);
    memset(buffer, 0, length);
    for (size_t i = 0; i < sparse->count; i++) {
        uint64_t start = max_u64(offset, sparse->pieces[i].offset);
        uint64_t end =
            min_u64(offset + length, sparse->pieces[i].offset + sparse->pieces[i].length);

        if (start < end)
            memcpy((uint8_t *)buffer + (start - offset),
                   sparse->pieces[i].data + (start - sparse->pieces[i].offset), end - start);
    }
    return 0;
}

static const struct block_source_ops sparse_ops = {.read = sparse_read};

static inline void sparse_init(struct sparse *sparse, uint64_t size, uint32_t sector_size)
{
    memset(sparse, 0, sizeof(*sparse));
    sparse->source.ops = &sparse_ops;
    sparse->source.size_bytes = size;
    sparse->source.sector_size = sector_size;
}

/* Room for `length` bytes at that place, zeroed; the test writes into it. Later pieces win. */
static inline uint8_t *sparse_at(struct sparse *sparse, uint64_t offset, size_t length)
{
    assert_true(sparse->count < SPARSE_PIECES);
    uint8_t *data = calloc(1, length);
    assert_non_null(data);
    sparse->pieces[sparse->count].offset = offset;
    sparse->pieces[sparse->count].length = length;
    sparse->pieces[sparse->count++].data = data;
    return data;
}

static inline void sparse_fini(struct sparse *sparse)
{
    for (size_t i = 0; i < sparse->count; i++)
        free(sparse->pieces[i].data);
    sparse->count = 0;
}

/* Every warning, one a line. */
struct kept_log {
    struct log log;
    struct text lines;
    size_t count;
};

static inline void kept_log_emit(struct log *log, enum log_level level, const char *line)
{
    struct kept_log *kept = (struct kept_log *)log;

    if (level != LOG_LEVEL_WARNING)
        return;
    text_addf(&kept->lines, "%s\n", line);
    kept->count++;
}

static inline void kept_log_init(struct kept_log *kept)
{
    memset(kept, 0, sizeof(*kept));
    kept->log.emit = kept_log_emit;
}

static inline void kept_log_fini(struct kept_log *kept)
{
    text_fini(&kept->lines);
}

static inline void assert_warned(const struct kept_log *kept, const char *part)
{
    if (!strstr(text_string(&kept->lines), part))
        fail_msg("no warning says \"%s\": \"%s\"", part, text_string(&kept->lines));
}

/* Writes one of the four entries of an MBR or EBR, and its signature. */
static inline void put_mbr_entry(uint8_t *sector, int slot, uint8_t type, uint32_t start,
                                 uint32_t count)
{
    uint8_t *entry = sector + 0x1be + 16 * (slot - 1);

    entry[4] = type;
    store_le32(entry + 8, start);
    store_le32(entry + 12, count);
    sector[0x1fe] = 0x55;
    sector[0x1ff] = 0xaa;
}

/* A swap header as mkswap makes it: a volume that libblkid knows, in one piece. */
static inline uint8_t *put_swap(struct sparse *sparse, uint64_t offset, uint64_t size,
                                uint32_t page)
{
    uint8_t *header = sparse_at(sparse, offset, page);

    store_le32(header + 1024, 1);
    store_le32(header + 1028, (uint32_t)(size / page - 1));
    memset(header + 1036, 0x5a, 16);
    memcpy(header + page - 10, "SWAPSPACE2", 10);
    return header;
}

#endif
