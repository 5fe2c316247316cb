/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Port 0x402, to which SeaBIOS writes what it does once it has read 0xe9 there. A guest that goes
 * on writing does not fill anybody's disk: of each start at most 1 MiB is told.
 */
#include "base/text.h"
#include "hypervisor/layout.h"
#include "hypervisor/platform.h"
#include "hypervisor/ports.h"

#include <stdlib.h>

#define DEBUG_PORT_ID 0xe9
#define LINE_SIZE 240
#define BUDGET ((size_t)1 << 20)

struct debug_port {
    struct device device;
    struct device_host host;
    pthread_mutex_t lock; /* of all below */
    char line[LINE_SIZE + 1];
    size_t length, told;
};

static void end_line(struct debug_port *port)
{
    port->line[port->length] = '\0';
    if (port->length > 0 && port->told < BUDGET)
        log_detail(port->host.log, "firmware: %s", port->line);
    port->told += port->length;
    port->length = 0;
}

static uint64_t debug_port_read(void *device, uint64_t offset, unsigned size)
{
    (void)device;
    (void)offset;
    (void)size;
    return DEBUG_PORT_ID;
}

static void debug_port_write(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    (void)offset;
    (void)size;
    struct debug_port *port = device;
    char byte = (char)value;
    pthread_mutex_lock(&port->lock);
    if (byte != '\n' && byte != '\r' && byte != '\0')
        port->line[port->length++] = byte;
    if (byte == '\n' || port->length == LINE_SIZE)
        end_line(port);
    pthread_mutex_unlock(&port->lock);
}

static const struct bus_ops debug_port_ports = {debug_port_read, debug_port_write};

static void debug_port_reset(struct device *device)
{
    struct debug_port *port = (struct debug_port *)device;
    pthread_mutex_lock(&port->lock);
    end_line(port);
    port->told = 0;
    pthread_mutex_unlock(&port->lock);
}

static void debug_port_close(struct device *device)
{
    struct debug_port *port = (struct debug_port *)device;
    bus_remove(port->host.ports, LAYOUT_PORT_DEBUG, port);
    end_line(port);
    pthread_mutex_destroy(&port->lock);
    free(port);
}

static const struct device_ops debug_port_ops = {
    .name = "debug port",
    .reset = debug_port_reset,
    .close = debug_port_close,
};

struct device *debug_port_new(const struct device_host *host, struct error *err)
{
    struct debug_port *port = memory_new(1, sizeof(*port));
    port->device.ops = &debug_port_ops;
    port->host = *host;
    pthread_mutex_init(&port->lock, NULL);
    if (ports_take(host, LAYOUT_PORT_DEBUG, 1, &debug_port_ports, port, err) == 0)
        return &port->device;
    debug_port_close(&port->device);
    return NULL;
}
