/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The digest that both sides compare for a disk (docs/wire.md, PASS): a sum, so that chunks may be
 * counted in any order and replaced one by one.
 */
#ifndef P2V_WIRE_DISKSUM_H
#define P2V_WIRE_DISKSUM_H

#include "formats/manifest.h"

#include <stdbool.h>
#include <stdint.h>

struct disksum {
    uint8_t bytes[32]; /* little-endian number; {0} is the sum of nothing */
};

/* Skipped and zero chunks count nothing; name may be NULL unless CHUNK_DATA. */
void disksum_add(struct disksum *sum, uint64_t index, enum chunk_state state,
                 const struct chunk_name *name);
void disksum_remove(struct disksum *sum, uint64_t index, enum chunk_state state,
                    const struct chunk_name *name);
bool disksum_is_equal(const struct disksum *a, const struct disksum *b);

#endif
