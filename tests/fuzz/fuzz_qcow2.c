/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Any bytes as a qcow2 image: probed, opened, mapped, read, then opened again and written in
 * place. No backing file is allowed, so none is looked for.
 */
#include "base/checked.h"
#include "formats/image.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_INPUT ((size_t)1 << 20)
#define MAX_READS 64
#define STEP ((size_t)70000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t buffer[STEP];

static struct image *open_bytes(const uint8_t *data, size_t size, bool is_writable)
{
    struct image_open_options options = {.is_writable = is_writable};
    int fd = memfd_create("qcow2", MFD_CLOEXEC);
    struct error err;

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    return image_driver_find("qcow2")->open(fd, "fuzz", &options, 0, &err);
}

static void read_what_is_mapped(const struct image *image)
{
    AUTO(extents) extents = {0};
    struct error err;
    struct image_info info;

    image_get_info(image, &info);
    block_source_map(&image->source, 0, image->source.size_bytes, &extents, &err);
    for (size_t i = 0; i < extents.count && i < MAX_READS; i++) {
        size_t length = (size_t)min_u64(extents.items[i].length, STEP);
        uint64_t last = extents.items[i].offset + extents.items[i].length - length;

        if (!range_is_inside(last, length, image->source.size_bytes))
            abort();
        block_source_read(&image->source, extents.items[i].offset, buffer, length, &err);
        block_source_read(&image->source, last, buffer, length, &err);
    }
    extents_fini(&extents);
    extents = (struct extents){0};
    image_map_own(image, &extents, &err);
}

static void write_here_and_there(struct image *image)
{
    uint64_t size = image->source.size_bytes;
    struct error err;

    for (uint64_t at = 0, step = 3000; at < size && step < size; at += step, step *= 3) {
        size_t length = (size_t)min_u64(1500, size - at);

        image_write(image, at, buffer, length, &err);
        image_write_zeroes(image, at, min_u64(length + 700, size - at), &err);
        block_source_read(&image->source, at, buffer, length, &err);
    }
    image_flush(image, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image *image;

    if (size > MAX_INPUT || !image_driver_find("qcow2")->probe(data, size))
        return 0;
    image = open_bytes(data, size, false);
    if (image)
        read_what_is_mapped(image);
    image_close(image);
    image = open_bytes(data, size, true);
    if (image)
        write_here_and_there(image);
    image_close(image);
    return 0;
}
