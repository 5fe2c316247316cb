/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * virtio over PCI, modern only (Virtual I/O Device 1.1, section 4.1): puts a device into a slot.
 * BAR 4 holds common configuration, ISR, device configuration and one notify word a queue, BAR 1
 * the MSI-X table.
 */
#ifndef HYPERVISOR_VIRTIO_TRANSPORT_H
#define HYPERVISOR_VIRTIO_TRANSPORT_H

#include "hypervisor/pci.h"
#include "hypervisor/virtio/device.h"

/*
 * Writes to a guest-physical address that wake a descriptor without leaving the kernel (KVM's
 * ioeventfd). Without it (both NULL) the transport writes the eventfd itself.
 */
struct doorbells {
    int (*add)(void *context, uint64_t address, int fd);
    void (*remove)(void *context, uint64_t address, int fd);
    void *context;
};

struct virtio_pci;

/* Takes the device, even on failure. The result is the pci's neighbour: free it before the pci. */
struct virtio_pci *virtio_pci_new(struct pci *pci, unsigned slot, const struct device_host *host,
                                  const struct doorbells *doorbells, struct virtio_device *device,
                                  struct error *err);
struct device *virtio_pci_device(struct virtio_pci *transport);
unsigned virtio_pci_slot(const struct virtio_pci *transport);

#endif
