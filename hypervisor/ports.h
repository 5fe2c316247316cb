/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For devices on I/O ports: taking them, and registers of one byte under wider accesses, which a PC
 * splits into bytes, the lowest first.
 */
#ifndef HYPERVISOR_PORTS_H
#define HYPERVISOR_PORTS_H

#include "hypervisor/device.h"

static inline int ports_take(const struct device_host *host, uint64_t start, uint64_t length,
                             const struct bus_ops *ops, void *device, struct error *err)
{
    const struct bus_range range = {start, length, ops, device};
    return bus_add(host->ports, &range, err);
}

static inline uint64_t ports_read_bytes(uint8_t (*read)(void *device, unsigned at), void *device,
                                        uint64_t offset, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)read(device, (unsigned)offset + i) << (8 * i);
    return value;
}

static inline void ports_write_bytes(void (*write)(void *device, unsigned at, uint8_t value),
                                     void *device, uint64_t offset, unsigned size, uint64_t value)
{
    for (unsigned i = 0; i < size; i++)
        write(device, (unsigned)offset + i, (uint8_t)(value >> (8 * i)));
}

#endif
