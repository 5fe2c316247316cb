/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Inside of PCI only (pci.c, pci_config.c, pci_msix.c): what a function consists of.
 *
 * Locks, in this order: access, for what the guest does to configuration spaces and where BARs are
 * (hooks and `moved` are called under it); msix.lock and lines, which are held for no call but the
 * interrupt controller's. Whoever interrupts takes only the latter two.
 */
#ifndef HYPERVISOR_PCI_FUNCTION_H
#define HYPERVISOR_PCI_FUNCTION_H

#include "hypervisor/layout.h"
#include "hypervisor/pci.h"

#include <linux/pci_regs.h>
#include <pthread.h>

#define PCI_CONFIG_SIZE 256
#define PCI_MAX_VECTORS 64
#define PCI_MAX_WINDOWS 4 /* capabilities with hooks */
#define PCI_MSIX_BAR_SIZE 0x1000
#define PCI_MSIX_PENDING 0x800 /* where the PBA is in that BAR */

struct pci_msix {
    pthread_mutex_t lock;
    uint8_t table[PCI_MAX_VECTORS * PCI_MSIX_ENTRY_SIZE]; /* as the guest sees it */
    uint64_t pending;
    bool is_enabled, is_masked;
};

struct pci_function {
    struct pci *pci;
    unsigned slot;
    struct pci_options options;

    /* Under access. */
    uint8_t config[PCI_CONFIG_SIZE], writable[PCI_CONFIG_SIZE]; /* bits that the guest may set */
    uint32_t mapped_at[PCI_BARS];                               /* 0: nowhere */

    /* Fixed once the function has been made. */
    struct pci_window {
        struct pci_capability capability;
        unsigned offset;
    } windows[PCI_MAX_WINDOWS];
    unsigned window_count, capabilities_end, last_capability, msix_offset;

    struct pci_msix msix;
    bool intx_is_high, intx_is_disabled; /* under lines; the first is read without it */
};

struct pci {
    struct device device;
    const struct device_host *host;
    pthread_mutex_t access, lines;
    uint32_t address; /* 0xcf8 */
    struct pci_function *functions[PCI_SLOTS];
    bool line_is_high[LAYOUT_GSI_PCI_COUNT];
};

/* pci.c: after a write, what depends on command and BARs. Under access. */
void pci_bars_update(struct pci_function *function);
void pci_disable_intx(struct pci_function *function, bool is_disabled);

/* pci_config.c: an access lies in one aligned word of 4 bytes. Under access. */
void pci_config_init(struct pci_function *function);
void pci_config_reset(struct pci_function *function);
uint32_t pci_config_read(struct pci_function *function, unsigned offset, unsigned size);
void pci_config_write(struct pci_function *function, unsigned offset, unsigned size,
                      uint32_t value);

/* pci_msix.c */
extern const struct bus_ops pci_msix_ops; /* of its BAR; the device is the function */
int pci_msix_init(struct pci_function *function, struct error *err);
void pci_msix_reset(struct pci_function *function);
void pci_msix_control(struct pci_function *function, uint16_t control);

#endif
