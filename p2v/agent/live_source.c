/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Reads a disk through the page cache or with O_DIRECT (open(2)), for which offset, length and
 * memory are aligned to the disk's sectors by way of a buffer.
 */
#include "p2v/agent/live_source.h"

#include "base/checked.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMORY_ALIGNMENT 4096u
#define PIECE_BYTES ((size_t)1 << 20)

struct live_source {
    struct block_source source;
    const struct block_source *buffered;
    int fd;        /* for dropping what was read */
    int direct_fd; /* -1: cannot */
    atomic_bool is_direct;
};

/* One piece: the sectors around it into aligned memory, then what was asked for. */
static int read_piece(const struct live_source *live, uint64_t offset, uint8_t *buffer,
                      size_t length, struct error *err)
{
    uint64_t sector = live->source.sector_size;
    uint64_t start = align_down(offset, sector);
    uint64_t end = min_u64(align_up(offset + length, sector), live->source.size_bytes);
    void *memory = NULL;
    if (posix_memalign(&memory, MEMORY_ALIGNMENT, align_up(end - start, MEMORY_ALIGNMENT)) != 0)
        return error_set(err, ENOMEM, "read buffer");
    int result = io_read_at(live->direct_fd, memory, (size_t)(end - start), start, err);
    if (result == 0)
        memcpy(buffer, (uint8_t *)memory + (offset - start), length);
    free(memory);
    return result;
}

static int live_read_block(const struct block_source *source, uint64_t offset, void *buffer,
                           size_t length, struct error *err)
{
    const struct live_source *live = (const struct live_source *)source;
    if (live->direct_fd < 0 || !atomic_load(&live->is_direct))
        return block_source_read(live->buffered, offset, buffer, length, err);
    for (size_t done = 0; done < length;) {
        size_t piece = (size_t)min_u64(PIECE_BYTES, length - done);
        if (read_piece(live, offset + done, (uint8_t *)buffer + done, piece, err) != 0)
            return -1;
        done += piece;
    }
    return 0;
}

static const struct block_source_ops live_ops = {.read = live_read_block};

struct live_source *live_source_open(const char *path, const struct block_source *buffered,
                                     struct error *err)
{
    struct live_source *live = calloc(1, sizeof(*live));
    if (!live) {
        error_set(err, ENOMEM, "%s", path);
        return NULL;
    }
    live->source = (struct block_source){&live_ops, buffered->size_bytes, buffered->sector_size};
    if (!is_power_of_two(live->source.sector_size))
        live->source.sector_size = 512;
    live->buffered = buffered;
    live->fd = open(path, O_RDONLY | O_CLOEXEC);
    live->direct_fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
    if (live->fd < 0) {
        error_set(err, errno, "open %s", path);
        live_source_close(live);
        return NULL;
    }
    return live;
}

const struct block_source *live_source_block(const struct live_source *live)
{
    return &live->source;
}

void live_source_close(struct live_source *live)
{
    if (!live)
        return;
    own_close(&live->fd);
    own_close(&live->direct_fd);
    free(live);
}

void live_source_set_direct(struct live_source *live, bool is_direct)
{
    atomic_store(&live->is_direct, is_direct);
}

void live_source_drop(const struct live_source *live)
{
    posix_fadvise(live->fd, 0, 0, POSIX_FADV_DONTNEED);
}
