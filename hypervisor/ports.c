/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Between the bus and devices of ports.h.
 */
#include "hypervisor/ports.h"

#include "base/text.h"

#include <stdlib.h>

static uint64_t read_ports(void *context, uint64_t offset, unsigned size)
{
    const struct port_place *place = context;
    struct port_device *device = place->device;
    unsigned port = place->start + (unsigned)offset;
    uint64_t value = 0;
    pthread_mutex_lock(&device->lock);
    for (unsigned i = 0; i < size && device->kind->read; i++)
        value |= (uint64_t)device->kind->read(device, port + i) << (8 * i);
    pthread_mutex_unlock(&device->lock);
    return value;
}

static void write_ports(void *context, uint64_t offset, unsigned size, uint64_t value)
{
    const struct port_place *place = context;
    struct port_device *device = place->device;
    unsigned port = place->start + (unsigned)offset;
    pthread_mutex_lock(&device->lock);
    for (unsigned i = 0; i < size; i++)
        device->kind->write(device, port + i, (uint8_t)(value >> (8 * i)));
    pthread_mutex_unlock(&device->lock);
}

static const struct bus_ops bus_ops = {.read = read_ports, .write = write_ports};

void *port_device_new(const struct port_kind *kind, size_t size, const struct device_host *host,
                      struct error *err)
{
    struct port_device *device = memory_new(1, size);
    device->device.ops = &kind->ops;
    device->kind = kind;
    device->host = *host;
    pthread_mutex_init(&device->lock, NULL);
    for (unsigned i = 0; i < PORT_RANGES && kind->ranges[i].length > 0; i++) {
        struct port_place *place = &device->places[i];
        *place = (struct port_place){device, kind->ranges[i].start};
        struct bus_range range = {place->start, kind->ranges[i].length, &bus_ops, place};
        if (bus_add(host->ports, &range, err) < 0) {
            port_device_close(&device->device);
            return NULL;
        }
    }
    port_device_reset(&device->device);
    return device;
}

void port_device_reset(struct device *device)
{
    struct port_device *ports = (struct port_device *)device;
    pthread_mutex_lock(&ports->lock);
    if (ports->kind->reset)
        ports->kind->reset(ports);
    pthread_mutex_unlock(&ports->lock);
}

void port_device_close(struct device *device)
{
    struct port_device *ports = (struct port_device *)device;
    for (unsigned i = 0; i < PORT_RANGES; i++)
        bus_remove(ports->host.ports, ports->places[i].start, &ports->places[i]);
    pthread_mutex_destroy(&ports->lock);
    free(ports);
}
