/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Port 0xf4, four bytes wide: a test's payload ends the machine with the value that it writes.
 */
#include "base/text.h"
#include "hypervisor/layout.h"
#include "hypervisor/platform.h"
#include "hypervisor/ports.h"

#include <stdlib.h>

#define PORTS 4

struct test_exit {
    struct device device;
    struct device_host host;
};

static void test_exit_write(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    struct test_exit *test_exit = device;
    if (size < PORTS)
        value &= (UINT64_C(1) << (8 * size)) - 1;
    if (offset == 0)
        test_exit->host.event(test_exit->host.context, MACHINE_EXIT, (int)(uint32_t)value);
}

static const struct bus_ops test_exit_ports = {.write = test_exit_write};

static void test_exit_close(struct device *device)
{
    struct test_exit *test_exit = (struct test_exit *)device;
    bus_remove(test_exit->host.ports, LAYOUT_PORT_TEST_EXIT, test_exit);
    free(test_exit);
}

static const struct device_ops test_exit_ops = {.name = "test exit", .close = test_exit_close};

struct device *test_exit_new(const struct device_host *host, struct error *err)
{
    struct test_exit *test_exit = memory_new(1, sizeof(*test_exit));
    *test_exit = (struct test_exit){{&test_exit_ops}, *host};
    if (ports_take(host, LAYOUT_PORT_TEST_EXIT, PORTS, &test_exit_ports, test_exit, err) == 0)
        return &test_exit->device;
    test_exit_close(&test_exit->device);
    return NULL;
}
