/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A machine without KVM, for tests and fuzzers of devices: two buses, RAM, and interrupts that are
 * written down.
 */
#ifndef TESTS_HOST_FIXTURE_H
#define TESTS_HOST_FIXTURE_H

#include "hypervisor/layout.h"
#include "tests/lib/virtqueue_fixture.h"

struct host_message {
    uint64_t address;
    uint32_t data;
};

struct host_fixture {
    struct bus ports, memory_bus;
    struct driver_ram ram;
    struct interrupts interrupts;
    struct device_host host;
    atomic_bool lines[LAYOUT_GSI_COUNT];
    atomic_uint line_changes, message_count;
    struct host_message last_message;
};

static inline void host_set_line(void *context, unsigned gsi, bool is_high)
{
    struct host_fixture *host = context;
    if (gsi >= LAYOUT_GSI_COUNT)
        abort();
    host->lines[gsi] = is_high;
    host->line_changes++;
}

static inline void host_send_message(void *context, uint64_t address, uint32_t data)
{
    struct host_fixture *host = context;
    host->last_message = (struct host_message){address, data};
    host->message_count++;
}

static inline void host_init(struct host_fixture *host, size_t ram_size)
{
    memset(host, 0, sizeof(*host));
    bus_init(&host->ports);
    bus_init(&host->memory_bus);
    driver_ram_init(&host->ram, ram_size);
    host->interrupts = (struct interrupts){host_set_line, host_send_message, host};
    host->host = (struct device_host){.ports = &host->ports,
                                      .memory_bus = &host->memory_bus,
                                      .memory = &host->ram.memory,
                                      .interrupts = &host->interrupts};
}

static inline void host_fini(struct host_fixture *host)
{
    driver_ram_fini(&host->ram);
    bus_fini(&host->ports);
    bus_fini(&host->memory_bus);
}

/* A register of a configuration space, as firmware and kernels get at it. */
static inline void host_select(struct host_fixture *host, unsigned slot, unsigned offset)
{
    bus_write(&host->ports, LAYOUT_PORT_PCI, 4, 0x80000000 | slot << 11 | (offset & 0xfc));
}

static inline uint32_t host_config_read(struct host_fixture *host, unsigned slot, unsigned offset,
                                        unsigned size)
{
    host_select(host, slot, offset);
    return (uint32_t)bus_read(&host->ports, LAYOUT_PORT_PCI + 4 + (offset & 3), size);
}

static inline void host_config_write(struct host_fixture *host, unsigned slot, unsigned offset,
                                     unsigned size, uint32_t value)
{
    host_select(host, slot, offset);
    bus_write(&host->ports, LAYOUT_PORT_PCI + 4 + (offset & 3), size, value);
}

/* The next capability with this id after `offset` (0: the first); 0: none. */
static inline unsigned host_find_capability(struct host_fixture *host, unsigned slot, uint8_t id,
                                            unsigned offset)
{
    unsigned at = host_config_read(host, slot, offset ? offset + 1 : 0x34, 1);
    for (int i = 0; at && i < 64; i++) {
        if (host_config_read(host, slot, at, 1) == id)
            return at;
        at = host_config_read(host, slot, at + 1, 1);
    }
    return 0;
}

#endif
