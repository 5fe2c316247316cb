/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Inside of the transport only: transport.c, where a device is on PCI, and transport_registers.c,
 * what its driver sets up and how it is interrupted.
 */
#ifndef HYPERVISOR_VIRTIO_TRANSPORT_PRIVATE_H
#define HYPERVISOR_VIRTIO_TRANSPORT_PRIVATE_H

#include "hypervisor/virtio/transport.h"

#include <linux/virtio_pci.h>
#include <pthread.h>
#include <stdatomic.h>

#define VIRTIO_COMMON_SIZE 56 /* struct virtio_pci_common_cfg of 1.1 */

struct queue_registers {
    struct virtqueue_setup setup;
    bool is_enabled;
};

/*
 * `lock` is for the registers and is held while the device starts and stops. A device's threads
 * interrupt meanwhile: what they touch is atomic, or under `isr_lock`, which is inside of every
 * other lock but PCI's for interrupts.
 */
struct virtio_pci {
    struct device device;
    const struct device_host *host;
    const struct doorbells *doorbells;
    struct virtio_device *virtio;
    struct pci_function *function;

    pthread_mutex_t lock;
    uint32_t offered_select, accepted_select;
    uint64_t accepted;
    uint16_t queue_select;
    struct queue_registers queues[VIRTIO_MAX_QUEUES];
    bool is_started, has_complained;

    atomic_uchar status, generation;
    _Atomic uint16_t config_vector, queue_vectors[VIRTIO_MAX_QUEUES];
    pthread_mutex_t isr_lock;
    uint8_t isr;

    /* Under PCI's lock: where doorbells are, and which. */
    uint64_t bells_at;
    bool has_bell[VIRTIO_MAX_QUEUES];
    uint8_t window[sizeof(struct virtio_pci_cfg_cap)]; /* PCI_CFG as the guest wrote it */
};

extern const struct virtio_transport virtio_pci_calls;

/* The common configuration; offset and size lie in it. Under the lock. */
void virtio_common_read(struct virtio_pci *transport, uint64_t offset, void *to, unsigned size);
void virtio_common_write(struct virtio_pci *transport, uint64_t offset, unsigned size,
                         uint64_t value);

/* Stops the device and forgets what the driver set. Under the lock. */
void virtio_reset(struct virtio_pci *transport);

/* Reads the interrupt status: clears it, and lowers the line. */
uint8_t virtio_take_isr(struct virtio_pci *transport);

#endif
