/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A set of byte ranges, kept sorted, disjoint and merged where they touch. Adding in ascending
 * order costs O(1) each; adding elsewhere moves what follows.
 */
#ifndef BASE_EXTENTS_H
#define BASE_EXTENTS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct extent {
    uint64_t offset; /* bytes */
    uint64_t length; /* bytes, never 0 in a set; offset + length does not overflow */
};

/* {0} is the empty set. Read items[0..count) freely; change it only with the calls below. */
struct extents {
    struct extent *items;
    size_t count;
    size_t capacity;
};

void extents_fini(struct extents *set);

/* Adds [offset, offset + length); length 0 adds nothing. Fails on overflow and out of memory. */
int extents_add(struct extents *set, uint64_t offset, uint64_t length, struct error *err);

/* Adds every range of `other`, moved up by `shift` bytes. */
int extents_add_all(struct extents *set, const struct extents *other, uint64_t shift,
                    struct error *err);

/* Takes [offset, offset + length) out, splitting ranges where needed. */
int extents_remove(struct extents *set, uint64_t offset, uint64_t length, struct error *err);

/* Widens every range to multiples of `unit` (a power of two), then cuts at `limit`. */
int extents_align(struct extents *set, uint64_t unit, uint64_t limit, struct error *err);

/* True when all, or any, of [offset, offset + length) is in the set; length is not 0. */
bool extents_contain(const struct extents *set, uint64_t offset, uint64_t length);
bool extents_touch(const struct extents *set, uint64_t offset, uint64_t length);

/* Index of the first range that ends after `offset`; count when none does. */
size_t extents_find(const struct extents *set, uint64_t offset);

uint64_t extents_total(const struct extents *set);

#endif
