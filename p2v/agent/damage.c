/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Finds the volume of each unreadable range and asks its file system's driver what was there.
 */
#include "p2v/agent/damage.h"

#include "base/checked.h"
#include "base/text.h"
#include "disk/damage.h"
#include "p2v/json.h"

#include <string.h>

static bool is_ext(const struct volume *volume)
{
    return strcmp(volume->driver->name, "ext") == 0;
}

/* The part of a range that lies in a volume, relative to it; false: none. */
static bool cut_to_volume(const struct extent *range, const struct volume *volume,
                          struct extent *inside)
{
    uint64_t start = max_u64(range->offset, volume->offset);
    uint64_t end = min_u64(range->offset + range->length, volume->offset + volume->length);
    if (start >= end)
        return false;
    *inside = (struct extent){start - volume->offset, end - start};
    return true;
}

static void add_hit(void *context, size_t range, const char *text)
{
    json_t *hits = json_object_get(json_array_get(context, range), "hits");
    json_array_append_new(hits, json_text(text));
}

/* All ranges in one volume at once: the file system is walked through once for all of them. */
static void describe_volume(const struct block_source *disk, const struct volume *volume,
                            const struct extents *ranges, json_t *json)
{
    struct extent inside[DAMAGE_MAX_RANGES];
    size_t which[DAMAGE_MAX_RANGES], count = 0;
    for (size_t i = 0; i < ranges->count && i < json_array_size(json) && i < DAMAGE_MAX_RANGES;
         i++) {
        json_t *item = json_array_get(json, i);
        if (!cut_to_volume(&ranges->items[i], volume, &inside[count]))
            continue;
        which[count++] = i;
        json_object_set_new(item, "partition",
                            volume->partition ? json_integer(volume->partition->number)
                                              : json_null());
        json_object_set_new(item, "type", json_text(volume->probe.type));
    }
    struct block_slice slice;
    if (count == 0 || !is_ext(volume) ||
        block_slice_init(&slice, disk, volume->offset, volume->length, NULL) != 0)
        return;
    struct damage damage = {inside, which, count, add_hit, json};
    ext_damage_find(&slice.source, &damage);
}

void damage_describe(const struct block_source *disk, const struct layout *layout,
                     const struct extents *ranges, json_t *json)
{
    size_t i;
    json_t *item;
    json_array_foreach(json, i, item) json_object_set_new(item, "hits", json_array());
    for (i = 0; i < layout->count && ranges->count; i++)
        describe_volume(disk, &layout->volumes[i], ranges, json);
}
