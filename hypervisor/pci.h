/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * PCI bus 0 behind configuration mechanism 1 (ports 0xcf8, 0xcfc): a host bridge with the id of an
 * i440FX at slot 0 and functions at the others. PCI Local Bus Specification 3.0, chapter 6; for
 * capabilities 6.7 and 6.8 (MSI-X).
 */
#ifndef HYPERVISOR_PCI_H
#define HYPERVISOR_PCI_H

#include "hypervisor/device.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PCI_SLOTS 32
#define PCI_BARS 6

struct pci;
struct pci_function; /* one that sits in a slot */

/* A 32-bit memory BAR; its size is a power of two of at least 4 KiB. size 0: no such BAR. */
struct pci_bar {
    uint32_t size;
    const struct bus_ops *ops; /* called with the function's context */
    /* The BAR is now at this address; 0: nowhere. May be NULL. The guest's configuration accesses
     * wait meanwhile; interrupts may be sent. */
    void (*moved)(void *context, uint64_t address);
};

struct pci_options {
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint8_t class_code, subclass, programming_interface, revision;
    bool has_intx; /* INTA, at the slot's GSI (layout.h) */
    struct pci_bar bars[PCI_BARS];
    unsigned msix_vectors; /* 0: none. At most 64. The table is BAR `msix_bar`, PBA at its 2 KiB */
    unsigned msix_bar;     /* PCI provides that BAR itself: 4 KiB, left empty in bars[] */
    void *context;
};

/* Takes the ports and gives functions their places in `memory_bus`. */
struct pci *pci_new(const struct device_host *host, struct error *err);
struct device *pci_device(struct pci *pci); /* reset: every function's BARs, command, MSI-X */
void pci_free(struct pci *pci);             /* NULL-safe; after the machine has stopped */

/* Slots 1 to 31; the next free one with slot 0. The function is PCI's, until pci_free. */
struct pci_function *pci_add(struct pci *pci, unsigned slot, const struct pci_options *options,
                             struct error *err);
unsigned pci_slot(const struct pci_function *function);

/*
 * Appends a capability: `data` is what follows the id and the next pointer. Returns its offset in
 * the configuration space, 0 when there is no room. For a window (virtio's PCI_CFG) the hooks see
 * the guest's accesses to this capability's bytes; NULL: plain memory that the guest only reads.
 */
struct pci_capability {
    uint8_t id;
    const void *data;
    size_t length;
    uint32_t (*read)(void *context, unsigned offset, unsigned size, uint32_t stored);
    void (*write)(void *context, unsigned offset, unsigned size, uint32_t value);
};
unsigned pci_add_capability(struct pci_function *function, const struct pci_capability *capability);

/* INTx: lines that several functions share are one wired-or. */
void pci_set_intx(struct pci_function *function, bool is_high);

/*
 * MSI-X: sends the vector's message, or notes it as pending while it is masked. False when MSI-X is
 * off: use INTx then. Any thread.
 */
bool pci_send_msix(struct pci_function *function, unsigned vector);

#endif
