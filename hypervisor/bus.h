/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A bus: ranges of I/O ports or of memory-mapped addresses, and who answers there. Ranges come and
 * go while vCPUs run (a guest moves its BARs): any thread may call anything here.
 */
#ifndef HYPERVISOR_BUS_H
#define HYPERVISOR_BUS_H

#include "base/error.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define BUS_MAX_RANGES 256
#define BUS_MAX_WHOLES 4

/* `offset` is relative to the range, `size` is 1, 2, 4 or 8 bytes, and both lie inside of it. */
struct bus_ops {
    uint64_t (*read)(void *device, uint64_t offset, unsigned size); /* NULL: all ones */
    void (*write)(void *device, uint64_t offset, unsigned size, uint64_t value); /* NULL: ignored */
};

struct bus_range {
    uint64_t start, length;
    const struct bus_ops *ops;
    void *device;
};

struct bus {
    pthread_rwlock_t lock;                   /* not held while a device is called */
    struct bus_range ranges[BUS_MAX_RANGES]; /* sorted, disjoint */
    unsigned count;
    struct bus_range wholes[BUS_MAX_WHOLES];
    unsigned whole_count;
};

void bus_init(struct bus *bus);
void bus_fini(struct bus *bus);

/* EBUSY: it overlaps another range. ENOSPC: too many ranges. */
int bus_add(struct bus *bus, const struct bus_range *range, struct error *err);

/*
 * A range that answers only an access of exactly all of its bytes, before the others, which may lie
 * in it: PCI's address register is four bytes wide, and one byte inside of it resets the machine.
 */
int bus_add_whole(struct bus *bus, const struct bus_range *range, struct error *err);

/* By its start and device; a range that is not there is no error. */
void bus_remove(struct bus *bus, uint64_t start, const void *device);

/* All ones where nobody answers, and where an access crosses the end of a range. */
uint64_t bus_read(struct bus *bus, uint64_t address, unsigned size);
void bus_write(struct bus *bus, uint64_t address, unsigned size, uint64_t value);

#endif
