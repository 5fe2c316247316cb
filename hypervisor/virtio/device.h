/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Between a virtio device and its transport (Virtual I/O Device 1.1, section 2). The device knows
 * queues and kicks; PCI, BARs and interrupts are the transport's.
 *
 * Threads: the transport calls start, stop and the config callbacks from a vCPU's thread, holding a
 * lock that virtio_interrupt never takes; so a device may wait in stop for its worker while that
 * worker interrupts. A device works on threads of its own or in the loop.
 */
#ifndef HYPERVISOR_VIRTIO_DEVICE_H
#define HYPERVISOR_VIRTIO_DEVICE_H

#include "hypervisor/device.h"
#include "hypervisor/virtio/queue.h"

#define VIRTIO_MAX_QUEUES 16

enum virtio_type { /* section 5: device types */
                   VIRTIO_NET = 1,
                   VIRTIO_BLK = 2,
                   VIRTIO_CONSOLE = 3,
                   VIRTIO_RNG = 4,
                   VIRTIO_BALLOON = 5,
};

struct virtio_device;

struct virtio_device_ops {
    const char *name;
    enum virtio_type type;
    uint8_t pci_class, pci_subclass;
    /* The configuration space of the type. Reads beyond it give zeroes, writes there are ignored:
     * the transport has clamped the range to [0, 256) only. write may be NULL. */
    void (*read_config)(struct virtio_device *device, uint32_t offset, void *to, uint32_t length);
    void (*write_config)(struct virtio_device *device, uint32_t offset, const void *from,
                         uint32_t length);
    /*
     * DRIVER_OK: `features` are what the driver took of what was offered, the queues that it
     * enabled are started (queue_is_ready), and the device may begin. An error breaks the device.
     */
    int (*start)(struct virtio_device *device, struct error *err);
    /*
     * A reset, or the end. When it returns nothing of the device touches a queue or guest memory.
     * Only called after start. Requests that were taken are complete or dropped, never half done in
     * guest memory afterwards.
     */
    void (*stop)(struct virtio_device *device);
    /* As in struct device_ops; called whether or not it was started. Kicks in between are not lost.
     */
    void (*pause)(struct virtio_device *device);
    void (*resume)(struct virtio_device *device);
    void (*close)(struct virtio_device *device); /* frees it */
};

/* The first member of each virtio device. */
struct virtio_device {
    const struct virtio_device_ops *ops;
    uint64_t offered;     /* feature bits of the type; set when it is made, not changed after */
    unsigned queue_count; /* likewise */
    uint16_t queue_size;  /* of each, likewise */

    /* The transport's, valid from start to stop. */
    uint64_t features;
    struct virtqueue queues[VIRTIO_MAX_QUEUES];
    bool queue_is_ready[VIRTIO_MAX_QUEUES];
    int kick_fds[VIRTIO_MAX_QUEUES]; /* eventfds (nonblocking), readable when kicked; valid always
                                      */

    const struct virtio_transport *transport; /* set when it is plugged in */
    void *plug;
};

/* How a device reaches the driver; any thread, from start to stop. */
struct virtio_transport {
    void (*interrupt)(void *plug, unsigned queue);
    void (*config_changed)(void *plug); /* a new config generation, and an interrupt for it */
    void (*needs_reset)(void *plug);    /* a queue is broken: DEVICE_NEEDS_RESET */
};

static inline bool virtio_has(const struct virtio_device *device, unsigned bit)
{
    return device->features >> bit & 1;
}

static inline void virtio_interrupt(struct virtio_device *device, unsigned queue)
{
    device->transport->interrupt(device->plug, queue);
}

#endif
