/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Records that wait, by chunk: linear probing in a table of twice the records or more. A dropped
 * record leaves its key behind, for which the same chunk may come again; growing leaves it out.
 */
#include "formats/ledger_map.h"

#include "base/text.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 256u

struct ledger_slot {
    uint64_t key; /* index + 1; 0: never used */
    bool is_dropped;
    uint8_t record[LEDGER_RECORD_SIZE];
};

void ledger_map_fini(struct ledger_map *map)
{
    free(map->slots);
    *map = (struct ledger_map){0};
}

/* The slot of the index, or the empty one where it would go. The table is never full. */
static struct ledger_slot *find_slot(const struct ledger_map *map, uint64_t index)
{
    size_t at = (size_t)(index * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (map->capacity - 1);

    while (map->slots[at].key && map->slots[at].key != index + 1)
        at = (at + 1) & (map->capacity - 1);
    return &map->slots[at];
}

static bool is_live(const struct ledger_slot *slot)
{
    return slot->key && !slot->is_dropped;
}

const uint8_t *ledger_map_find(const struct ledger_map *map, uint64_t index)
{
    const struct ledger_slot *slot;

    if (map->count == 0)
        return NULL;
    slot = find_slot(map, index);
    return is_live(slot) ? slot->record : NULL;
}

static void put(struct ledger_map *map, uint64_t index, const uint8_t *record)
{
    struct ledger_slot *slot = find_slot(map, index);

    if (!is_live(slot))
        map->count++;
    if (!slot->key)
        map->used++;
    slot->key = index + 1;
    slot->is_dropped = false;
    memcpy(slot->record, record, LEDGER_RECORD_SIZE);
}

/* Room for `count` records; what was dropped goes. */
static int resize(struct ledger_map *map, size_t count, struct error *err)
{
    struct ledger_map larger = {.capacity = FIRST_CAPACITY};

    while (larger.capacity < count * 3)
        larger.capacity *= 2;
    larger.slots = calloc(larger.capacity, sizeof(*larger.slots));
    if (!larger.slots)
        return error_set(err, ENOMEM, "ledger: %zu records", count);
    for (size_t i = 0; i < map->capacity; i++) {
        if (is_live(&map->slots[i]))
            put(&larger, map->slots[i].key - 1, map->slots[i].record);
    }
    ledger_map_fini(map);
    *map = larger;
    return 0;
}

int ledger_map_set(struct ledger_map *map, uint64_t index, const uint8_t *record, struct error *err)
{
    if ((map->used + 1) * 2 > map->capacity && resize(map, map->count + 1, err) < 0)
        return -1;
    put(map, index, record);
    return 0;
}

static void drop(struct ledger_map *map, struct ledger_slot *slot)
{
    if (!is_live(slot))
        return;
    slot->is_dropped = true;
    map->count--;
}

void ledger_map_drop(struct ledger_map *map, uint64_t first, uint64_t count)
{
    if (map->count == 0)
        return;
    if (count < map->capacity) {
        for (uint64_t i = first; i < first + count; i++)
            drop(map, find_slot(map, i));
        return;
    }
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->slots[i].key - 1 >= first && map->slots[i].key - 1 - first < count)
            drop(map, &map->slots[i]);
    }
}

uint64_t ledger_map_next(const struct ledger_map *map, uint64_t first, uint64_t end)
{
    uint64_t next = end;

    if (map->count == 0)
        return end;
    for (size_t i = 0; i < map->capacity; i++) {
        uint64_t index = map->slots[i].key - 1;

        if (is_live(&map->slots[i]) && index >= first && index < next)
            next = index;
    }
    return next;
}

void ledger_map_merge(struct ledger_map *to, struct ledger_map *from)
{
    if (to->count == 0) {
        ledger_map_fini(to);
        *to = *from;
        *from = (struct ledger_map){0};
        return;
    }
    for (size_t i = 0; i < from->capacity; i++) {
        if (is_live(&from->slots[i]) &&
            ledger_map_set(to, from->slots[i].key - 1, from->slots[i].record, NULL) < 0)
            abort(); /* as base/text.h: nothing here can do without */
    }
    ledger_map_fini(from);
}

static int compare_records(const void *a, const void *b)
{
    uint64_t first = ((const struct ledger_record *)a)->index;
    uint64_t second = ((const struct ledger_record *)b)->index;

    return first < second ? -1 : first > second;
}

struct ledger_record *ledger_map_sorted(const struct ledger_map *map, size_t *count)
{
    struct ledger_record *records = calloc(map->count + 1, sizeof(*records));

    *count = 0;
    for (size_t i = 0; records && i < map->capacity; i++) {
        if (!is_live(&map->slots[i]))
            continue;
        records[*count].index = map->slots[i].key - 1;
        memcpy(records[(*count)++].bytes, map->slots[i].record, LEDGER_RECORD_SIZE);
    }
    if (records)
        qsort(records, *count, sizeof(*records), compare_records);
    return records;
}
