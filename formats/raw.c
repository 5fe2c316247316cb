/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Raw images: a disk's bytes as a sparse file or on a block device. A file whose size is no
 * multiple of 512 reads with zeroes behind its end, up to the next 512, as QEMU reads it.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/io.h"
#include "base/text.h"
#include "formats/image_driver.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512
#define ZERO_STEP ((size_t)1 << 20)
#define WRITE_BACK_LENGTH ((size_t)256 << 10)

struct raw {
    struct image image;
    int fd;
    bool is_device;
    _Atomic uint64_t file_size;
    pthread_mutex_t lock;   /* of `written` */
    struct extents written; /* a new image on a device only: the rest is zeroed by finish */
};

static struct raw *to_raw(const struct image *image)
{
    return (struct raw *)((char *)(uintptr_t)image - offsetof(struct raw, image));
}

static const struct raw *source_to_raw(const struct block_source *source)
{
    return (const struct raw *)((const char *)source - offsetof(struct raw, image.source));
}

static int raw_read(const struct block_source *source, uint64_t offset, void *buffer, size_t length,
                    struct error *err)
{
    const struct raw *raw = source_to_raw(source);
    uint64_t file_size = atomic_load(&raw->file_size);
    size_t stored = 0;

    if (offset < file_size)
        stored = (size_t)min_u64(length, file_size - offset);
    if (stored && io_read_at(raw->fd, buffer, stored, offset, err) < 0)
        return -1;
    memset((char *)buffer + stored, 0, length - stored);
    return 0;
}

static int raw_map(const struct block_source *source, uint64_t offset, uint64_t length,
                   struct extents *data, struct error *err)
{
    const struct raw *raw = source_to_raw(source);
    uint64_t end = offset + length;

    while (offset < end) {
        off_t start = lseek(raw->fd, (off_t)offset, SEEK_DATA);
        off_t hole;

        if (start < 0 && errno == ENXIO)
            return 0;
        if (start < 0) /* a file system that cannot tell: everything may be data */
            return extents_add(data, offset, end - offset, err);
        if ((uint64_t)start >= end)
            return 0;
        hole = lseek(raw->fd, start, SEEK_HOLE);
        if (hole <= start)
            return extents_add(data, (uint64_t)start, end - (uint64_t)start, err);
        if (extents_add(data, (uint64_t)start, min_u64((uint64_t)hole, end) - (uint64_t)start,
                        err) < 0)
            return -1;
        offset = (uint64_t)hole;
    }
    return 0;
}

static const struct block_source_ops raw_file_ops = {.read = raw_read, .map = raw_map};
static const struct block_source_ops raw_device_ops = {.read = raw_read};

static struct raw *raw_new(int fd, const char *path)
{
    struct raw *raw = calloc(1, sizeof(*raw));
    struct stat status;
    int sector = 0;

    if (!raw) {
        close(fd);
        return NULL;
    }
    raw->fd = fd;
    raw->is_device = fstat(fd, &status) == 0 && S_ISBLK(status.st_mode);
    raw->image.driver = &raw_driver;
    raw->image.path = text_copy(path);
    raw->image.source.ops = raw->is_device ? &raw_device_ops : &raw_file_ops;
    if (raw->is_device && ioctl(fd, BLKSSZGET, &sector) == 0 && sector > 0)
        raw->image.source.sector_size = (uint32_t)sector;
    pthread_mutex_init(&raw->lock, NULL);
    return raw;
}

static void raw_close(struct image *image)
{
    struct raw *raw = to_raw(image);

    close(raw->fd);
    extents_fini(&raw->written);
    pthread_mutex_destroy(&raw->lock);
    free(raw->image.path);
    free(raw);
}

static struct image *raw_open(int fd, const char *path, const struct image_open_options *options,
                              unsigned chain_depth, struct error *err)
{
    struct raw *raw = raw_new(fd, path);
    uint64_t file_size;

    (void)chain_depth;
    if (!raw) {
        error_set(err, ENOMEM, "raw image");
        return NULL;
    }
    if (io_size(fd, &file_size, err) < 0) {
        raw_close(&raw->image);
        return NULL;
    }
    if (file_size > IMAGE_MAX_SIZE) {
        error_set(err, EFBIG, "a size of %llu bytes is more than %llu",
                  (unsigned long long)file_size, (unsigned long long)IMAGE_MAX_SIZE);
        raw_close(&raw->image);
        return NULL;
    }
    raw->file_size = file_size;
    raw->image.source.size_bytes = align_up(file_size, SECTOR);
    raw->image.is_writable = options->is_writable;
    return &raw->image;
}

static int raw_set_size(struct raw *raw, uint64_t size_bytes, struct error *err)
{
    uint64_t device_size;

    if (!raw->is_device) {
        if (ftruncate(raw->fd, (off_t)size_bytes) < 0)
            return error_set(err, errno, "set the size to %llu bytes",
                             (unsigned long long)size_bytes);
        return 0;
    }
    if (io_size(raw->fd, &device_size, err) < 0)
        return -1;
    if (device_size < size_bytes)
        return error_set(err, ENOSPC, "the device has %llu bytes, the disk %llu",
                         (unsigned long long)device_size, (unsigned long long)size_bytes);
    return 0;
}

static struct image *raw_create(int fd, const char *path,
                                const struct image_create_options *options, struct error *err)
{
    struct raw *raw = raw_new(fd, path);

    if (!raw) {
        error_set(err, ENOMEM, "raw image");
        return NULL;
    }
    if (raw_set_size(raw, options->size_bytes, err) < 0) {
        if (!raw->is_device)
            unlink(path);
        raw_close(&raw->image);
        return NULL;
    }
    raw->file_size = options->size_bytes;
    raw->image.source.size_bytes = options->size_bytes;
    raw->image.is_writable = true;
    raw->image.is_new = true;
    return &raw->image;
}

/* Remembers what a new image on a device was given. */
static int raw_note_written(struct raw *raw, uint64_t offset, uint64_t length, struct error *err)
{
    int result;

    if (!raw->is_device || !raw->image.is_new)
        return 0;
    pthread_mutex_lock(&raw->lock);
    result = extents_add(&raw->written, offset, length, err);
    pthread_mutex_unlock(&raw->lock);
    return result;
}

/* An image whose size was no multiple of 512 grows when its tail is written. */
static void raw_note_end(struct raw *raw, uint64_t end)
{
    uint64_t known = atomic_load(&raw->file_size);

    while (known < end && !atomic_compare_exchange_weak(&raw->file_size, &known, end))
        ;
}

static int raw_write(struct image *image, uint64_t offset, const void *data, size_t length,
                     struct error *err)
{
    struct raw *raw = to_raw(image);

    if (io_write_at(raw->fd, data, length, offset, err) < 0)
        return -1;
    raw_note_end(raw, offset + length);
    /* Such writes are synced soon as a whole: let the disk begin now. Only a hint, it may fail. */
    if (length >= WRITE_BACK_LENGTH)
        sync_file_range(raw->fd, (off_t)offset, (off_t)length, SYNC_FILE_RANGE_WRITE);
    return raw_note_written(raw, offset, length, err);
}

/* Not the tail that makes a file longer, nor what has to be noted. */
static int raw_locate(struct image *image, uint64_t offset, uint64_t length, bool is_write,
                      struct image_place *place, struct error *err)
{
    const struct raw *raw = to_raw(image);
    uint64_t file_size = atomic_load(&raw->file_size);

    (void)err;
    *place = (struct image_place){.fd = raw->fd, .offset = offset};
    if (offset < file_size && !(is_write && image->is_new))
        place->length = min_u64(length, file_size - offset);
    return 0;
}

static int write_plain_zeroes(struct raw *raw, uint64_t offset, uint64_t length, struct error *err)
{
    AUTO_FREE void *zeroes = calloc(1, ZERO_STEP);

    if (!zeroes)
        return error_set(err, ENOMEM, "%zu bytes of zeroes", ZERO_STEP);
    while (length) {
        size_t step = (size_t)min_u64(length, ZERO_STEP);

        if (io_write_at(raw->fd, zeroes, step, offset, err) < 0)
            return -1;
        offset += step;
        length -= step;
    }
    return 0;
}

static int raw_write_zeroes(struct image *image, uint64_t offset, uint64_t length,
                            struct error *err)
{
    struct raw *raw = to_raw(image);
    int mode = FALLOC_FL_KEEP_SIZE | (raw->is_device ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE);

    if (fallocate(raw->fd, mode, (off_t)offset, (off_t)length) < 0 &&
        write_plain_zeroes(raw, offset, length, err) < 0)
        return -1;
    return raw_note_written(raw, offset, length, err);
}

static int raw_flush(struct image *image, struct error *err)
{
    return io_sync(to_raw(image)->fd, err);
}

/* What a device held before must not show through where the new image was given nothing. */
static int raw_zero_gaps(struct raw *raw, struct error *err)
{
    struct extents gaps = {0};
    int result = extents_add(&gaps, 0, raw->image.source.size_bytes, err);

    for (size_t i = 0; result == 0 && i < raw->written.count; i++)
        result =
            extents_remove(&gaps, raw->written.items[i].offset, raw->written.items[i].length, err);
    for (size_t i = 0; result == 0 && i < gaps.count; i++)
        result = raw_write_zeroes(&raw->image, gaps.items[i].offset, gaps.items[i].length, err);
    extents_fini(&gaps);
    return result;
}

static int raw_finish(struct image *image, struct error *err)
{
    struct raw *raw = to_raw(image);

    if (raw->is_device && raw_zero_gaps(raw, err) < 0)
        return -1;
    return raw_flush(image, err);
}

static void raw_get_info(const struct image *image, struct image_info *info)
{
    const struct raw *raw = to_raw(image);
    struct stat status;

    if (raw->is_device)
        info->allocated_bytes = atomic_load(&raw->file_size);
    else if (fstat(raw->fd, &status) == 0)
        info->allocated_bytes = (uint64_t)status.st_blocks * 512;
}

const struct image_driver raw_driver = {
    .name = "raw",
    .extension = "raw",
    .description = "the disk's bytes, as a sparse file or on a block device",
    .open = raw_open,
    .create = raw_create,
    .write = raw_write,
    .write_zeroes = raw_write_zeroes,
    .locate = raw_locate,
    .flush = raw_flush,
    .finish = raw_finish,
    .close = raw_close,
    .get_info = raw_get_info,
};
