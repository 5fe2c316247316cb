/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the devices on I/O ports have in common: registers of one byte each (wider accesses are
 * split, the lowest byte first, as a PC does), one lock around each access, and their ends.
 */
#ifndef HYPERVISOR_PORTS_H
#define HYPERVISOR_PORTS_H

#include "hypervisor/device.h"

#include <stddef.h>

#define PORT_RANGES 4

struct port_device;

struct port_kind {
    struct device_ops ops;
    /* All three with the lock held; any may be NULL. What is not read is zero. */
    uint8_t (*read)(struct port_device *device, unsigned port);
    void (*write)(struct port_device *device, unsigned port, uint8_t value);
    void (*reset)(struct port_device *device); /* also when it is new */
    struct {
        uint16_t start, length;
    } ranges[PORT_RANGES];
};

/* The first member of each. */
struct port_device {
    struct device device;
    const struct port_kind *kind;
    struct device_host host;
    pthread_mutex_t lock; /* of the rest of the device */
    struct port_place {
        struct port_device *device;
        unsigned start;
    } places[PORT_RANGES];
};

/* Zeroed, `size` bytes, on the bus. */
void *port_device_new(const struct port_kind *kind, size_t size, const struct device_host *host,
                      struct error *err);

/* For the kind's ops. */
void port_device_reset(struct device *device);
void port_device_close(struct device *device);

#endif
