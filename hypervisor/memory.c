/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The few regions of guest memory, searched in turn.
 */
#include "hypervisor/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static bool overlaps(const struct guest_memory_region *region, uint64_t start, uint64_t length)
{
    return start < region->start + region->length && region->start < start + length;
}

int guest_memory_add(struct guest_memory *memory, uint64_t start, uint64_t length, void *host,
                     struct error *err)
{
    uint64_t end;
    if (length == 0 || __builtin_add_overflow(start, length, &end))
        return error_set(err, EINVAL, "guest memory at 0x%" PRIx64 ": length 0x%" PRIx64, start,
                         length);
    if (memory->count == GUEST_MEMORY_MAX_REGIONS)
        return error_set(err, ENOSPC, "guest memory: more than %d regions",
                         GUEST_MEMORY_MAX_REGIONS);
    for (size_t i = 0; i < memory->count; i++) {
        if (overlaps(&memory->regions[i], start, length))
            return error_set(err, EINVAL, "guest memory at 0x%" PRIx64 ": is there twice", start);
    }
    memory->regions[memory->count++] = (struct guest_memory_region){start, length, host};
    return 0;
}

void *guest_memory_at(const struct guest_memory *memory, uint64_t start, uint64_t length)
{
    for (size_t i = 0; i < memory->count; i++) {
        const struct guest_memory_region *region = &memory->regions[i];
        uint64_t offset = start - region->start;
        if (start >= region->start && offset < region->length && length <= region->length - offset)
            return region->host + offset;
    }
    return NULL;
}

bool guest_memory_read(const struct guest_memory *memory, uint64_t start, void *to, size_t length)
{
    const void *from = guest_memory_at(memory, start, length);
    if (from)
        memcpy(to, from, length);
    return from != NULL;
}

bool guest_memory_write(const struct guest_memory *memory, uint64_t start, const void *from,
                        size_t length)
{
    void *to = guest_memory_at(memory, start, length);
    if (to)
        memcpy(to, from, length);
    return to != NULL;
}
