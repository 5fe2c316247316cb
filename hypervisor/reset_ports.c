/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The ways to reset a PC: the keyboard controller's command 0xfe (and its output port), bit 0 of
 * port 0x92, and the reset register 0xcf9. There is no keyboard: the controller takes everything,
 * is never busy and has nothing to say, so that nobody waits for it to become free.
 */
#include "base/text.h"
#include "hypervisor/layout.h"
#include "hypervisor/platform.h"
#include "hypervisor/ports.h"

#include <stdatomic.h>
#include <stdlib.h>

#define PORT_I8042_DATA LAYOUT_PORT_I8042
#define PORT_I8042_COMMAND (LAYOUT_PORT_I8042 + 4)
#define COMMAND_WRITE_OUTPUT 0xd1 /* the next byte of data is for the output port */
#define OUTPUT_RUNS 0x01          /* low: reset */
#define SYSTEM_RESET 0x01
#define SYSTEM_A20 0x02
#define RESET_START 0x04
#define RESET_STORED 0x0a /* hard reset, full reset */

struct reset_ports {
    struct device device;
    struct device_host host;
    atomic_bool is_output_next;
    atomic_uchar system, reset; /* as they are read: 0x92, 0xcf9 */
};

static void ask_for_reset(struct reset_ports *ports)
{
    ports->host.event(ports->host.context, MACHINE_RESET, 0);
}

static uint64_t i8042_read(void *device, uint64_t offset, unsigned size)
{
    (void)device;
    (void)offset;
    (void)size;
    return 0;
}

static void i8042_write_data(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    (void)offset;
    (void)size;
    struct reset_ports *ports = device;
    if (atomic_exchange(&ports->is_output_next, false) && !(value & OUTPUT_RUNS))
        ask_for_reset(ports);
}

/* 0xf0 to 0xff pulse those lines of the output port whose bit is zero. */
static void i8042_write_command(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    (void)offset;
    (void)size;
    struct reset_ports *ports = device;
    atomic_store(&ports->is_output_next, (value & 0xff) == COMMAND_WRITE_OUTPUT);
    if ((value & 0xf0) == 0xf0 && !(value & OUTPUT_RUNS))
        ask_for_reset(ports);
}

static uint64_t system_read(void *device, uint64_t offset, unsigned size)
{
    (void)offset;
    (void)size;
    return atomic_load(&((struct reset_ports *)device)->system);
}

/* It is the change to one that resets. A20 is always on, and says what was written. */
static void system_write(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    (void)offset;
    (void)size;
    struct reset_ports *ports = device;
    unsigned char before = atomic_exchange(&ports->system, (unsigned char)value);
    if ((value & SYSTEM_RESET) && !(before & SYSTEM_RESET))
        ask_for_reset(ports);
}

static uint64_t reset_read(void *device, uint64_t offset, unsigned size)
{
    (void)offset;
    (void)size;
    return atomic_load(&((struct reset_ports *)device)->reset);
}

static void reset_write(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    (void)offset;
    (void)size;
    struct reset_ports *ports = device;
    atomic_store(&ports->reset, (unsigned char)(value & RESET_STORED));
    if (value & RESET_START)
        ask_for_reset(ports);
}

static const struct {
    uint64_t port;
    struct bus_ops ops;
} table[] = {
    {PORT_I8042_DATA, {i8042_read, i8042_write_data}},
    {PORT_I8042_COMMAND, {i8042_read, i8042_write_command}},
    {LAYOUT_PORT_SYSTEM, {system_read, system_write}},
    {LAYOUT_PORT_RESET, {reset_read, reset_write}},
};
#define TABLE_LENGTH (sizeof(table) / sizeof(table[0]))

static void reset_ports_reset(struct device *device)
{
    struct reset_ports *ports = (struct reset_ports *)device;
    atomic_store(&ports->is_output_next, false);
    atomic_store(&ports->system, SYSTEM_A20);
    atomic_store(&ports->reset, 0);
}

static void reset_ports_close(struct device *device)
{
    struct reset_ports *ports = (struct reset_ports *)device;
    for (size_t i = 0; i < TABLE_LENGTH; i++)
        bus_remove(ports->host.ports, table[i].port, ports);
    free(ports);
}

static const struct device_ops reset_ports_ops = {
    .name = "reset ports",
    .reset = reset_ports_reset,
    .close = reset_ports_close,
};

struct device *reset_ports_new(const struct device_host *host, struct error *err)
{
    struct reset_ports *ports = memory_new(1, sizeof(*ports));
    ports->device.ops = &reset_ports_ops;
    ports->host = *host;
    reset_ports_reset(&ports->device);
    for (size_t i = 0; i < TABLE_LENGTH; i++) {
        if (ports_take(host, table[i].port, 1, &table[i].ops, ports, err) < 0) {
            reset_ports_close(&ports->device);
            return NULL;
        }
    }
    return &ports->device;
}
