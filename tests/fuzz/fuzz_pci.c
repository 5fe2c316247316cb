/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The input is what a guest does to PCI: accesses of 8 bytes each to the ports and to memory in the
 * window where BARs are. Wherever they go, the bus must have as many ranges as BARs say.
 */
#include "hypervisor/pci.h"
#include "tests/lib/host_fixture.h"

#define FUNCTIONS 3
#define STEP_SIZE 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct card {
    struct pci_function *function;
    uint64_t address;
    uint32_t window;
};

static uint64_t bar_read(void *context, uint64_t offset, unsigned size)
{
    const struct card *card = context;
    if (card->address == 0 || offset + size > 0x4000)
        abort();
    return offset;
}

static void bar_write(void *context, uint64_t offset, unsigned size, uint64_t value)
{
    (void)bar_read(context, offset, size);
    pci_set_intx(((struct card *)context)->function, value & 1);
    pci_send_msix(((struct card *)context)->function, (unsigned)(value >> 1 & 0xff));
}

static void bar_moved(void *context, uint64_t address)
{
    struct card *card = context;
    if (address && (address < LAYOUT_PCI_WINDOW || address > LAYOUT_PCI_WINDOW_END - 0x4000))
        abort();
    card->address = address;
}

static uint32_t window_read(void *context, unsigned offset, unsigned size, uint32_t stored)
{
    if (offset + size > 8)
        abort();
    return ((struct card *)context)->window ^ stored;
}

static void window_write(void *context, unsigned offset, unsigned size, uint32_t value)
{
    if (offset + size > 8)
        abort();
    ((struct card *)context)->window = value;
}

static const struct bus_ops bar_ops = {.read = bar_read, .write = bar_write};

static void add_card(struct pci *pci, struct card *card)
{
    static const uint8_t data[6] = "window";
    const struct pci_options options = {.vendor = 0x1af4,
                                        .device = 0x1042,
                                        .has_intx = true,
                                        .bars[4] = {0x4000, &bar_ops, bar_moved},
                                        .msix_vectors = 64,
                                        .msix_bar = 1,
                                        .context = card};
    card->function = pci_add(pci, 0, &options, NULL);
    if (!card->function ||
        !pci_add_capability(card->function, &(struct pci_capability){9, data, sizeof(data),
                                                                     window_read, window_write}))
        abort();
}

/* [0]: read or write, width, ports or memory; [1] and [2]: where; [4..8): the value. */
static void step(struct host_fixture *host, const uint8_t *at)
{
    unsigned size = 1u << (at[0] >> 1 & 3);
    bool is_port = !(at[0] & 8);
    struct bus *bus = is_port ? &host->ports : &host->memory_bus;
    uint64_t address = is_port ? LAYOUT_PORT_PCI + (uint64_t)(at[1] & 7)
                               : LAYOUT_PCI_WINDOW + load_le32(at) / 256 * 4 % 0x10000;

    if (at[0] & 1)
        bus_write(bus, address, size, load_le32(at + 4) * UINT64_C(0x100000001));
    else
        bus_read(bus, address, size);
    if (at[0] & 16 && is_port)
        host_config_write(host, at[1] & 3, at[2], size, load_le32(at + 4));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct host_fixture host;
    struct card cards[FUNCTIONS] = {{0}};
    unsigned mapped = 0;

    host_init(&host, 4096);
    struct pci *pci = pci_new(&host.host, NULL);
    for (unsigned i = 0; i < FUNCTIONS; i++)
        add_card(pci, &cards[i]);
    for (; size >= STEP_SIZE; data += STEP_SIZE, size -= STEP_SIZE)
        step(&host, data);
    for (unsigned i = 0; i < FUNCTIONS; i++)
        mapped += cards[i].address != 0;
    if (host.memory_bus.count < mapped || host.memory_bus.count > mapped + FUNCTIONS)
        abort();
    pci_device(pci)->ops->reset(pci_device(pci));
    if (host.memory_bus.count != 0)
        abort();
    pci_free(pci);
    host_fini(&host);
    return 0;
}
