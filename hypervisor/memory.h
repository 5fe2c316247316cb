/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Guest memory as devices see it: a guest-physical range becomes a host pointer only when all of it
 * lies in one region of RAM. Pure: regions are any host memory, so queues and devices are tested
 * without KVM. What is read through a pointer can change at any time: copy once, then look.
 */
#ifndef HYPERVISOR_MEMORY_H
#define HYPERVISOR_MEMORY_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUEST_MEMORY_MAX_REGIONS 4

struct guest_memory_region {
    uint64_t start, length; /* guest-physical, bytes */
    uint8_t *host;          /* borrowed */
};

/* Not changed after the machine has started, so it is read without a lock. */
struct guest_memory {
    struct guest_memory_region regions[GUEST_MEMORY_MAX_REGIONS];
    size_t count;
};

/* Regions may come in any order and must not overlap or wrap (EINVAL); ENOSPC: too many. */
int guest_memory_add(struct guest_memory *memory, uint64_t start, uint64_t length, void *host,
                     struct error *err);

/* NULL unless [start, start + length) lies in one region; length 0 asks for the address alone. */
void *guest_memory_at(const struct guest_memory *memory, uint64_t start, uint64_t length);

/* Copies; false, and nothing copied, when the range is not RAM. */
bool guest_memory_read(const struct guest_memory *memory, uint64_t start, void *to, size_t length);
bool guest_memory_write(const struct guest_memory *memory, uint64_t start, const void *from,
                        size_t length);

#endif
