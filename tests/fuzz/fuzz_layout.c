/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The input is the start of a disk of 8 MiB, the rest is zero: table, probing and used maps
 * together. Everything lies inside the disk, and a doubtful table means all of it.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "disk/layout.h"

#include <stdlib.h>

#define DISK (8 * MIB)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct layout *layout)
{
    uint64_t end = 0;

    if (layout->used.count == 0)
        abort();
    for (size_t i = 0; i < layout->used.count; i++) {
        const struct extent *extent = &layout->used.items[i];

        if (!range_is_inside(extent->offset, extent->length, DISK) ||
            (i > 0 && extent->offset <= end))
            abort();
        end = extent->offset + extent->length;
    }
    for (size_t i = 0; i < layout->count; i++) {
        const struct volume *volume = &layout->volumes[i];

        if (!volume->driver || !range_is_inside(volume->offset, volume->length, DISK) ||
            (!volume->map.is_certain && extents_total(&volume->map.used) != volume->length))
            abort();
    }
    if (layout->table.is_doubtful && extents_total(&layout->used) != DISK)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t disk[DISK];
    struct block_memory source;
    struct layout layout;

    size = (size_t)min_u64(size, DISK);
    memcpy(disk, data, size);
    block_memory_init(&source, disk, DISK);
    if (layout_read(&source.source, &layout, NULL, NULL) < 0)
        abort(); /* memory can always be read */
    check(&layout);
    layout_fini(&layout);
    memset(disk, 0, size);
    return 0;
}
