/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The ways to reset a PC: the keyboard controller's command 0xfe (and its output port), bit 0 of
 * port 0x92, and the reset register 0xcf9. There is no keyboard: the controller takes everything,
 * is never busy and has nothing to say, so that nobody waits for it to become free.
 */
#include "hypervisor/layout.h"
#include "hypervisor/platform.h"
#include "hypervisor/ports.h"

#define PORT_I8042_COMMAND (LAYOUT_PORT_I8042 + 4)
#define COMMAND_WRITE_OUTPUT 0xd1 /* the next byte of data is for the output port */
#define COMMAND_PULSE 0xf0        /* to 0xff: lowers the output's lines whose bit is zero */
#define OUTPUT_RUNS 0x01          /* low: reset */
#define SYSTEM_RESET 0x01
#define SYSTEM_A20 0x02
#define RESET_START 0x04
#define RESET_STORED 0x0a /* hard reset, full reset */

struct reset_ports {
    struct port_device base;
    bool is_output_next;
    uint8_t system, reset; /* as they are read */
};

/* What is written: does it reset? Of port 0x92 it is the change to one; A20 is always on there. */
static bool take(struct reset_ports *ports, unsigned port, uint8_t value)
{
    bool was_output_next = ports->is_output_next;
    uint8_t before = ports->system;
    switch (port) {
    case LAYOUT_PORT_I8042:
        ports->is_output_next = false;
        return was_output_next && !(value & OUTPUT_RUNS);
    case PORT_I8042_COMMAND:
        ports->is_output_next = value == COMMAND_WRITE_OUTPUT;
        return value >= COMMAND_PULSE && !(value & OUTPUT_RUNS);
    case LAYOUT_PORT_SYSTEM:
        ports->system = value;
        return (value & SYSTEM_RESET) && !(before & SYSTEM_RESET);
    default:
        ports->reset = value & RESET_STORED;
        return value & RESET_START;
    }
}

static void write_register(struct port_device *device, unsigned port, uint8_t value)
{
    if (take((struct reset_ports *)device, port, value))
        device->host.event(device->host.context, MACHINE_RESET, 0);
}

static uint8_t read_register(struct port_device *device, unsigned port)
{
    const struct reset_ports *ports = (struct reset_ports *)device;
    if (port == LAYOUT_PORT_SYSTEM)
        return ports->system;
    return port == LAYOUT_PORT_RESET ? ports->reset : 0;
}

static void reset(struct port_device *device)
{
    struct reset_ports *ports = (struct reset_ports *)device;
    ports->is_output_next = false;
    ports->system = SYSTEM_A20;
    ports->reset = 0;
}

static const struct port_kind kind = {
    .ops = {.name = "reset ports", .reset = port_device_reset, .close = port_device_close},
    .read = read_register,
    .write = write_register,
    .reset = reset,
    .ranges = {{LAYOUT_PORT_I8042, 1},
               {PORT_I8042_COMMAND, 1},
               {LAYOUT_PORT_SYSTEM, 1},
               {LAYOUT_PORT_RESET, 1}},
};

struct device *reset_ports_new(const struct device_host *host, struct error *err)
{
    return port_device_new(&kind, sizeof(struct reset_ports), host, err);
}
