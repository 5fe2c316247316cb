/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * libext2fs reads through an 'io manager'; this one reads a block source and cannot write. It reads
 * ahead in aligned windows, since the bitmaps of neighbouring groups lie side by side.
 */
#include "base/checked.h"
#include "disk/fs/ext.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_SIZE 65536u

struct ext_channel {
    struct struct_io_channel io; /* what libext2fs sees; first */
    const struct block_source *source;
    struct error *cause; /* borrowed */
    uint64_t window_offset;
    size_t window_length; /* 0: nothing read yet */
    uint8_t window[WINDOW_SIZE];
};

/* An io manager is opened by name only; this hands the source over, within one call of ext_open. */
static _Thread_local struct {
    const struct block_source *source;
    struct error *cause;
} opening;

static struct struct_io_manager manager;

static errcode_t channel_open(const char *name, int flags, io_channel *result)
{
    struct ext_channel *channel;

    (void)name;
    if (flags & IO_FLAG_RW)
        return EROFS;
    channel = calloc(1, sizeof(*channel));
    if (!channel)
        return ENOMEM;
    channel->io.magic = EXT2_ET_MAGIC_IO_CHANNEL;
    channel->io.manager = &manager;
    channel->io.block_size = EXT_SUPER_OFFSET;
    channel->io.refcount = 1;
    channel->source = opening.source;
    channel->cause = opening.cause;
    *result = &channel->io;
    return 0;
}

static errcode_t channel_close(io_channel io)
{
    if (--io->refcount == 0)
        free(io);
    return 0;
}

static errcode_t channel_set_block_size(io_channel io, int block_size)
{
    io->block_size = block_size;
    return 0;
}

static errcode_t read_source(struct ext_channel *channel, uint64_t offset, void *data,
                             size_t length)
{
    struct error *cause = channel->cause;

    if (block_source_read(channel->source, offset, data, length, cause) == 0)
        return 0;
    return cause->errnum ? cause->errnum : EIO;
}

static errcode_t fill_window(struct ext_channel *channel, uint64_t offset)
{
    uint64_t start = align_down(offset, WINDOW_SIZE);
    size_t length = (size_t)min_u64(WINDOW_SIZE, channel->source->size_bytes - start);

    if (channel->window_length != 0 && channel->window_offset == start)
        return 0;
    channel->window_length = 0;
    errcode_t status = read_source(channel, start, channel->window, length);
    if (status)
        return status;
    channel->window_offset = start;
    channel->window_length = length;
    return 0;
}

/* A negative count is a number of bytes. What the volume does not have is no error of reading. */
static errcode_t channel_read64(io_channel io, unsigned long long block, int count, void *data)
{
    struct ext_channel *channel = (struct ext_channel *)io;
    uint64_t length = count < 0 ? (uint64_t) - (int64_t)count : 0;
    uint64_t offset;

    if (!checked_mul(block, (uint64_t)io->block_size, &offset) ||
        (count >= 0 && !checked_mul((uint64_t)count, (uint64_t)io->block_size, &length)) ||
        !range_is_inside(offset, length, channel->source->size_bytes))
        return EXT2_ET_SHORT_READ;
    if (offset % WINDOW_SIZE + length > WINDOW_SIZE)
        return read_source(channel, offset, data, length);
    errcode_t status = fill_window(channel, offset);
    if (!status)
        memcpy(data, channel->window + offset % WINDOW_SIZE, length);
    return status;
}

static errcode_t channel_read(io_channel io, unsigned long block, int count, void *data)
{
    return channel_read64(io, block, count, data);
}

static errcode_t channel_write64(io_channel io, unsigned long long block, int count,
                                 const void *data)
{
    (void)io, (void)block, (void)count, (void)data;
    return EROFS;
}

static errcode_t channel_write(io_channel io, unsigned long block, int count, const void *data)
{
    return channel_write64(io, block, count, data);
}

static errcode_t channel_flush(io_channel io)
{
    (void)io;
    return 0;
}

static struct struct_io_manager manager = {
    .magic = EXT2_ET_MAGIC_IO_MANAGER,
    .name = "block source",
    .open = channel_open,
    .close = channel_close,
    .set_blksize = channel_set_block_size,
    .read_blk = channel_read,
    .read_blk64 = channel_read64,
    .write_blk = channel_write,
    .write_blk64 = channel_write64,
    .flush = channel_flush,
};

/* So that error_message can name the library's errors; its list is one for the process. */
static void name_errors(void)
{
    initialize_ext2_error_table();
}

errcode_t ext_open(const struct block_source *volume, struct error *cause, ext2_filsys *fs)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, name_errors);
    opening.source = volume;
    opening.cause = cause;
    errcode_t status = ext2fs_open2("volume", NULL, EXT2_FLAG_64BITS, 0, 0, &manager, fs);
    opening.source = NULL;
    opening.cause = NULL;
    return status;
}

void ext_close(ext2_filsys fs)
{
    if (fs)
        ext2fs_free(fs);
}
