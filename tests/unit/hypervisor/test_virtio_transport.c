/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * virtio over PCI, as a driver sets it up: finding it, the device status, features, and queues that
 * stay as they were checked.
 */
#include "tests/unit/hypervisor/transport_fixture.h"

/* --- finding it ---------------------------------------------------------------------------- */

static void it_is_a_modern_device_of_its_type(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    assert_int_equal(host_config_read(&f.host, SLOT, 0, 4), 0x10421af4);
    assert_int_equal(host_config_read(&f.host, SLOT, 8, 4), 0x01000001);
    assert_int_equal(host_config_read(&f.host, SLOT, 0x2c, 4), 0x11001af4);
    assert_int_equal(virtio_pci_slot(f.transport), SLOT);
    end(&f);
}

static void its_capabilities_tell_where_the_registers_are(void **state)
{
    static const struct {
        unsigned type, length, bar, offset, size;
    } expected[] = {{1, 16, 4, 0, 56},
                    {3, 16, 4, 0x1000, 1},
                    {4, 16, 4, 0x2000, 256},
                    {2, 20, 4, 0x3000, 4 * QUEUES},
                    {5, 20, 0, 0, 0}};
    struct fixture f;
    unsigned at = 0;
    (void)state;
    begin(&f);
    for (size_t i = 0; i < ARRAY_LENGTH(expected); i++) {
        at = host_find_capability(&f.host, SLOT, PCI_CAP_ID_VNDR, at);
        assert_int_equal(host_config_read(&f.host, SLOT, at + 3, 1), expected[i].type);
        assert_int_equal(host_config_read(&f.host, SLOT, at + 2, 1), expected[i].length);
        assert_int_equal(host_config_read(&f.host, SLOT, at + 4, 1), expected[i].bar);
        assert_int_equal(host_config_read(&f.host, SLOT, at + 8, 4), expected[i].offset);
        assert_int_equal(host_config_read(&f.host, SLOT, at + 12, 4), expected[i].size);
        if (expected[i].type == 2)
            assert_int_equal(host_config_read(&f.host, SLOT, at + 16, 4), 4);
    }
    assert_int_equal(host_find_capability(&f.host, SLOT, PCI_CAP_ID_VNDR, at), 0);
    end(&f);
}

static void a_device_is_closed_when_it_finds_no_slot(void **state)
{
    struct fixture f;
    struct error err = {0};
    (void)state;
    begin(&f);
    struct fake *second = fake_new();
    assert_null(virtio_pci_new(f.pci, SLOT, &f.host.host, NULL, &second->device, &err));
    assert_int_equal(err.errnum, EBUSY);
    assert_true(is_closed);
    end(&f);
}

/* --- status and features ------------------------------------------------------------------- */

static void a_driver_starts_it(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    assert_int_equal(status(&f), 0);
    assert_true(offered_features(&f) ==
                (FEATURE | VERSION_1 | UINT64_C(1) << 28 | UINT64_C(1) << 29));
    assert_int_equal(get(&f, VIRTIO_PCI_COMMON_NUMQ, 2), QUEUES);
    drive(&f);
    assert_int_equal(status(&f), READY);
    assert_int_equal(f.fake->starts, 1);
    assert_true(f.fake->device.features == (VERSION_1 | FEATURE));
    assert_true(f.fake->device.queue_is_ready[0] && f.fake->device.queue_is_ready[1]);
    assert_ptr_equal(f.fake->device.queues[1].used,
                     driver_ram_at(&f.host.ram, f.rings[1].setup.used));
    set_status(&f, READY); /* the same again starts nothing */
    assert_int_equal(f.fake->starts, 1);
    end(&f);
}

static void queues_that_are_not_enabled_are_not_ready(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    accept_features(&f, VERSION_1);
    set_status(&f, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    set_queue(&f, 1, &f.rings[1].setup);
    set_status(&f, READY);
    assert_int_equal(f.fake->starts, 1);
    assert_false(f.fake->device.queue_is_ready[0]);
    assert_true(f.fake->device.queue_is_ready[1]);
    end(&f);
}

static void features_are_refused(uint64_t features)
{
    struct fixture f;
    begin(&f);
    set_status(&f, ACKNOWLEDGE | DRIVER);
    accept_features(&f, features);
    set_status(&f, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    assert_int_equal(status(&f), ACKNOWLEDGE | DRIVER);
    set_status(&f, READY);
    assert_int_equal(status(&f), ACKNOWLEDGE | DRIVER);
    assert_int_equal(f.fake->starts, 0);
    end(&f);
}

static void features_without_version_1_are_refused(void **state)
{
    (void)state;
    features_are_refused(0);
    features_are_refused(FEATURE);
}

static void features_that_were_not_offered_are_refused(void **state)
{
    (void)state;
    features_are_refused(VERSION_1 | UINT64_C(1) << 6);
    features_are_refused(VERSION_1 | UINT64_C(1) << 33);
    features_are_refused(UINT64_MAX);
}

static void features_are_fixed_once_they_are_accepted(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    accept_features(&f, VERSION_1);
    set_status(&f, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    accept_features(&f, VERSION_1 | FEATURE | UINT64_C(1) << 60);
    set_status(&f, READY);
    assert_true(f.fake->device.features == VERSION_1);
    end(&f);
}

static void driver_ok_needs_features_ok(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    set_status(&f, ACKNOWLEDGE | DRIVER | DRIVER_OK);
    assert_int_equal(status(&f), ACKNOWLEDGE | DRIVER);
    assert_int_equal(f.fake->starts, 0);
    end(&f);
}

static void a_driver_only_adds_bits_of_its_own(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    drive(&f);
    set_status(&f, ACKNOWLEDGE);
    assert_int_equal(status(&f), READY);
    set_status(&f, 0xff);
    assert_int_equal(status(&f), READY | FAILED);
    end(&f);
}

static void selects_beyond_the_features_read_zero(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    set(&f, VIRTIO_PCI_COMMON_DFSELECT, 4, 2);
    assert_int_equal(get(&f, VIRTIO_PCI_COMMON_DF, 4), 0);
    set(&f, VIRTIO_PCI_COMMON_GFSELECT, 4, UINT32_MAX);
    set(&f, VIRTIO_PCI_COMMON_GF, 4, UINT32_MAX);
    assert_int_equal(get(&f, VIRTIO_PCI_COMMON_GF, 4), 0);
    set(&f, VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
    assert_int_equal(get(&f, VIRTIO_PCI_COMMON_GF, 4), 0);
    end(&f);
}

/* --- what cannot start --------------------------------------------------------------------- */

static void a_device_that_cannot_start_needs_a_reset(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    f.fake->fails = true;
    drive(&f);
    assert_int_equal(status(&f), READY | NEEDS_RESET);
    assert_int_equal(bus_read(&f.host.memory_bus, ISR_AT, 1), VIRTIO_PCI_ISR_CONFIG);
    drive(&f);
    assert_int_equal(warnings, 1); /* a guest cannot fill a log */
    assert_int_equal(f.fake->stops, 0);
    f.fake->fails = false;
    drive(&f);
    assert_int_equal(status(&f), READY);
    end(&f);
}

static void rings_outside_of_memory_need_a_reset(void **state)
{
    static const uint64_t bad[] = {0, 8, DRIVER_RAM_START + (1 << 20) - 16, UINT64_MAX - 15,
                                   (UINT64_C(1) << 32) + DRIVER_RAM_START};
    struct fixture f;
    (void)state;
    begin(&f);
    for (size_t i = 0; i < 3 * ARRAY_LENGTH(bad); i++) {
        struct virtqueue_setup setup = f.rings[0].setup;
        *(i % 3 == 0   ? &setup.descriptors
          : i % 3 == 1 ? &setup.available
                       : &setup.used) = bad[i / 3];
        set_status(&f, 0);
        accept_features(&f, VERSION_1);
        set_status(&f, ACKNOWLEDGE | DRIVER | FEATURES_OK);
        set_queue(&f, 0, &setup);
        set_status(&f, READY);
        assert_int_equal(status(&f), READY | NEEDS_RESET);
    }
    assert_int_equal(f.fake->starts, 0);
    end(&f);
}

static void a_broken_queue_is_told_to_the_driver(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    drive(&f);
    unsigned generation = (unsigned)get(&f, VIRTIO_PCI_COMMON_CFGGENERATION, 1);
    f.fake->device.transport->needs_reset(f.fake->device.plug);
    assert_int_equal(status(&f), READY | NEEDS_RESET);
    assert_int_equal(get(&f, VIRTIO_PCI_COMMON_CFGGENERATION, 1), generation + 1);
    assert_true(f.host.lines[GSI]);
    set_status(&f, 0);
    assert_int_equal(status(&f), 0);
    assert_false(f.host.lines[GSI]);
    end(&f);
}

/* --- queues -------------------------------------------------------------------------------- */

static void sizes_that_no_queue_can_have_are_not_taken(void **state)
{
    static const uint16_t bad[] = {0, 3, 63, 65, 128, 256, 32768, 65535};
    struct fixture f;
    (void)state;
    begin(&f);
    assert_int_equal(get(&f, VIRTIO_PCI_COMMON_Q_SIZE, 2), QUEUE_SIZE);
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        set(&f, VIRTIO_PCI_COMMON_Q_SIZE, 2, bad[i]);
        assert_int_equal(get(&f, VIRTIO_PCI_COMMON_Q_SIZE, 2), QUEUE_SIZE);
    }
    set(&f, VIRTIO_PCI_COMMON_Q_SIZE, 2, 16);
    assert_int_equal(get(&f, VIRTIO_PCI_COMMON_Q_SIZE, 2), 16);
    end(&f);
}

static void queues_beyond_the_last_are_absent(void **state)
{
    static const uint16_t absent[] = {QUEUES, VIRTIO_MAX_QUEUES, 255, 65535};
    struct fixture f;
    (void)state;
    begin(&f);
    for (size_t i = 0; i < ARRAY_LENGTH(absent); i++) {
        set_queue(&f, absent[i], &f.rings[0].setup);
        set(&f, VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
        assert_int_equal(get(&f, VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
        assert_int_equal(get(&f, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
        assert_int_equal(get(&f, VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
        assert_int_equal(get(&f, VIRTIO_PCI_COMMON_Q_DESCLO, 8), 0);
    }
    end(&f);
}

/* CVE-2026-5747: a queue resized after it was checked. */
static void rewrite_everything(struct fixture *f)
{
    for (unsigned i = 0; i < QUEUES; i++) {
        set(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, i);
        set(f, VIRTIO_PCI_COMMON_Q_SIZE, 2, 1);
        set(f, VIRTIO_PCI_COMMON_Q_SIZE, 2, 0);
        set(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0);
        for (unsigned offset = VIRTIO_PCI_COMMON_Q_DESCLO; offset < 56; offset += 4)
            set(f, offset, 4, 0xdeadbeef);
        for (unsigned offset = VIRTIO_PCI_COMMON_Q_DESCLO; offset < 56; offset += 8)
            set(f, offset, 8, UINT64_MAX);
        set(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    }
}

static void check_registers(struct fixture *f, unsigned queue)
{
    const struct virtqueue_setup *setup = &f->rings[queue].setup;
    set(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
    assert_int_equal(get(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
    assert_int_equal(get(f, VIRTIO_PCI_COMMON_Q_NOFF, 2), queue);
    assert_int_equal(get(f, VIRTIO_PCI_COMMON_Q_SIZE, 2), setup->size);
    assert_true(get(f, VIRTIO_PCI_COMMON_Q_DESCLO, 8) == setup->descriptors);
    assert_true(get(f, VIRTIO_PCI_COMMON_Q_AVAILLO, 8) == setup->available);
    assert_true(get(f, VIRTIO_PCI_COMMON_Q_USEDLO, 8) == setup->used);
}

static void queues_do_not_change_once_they_are_enabled(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    for (unsigned i = 0; i < QUEUES; i++)
        set_queue(&f, i, &f.rings[i].setup);
    rewrite_everything(&f);
    for (unsigned i = 0; i < QUEUES; i++)
        check_registers(&f, i);
    end(&f);
}

static void queues_do_not_change_while_the_device_works(void **state)
{
    struct fixture f;
    struct virtqueue before[QUEUES];
    (void)state;
    begin(&f);
    drive(&f);
    memcpy(before, f.fake->device.queues, sizeof(before));
    rewrite_everything(&f);
    set_status(&f, READY);
    for (unsigned i = 0; i < QUEUES; i++)
        check_registers(&f, i);
    assert_memory_equal(f.fake->device.queues, before, sizeof(before));
    end(&f);
}

static void no_queue_is_enabled_after_driver_ok(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    accept_features(&f, VERSION_1);
    set_status(&f, READY);
    set_queue(&f, 1, &f.rings[1].setup);
    assert_int_equal(get(&f, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
    assert_false(f.fake->device.queue_is_ready[1]);
    end(&f);
}

/* --- every offset, every width ------------------------------------------------------------- */

static void every_offset_at_every_width(struct fixture *f, uint64_t value)
{
    static const unsigned sizes[] = {1, 2, 4, 8};
    for (size_t s = 0; s < ARRAY_LENGTH(sizes); s++) {
        for (uint64_t offset = 0; offset < 0x4000; offset++) {
            bus_write(&f->host.memory_bus, BAR_AT + offset, sizes[s], value + offset);
            bus_read(&f->host.memory_bus, BAR_AT + offset, sizes[s]);
        }
    }
}

static void every_offset_can_be_accessed_at_every_width(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    every_offset_at_every_width(&f, 0);
    every_offset_at_every_width(&f, UINT64_MAX);
    drive(&f);
    every_offset_at_every_width(&f, 0x0807060504030201);
    drive(&f);
    assert_int_equal(status(&f), READY);
    assert_int_equal(f.fake->stops + 1, f.fake->starts);
    end(&f);
}

static void only_accesses_of_a_registers_width_change_it(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    set(&f, VIRTIO_PCI_COMMON_Q_SIZE, 1, 16);
    set(&f, VIRTIO_PCI_COMMON_Q_SIZE, 4, 16);
    assert_int_equal(get(&f, VIRTIO_PCI_COMMON_Q_SIZE, 2), QUEUE_SIZE);
    set(&f, VIRTIO_PCI_COMMON_STATUS, 4, ACKNOWLEDGE);
    assert_int_equal(status(&f), 0);
    set(&f, VIRTIO_PCI_COMMON_Q_DESCLO, 8, UINT64_C(0x123456789a0));
    assert_true(get(&f, VIRTIO_PCI_COMMON_Q_DESCLO, 8) == UINT64_C(0x123456789a0));
    assert_int_equal(get(&f, VIRTIO_PCI_COMMON_Q_DESCHI, 4), 0x123);
    assert_int_equal(get(&f, VIRTIO_PCI_COMMON_Q_DESCLO + 2, 2), 0x4567);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_a_modern_device_of_its_type),
        cmocka_unit_test(its_capabilities_tell_where_the_registers_are),
        cmocka_unit_test(a_device_is_closed_when_it_finds_no_slot),
        cmocka_unit_test(a_driver_starts_it),
        cmocka_unit_test(queues_that_are_not_enabled_are_not_ready),
        cmocka_unit_test(features_without_version_1_are_refused),
        cmocka_unit_test(features_that_were_not_offered_are_refused),
        cmocka_unit_test(features_are_fixed_once_they_are_accepted),
        cmocka_unit_test(driver_ok_needs_features_ok),
        cmocka_unit_test(a_driver_only_adds_bits_of_its_own),
        cmocka_unit_test(selects_beyond_the_features_read_zero),
        cmocka_unit_test(a_device_that_cannot_start_needs_a_reset),
        cmocka_unit_test(rings_outside_of_memory_need_a_reset),
        cmocka_unit_test(a_broken_queue_is_told_to_the_driver),
        cmocka_unit_test(sizes_that_no_queue_can_have_are_not_taken),
        cmocka_unit_test(queues_beyond_the_last_are_absent),
        cmocka_unit_test(queues_do_not_change_once_they_are_enabled),
        cmocka_unit_test(queues_do_not_change_while_the_device_works),
        cmocka_unit_test(no_queue_is_enabled_after_driver_ok),
        cmocka_unit_test(every_offset_can_be_accessed_at_every_width),
        cmocka_unit_test(only_accesses_of_a_registers_width_change_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
