/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * MSI-X (PCI Local Bus Specification 3.0, section 6.8.2): the table, the pending bits, and messages
 * that wait until they are unmasked.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "hypervisor/pci_function.h"

#include <errno.h>

static bool is_masked(const struct pci_msix *msix, unsigned vector)
{
    const uint8_t *entry = msix->table + vector * PCI_MSIX_ENTRY_SIZE;
    return msix->is_masked ||
           (load_le32(entry + PCI_MSIX_ENTRY_VECTOR_CTRL) & PCI_MSIX_ENTRY_CTRL_MASKBIT);
}

static void send(struct pci_function *function, unsigned vector)
{
    const struct interrupts *interrupts = function->pci->host->interrupts;
    const uint8_t *entry = function->msix.table + vector * PCI_MSIX_ENTRY_SIZE;
    interrupts->send_message(interrupts->context, load_le64(entry),
                             load_le32(entry + PCI_MSIX_ENTRY_DATA));
}

/* Under the lock: what waited and may go now. */
static void send_pending(struct pci_function *function)
{
    struct pci_msix *msix = &function->msix;
    for (unsigned i = 0; msix->is_enabled && msix->pending && i < function->options.msix_vectors;
         i++) {
        uint64_t bit = UINT64_C(1) << i;
        if (!(msix->pending & bit) || is_masked(msix, i))
            continue;
        msix->pending &= ~bit;
        send(function, i);
    }
}

bool pci_send_msix(struct pci_function *function, unsigned vector)
{
    struct pci_msix *msix = &function->msix;
    pthread_mutex_lock(&msix->lock);
    bool is_enabled = msix->is_enabled;
    if (is_enabled && vector < function->options.msix_vectors) {
        if (is_masked(msix, vector))
            msix->pending |= UINT64_C(1) << vector;
        else
            send(function, vector);
    }
    pthread_mutex_unlock(&msix->lock);
    return is_enabled;
}

void pci_msix_control(struct pci_function *function, uint16_t control)
{
    struct pci_msix *msix = &function->msix;
    pthread_mutex_lock(&msix->lock);
    msix->is_enabled = control & PCI_MSIX_FLAGS_ENABLE;
    msix->is_masked = control & PCI_MSIX_FLAGS_MASKALL;
    send_pending(function);
    pthread_mutex_unlock(&msix->lock);
}

static uint64_t table_read(void *device, uint64_t offset, unsigned size)
{
    struct pci_function *function = device;
    struct pci_msix *msix = &function->msix;
    uint64_t length = function->options.msix_vectors * PCI_MSIX_ENTRY_SIZE;
    uint64_t value = 0;

    pthread_mutex_lock(&msix->lock);
    uint64_t pending = htole64(msix->pending);
    if (range_is_inside(offset, size, length))
        memcpy(&value, msix->table + offset, size);
    else if (offset >= PCI_MSIX_PENDING &&
             range_is_inside(offset - PCI_MSIX_PENDING, size, sizeof(pending)))
        memcpy(&value, (const uint8_t *)&pending + (offset - PCI_MSIX_PENDING), size);
    pthread_mutex_unlock(&msix->lock);
    return le64toh(value);
}

static void entry_write(struct pci_msix *msix, uint64_t offset, uint32_t value)
{
    if (offset % PCI_MSIX_ENTRY_SIZE == PCI_MSIX_ENTRY_VECTOR_CTRL)
        value &= PCI_MSIX_ENTRY_CTRL_MASKBIT;
    store_le32(msix->table + offset, value);
}

/* Only whole words of 4 or 8 bytes are writes: others are undefined by the specification. */
static void table_write(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    struct pci_function *function = device;
    uint64_t length = function->options.msix_vectors * PCI_MSIX_ENTRY_SIZE;

    if ((size != 4 && size != 8) || offset % size || !range_is_inside(offset, size, length))
        return;
    pthread_mutex_lock(&function->msix.lock);
    entry_write(&function->msix, offset, (uint32_t)value);
    if (size == 8)
        entry_write(&function->msix, offset + 4, (uint32_t)(value >> 32));
    send_pending(function);
    pthread_mutex_unlock(&function->msix.lock);
}

const struct bus_ops pci_msix_ops = {.read = table_read, .write = table_write};

void pci_msix_reset(struct pci_function *function)
{
    struct pci_msix *msix = &function->msix;
    pthread_mutex_lock(&msix->lock);
    memset(msix->table, 0, sizeof(msix->table));
    for (unsigned i = 0; i < PCI_MAX_VECTORS; i++)
        msix->table[i * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL] =
            PCI_MSIX_ENTRY_CTRL_MASKBIT;
    msix->pending = 0;
    msix->is_enabled = msix->is_masked = false;
    pthread_mutex_unlock(&msix->lock);
}

int pci_msix_init(struct pci_function *function, struct error *err)
{
    const struct pci_options *options = &function->options;
    uint8_t data[PCI_CAP_MSIX_SIZEOF - 2] = {0};

    pthread_mutex_init(&function->msix.lock, NULL);
    pci_msix_reset(function);
    if (options->msix_vectors == 0)
        return 0;
    if (options->msix_vectors > PCI_MAX_VECTORS || options->msix_bar >= PCI_BARS)
        return error_set(err, EINVAL, "%u MSI-X vectors in BAR %u", options->msix_vectors,
                         options->msix_bar);
    store_le16(data, (uint16_t)(options->msix_vectors - 1));
    store_le32(data + PCI_MSIX_TABLE - 2, options->msix_bar);
    store_le32(data + PCI_MSIX_PBA - 2, PCI_MSIX_PENDING | options->msix_bar);
    function->msix_offset = pci_add_capability(
        function, &(struct pci_capability){PCI_CAP_ID_MSIX, data, sizeof(data), NULL, NULL});
    store_le16(function->writable + function->msix_offset + PCI_MSIX_FLAGS,
               PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    return 0;
}
