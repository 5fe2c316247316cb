/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Block devices and plain files, opened read-only. Holes of a file are reported as such.
 */
#include "disk/device.h"

#include "base/checked.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

struct device {
    struct block_source source;
    int fd;
};

static int device_read(const struct block_source *source, uint64_t offset, void *buffer,
                       size_t length, struct error *err)
{
    const struct device *device = (const struct device *)source;

    return io_read_at(device->fd, buffer, length, offset, err);
}

/* A file system that does not know holes reports one range of data; so does a block device. */
static int device_map(const struct block_source *source, uint64_t offset, uint64_t length,
                      struct extents *data, struct error *err)
{
    const struct device *device = (const struct device *)source;
    uint64_t end = offset + length;

    while (offset < end) {
        off_t start = lseek(device->fd, (off_t)offset, SEEK_DATA);
        if (start < 0 && errno == ENXIO)
            return 0;
        off_t stop = start < 0 ? -1 : lseek(device->fd, start, SEEK_HOLE);
        if (start < 0 || stop <= start || (uint64_t)start < offset)
            return extents_add(data, offset, end - offset, err);
        if ((uint64_t)start >= end)
            return 0;
        if (extents_add(data, (uint64_t)start, min_u64((uint64_t)stop, end) - (uint64_t)start,
                        err) < 0)
            return -1;
        offset = (uint64_t)stop;
    }
    return 0;
}

static const struct block_source_ops device_ops = {.read = device_read};
static const struct block_source_ops file_ops = {.read = device_read, .map = device_map};

static int device_init(struct device *device, const char *path, struct error *err)
{
    struct stat status;
    int sector_size = 0;

    /* Not to wait for ever where the path is a FIFO; io_size refuses it. */
    device->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (device->fd < 0)
        return error_set(err, errno, "open %s", path);
    if (fstat(device->fd, &status) < 0)
        return error_set(err, errno, "stat %s", path);
    if (io_size(device->fd, &device->source.size_bytes, err) < 0)
        return error_wrap(err, "%s", path);
    if (!S_ISBLK(status.st_mode)) {
        device->source.ops = &file_ops;
        return 0;
    }
    if (ioctl(device->fd, BLKSSZGET, &sector_size) < 0)
        return error_set(err, errno, "sector size of %s", path);
    device->source.ops = &device_ops;
    device->source.sector_size = (uint32_t)sector_size;
    return 0;
}

struct device *device_open(const char *path, struct error *err)
{
    struct device *device = calloc(1, sizeof(*device));

    if (!device) {
        error_set(err, ENOMEM, "open %s", path);
        return NULL;
    }
    device->fd = -1;
    if (device_init(device, path, err) < 0) {
        device_close(device);
        return NULL;
    }
    return device;
}

const struct block_source *device_source(const struct device *device)
{
    return &device->source;
}

void device_close(struct device *device)
{
    if (!device)
        return;
    if (device->fd >= 0)
        close(device->fd);
    free(device);
}
