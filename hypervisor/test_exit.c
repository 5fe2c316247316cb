/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Port 0xf4: a test's payload ends the machine with the byte that it writes. Payloads for QEMU's
 * isa-debug-exit write four.
 */
#include "hypervisor/layout.h"
#include "hypervisor/platform.h"
#include "hypervisor/ports.h"

static void write_register(struct port_device *device, unsigned port, uint8_t value)
{
    if (port == LAYOUT_PORT_TEST_EXIT)
        device->host.event(device->host.context, MACHINE_EXIT, value);
}

static const struct port_kind kind = {
    .ops = {.name = "test exit", .close = port_device_close},
    .write = write_register,
    .ranges = {{LAYOUT_PORT_TEST_EXIT, 4}},
};

struct device *test_exit_new(const struct device_host *host, struct error *err)
{
    return port_device_new(&kind, sizeof(struct port_device), host, err);
}
