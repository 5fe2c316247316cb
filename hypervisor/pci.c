/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The bus itself: the ports of configuration mechanism 1 (PCI Local Bus Specification 3.0, section
 * 3.2.2.3.2), the slots, where BARs are, and the shared interrupt lines.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "hypervisor/pci_function.h"

#include <errno.h>
#include <stdlib.h>

#define ADDRESS_ENABLE UINT32_C(0x80000000)
#define ADDRESS_ABSENT UINT32_C(0x7fff0700) /* other buses, functions but 0, longer spaces */
#define DATA_PORT (LAYOUT_PORT_PCI + 4)

/* i440FX: this bit tells SeaBIOS that its RAM is open already (then it copies nothing there). */
#define I440FX_PAM0 0x59
#define I440FX_PAM0_OPEN 0x10

/* --- ports --------------------------------------------------------------------------------- */

static uint64_t address_read(void *device, uint64_t offset, unsigned size)
{
    struct pci *pci = device;
    (void)offset, (void)size; /* the bus asks only for all of it */
    pthread_mutex_lock(&pci->access);
    uint32_t address = pci->address;
    pthread_mutex_unlock(&pci->access);
    return address;
}

static void address_write(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    struct pci *pci = device;
    (void)offset, (void)size;
    pthread_mutex_lock(&pci->access);
    pci->address = (uint32_t)value;
    pthread_mutex_unlock(&pci->access);
}

/* Under access. NULL: an empty slot. */
static struct pci_function *selected(const struct pci *pci)
{
    uint32_t address = pci->address;
    if (!(address & ADDRESS_ENABLE) || address & ADDRESS_ABSENT)
        return NULL;
    return pci->functions[address >> 11 & (PCI_SLOTS - 1)];
}

/* Four ports, and the bus sees to it that an access stays in them: in one word of the space. */
static uint64_t data_read(void *device, uint64_t offset, unsigned size)
{
    struct pci *pci = device;
    uint64_t value = UINT64_MAX;
    pthread_mutex_lock(&pci->access);
    struct pci_function *function = selected(pci);
    if (function)
        value = pci_config_read(function, (pci->address & 0xfc) + (unsigned)offset, size);
    pthread_mutex_unlock(&pci->access);
    return value;
}

static void data_write(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    struct pci *pci = device;
    pthread_mutex_lock(&pci->access);
    struct pci_function *function = selected(pci);
    if (function)
        pci_config_write(function, (pci->address & 0xfc) + (unsigned)offset, size, (uint32_t)value);
    pthread_mutex_unlock(&pci->access);
}

static const struct bus_ops address_ops = {.read = address_read, .write = address_write};
static const struct bus_ops data_ops = {.read = data_read, .write = data_write};

/* --- BARs ---------------------------------------------------------------------------------- */

static void *bar_context(struct pci_function *function, const struct pci_bar *bar)
{
    return bar->ops == &pci_msix_ops ? function : function->options.context;
}

/* Only inside of the window that the firmware tables tell: never over RAM, APICs or the ROM. */
static uint32_t bar_wanted(const struct pci_function *function, unsigned index)
{
    uint32_t size = function->options.bars[index].size;
    uint32_t address = load_le32(function->config + PCI_BASE_ADDRESS_0 + 4 * index);
    bool is_decoded = load_le16(function->config + PCI_COMMAND) & PCI_COMMAND_MEMORY;
    if (size == 0 || !is_decoded || address < LAYOUT_PCI_WINDOW ||
        !range_is_inside(address, size, LAYOUT_PCI_WINDOW_END))
        return 0;
    return address;
}

static void bar_unmap(struct pci_function *function, unsigned index)
{
    const struct pci_bar *bar = &function->options.bars[index];
    if (function->mapped_at[index])
        bus_remove(function->pci->host->memory_bus, function->mapped_at[index],
                   bar_context(function, bar));
    function->mapped_at[index] = 0;
}

/* Where another one is already it does not appear; the guest's fault, and tried again later. */
static void bar_update(struct pci_function *function, unsigned index)
{
    const struct pci_bar *bar = &function->options.bars[index];
    uint32_t wanted = bar_wanted(function, index), before = function->mapped_at[index];
    if (wanted == before)
        return;
    bar_unmap(function, index);
    struct bus_range range = {wanted, bar->size, bar->ops, bar_context(function, bar)};
    if (wanted && bus_add(function->pci->host->memory_bus, &range, NULL) == 0)
        function->mapped_at[index] = wanted;
    if (bar->moved && function->mapped_at[index] != before)
        bar->moved(function->options.context, function->mapped_at[index]);
}

void pci_bars_update(struct pci_function *function)
{
    for (unsigned i = 0; i < PCI_BARS; i++)
        bar_update(function, i);
}

/* --- INTx ---------------------------------------------------------------------------------- */

/* Under lines. */
static void line_update(struct pci *pci, unsigned line)
{
    const struct interrupts *interrupts = pci->host->interrupts;
    bool is_high = false;
    for (unsigned slot = line; slot < PCI_SLOTS; slot += LAYOUT_GSI_PCI_COUNT) {
        const struct pci_function *function = pci->functions[slot];
        is_high |= function && function->intx_is_high && !function->intx_is_disabled;
    }
    if (is_high == pci->line_is_high[line])
        return;
    pci->line_is_high[line] = is_high;
    interrupts->set_line(interrupts->context, LAYOUT_GSI_PCI + line, is_high);
}

void pci_set_intx(struct pci_function *function, bool is_high)
{
    struct pci *pci = function->pci;
    if (!function->options.has_intx)
        return;
    pthread_mutex_lock(&pci->lines);
    __atomic_store_n(&function->intx_is_high, is_high, __ATOMIC_RELAXED);
    line_update(pci, function->slot % LAYOUT_GSI_PCI_COUNT);
    pthread_mutex_unlock(&pci->lines);
}

void pci_disable_intx(struct pci_function *function, bool is_disabled)
{
    struct pci *pci = function->pci;
    pthread_mutex_lock(&pci->lines);
    function->intx_is_disabled = is_disabled;
    line_update(pci, function->slot % LAYOUT_GSI_PCI_COUNT);
    pthread_mutex_unlock(&pci->lines);
}

/* --- functions ----------------------------------------------------------------------------- */

static void function_free(struct pci_function *function)
{
    if (!function)
        return;
    for (unsigned i = 0; i < PCI_BARS; i++)
        bar_unmap(function, i);
    pthread_mutex_destroy(&function->msix.lock);
    free(function);
}

static int function_init(struct pci_function *function, struct error *err)
{
    struct pci_options *options = &function->options;
    if (options->msix_vectors && options->msix_bar < PCI_BARS)
        options->bars[options->msix_bar] =
            (struct pci_bar){.size = PCI_MSIX_BAR_SIZE, .ops = &pci_msix_ops};
    for (unsigned i = 0; i < PCI_BARS; i++) {
        uint32_t size = options->bars[i].size;
        if (size && (size < 4096 || !is_power_of_two(size)))
            return error_set(err, EINVAL, "BAR %u of 0x%x bytes", i, size);
    }
    pci_config_init(function);
    return pci_msix_init(function, err);
}

/* Slot 0 stays the bridge's, unless it is this that is put there. */
static int put(struct pci *pci, unsigned slot, struct pci_function *function, struct error *err)
{
    if (slot >= PCI_SLOTS || pci->functions[slot])
        return error_set(err, slot >= PCI_SLOTS ? ENOSPC : EBUSY, "PCI slot %u", slot);
    function->slot = slot;
    pci->functions[slot] = function;
    return 0;
}

static struct pci_function *add(struct pci *pci, unsigned slot, const struct pci_options *options,
                                struct error *err)
{
    struct pci_function *function = calloc(1, sizeof(*function));
    if (!function) {
        error_set(err, errno, "a PCI function");
        return NULL;
    }
    function->pci = pci;
    function->options = *options;
    pthread_mutex_lock(&pci->access);
    int result = function_init(function, err);
    if (result == 0)
        result = put(pci, slot, function, err);
    pthread_mutex_unlock(&pci->access);
    if (result == 0)
        return function;
    function_free(function);
    return NULL;
}

struct pci_function *pci_add(struct pci *pci, unsigned slot, const struct pci_options *options,
                             struct error *err)
{
    unsigned place = slot ? slot : 1;
    while (slot == 0 && place < PCI_SLOTS && pci->functions[place])
        place++;
    return add(pci, place, options, err);
}

unsigned pci_slot(const struct pci_function *function)
{
    return function->slot;
}

/* --- the bus ------------------------------------------------------------------------------- */

static void reset(struct device *device)
{
    struct pci *pci = (struct pci *)device;
    pthread_mutex_lock(&pci->access);
    pci->address = 0;
    for (unsigned i = 0; i < PCI_SLOTS; i++) {
        struct pci_function *function = pci->functions[i];
        if (!function)
            continue;
        pci_config_reset(function);
        pci_bars_update(function);
        pci_msix_reset(function);
        pci_disable_intx(function, false);
        pci_set_intx(function, false);
    }
    pthread_mutex_unlock(&pci->access);
}

/* Freed by pci_free, after the functions' owners. */
static const struct device_ops device_ops = {.name = "pci", .reset = reset};

static int add_bridge(struct pci *pci, struct error *err)
{
    struct pci_options bridge = {.vendor = 0x8086,
                                 .device = 0x1237,
                                 .subsystem_vendor = 0x1af4,
                                 .subsystem = 0x1100,
                                 .class_code = 0x06,
                                 .revision = 2};
    struct pci_function *function = add(pci, 0, &bridge, err);
    if (!function)
        return -1;
    function->config[I440FX_PAM0] = I440FX_PAM0_OPEN;
    return 0;
}

static int take_ports(struct pci *pci, struct error *err)
{
    struct bus_range address = {LAYOUT_PORT_PCI, 4, &address_ops, pci};
    struct bus_range data = {DATA_PORT, 4, &data_ops, pci};
    if (bus_add_whole(pci->host->ports, &address, err) < 0)
        return -1;
    return bus_add(pci->host->ports, &data, err);
}

struct pci *pci_new(const struct device_host *host, struct error *err)
{
    struct pci *pci = calloc(1, sizeof(*pci));
    if (!pci) {
        error_set(err, errno, "PCI");
        return NULL;
    }
    pci->device.ops = &device_ops;
    pci->host = host;
    pthread_mutex_init(&pci->access, NULL);
    pthread_mutex_init(&pci->lines, NULL);
    if (add_bridge(pci, err) == 0 && take_ports(pci, err) == 0)
        return pci;
    pci_free(pci);
    return NULL;
}

struct device *pci_device(struct pci *pci)
{
    return &pci->device;
}

void pci_free(struct pci *pci)
{
    if (!pci)
        return;
    bus_remove(pci->host->ports, LAYOUT_PORT_PCI, pci);
    bus_remove(pci->host->ports, DATA_PORT, pci);
    for (unsigned i = 0; i < PCI_SLOTS; i++)
        function_free(pci->functions[i]);
    pthread_mutex_destroy(&pci->access);
    pthread_mutex_destroy(&pci->lines);
    free(pci);
}
