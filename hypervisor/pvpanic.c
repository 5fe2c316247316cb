/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Port 0x505 (QEMU's docs/specs/pvpanic): reading it tells which events there are, writing that one
 * of them has happened.
 */
#include "hypervisor/layout.h"
#include "hypervisor/platform.h"
#include "hypervisor/ports.h"

#define EVENTS 0x03 /* panicked; panicked, and its crash kernel starts */

static uint8_t read_register(struct port_device *device, unsigned port)
{
    (void)device;
    (void)port;
    return EVENTS;
}

static void write_register(struct port_device *device, unsigned port, uint8_t value)
{
    (void)port;
    if (value & EVENTS)
        device->host.event(device->host.context, MACHINE_PANICKED, value & EVENTS);
}

static const struct port_kind kind = {
    .ops = {.name = "pvpanic", .close = port_device_close},
    .read = read_register,
    .write = write_register,
    .ranges = {{LAYOUT_PORT_PVPANIC, 1}},
};

struct device *pvpanic_new(const struct device_host *host, struct error *err)
{
    return port_device_new(&kind, sizeof(struct port_device), host, err);
}
