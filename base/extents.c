/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sorted, merged byte ranges in one array.
 */
#include "base/extents.h"

#include "base/checked.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static uint64_t end_of(const struct extent *extent)
{
    return extent->offset + extent->length;
}

void extents_fini(struct extents *set)
{
    free(set->items);
    *set = (struct extents){0};
}

static int make_room(struct extents *set, size_t more, struct error *err)
{
    if (set->count + more <= set->capacity)
        return 0;
    size_t capacity = set->capacity ? set->capacity * 2 : 16;
    struct extent *items = reallocarray(set->items, capacity, sizeof(*items));
    if (!items)
        return error_set(err, ENOMEM, "%zu extents", capacity);
    set->items = items;
    set->capacity = capacity;
    return 0;
}

size_t extents_find(const struct extents *set, uint64_t offset)
{
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (end_of(&set->items[middle]) > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Replaces items[first, first + removed) by `added` new ones. */
static int splice(struct extents *set, size_t first, size_t removed, const struct extent *added,
                  size_t added_count, struct error *err)
{
    if (added_count > removed && make_room(set, added_count - removed, err) != 0)
        return -1;
    size_t behind = set->count - first - removed;
    if (behind)
        memmove(set->items + first + added_count, set->items + first + removed,
                behind * sizeof(*set->items));
    for (size_t i = 0; i < added_count; i++)
        set->items[first + i] = added[i];
    set->count += added_count - removed;
    return 0;
}

int extents_add(struct extents *set, uint64_t offset, uint64_t length, struct error *err)
{
    uint64_t end;
    if (length == 0)
        return 0;
    if (!checked_add(offset, length, &end))
        return error_set(err, 0, "extent at 0x%" PRIx64 " of length 0x%" PRIx64 " overflows",
                         offset, length);

    /* The common case: in ascending order, touching the last one or behind it. */
    if (set->count && offset >= set->items[set->count - 1].offset) {
        struct extent *last = &set->items[set->count - 1];
        if (offset <= end_of(last)) {
            last->length = max_u64(end_of(last), end) - last->offset;
            return 0;
        }
    }

    /* All that overlap or touch [offset, end) become one. */
    size_t first = extents_find(set, offset);
    if (first > 0 && end_of(&set->items[first - 1]) == offset)
        first--;
    size_t next = first;
    struct extent merged = {offset, length};
    for (; next < set->count && set->items[next].offset <= end; next++) {
        uint64_t start = min_u64(merged.offset, set->items[next].offset);
        merged.length = max_u64(end_of(&merged), end_of(&set->items[next])) - start;
        merged.offset = start;
    }
    return splice(set, first, next - first, &merged, 1, err);
}

int extents_add_all(struct extents *set, const struct extents *other, uint64_t shift,
                    struct error *err)
{
    for (size_t i = 0; i < other->count; i++) {
        uint64_t offset;
        if (!checked_add(other->items[i].offset, shift, &offset))
            return error_set(err, 0, "extent moved by 0x%" PRIx64 " overflows", shift);
        if (extents_add(set, offset, other->items[i].length, err) != 0)
            return -1;
    }
    return 0;
}

int extents_remove(struct extents *set, uint64_t offset, uint64_t length, struct error *err)
{
    uint64_t end;
    if (length == 0)
        return 0;
    if (!checked_add(offset, length, &end))
        end = UINT64_MAX;
    size_t first = extents_find(set, offset);
    size_t next = first;
    struct extent kept[2];
    size_t kept_count = 0;
    for (; next < set->count && set->items[next].offset < end; next++) {
        struct extent item = set->items[next];
        if (item.offset < offset)
            kept[kept_count++] = (struct extent){item.offset, offset - item.offset};
        if (end_of(&item) > end)
            kept[kept_count++] = (struct extent){end, end_of(&item) - end};
    }
    return splice(set, first, next - first, kept, kept_count, err);
}

int extents_align(struct extents *set, uint64_t unit, uint64_t limit, struct error *err)
{
    struct extents wide = {0};
    for (size_t i = 0; i < set->count; i++) {
        uint64_t start = align_down(set->items[i].offset, unit);
        uint64_t end = end_of(&set->items[i]);
        end = end > UINT64_MAX - (unit - 1) ? limit : min_u64(align_up(end, unit), limit);
        if (start < end && extents_add(&wide, start, end - start, err) != 0) {
            extents_fini(&wide);
            return -1;
        }
    }
    extents_fini(set);
    *set = wide;
    return 0;
}

bool extents_touch(const struct extents *set, uint64_t offset, uint64_t length)
{
    size_t i = extents_find(set, offset);
    return length > 0 && i < set->count &&
           (set->items[i].offset <= offset || set->items[i].offset - offset < length);
}

bool extents_contain(const struct extents *set, uint64_t offset, uint64_t length)
{
    size_t i = extents_find(set, offset);
    return i < set->count && set->items[i].offset <= offset &&
           end_of(&set->items[i]) - offset >= length;
}

uint64_t extents_total(const struct extents *set)
{
    uint64_t total = 0;
    for (size_t i = 0; i < set->count; i++)
        total += set->items[i].length;
    return total;
}
