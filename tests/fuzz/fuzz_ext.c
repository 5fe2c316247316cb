/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The input is the start of a volume of 4 MiB with ext2/3/4 on it; the rest is zero. The
 * superblock's checksum is made right, so that what it says is what is judged. A map lies inside
 * the volume, holds the superblock, and is the whole volume when it is not certain.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "disk/fs/drivers.h"

#include <ext2fs/ext2fs.h>
#include <stdlib.h>

#define VOLUME (4 * MIB)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct prefix {
    struct block_source source;
    const uint8_t *data;
    size_t size;
};

static int prefix_read(const struct block_source *source, uint64_t offset, void *buffer,
                       size_t length, struct error *err)
{
    const struct prefix *prefix = (const struct prefix *)source;

    (void)err;
    memset(buffer, 0, length);
    if (offset < prefix->size)
        memcpy(buffer, prefix->data + offset, min_u64(length, prefix->size - offset));
    return 0;
}

static const struct block_source_ops prefix_ops = {.read = prefix_read};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    struct usedmap map;

    if (!copy)
        return 0;
    memcpy(copy, data, size);
    if (size >= 2048)
        store_le32(copy + 2044, ext2fs_crc32c_le(~0u, copy + 1024, 1020));
    struct prefix volume = {{&prefix_ops, VOLUME, 0}, copy, size};
    if (usedmap_read(&ext_driver, &volume.source, &map, NULL) < 0 || map.used.count == 0)
        abort();
    const struct extent *last = &map.used.items[map.used.count - 1];
    if (!range_is_inside(last->offset, last->length, VOLUME) ||
        !extents_contain(&map.used, 0, 2048) || map.is_certain != (map.doubt[0] == '\0') ||
        (!map.is_certain && extents_total(&map.used) != VOLUME))
        abort();
    usedmap_fini(&map);
    free(copy);
    return 0;
}
