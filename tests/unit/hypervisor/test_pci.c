/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * PCI: what firmware asks of the bus and its bridge, BARs, MSI-X with masks, and shared lines.
 */
#include "hypervisor/pci.h"
#include "tests/lib/host_fixture.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define BAR 4
#define BAR_AT UINT32_C(0xe0000000)
#define TABLE_AT UINT32_C(0xe0100000)
#define SLOT 3
#define VECTORS 3

/* A function whose one BAR remembers, and counts how often it moved. */
struct card {
    uint64_t moved_to, written, hook_value;
    unsigned moves, hook_offset, hook_size;
};

static uint64_t bar_read(void *context, uint64_t offset, unsigned size)
{
    (void)context, (void)size;
    return 0x1000 + offset;
}

static void bar_write(void *context, uint64_t offset, unsigned size, uint64_t value)
{
    (void)offset, (void)size;
    ((struct card *)context)->written = value;
}

static void bar_moved(void *context, uint64_t address)
{
    struct card *card = context;
    card->moved_to = address;
    card->moves++;
}

static const struct bus_ops bar_ops = {.read = bar_read, .write = bar_write};

struct fixture {
    struct host_fixture host;
    struct pci *pci;
    struct pci_function *function;
    struct card card;
};

static struct pci_options card_options(struct card *card)
{
    return (struct pci_options){.vendor = 0x1af4,
                                .device = 0x1042,
                                .subsystem_vendor = 0x1af4,
                                .subsystem = 0x1100,
                                .class_code = 1,
                                .revision = 1,
                                .has_intx = true,
                                .bars[BAR] = {0x4000, &bar_ops, bar_moved},
                                .msix_vectors = VECTORS,
                                .msix_bar = 1,
                                .context = card};
}

static void begin(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    host_init(&f->host, 4096);
    f->pci = pci_new(&f->host.host, NULL);
    assert_non_null(f->pci);
    struct pci_options options = card_options(&f->card);
    f->function = pci_add(f->pci, SLOT, &options, NULL);
    assert_non_null(f->function);
}

static void end(struct fixture *f)
{
    pci_free(f->pci);
    assert_int_equal(f->host.ports.count, 0);
    assert_int_equal(f->host.ports.whole_count, 0);
    assert_int_equal(f->host.memory_bus.count, 0);
    host_fini(&f->host);
}

static uint32_t get(struct fixture *f, unsigned offset, unsigned size)
{
    return host_config_read(&f->host, SLOT, offset, size);
}

static void set(struct fixture *f, unsigned offset, unsigned size, uint32_t value)
{
    host_config_write(&f->host, SLOT, offset, size, value);
}

/* --- the bus ------------------------------------------------------------------------------- */

static void the_address_register_reads_back(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    bus_write(&f.host.ports, 0xcf8, 4, 0x80000000);
    assert_int_equal(bus_read(&f.host.ports, 0xcf8, 4), 0x80000000);
    bus_write(&f.host.ports, 0xcf8, 4, 0x8000f8fc);
    bus_write(&f.host.ports, 0xcfb, 1, 1); /* Linux does this before its probe: not the register */
    assert_int_equal(bus_read(&f.host.ports, 0xcf8, 4), 0x8000f8fc);
    end(&f);
}

static void the_bridge_is_an_i440fx_whose_ram_is_open(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    assert_int_equal(host_config_read(&f.host, 0, 0, 4), 0x12378086);
    assert_int_equal(host_config_read(&f.host, 0, 0x2c, 4), 0x11001af4);
    assert_int_equal(host_config_read(&f.host, 0, 0x0a, 2), 0x0600);
    for (unsigned i = 0x59; i <= 0x5f; i++)
        host_config_write(&f.host, 0, i, 1, 0x33);
    assert_int_equal(host_config_read(&f.host, 0, 0x59, 1), 0x10);
    assert_int_equal(host_config_read(&f.host, 0, 0x5a, 2), 0);
    end(&f);
}

static void a_space_is_read_by_bytes_words_and_double_words(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    assert_int_equal(get(&f, 0, 4), 0x10421af4);
    assert_int_equal(get(&f, 0, 2), 0x1af4);
    assert_int_equal(get(&f, 2, 2), 0x1042);
    assert_int_equal(get(&f, 3, 1), 0x10);
    host_select(&f.host, SLOT, 0);
    assert_int_equal(bus_read(&f.host.ports, 0xcfd, 2), 0x421a);
    assert_int_equal(bus_read(&f.host.ports, 0xcfe, 4), 0xffffffff); /* beyond the ports */
    set(&f, 0x3c, 1, 11);
    assert_int_equal(get(&f, 0x3c, 4), 0x010b);
    end(&f);
}

static void empty_slots_read_as_ones(void **state)
{
    static const uint32_t addresses[] = {
        0x80000000 | 9 << 11,              /* nobody */
        0x80000000 | SLOT << 11 | 1 << 8,  /* a second function */
        0x80000000 | 1 << 16 | SLOT << 11, /* another bus */
        0x81000000 | SLOT << 11,           /* an extended space */
        SLOT << 11,                        /* not enabled */
    };
    struct fixture f;
    (void)state;
    begin(&f);
    for (size_t i = 0; i < ARRAY_LENGTH(addresses); i++) {
        bus_write(&f.host.ports, 0xcf8, 4, addresses[i]);
        bus_write(&f.host.ports, 0xcfc, 4, 0);
        assert_int_equal(bus_read(&f.host.ports, 0xcfc, 4), 0xffffffff);
        assert_int_equal(bus_read(&f.host.ports, 0xcff, 1), 0xff);
    }
    end(&f);
}

static void what_may_not_be_written_stays(void **state)
{
    uint32_t before[64];
    struct fixture f;
    (void)state;
    begin(&f);
    for (unsigned i = 0; i < 64; i++)
        before[i] = get(&f, 4 * i, 4);
    for (unsigned i = 0; i < 64; i++)
        set(&f, 4 * i, 4, 0xffffffff);
    assert_int_equal(get(&f, PCI_COMMAND, 2), 0x0406);
    assert_int_equal(get(&f, PCI_CACHE_LINE_SIZE, 4), 0xffff);
    assert_int_equal(get(&f, PCI_INTERRUPT_LINE, 2), 0x01ff);
    set(&f, PCI_COMMAND, 2, 0);
    pci_device(f.pci)->ops->reset(pci_device(f.pci));
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(get(&f, 4 * i, 4), before[i]);
    end(&f);
}

static void slots_are_given_in_order_and_only_once(void **state)
{
    struct fixture f;
    struct error err = {0};
    struct pci_options options = {.vendor = 1};
    (void)state;
    begin(&f);
    assert_null(pci_add(f.pci, SLOT, &options, &err));
    assert_int_equal(err.errnum, EBUSY);
    assert_null(pci_add(f.pci, 32, &options, &err));
    for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
        struct pci_function *function =
            slot == SLOT ? f.function : pci_add(f.pci, 0, &options, NULL);
        assert_int_equal(pci_slot(function), slot);
    }
    assert_null(pci_add(f.pci, 0, &options, &err));
    assert_int_equal(err.errnum, ENOSPC);
    end(&f);
}

static void a_bar_that_cannot_be_is_refused(void **state)
{
    struct fixture f;
    struct error err = {0};
    struct pci_options small = {.bars[0] = {0x800, &bar_ops, NULL}};
    struct pci_options odd = {.bars[5] = {0x3000, &bar_ops, NULL}};
    struct pci_options many = {.msix_vectors = 65};
    (void)state;
    begin(&f);
    assert_null(pci_add(f.pci, 0, &small, &err));
    assert_int_equal(err.errnum, EINVAL);
    assert_null(pci_add(f.pci, 0, &odd, &err));
    assert_null(pci_add(f.pci, 0, &many, &err));
    assert_int_equal(err.errnum, EINVAL);
    end(&f);
}

/* --- BARs ---------------------------------------------------------------------------------- */

static void a_bar_tells_its_size(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    for (unsigned i = 0; i < PCI_BARS; i++)
        set(&f, PCI_BASE_ADDRESS_0 + 4 * i, 4, 0xffffffff);
    assert_int_equal(get(&f, PCI_BASE_ADDRESS_4, 4), 0xffffc000);
    assert_int_equal(get(&f, PCI_BASE_ADDRESS_1, 4), 0xfffff000);
    assert_int_equal(get(&f, PCI_BASE_ADDRESS_0, 4), 0);
    assert_int_equal(get(&f, PCI_BASE_ADDRESS_5, 4), 0);
    assert_int_equal(get(&f, PCI_ROM_ADDRESS, 4), 0);
    assert_int_equal(f.card.moves, 0);
    end(&f);
}

static void a_bar_is_there_while_memory_is_decoded(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    set(&f, PCI_BASE_ADDRESS_4, 4, BAR_AT);
    assert_int_equal(bus_read(&f.host.memory_bus, BAR_AT, 4), 0xffffffff);
    set(&f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    assert_int_equal(f.card.moved_to, BAR_AT);
    assert_int_equal(bus_read(&f.host.memory_bus, BAR_AT + 0x3ff8, 4), 0x1000 + 0x3ff8);
    bus_write(&f.host.memory_bus, BAR_AT, 4, 77);
    assert_int_equal(f.card.written, 77);

    set(&f, PCI_BASE_ADDRESS_4, 4, BAR_AT + 0x10000);
    assert_int_equal(f.card.moved_to, BAR_AT + 0x10000);
    assert_int_equal(bus_read(&f.host.memory_bus, BAR_AT, 4), 0xffffffff);
    assert_int_equal(bus_read(&f.host.memory_bus, BAR_AT + 0x10000, 4), 0x1000);

    set(&f, PCI_COMMAND, 2, 0);
    assert_int_equal(f.card.moved_to, 0);
    assert_int_equal(f.card.moves, 3);
    assert_int_equal(bus_read(&f.host.memory_bus, BAR_AT + 0x10000, 4), 0xffffffff);
    end(&f);
}

static void a_bar_is_never_outside_of_the_window(void **state)
{
    static const uint32_t addresses[] = {0,          0x4000,     0xbfffc000, 0xfebfe000 & ~0x3fffu,
                                         0xfec00000, 0xfee00000, 0xffffc000, 0xbfffe000};
    struct fixture f;
    (void)state;
    begin(&f);
    set(&f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    for (size_t i = 0; i < ARRAY_LENGTH(addresses); i++) {
        set(&f, PCI_BASE_ADDRESS_4, 4, addresses[i]);
        bool is_inside = addresses[i] == (0xfebfe000 & ~0x3fffu); /* the last place there is */
        assert_int_equal(f.host.memory_bus.count, is_inside);
        assert_int_equal(f.card.moved_to, is_inside ? addresses[i] : 0);
    }
    end(&f);
}

static void bars_that_overlap_do_not_appear_twice(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    set(&f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    set(&f, PCI_BASE_ADDRESS_1, 4, BAR_AT + 0x1000);
    set(&f, PCI_BASE_ADDRESS_4, 4, BAR_AT);
    assert_int_equal(f.host.memory_bus.count, 1);
    assert_int_equal(f.card.moves, 0);
    set(&f, PCI_BASE_ADDRESS_1, 4, TABLE_AT);
    assert_int_equal(f.host.memory_bus.count, 2);
    assert_int_equal(f.card.moved_to, BAR_AT);
    end(&f);
}

static void a_reset_takes_bars_away(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    set(&f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    set(&f, PCI_BASE_ADDRESS_4, 4, BAR_AT);
    pci_set_intx(f.function, true);
    pci_device(f.pci)->ops->reset(pci_device(f.pci));
    assert_int_equal(f.card.moved_to, 0);
    assert_int_equal(f.host.memory_bus.count, 0);
    assert_int_equal(bus_read(&f.host.ports, 0xcf8, 4), 0);
    assert_int_equal(get(&f, PCI_BASE_ADDRESS_4, 4), 0);
    assert_int_equal(get(&f, PCI_COMMAND, 2), 0);
    assert_false(f.host.lines[16 + SLOT]);
    end(&f);
}

/* --- capabilities -------------------------------------------------------------------------- */

static uint32_t hook_read(void *context, unsigned offset, unsigned size, uint32_t stored)
{
    struct card *card = context;
    card->hook_offset = offset;
    card->hook_size = size;
    return offset < 4 ? stored : stored + 1; /* id and next stay */
}

static void hook_write(void *context, unsigned offset, unsigned size, uint32_t value)
{
    *(struct card *)context =
        (struct card){.hook_offset = offset, .hook_size = size, .hook_value = value};
}

static void capabilities_are_a_list_and_their_hooks_see_accesses(void **state)
{
    static const uint8_t plain[] = {8, 1, 0xaa, 0xbb, 0xcc, 0xdd}, hooked[] = {12, 5, 1, 2, 3};
    struct fixture f;
    (void)state;
    begin(&f);
    const struct pci_capability first = {9, plain, sizeof(plain), NULL, NULL};
    const struct pci_capability second = {9, hooked, sizeof(hooked), hook_read, hook_write};
    unsigned first_at = pci_add_capability(f.function, &first);
    unsigned second_at = pci_add_capability(f.function, &second);
    assert_true(get(&f, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST);
    assert_int_equal(host_find_capability(&f.host, SLOT, PCI_CAP_ID_MSIX, 0), 0x40);
    assert_int_equal(host_find_capability(&f.host, SLOT, 9, 0), first_at);
    assert_int_equal(host_find_capability(&f.host, SLOT, 9, first_at), second_at);
    assert_int_equal(host_find_capability(&f.host, SLOT, 9, second_at), 0);

    assert_int_equal(get(&f, first_at + 4, 4), 0xddccbbaa);
    set(&f, first_at + 4, 4, 0);
    assert_int_equal(get(&f, first_at + 4, 4), 0xddccbbaa);

    assert_int_equal(get(&f, second_at + 4, 2), 0x0202);
    assert_int_equal(f.card.hook_offset, 4);
    assert_int_equal(f.card.hook_size, 2);
    set(&f, second_at + 5, 1, 0x77);
    assert_int_equal(f.card.hook_offset, 5);
    assert_int_equal(f.card.hook_value, 0x77);
    end(&f);
}

static void capabilities_beyond_the_space_are_refused(void **state)
{
    static const uint8_t data[62];
    const struct pci_capability capability = {9, data, sizeof(data), NULL, NULL};
    struct fixture f;
    (void)state;
    begin(&f);
    assert_int_equal(pci_add_capability(f.function, &capability), 0x4c);
    assert_int_equal(pci_add_capability(f.function, &capability), 0x8c);
    assert_int_equal(pci_add_capability(f.function, &capability), 0);
    assert_int_equal(host_find_capability(&f.host, SLOT, 9, 0x8c), 0);
    end(&f);
}

/* --- MSI-X --------------------------------------------------------------------------------- */

static unsigned msix_on(struct fixture *f)
{
    unsigned at = host_find_capability(&f->host, SLOT, PCI_CAP_ID_MSIX, 0);
    set(f, PCI_BASE_ADDRESS_1, 4, TABLE_AT);
    set(f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    set(f, at + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
    return at;
}

static void vector_write(struct fixture *f, unsigned vector, uint64_t address, uint32_t data,
                         uint32_t control)
{
    bus_write(&f->host.memory_bus, TABLE_AT + 16 * vector, 4, (uint32_t)address);
    bus_write(&f->host.memory_bus, TABLE_AT + 16 * vector + 4, 4, address >> 32);
    bus_write(&f->host.memory_bus, TABLE_AT + 16 * vector + 8, 4, data);
    bus_write(&f->host.memory_bus, TABLE_AT + 16 * vector + 12, 4, control);
}

static uint32_t pending(struct fixture *f)
{
    return (uint32_t)bus_read(&f->host.memory_bus, TABLE_AT + 0x800, 4);
}

static void msix_is_found_and_off(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    unsigned at = host_find_capability(&f.host, SLOT, PCI_CAP_ID_MSIX, 0);
    assert_int_equal(get(&f, at + PCI_MSIX_FLAGS, 2), VECTORS - 1);
    assert_int_equal(get(&f, at + PCI_MSIX_TABLE, 4), 1);
    assert_int_equal(get(&f, at + PCI_MSIX_PBA, 4), 0x801);
    assert_false(pci_send_msix(f.function, 0));
    assert_int_equal(f.host.message_count, 0);
    end(&f);
}

static void a_vector_sends_its_message(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    msix_on(&f);
    vector_write(&f, 2, UINT64_C(0x1fee00000), 0x4041, 0);
    assert_true(pci_send_msix(f.function, 2));
    assert_int_equal(f.host.message_count, 1);
    assert_true(f.host.last_message.address == UINT64_C(0x1fee00000));
    assert_int_equal(f.host.last_message.data, 0x4041);
    assert_true(pci_send_msix(f.function, VECTORS)); /* there is none: nothing is sent */
    assert_true(pci_send_msix(f.function, 0xffff));
    assert_int_equal(f.host.message_count, 1);
    end(&f);
}

static void a_masked_vector_is_pending_and_sent_when_unmasked(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    msix_on(&f);
    vector_write(&f, 1, 0xfee00000, 7, 1);
    assert_true(pci_send_msix(f.function, 1));
    assert_true(pci_send_msix(f.function, 1));
    assert_int_equal(f.host.message_count, 0);
    assert_int_equal(pending(&f), 2);
    bus_write(&f.host.memory_bus, TABLE_AT + 16 + 8, 4, 9); /* the new data count */
    bus_write(&f.host.memory_bus, TABLE_AT + 16 + 12, 4, 0);
    assert_int_equal(f.host.message_count, 1); /* once */
    assert_int_equal(f.host.last_message.data, 9);
    assert_int_equal(pending(&f), 0);
    end(&f);
}

static void the_function_mask_holds_all_vectors(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    unsigned at = msix_on(&f);
    for (unsigned i = 0; i < VECTORS; i++)
        vector_write(&f, i, 0xfee00000, i, i == 1);
    set(&f, at + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    for (unsigned i = 0; i < VECTORS; i++)
        assert_true(pci_send_msix(f.function, i));
    assert_int_equal(f.host.message_count, 0);
    assert_int_equal(pending(&f), 7);
    set(&f, at + PCI_MSIX_FLAGS + 1, 1, PCI_MSIX_FLAGS_ENABLE >> 8);
    assert_int_equal(f.host.message_count, 2);
    assert_int_equal(pending(&f), 2);
    end(&f);
}

static void vectors_are_masked_after_a_reset(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    msix_on(&f);
    assert_int_equal(bus_read(&f.host.memory_bus, TABLE_AT + 12, 4), 1);
    vector_write(&f, 0, 0xfee00000, 1, 0);
    pci_device(f.pci)->ops->reset(pci_device(f.pci));
    assert_false(pci_send_msix(f.function, 0));
    msix_on(&f);
    assert_int_equal(bus_read(&f.host.memory_bus, TABLE_AT, 8), 0);
    assert_true(pci_send_msix(f.function, 0));
    assert_int_equal(f.host.message_count, 0);
    end(&f);
}

static void the_table_is_read_and_written_at_every_offset_and_width(void **state)
{
    static const unsigned sizes[] = {1, 2, 4, 8};
    struct fixture f;
    (void)state;
    begin(&f);
    msix_on(&f);
    for (size_t s = 0; s < ARRAY_LENGTH(sizes); s++) {
        for (uint64_t offset = 0; offset < 0x1000; offset++) {
            bus_write(&f.host.memory_bus, TABLE_AT + offset, sizes[s], UINT64_MAX);
            bus_read(&f.host.memory_bus, TABLE_AT + offset, sizes[s]);
        }
    }
    assert_true(bus_read(&f.host.memory_bus, TABLE_AT, 8) == UINT64_MAX);
    assert_true(bus_read(&f.host.memory_bus, TABLE_AT + 8, 8) == UINT64_C(0x1ffffffff));
    assert_int_equal(bus_read(&f.host.memory_bus, TABLE_AT + 16 * VECTORS, 8), 0);
    assert_int_equal(bus_read(&f.host.memory_bus, TABLE_AT + 0x800, 8), 0);
    assert_int_equal(bus_read(&f.host.memory_bus, TABLE_AT + 13, 1), 0);
    end(&f);
}

/* --- lines --------------------------------------------------------------------------------- */

static void lines_of_several_functions_are_one(void **state)
{
    struct fixture f;
    struct card other = {0};
    (void)state;
    begin(&f);
    struct pci_options options = card_options(&other);
    struct pci_function *second = pci_add(f.pci, SLOT + LAYOUT_GSI_PCI_COUNT, &options, NULL);
    assert_non_null(second);
    pci_set_intx(f.function, true);
    assert_true(f.host.lines[LAYOUT_GSI_PCI + SLOT]);
    pci_set_intx(second, true);
    pci_set_intx(f.function, false);
    assert_true(f.host.lines[LAYOUT_GSI_PCI + SLOT]);
    assert_false(get(&f, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
    pci_set_intx(second, false);
    assert_false(f.host.lines[LAYOUT_GSI_PCI + SLOT]);
    assert_int_equal(f.host.line_changes, 2);
    end(&f);
}

static void a_line_is_low_while_it_is_disabled(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    pci_set_intx(f.function, true);
    assert_true(get(&f, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
    set(&f, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
    assert_false(f.host.lines[LAYOUT_GSI_PCI + SLOT]);
    assert_true(get(&f, PCI_COMMAND, 4) & PCI_STATUS_INTERRUPT << 16);
    set(&f, PCI_COMMAND, 2, 0);
    assert_true(f.host.lines[LAYOUT_GSI_PCI + SLOT]);
    unsigned at = msix_on(&f); /* takes its place */
    assert_false(f.host.lines[LAYOUT_GSI_PCI + SLOT]);
    set(&f, at + PCI_MSIX_FLAGS, 2, 0);
    assert_true(f.host.lines[LAYOUT_GSI_PCI + SLOT]);
    end(&f);
}

static void a_function_without_a_line_raises_none(void **state)
{
    struct fixture f;
    struct pci_options options = {.vendor = 1};
    (void)state;
    begin(&f);
    struct pci_function *silent = pci_add(f.pci, 5, &options, NULL);
    pci_set_intx(silent, true);
    assert_int_equal(f.host.line_changes, 0);
    assert_int_equal(host_config_read(&f.host, 5, PCI_INTERRUPT_PIN, 1), 0);
    assert_false(pci_send_msix(silent, 0));
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_address_register_reads_back),
        cmocka_unit_test(the_bridge_is_an_i440fx_whose_ram_is_open),
        cmocka_unit_test(a_space_is_read_by_bytes_words_and_double_words),
        cmocka_unit_test(empty_slots_read_as_ones),
        cmocka_unit_test(what_may_not_be_written_stays),
        cmocka_unit_test(slots_are_given_in_order_and_only_once),
        cmocka_unit_test(a_bar_that_cannot_be_is_refused),
        cmocka_unit_test(a_bar_tells_its_size),
        cmocka_unit_test(a_bar_is_there_while_memory_is_decoded),
        cmocka_unit_test(a_bar_is_never_outside_of_the_window),
        cmocka_unit_test(bars_that_overlap_do_not_appear_twice),
        cmocka_unit_test(a_reset_takes_bars_away),
        cmocka_unit_test(capabilities_are_a_list_and_their_hooks_see_accesses),
        cmocka_unit_test(capabilities_beyond_the_space_are_refused),
        cmocka_unit_test(msix_is_found_and_off),
        cmocka_unit_test(a_vector_sends_its_message),
        cmocka_unit_test(a_masked_vector_is_pending_and_sent_when_unmasked),
        cmocka_unit_test(the_function_mask_holds_all_vectors),
        cmocka_unit_test(vectors_are_masked_after_a_reset),
        cmocka_unit_test(the_table_is_read_and_written_at_every_offset_and_width),
        cmocka_unit_test(lines_of_several_functions_are_one),
        cmocka_unit_test(a_line_is_low_while_it_is_disabled),
        cmocka_unit_test(a_function_without_a_line_raises_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
