/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Records of the ledger that wait in memory, by chunk: a hash table with open addressing. Private
 * to formats/ledger*.c, which locks it.
 */
#ifndef FORMATS_LEDGER_MAP_H
#define FORMATS_LEDGER_MAP_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define LEDGER_RECORD_SIZE 32

struct ledger_record {
    uint64_t index;
    uint8_t bytes[LEDGER_RECORD_SIZE];
};

struct ledger_slot;

/* {0} is empty. */
struct ledger_map {
    struct ledger_slot *slots;
    size_t capacity; /* a power of two, or 0 */
    size_t used;     /* slots with a key, dropped ones included */
    size_t count;    /* records */
};

void ledger_map_fini(struct ledger_map *map); /* afterwards it is {0} again */

/* NULL when there is none; borrowed until the next change. */
const uint8_t *ledger_map_find(const struct ledger_map *map, uint64_t index);

/* Fails only for want of memory. */
int ledger_map_set(struct ledger_map *map, uint64_t index, const uint8_t *record,
                   struct error *err);

void ledger_map_drop(struct ledger_map *map, uint64_t first, uint64_t count);

/* The first record in [first, end); `end` when there is none. Looks at all slots. */
uint64_t ledger_map_next(const struct ledger_map *map, uint64_t first, uint64_t end);

/* Moves all of `from` into `to`; newer records win. Out of memory ends the program. */
void ledger_map_merge(struct ledger_map *to, struct ledger_map *from);

/* All records by index; caller frees. NULL: out of memory. */
struct ledger_record *ledger_map_sorted(const struct ledger_map *map, size_t *count);

#endif
