/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Block sources: the checks every read passes, slices, and sources in memory.
 */
#include "base/source.h"

#include "base/checked.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int check_range(const struct block_source *source, uint64_t offset, uint64_t length,
                       struct error *err)
{
    if (!range_is_inside(offset, length, source->size_bytes))
        return error_set(err, ERANGE,
                         "0x%" PRIx64 " bytes at 0x%" PRIx64 " of a source of 0x%" PRIx64, length,
                         offset, source->size_bytes);
    return 0;
}

int block_source_read(const struct block_source *source, uint64_t offset, void *buffer,
                      size_t length, struct error *err)
{
    if (check_range(source, offset, length, err) != 0)
        return -1;
    return length == 0 ? 0 : source->ops->read(source, offset, buffer, length, err);
}

int block_source_map(const struct block_source *source, uint64_t offset, uint64_t length,
                     struct extents *data, struct error *err)
{
    if (check_range(source, offset, length, err) != 0)
        return -1;
    if (!source->ops->map)
        return extents_add(data, offset, length, err);
    return length == 0 ? 0 : source->ops->map(source, offset, length, data, err);
}

static int slice_read(const struct block_source *source, uint64_t offset, void *buffer,
                      size_t length, struct error *err)
{
    const struct block_slice *slice = (const struct block_slice *)source;
    return block_source_read(slice->parent, slice->start + offset, buffer, length, err);
}

static int slice_map(const struct block_source *source, uint64_t offset, uint64_t length,
                     struct extents *data, struct error *err)
{
    const struct block_slice *slice = (const struct block_slice *)source;
    struct extents in_parent = {0};
    int result = block_source_map(slice->parent, slice->start + offset, length, &in_parent, err);
    for (size_t i = 0; result == 0 && i < in_parent.count; i++)
        result = extents_add(data, in_parent.items[i].offset - slice->start,
                             in_parent.items[i].length, err);
    extents_fini(&in_parent);
    return result;
}

static const struct block_source_ops slice_ops = {.read = slice_read, .map = slice_map};

int block_slice_init(struct block_slice *slice, const struct block_source *parent, uint64_t start,
                     uint64_t length, struct error *err)
{
    if (check_range(parent, start, length, err) != 0)
        return -1;
    *slice = (struct block_slice){
        .source = {&slice_ops, length, parent->sector_size}, .parent = parent, .start = start};
    return 0;
}

static int memory_read(const struct block_source *source, uint64_t offset, void *buffer,
                       size_t length, struct error *err)
{
    (void)err;
    memcpy(buffer, (const char *)((const struct block_memory *)source)->data + offset, length);
    return 0;
}

static const struct block_source_ops memory_ops = {.read = memory_read};

void block_memory_init(struct block_memory *memory, const void *data, size_t length)
{
    *memory = (struct block_memory){.source = {&memory_ops, length, 0}, .data = data};
}
