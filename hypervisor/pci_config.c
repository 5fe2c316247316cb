/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A function's configuration space (PCI Local Bus Specification 3.0, sections 6.1, 6.2 and 6.7):
 * bytes, and which of their bits the guest may change.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "hypervisor/pci_function.h"

#include <errno.h>

#define COMMAND_WRITABLE (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE)
#define FIRST_CAPABILITY 0x40

void pci_config_init(struct pci_function *function)
{
    const struct pci_options *options = &function->options;
    uint8_t *config = function->config, *writable = function->writable;

    store_le16(config + PCI_VENDOR_ID, options->vendor);
    store_le16(config + PCI_DEVICE_ID, options->device);
    store_le16(writable + PCI_COMMAND, COMMAND_WRITABLE);
    config[PCI_REVISION_ID] = options->revision;
    config[PCI_CLASS_PROG] = options->programming_interface;
    config[PCI_CLASS_DEVICE] = options->subclass;
    config[PCI_CLASS_DEVICE + 1] = options->class_code;
    writable[PCI_CACHE_LINE_SIZE] = writable[PCI_LATENCY_TIMER] = 0xff;
    store_le16(config + PCI_SUBSYSTEM_VENDOR_ID, options->subsystem_vendor);
    store_le16(config + PCI_SUBSYSTEM_ID, options->subsystem);
    writable[PCI_INTERRUPT_LINE] = 0xff;
    config[PCI_INTERRUPT_PIN] = options->has_intx;
    for (unsigned i = 0; i < PCI_BARS; i++) {
        if (options->bars[i].size)
            store_le32(writable + PCI_BASE_ADDRESS_0 + 4 * i, ~(options->bars[i].size - 1));
    }
    function->capabilities_end = FIRST_CAPABILITY;
}

/* Whatever can be written is zero after a reset. */
void pci_config_reset(struct pci_function *function)
{
    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
        function->config[i] &= (uint8_t)~function->writable[i];
}

unsigned pci_add_capability(struct pci_function *function, const struct pci_capability *capability)
{
    uint8_t *config = function->config;
    unsigned offset = function->capabilities_end;
    size_t length = (size_t)align_up(2 + capability->length, 4);
    bool is_window = capability->read || capability->write;

    if (capability->length > PCI_CONFIG_SIZE || offset + length > PCI_CONFIG_SIZE ||
        (is_window && function->window_count == PCI_MAX_WINDOWS))
        return 0;
    config[offset] = capability->id;
    memcpy(config + offset + 2, capability->data, capability->length);
    config[function->last_capability ? function->last_capability + 1 : PCI_CAPABILITY_LIST] =
        (uint8_t)offset;
    config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
    function->last_capability = offset;
    function->capabilities_end = offset + (unsigned)length;
    if (is_window)
        function->windows[function->window_count++] = (struct pci_window){*capability, offset};
    return offset;
}

/* Capabilities begin and end at multiples of four: an access lies in one, or in none. */
static const struct pci_window *find_window(const struct pci_function *function, unsigned offset)
{
    for (unsigned i = 0; i < function->window_count; i++) {
        const struct pci_window *window = &function->windows[i];
        if (offset >= window->offset &&
            offset < window->offset + align_up(2 + window->capability.length, 4))
            return window;
    }
    return NULL;
}

uint32_t pci_config_read(struct pci_function *function, unsigned offset, unsigned size)
{
    uint8_t bytes[4] = {0};
    memcpy(bytes, function->config + offset, size);
    if (offset <= PCI_STATUS && offset + size > PCI_STATUS &&
        __atomic_load_n(&function->intx_is_high, __ATOMIC_RELAXED))
        bytes[PCI_STATUS - offset] |= PCI_STATUS_INTERRUPT;
    const struct pci_window *window = find_window(function, offset);
    if (!window || !window->capability.read)
        return load_le32(bytes);
    return window->capability.read(function->options.context, offset - window->offset, size,
                                   load_le32(bytes));
}

/* MSI-X takes the line's place while it is on. */
static void config_changed(struct pci_function *function)
{
    bool has_no_line = load_le16(function->config + PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE;
    if (function->msix_offset) {
        uint16_t control = load_le16(function->config + function->msix_offset + PCI_MSIX_FLAGS);
        pci_msix_control(function, control);
        has_no_line |= (control & PCI_MSIX_FLAGS_ENABLE) != 0;
    }
    pci_disable_intx(function, has_no_line);
    pci_bars_update(function);
}

void pci_config_write(struct pci_function *function, unsigned offset, unsigned size, uint32_t value)
{
    const struct pci_window *window = find_window(function, offset);
    if (window) {
        if (window->capability.write)
            window->capability.write(function->options.context, offset - window->offset, size,
                                     value);
        return;
    }
    for (unsigned i = offset; i < offset + size; i++, value >>= 8) {
        uint8_t mask = function->writable[i];
        function->config[i] = (uint8_t)((function->config[i] & ~mask) | ((uint8_t)value & mask));
    }
    config_changed(function);
}
