/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Port 0x505 (QEMU's docs/specs/pvpanic): reading it tells which events there are, writing that one
 * of them has happened.
 */
#include "base/text.h"
#include "hypervisor/layout.h"
#include "hypervisor/platform.h"
#include "hypervisor/ports.h"

#include <stdlib.h>

#define EVENT_PANICKED 0x01
#define EVENT_CRASH_LOADED 0x02 /* panicked, and its crash kernel starts */
#define EVENTS (EVENT_PANICKED | EVENT_CRASH_LOADED)

struct pvpanic {
    struct device device;
    struct device_host host;
};

static uint64_t pvpanic_read(void *device, uint64_t offset, unsigned size)
{
    (void)device;
    (void)offset;
    (void)size;
    return EVENTS;
}

static void pvpanic_write(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    (void)offset;
    (void)size;
    struct pvpanic *pvpanic = device;
    if (value & EVENTS)
        pvpanic->host.event(pvpanic->host.context, MACHINE_PANICKED, (int)(value & EVENTS));
}

static const struct bus_ops pvpanic_ports = {pvpanic_read, pvpanic_write};

static void pvpanic_close(struct device *device)
{
    struct pvpanic *pvpanic = (struct pvpanic *)device;
    bus_remove(pvpanic->host.ports, LAYOUT_PORT_PVPANIC, pvpanic);
    free(pvpanic);
}

static const struct device_ops pvpanic_ops = {.name = "pvpanic", .close = pvpanic_close};

struct device *pvpanic_new(const struct device_host *host, struct error *err)
{
    struct pvpanic *pvpanic = memory_new(1, sizeof(*pvpanic));
    *pvpanic = (struct pvpanic){{&pvpanic_ops}, *host};
    if (ports_take(host, LAYOUT_PORT_PVPANIC, 1, &pvpanic_ports, pvpanic, err) == 0)
        return &pvpanic->device;
    pvpanic_close(&pvpanic->device);
    return NULL;
}
