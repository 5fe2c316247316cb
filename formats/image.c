/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The front of formats/image.h: finds the driver, opens the file, checks every range before a
 * driver sees it. What a format looks like is its driver's business.
 */
#include "formats/image.h"

#include "base/checked.h"
#include "formats/image_driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROBE_SIZE 65536

const struct image_driver *const image_drivers[] = {
    &qcow2_driver,
    &raw_driver,
    NULL,
};

const struct image_driver *image_driver_find(const char *name)
{
    for (size_t i = 0; image_drivers[i]; i++) {
        if (strcmp(image_drivers[i]->name, name) == 0)
            return image_drivers[i];
    }
    return NULL;
}

static const struct image_driver *driver_named(const char *format, struct error *err)
{
    const struct image_driver *driver = image_driver_find(format);

    if (!driver)
        error_set(err, 0, "unknown image format '%s'", format);
    return driver;
}

static const struct image_driver *driver_probe(int fd, struct error *err)
{
    AUTO_FREE uint8_t *head = malloc(PROBE_SIZE);
    ssize_t length;

    if (!head) {
        error_set(err, ENOMEM, "probe the image");
        return NULL;
    }
    do {
        length = pread(fd, head, PROBE_SIZE, 0);
    } while (length < 0 && errno == EINTR);
    if (length < 0) {
        error_set(err, errno, "read the first %d bytes", PROBE_SIZE);
        return NULL;
    }
    for (size_t i = 0; image_drivers[i]; i++) {
        if (image_drivers[i]->probe && image_drivers[i]->probe(head, (size_t)length))
            return image_drivers[i];
    }
    return &raw_driver;
}

static int open_file(const char *path, const struct image_open_options *options, struct error *err)
{
    if (!options->is_unlocked)
        return image_file_open(path, options->is_writable, err);
    if (options->is_writable)
        return error_set(err, EINVAL, "writing takes locks");
    return image_file_open_unlocked(path, err);
}

struct image *image_open(const char *path, const struct image_open_options *options,
                         struct error *err)
{
    const struct image_driver *driver = NULL;
    struct image *image = NULL;
    AUTO_CLOSE int fd = -1;

    if (options->format)
        driver = driver_named(options->format, err);
    if (!options->format || driver) {
        fd = open_file(path, options, err);
        if (fd >= 0 && !driver)
            driver = driver_probe(fd, err);
        if (fd >= 0 && driver)
            image = driver->open(take_fd(&fd), path, options, 0, err);
    }
    if (!image)
        error_wrap(err, "open %s", path);
    return image;
}

static int check_create_options(const struct image_driver *driver,
                                const struct image_create_options *options, struct error *err)
{
    if (!driver->create)
        return error_set(err, ENOTSUP, "format %s cannot be written", driver->name);
    if (options->size_bytes > IMAGE_MAX_SIZE)
        return error_set(err, EFBIG, "a size of %llu bytes is more than %llu",
                         (unsigned long long)options->size_bytes,
                         (unsigned long long)IMAGE_MAX_SIZE);
    if (options->size_bytes % 512)
        return error_set(err, EINVAL, "a size of %llu bytes is no multiple of 512",
                         (unsigned long long)options->size_bytes);
    if (options->compression != IMAGE_COMPRESSION_NONE && !driver->can_compress)
        return error_set(err, ENOTSUP, "format %s has no compression", driver->name);
    if (options->backing_path && !driver->can_back)
        return error_set(err, ENOTSUP, "format %s has no backing files", driver->name);
    return 0;
}

struct image *image_create(const char *path, const struct image_create_options *options,
                           struct error *err)
{
    const struct image_driver *driver = driver_named(options->format, err);
    struct image *image = NULL;

    if (driver && check_create_options(driver, options, err) == 0) {
        int fd = image_file_create(path, driver == &raw_driver, err);

        if (fd >= 0)
            image = driver->create(fd, path, options, err);
    }
    if (!image)
        error_wrap(err, "create %s", path);
    return image;
}

static int check_write(const struct image *image, uint64_t offset, uint64_t length,
                       struct error *err)
{
    if (!image->is_writable)
        return error_set(err, EBADF, "write %s: it is open for reading only", image->path);
    if (!range_is_inside(offset, length, image->source.size_bytes))
        return error_set(err, ERANGE, "write %s: %llu bytes at 0x%llx do not lie inside it",
                         image->path, (unsigned long long)length, (unsigned long long)offset);
    return 0;
}

static int wrap_write(const struct image *image, int result, struct error *err)
{
    return result == 0 ? 0 : error_wrap(err, "write %s", image->path);
}

int image_write(struct image *image, uint64_t offset, const void *data, size_t length,
                struct error *err)
{
    if (check_write(image, offset, length, err) < 0)
        return -1;
    if (length == 0)
        return 0;
    return wrap_write(image, image->driver->write(image, offset, data, length, err), err);
}

int image_write_zeroes(struct image *image, uint64_t offset, uint64_t length, struct error *err)
{
    if (check_write(image, offset, length, err) < 0)
        return -1;
    if (length == 0)
        return 0;
    return wrap_write(image, image->driver->write_zeroes(image, offset, length, err), err);
}

int image_write_frame(struct image *image, uint64_t offset, const void *frame, size_t length,
                      struct error *err)
{
    if (check_write(image, offset, 1, err) < 0)
        return -1;
    if (!image->driver->write_frame)
        return error_set(err, ENOTSUP, "write %s: format %s has no compressed clusters",
                         image->path, image->driver->name);
    return wrap_write(image, image->driver->write_frame(image, offset, frame, length, err), err);
}

int image_flush(struct image *image, struct error *err)
{
    if (!image->is_writable)
        return 0;
    if (image->driver->flush(image, err) < 0)
        return error_wrap(err, "flush %s", image->path);
    return 0;
}

int image_finish(struct image *image, struct error *err)
{
    if (!image->is_new)
        return image_flush(image, err);
    if (image->driver->finish(image, err) < 0)
        return error_wrap(err, "finish %s", image->path);
    image->is_new = false;
    return 0;
}

void image_close(struct image *image)
{
    if (image)
        image->driver->close(image);
}

void image_get_info(const struct image *image, struct image_info *info)
{
    *info = (struct image_info){0};
    image->driver->get_info(image, info);
}

static int repair_file(const char *path, const char *format, struct error *err)
{
    const struct image_driver *driver = driver_named(format, err);
    AUTO_CLOSE int fd = -1;

    if (!driver || !driver->repair)
        return driver ? 0 : -1;
    fd = image_file_open(path, true, err);
    return fd < 0 ? -1 : driver->repair(fd, path, err);
}

int image_repair(const char *path, const char *format, struct error *err)
{
    return repair_file(path, format, err) == 0 ? 0 : error_wrap(err, "repair %s", path);
}

int image_map_own(const struct image *image, struct extents *own, struct error *err)
{
    int result;

    if (image->source.size_bytes == 0)
        return 0;
    if (image->driver->map_own)
        result = image->driver->map_own(image, own, err);
    else
        result = block_source_map(&image->source, 0, image->source.size_bytes, own, err);
    return result == 0 ? 0 : error_wrap(err, "map %s", image->path);
}
