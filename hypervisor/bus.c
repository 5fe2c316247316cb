/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A sorted array of ranges under a lock that readers share. A range is copied out before its device
 * is called: the device may change the bus itself (a BAR that moves).
 */
#include "hypervisor/bus.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

void bus_init(struct bus *bus)
{
    *bus = (struct bus){.count = 0};
    pthread_rwlock_init(&bus->lock, NULL);
}

void bus_fini(struct bus *bus)
{
    pthread_rwlock_destroy(&bus->lock);
}

/* The first range that ends after the address. */
static unsigned search(const struct bus *bus, uint64_t address)
{
    unsigned low = 0, high = bus->count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        const struct bus_range *range = &bus->ranges[middle];
        if (address >= range->start && address - range->start >= range->length)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int insert(struct bus *bus, const struct bus_range *range, struct error *err)
{
    unsigned place = search(bus, range->start);
    if (bus->count == BUS_MAX_RANGES)
        return error_set(err, ENOSPC, "a bus with more than %d ranges", BUS_MAX_RANGES);
    if (place < bus->count && bus->ranges[place].start < range->start + range->length)
        return error_set(err, EBUSY, "0x%" PRIx64 " on a bus is taken", range->start);
    memmove(&bus->ranges[place + 1], &bus->ranges[place],
            (bus->count - place) * sizeof(bus->ranges[0]));
    bus->ranges[place] = *range;
    bus->count++;
    return 0;
}

static int insert_whole(struct bus *bus, const struct bus_range *range, struct error *err)
{
    for (unsigned i = 0; i < bus->whole_count; i++) {
        if (bus->wholes[i].start == range->start)
            return error_set(err, EBUSY, "0x%" PRIx64 " on a bus is taken", range->start);
    }
    if (bus->whole_count == BUS_MAX_WHOLES)
        return error_set(err, ENOSPC, "a bus with more than %d whole ranges", BUS_MAX_WHOLES);
    bus->wholes[bus->whole_count++] = *range;
    return 0;
}

static int add(struct bus *bus, const struct bus_range *range, bool is_whole, struct error *err)
{
    uint64_t end;
    if (range->length == 0 || __builtin_add_overflow(range->start, range->length, &end))
        return error_set(err, EINVAL, "0x%" PRIx64 " on a bus: a range of 0x%" PRIx64 " bytes",
                         range->start, range->length);
    pthread_rwlock_wrlock(&bus->lock);
    int result = is_whole ? insert_whole(bus, range, err) : insert(bus, range, err);
    pthread_rwlock_unlock(&bus->lock);
    return result;
}

int bus_add(struct bus *bus, const struct bus_range *range, struct error *err)
{
    return add(bus, range, false, err);
}

int bus_add_whole(struct bus *bus, const struct bus_range *range, struct error *err)
{
    return add(bus, range, true, err);
}

void bus_remove(struct bus *bus, uint64_t start, const void *device)
{
    pthread_rwlock_wrlock(&bus->lock);
    unsigned place = search(bus, start);
    if (place < bus->count && bus->ranges[place].start == start &&
        bus->ranges[place].device == device) {
        bus->count--;
        memmove(&bus->ranges[place], &bus->ranges[place + 1],
                (bus->count - place) * sizeof(bus->ranges[0]));
    }
    for (unsigned i = 0; i < bus->whole_count; i++) {
        if (bus->wholes[i].start == start && bus->wholes[i].device == device)
            bus->wholes[i] = bus->wholes[--bus->whole_count];
    }
    pthread_rwlock_unlock(&bus->lock);
}

static const struct bus_range *find(const struct bus *bus, uint64_t address, unsigned size)
{
    for (unsigned i = 0; i < bus->whole_count; i++) {
        if (address == bus->wholes[i].start && size == bus->wholes[i].length)
            return &bus->wholes[i];
    }
    const struct bus_range *range = &bus->ranges[search(bus, address)];
    if (range == &bus->ranges[bus->count] || address < range->start ||
        size > range->length - (address - range->start))
        return NULL;
    return range;
}

static bool find_copy(struct bus *bus, uint64_t address, unsigned size, struct bus_range *found)
{
    pthread_rwlock_rdlock(&bus->lock);
    const struct bus_range *range = find(bus, address, size);
    if (range)
        *found = *range;
    pthread_rwlock_unlock(&bus->lock);
    return range != NULL;
}

uint64_t bus_read(struct bus *bus, uint64_t address, unsigned size)
{
    struct bus_range range;
    uint64_t ones = size >= 8 ? UINT64_MAX : (UINT64_C(1) << (size * 8)) - 1;
    if (!find_copy(bus, address, size, &range) || !range.ops->read)
        return ones;
    return range.ops->read(range.device, address - range.start, size) & ones;
}

void bus_write(struct bus *bus, uint64_t address, unsigned size, uint64_t value)
{
    struct bus_range range;
    if (find_copy(bus, address, size, &range) && range.ops->write)
        range.ops->write(range.device, address - range.start, size, value);
}
