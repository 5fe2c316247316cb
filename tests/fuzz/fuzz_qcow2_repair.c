/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Any bytes as a qcow2 image to be repaired. What was repaired can be opened and written, and there
 * is nothing left to repair: a second time changes no byte.
 */
#include "formats/image.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_INPUT ((size_t)1 << 20)
#define MAX_OUTPUT ((size_t)16 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bytes {
    uint8_t *data;
    size_t size;
};

static int make_file(const uint8_t *data, size_t size)
{
    int fd = memfd_create("qcow2", MFD_CLOEXEC);

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    return fd;
}

static struct bytes read_file(int fd)
{
    struct bytes bytes;
    struct stat status;

    if (fstat(fd, &status) != 0 || status.st_size > (off_t)MAX_OUTPUT)
        abort();
    bytes.size = (size_t)status.st_size;
    bytes.data = malloc(bytes.size + 1);
    if (!bytes.data || pread(fd, bytes.data, bytes.size, 0) != (ssize_t)bytes.size)
        abort();
    return bytes;
}

static void check_repaired(const struct image_driver *driver, int fd)
{
    struct image_open_options options = {.is_writable = true};
    struct bytes once = read_file(fd), twice;
    AUTO(extents) own = {0};
    struct image *image;
    struct error err;

    if (driver->repair(fd, "fuzz", &err) != 0)
        abort();
    twice = read_file(fd);
    if (once.size != twice.size || memcmp(once.data, twice.data, once.size) != 0)
        abort();
    image = driver->open(dup(fd), "fuzz", &options, 0, &err);
    /* It may have a backing file, which is not allowed here; all that it stores can be read. */
    if (image && image_map_own(image, &own, &err) != 0)
        abort();
    if (image && image->source.size_bytes >= 512)
        image_write(image, 0, once.data, 512, &err);
    image_close(image);
    free(once.data);
    free(twice.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct image_driver *driver = image_driver_find("qcow2");
    struct error err;
    int fd;

    if (size < 512 || size > MAX_INPUT)
        return 0;
    fd = make_file(data, size);
    if (driver->repair(fd, "fuzz", &err) == 0)
        check_repaired(driver, fd);
    close(fd);
    return 0;
}
