/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A disk's digest as a sum modulo 2^256 of one SHA-256 a chunk (docs/wire.md, PASS).
 */
#include "p2v/wire/disksum.h"

#include "base/bytes.h"
#include "formats/digest.h"

#include <string.h>

_Static_assert(DIGEST_SIZE == sizeof(((struct disksum *)0)->bytes), "one SHA-256 is one summand");

/* False when a chunk of this state counts nothing. */
static bool summand(uint64_t index, enum chunk_state state, const struct chunk_name *name,
                    uint8_t result[DIGEST_SIZE])
{
    uint8_t input[8 + 1 + CHUNK_NAME_SIZE] = {0};

    if (state != CHUNK_DATA && state != CHUNK_UNREADABLE)
        return false;
    store_le64(input, index);
    input[8] = (uint8_t)state;
    if (state == CHUNK_DATA)
        memcpy(input + 9, name->bytes, CHUNK_NAME_SIZE);
    digest_compute(input, sizeof(input), result);
    return true;
}

void disksum_add(struct disksum *sum, uint64_t index, enum chunk_state state,
                 const struct chunk_name *name)
{
    uint8_t value[DIGEST_SIZE];
    uint64_t carry = 0;

    if (!summand(index, state, name, value))
        return;
    for (unsigned i = 0; i < DIGEST_SIZE; i += 8) {
        unsigned __int128 total =
            (unsigned __int128)load_le64(sum->bytes + i) + load_le64(value + i) + carry;
        store_le64(sum->bytes + i, (uint64_t)total);
        carry = (uint64_t)(total >> 64);
    }
}

void disksum_remove(struct disksum *sum, uint64_t index, enum chunk_state state,
                    const struct chunk_name *name)
{
    uint8_t value[DIGEST_SIZE];
    uint64_t borrow = 0;

    if (!summand(index, state, name, value))
        return;
    for (unsigned i = 0; i < DIGEST_SIZE; i += 8) {
        unsigned __int128 total =
            (unsigned __int128)load_le64(sum->bytes + i) - load_le64(value + i) - borrow;
        store_le64(sum->bytes + i, (uint64_t)total);
        borrow = (uint64_t)(total >> 64) & 1;
    }
}

bool disksum_is_equal(const struct disksum *a, const struct disksum *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}
