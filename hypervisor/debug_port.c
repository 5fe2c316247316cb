/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Port 0x402, to which SeaBIOS writes what it does once it has read 0xe9 there. A guest that goes
 * on writing does not fill anybody's disk: of each start at most 1 MiB is told.
 */
#include "hypervisor/layout.h"
#include "hypervisor/platform.h"
#include "hypervisor/ports.h"

#define DEBUG_PORT_ID 0xe9
#define LINE_SIZE 240
#define BUDGET ((size_t)1 << 20)

struct debug_port {
    struct port_device base;
    char line[LINE_SIZE + 1];
    size_t length, told;
};

static void end_line(struct debug_port *port)
{
    port->line[port->length] = '\0';
    if (port->length > 0 && port->told < BUDGET)
        log_detail(port->base.host.log, "firmware: %s", port->line);
    port->told += port->length;
    port->length = 0;
}

static uint8_t read_register(struct port_device *device, unsigned at)
{
    (void)device;
    (void)at;
    return DEBUG_PORT_ID;
}

static void write_register(struct port_device *device, unsigned at, uint8_t value)
{
    (void)at;
    struct debug_port *port = (struct debug_port *)device;
    if (value != '\n' && value != '\r' && value != '\0')
        port->line[port->length++] = (char)value;
    if (value == '\n' || port->length == LINE_SIZE)
        end_line(port);
}

static void reset(struct port_device *device)
{
    struct debug_port *port = (struct debug_port *)device;
    end_line(port);
    port->told = 0;
}

static void debug_port_close(struct device *device)
{
    end_line((struct debug_port *)device);
    port_device_close(device);
}

static const struct port_kind kind = {
    .ops = {.name = "debug port", .reset = port_device_reset, .close = debug_port_close},
    .read = read_register,
    .write = write_register,
    .reset = reset,
    .ranges = {{LAYOUT_PORT_DEBUG, 1}},
};

struct device *debug_port_new(const struct device_host *host, struct error *err)
{
    return port_device_new(&kind, sizeof(struct debug_port), host, err);
}
