/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * virtio over PCI, as it works: interrupts, doorbells, configuration, the window in the
 * configuration space, and a reset with requests in flight.
 */
#include "tests/unit/hypervisor/transport_fixture.h"

/* --- reset --------------------------------------------------------------------------------- */

/* Firmware leaves the device running; the kernel's driver begins anew. */
static void a_reset_makes_it_as_new(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    drive(&f);
    set(&f, VIRTIO_PCI_COMMON_MSIX, 2, 1);
    set_status(&f, 0);
    assert_int_equal(f.fake->stops, 1);
    assert_int_equal(status(&f), 0);
    assert_false(f.fake->device.queue_is_ready[0]);
    assert_int_equal(get(&f, VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
    set(&f, VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
    assert_int_equal(get(&f, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
    assert_int_equal(get(&f, VIRTIO_PCI_COMMON_Q_SIZE, 2), QUEUE_SIZE);
    assert_int_equal(get(&f, VIRTIO_PCI_COMMON_Q_USEDLO, 8), 0);
    assert_int_equal(get(&f, VIRTIO_PCI_COMMON_GF, 4), 0);
    set_status(&f, 0);
    assert_int_equal(f.fake->stops, 1); /* it was not running */
    drive(&f);
    assert_int_equal(f.fake->starts, 2);
    end(&f);
}

static void offer_all(struct fixture *f, uint64_t buffer)
{
    for (unsigned i = 0; i < QUEUE_SIZE; i++)
        driver_ring_add(&f->rings[0], &(struct driver_part){buffer + 4 * i, 4, true}, 1);
}

static void a_reset_with_64_requests_in_flight_leaves_memory_alone(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    uint64_t buffer = driver_ram_take(&f.host.ram, 4 * QUEUE_SIZE, 4);
    f.fake->has_worker = true;
    for (unsigned round = 0; round < 5; round++) {
        f.fake->done = 0;
        offer_all(&f, buffer);
        drive(&f);
        while (f.fake->done == 0)
            nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
        set_status(&f, 0); /* while the worker interrupts and changes the generation */
        memset(driver_ram_at(&f.host.ram, DRIVER_RAM_START), 0x5a, f.host.ram.taken);
        assert_int_equal(status(&f), 0);
        assert_false(f.host.lines[GSI]);
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        for (size_t i = 0; i < f.host.ram.taken; i++)
            assert_int_equal(f.host.ram.bytes[i], 0x5a);
        memset(f.host.ram.bytes, 0, f.host.ram.taken);
        for (unsigned i = 0; i < QUEUES; i++) {
            f.rings[i].next_available = f.rings[i].next_used = 0;
            memset(f.rings[i].owner, 0, sizeof(f.rings[i].owner));
        }
    }
    assert_int_equal(f.fake->stops, 5);
    end(&f);
}

static void the_machines_reset_and_end_stop_it_too(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    struct device *device = virtio_pci_device(f.transport);
    f.fake->has_worker = true;
    drive(&f);
    device->ops->reset(device);
    assert_int_equal(f.fake->stops, 1);
    assert_int_equal(status(&f), 0);
    drive(&f);
    end(&f); /* a worker that went on would use what is freed */
}

static void pausing_is_passed_on(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    struct device *device = virtio_pci_device(f.transport);
    device->ops->pause(device);
    assert_int_equal(f.fake->pauses, 1);
    device->ops->resume(device);
    assert_int_equal(f.fake->resumes, 1);
    end(&f);
}

/* --- interrupts ---------------------------------------------------------------------------- */

static void without_msix_the_line_is_high_until_the_isr_is_read(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    drive(&f);
    virtio_interrupt(&f.fake->device, 1);
    assert_true(f.host.lines[GSI]);
    f.fake->device.transport->config_changed(f.fake->device.plug);
    assert_int_equal(bus_read(&f.host.memory_bus, ISR_AT, 1), 3);
    assert_false(f.host.lines[GSI]);
    assert_int_equal(bus_read(&f.host.memory_bus, ISR_AT, 1), 0);
    assert_int_equal(f.host.message_count, 0);
    end(&f);
}

static void with_msix_each_cause_has_its_vector(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    msix_on(&f);
    drive(&f);
    set(&f, VIRTIO_PCI_COMMON_MSIX, 2, 2);
    set(&f, VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
    set(&f, VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
    assert_int_equal(get(&f, VIRTIO_PCI_COMMON_MSIX, 2), 2);
    assert_int_equal(get(&f, VIRTIO_PCI_COMMON_Q_MSIX, 2), 1);
    virtio_interrupt(&f.fake->device, 1);
    assert_int_equal(f.host.last_message.data, 0x41);
    f.fake->device.transport->config_changed(f.fake->device.plug);
    assert_int_equal(f.host.last_message.data, 0x42);
    virtio_interrupt(&f.fake->device, 0); /* has no vector */
    assert_int_equal(f.host.message_count, 2);
    assert_int_equal(bus_read(&f.host.memory_bus, ISR_AT, 1), 0);
    assert_int_equal(f.host.line_changes, 0);
    end(&f);
}

static void vectors_that_are_not_there_are_none(void **state)
{
    static const uint16_t bad[] = {QUEUES + 1, 64, 65534, 65535};
    struct fixture f;
    (void)state;
    begin(&f);
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        set(&f, VIRTIO_PCI_COMMON_MSIX, 2, 0);
        set(&f, VIRTIO_PCI_COMMON_MSIX, 2, bad[i]);
        assert_int_equal(get(&f, VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
        set(&f, VIRTIO_PCI_COMMON_Q_MSIX, 2, bad[i]);
        assert_int_equal(get(&f, VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
    }
    end(&f);
}

static void a_change_before_the_driver_is_ready_interrupts_nobody(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    unsigned generation = (unsigned)get(&f, VIRTIO_PCI_COMMON_CFGGENERATION, 1);
    f.fake->device.transport->config_changed(f.fake->device.plug);
    assert_int_equal(get(&f, VIRTIO_PCI_COMMON_CFGGENERATION, 1), generation + 1);
    assert_int_equal(f.host.line_changes, 0);
    end(&f);
}

/* --- configuration and doorbells ----------------------------------------------------------- */

static void the_configuration_is_the_devices(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    assert_int_equal(bus_read(&f.host.memory_bus, CONFIG_AT, 1), 'C');
    assert_int_equal(bus_read(&f.host.memory_bus, CONFIG_AT + 1, 2), 'O' | 'N' << 8);
    assert_true(bus_read(&f.host.memory_bus, CONFIG_AT, 8) == load_le64("CONFIG!!"));
    assert_int_equal(bus_read(&f.host.memory_bus, CONFIG_AT + 6, 4), '!' | '!' << 8);
    assert_int_equal(bus_read(&f.host.memory_bus, CONFIG_AT + 0xfe, 4), 0);
    assert_int_equal(bus_read(&f.host.memory_bus, CONFIG_AT + 0x100, 4), 0);
    bus_write(&f.host.memory_bus, CONFIG_AT + 1, 2, 'x' | 'y' << 8);
    bus_write(&f.host.memory_bus, CONFIG_AT + 0x100, 1, 'z');
    assert_memory_equal(f.fake->config, "CxyFIG!!", 8);
    end(&f);
}

static void a_notification_kicks_its_queue(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    bus_write(&f.host.memory_bus, NOTIFY_AT + 4, 2, 1);
    assert_false(was_kicked(&f, 0));
    assert_true(was_kicked(&f, 1));
    bus_write(&f.host.memory_bus, NOTIFY_AT + 4 * QUEUES, 2, 0); /* no such queue */
    bus_write(&f.host.memory_bus, NOTIFY_AT + 0xffc, 4, 0);
    assert_false(was_kicked(&f, 0) || was_kicked(&f, 1));
    end(&f);
}

static void doorbells_go_where_the_bar_goes(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    assert_true(f.bells[0] == NOTIFY_AT && f.bells[1] == NOTIFY_AT + 4);
    host_config_write(&f.host, SLOT, PCI_BASE_ADDRESS_4, 4, BAR_AT + 0x8000);
    assert_true(f.bells[0] == NOTIFY_AT + 0x8000 && f.bells[1] == NOTIFY_AT + 0x8004);
    host_config_write(&f.host, SLOT, PCI_COMMAND, 2, 0);
    assert_true(f.bells[0] == 0 && f.bells[1] == 0);
    f.bells_fail = true; /* no bell is no fault: the write comes here */
    map_bars(&f);
    bus_write(&f.host.memory_bus, NOTIFY_AT, 2, 0);
    assert_true(was_kicked(&f, 0));
    end(&f);
}

/* --- the window in the configuration space ------------------------------------------------- */

struct window {
    struct fixture *f;
    unsigned at;
};

static struct window window_find(struct fixture *f)
{
    unsigned at = 0;
    do
        at = host_find_capability(&f->host, SLOT, PCI_CAP_ID_VNDR, at);
    while (at && host_config_read(&f->host, SLOT, at + 3, 1) != VIRTIO_PCI_CAP_PCI_CFG);
    assert_int_not_equal(at, 0);
    return (struct window){f, at};
}

static void window_point(const struct window *w, unsigned bar, uint32_t offset, uint32_t length)
{
    host_config_write(&w->f->host, SLOT, w->at + VIRTIO_PCI_CAP_BAR, 1, bar);
    host_config_write(&w->f->host, SLOT, w->at + VIRTIO_PCI_CAP_OFFSET, 4, offset);
    host_config_write(&w->f->host, SLOT, w->at + VIRTIO_PCI_CAP_LENGTH, 4, length);
}

static void registers_are_reached_through_the_window(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    struct window w = window_find(&f);
    window_point(&w, 4, VIRTIO_PCI_COMMON_STATUS, 1);
    host_config_write(&f.host, SLOT, w.at + 16, 1, ACKNOWLEDGE);
    assert_int_equal(status(&f), ACKNOWLEDGE);
    assert_int_equal(host_config_read(&f.host, SLOT, w.at + 16, 1), ACKNOWLEDGE);
    window_point(&w, 4, 0x2000, 4);
    assert_int_equal(host_config_read(&f.host, SLOT, w.at + 16, 4), load_le32("CONF"));
    assert_int_equal(host_config_read(&f.host, SLOT, w.at + VIRTIO_PCI_CAP_OFFSET, 4), 0x2000);
    window_point(&w, 4, 0x3004, 2);
    host_config_write(&f.host, SLOT, w.at + 16, 2, 1);
    assert_true(was_kicked(&f, 1));
    host_config_write(&f.host, SLOT, w.at, 4, 0); /* what it is cannot be written */
    assert_int_equal(host_config_read(&f.host, SLOT, w.at, 1), PCI_CAP_ID_VNDR);
    end(&f);
}

static void a_window_to_nowhere_does_nothing(void **state)
{
    static const struct {
        unsigned bar;
        uint32_t offset, length;
    } bad[] = {{0, 0, 4},      {1, 0, 4},          {5, 0, 4},          {4, 0, 0},
               {4, 0, 3},      {4, 0, 8},          {4, 0, UINT32_MAX}, {4, 2, 4},
               {4, 0x4000, 1}, {4, UINT32_MAX, 1}, {4, 0xfffffffc, 4}, {255, 0, 1}};
    struct fixture f;
    (void)state;
    begin(&f);
    struct window w = window_find(&f);
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        window_point(&w, bad[i].bar, bad[i].offset, bad[i].length);
        host_config_write(&f.host, SLOT, w.at + 16, 4, 0x01020304);
        assert_int_equal(host_config_read(&f.host, SLOT, w.at + 16, 4), 0x01020304);
        assert_int_equal(get(&f, 0, 4), 0);
    }
    end(&f);
}

/* --- two CPUs and a worker at once --------------------------------------------------------- */

struct other_cpu {
    struct fixture *f;
    pthread_t thread;
    atomic_bool is_over;
};

/* Moves BARs, masks and unmasks, and reads, without regard to what the first one does. */
static void *disturb(void *context)
{
    struct other_cpu *cpu = context;
    struct host_fixture *host = &cpu->f->host;
    unsigned msix = host_find_capability(host, SLOT, PCI_CAP_ID_MSIX, 0);

    for (unsigned i = 0; !cpu->is_over; i++) {
        host_config_write(host, SLOT, PCI_BASE_ADDRESS_4, 4, BAR_AT + (i & 1) * 0x8000);
        host_config_write(host, SLOT, msix + PCI_MSIX_FLAGS, 2, (i & 6) << 13);
        bus_write(&host->memory_bus, TABLE_AT + 16 * (i % 3) + 12, 4, i >> 2 & 1);
        bus_read(&host->memory_bus, ISR_AT, 1);
        bus_read(&host->memory_bus, CONFIG_AT, 4);
        bus_write(&host->memory_bus, NOTIFY_AT, 2, 0);
        host_config_write(host, SLOT, PCI_BASE_ADDRESS_4, 4, BAR_AT);
    }
    return NULL;
}

static void start_again(struct fixture *f)
{
    accept_features(f, VERSION_1);
    set_status(f, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    set(f, VIRTIO_PCI_COMMON_MSIX, 2, 0);
    set_queue(f, 0, &f->rings[0].setup);
    set(f, VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
    set_status(f, READY);
}

static void a_second_cpu_may_do_what_it_likes_meanwhile(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f);
    uint64_t buffer = driver_ram_take(&f.host.ram, 4 * QUEUE_SIZE, 4);
    offer_all(&f, buffer);
    f.fake->has_worker = true;
    struct other_cpu cpu = {.f = &f};
    assert_int_equal(pthread_create(&cpu.thread, NULL, disturb, &cpu), 0);
    for (int i = 0; i < 200; i++) {
        unsigned done = f.fake->done;
        start_again(&f); /* in vain while the BAR is elsewhere */
        for (int wait = 0; wait < 5 && f.fake->done == done; wait++)
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
        set_status(&f, 0);
    }
    cpu.is_over = true;
    pthread_join(cpu.thread, NULL);
    map_bars(&f);
    set_status(&f, 0);
    assert_int_equal(f.fake->starts, f.fake->stops);
    assert_true(f.fake->starts > 0 && f.fake->done > 0);
    drive(&f); /* and it still works */
    assert_int_equal(status(&f), READY);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reset_makes_it_as_new),
        cmocka_unit_test(a_reset_with_64_requests_in_flight_leaves_memory_alone),
        cmocka_unit_test(the_machines_reset_and_end_stop_it_too),
        cmocka_unit_test(pausing_is_passed_on),
        cmocka_unit_test(without_msix_the_line_is_high_until_the_isr_is_read),
        cmocka_unit_test(with_msix_each_cause_has_its_vector),
        cmocka_unit_test(vectors_that_are_not_there_are_none),
        cmocka_unit_test(a_change_before_the_driver_is_ready_interrupts_nobody),
        cmocka_unit_test(the_configuration_is_the_devices),
        cmocka_unit_test(a_notification_kicks_its_queue),
        cmocka_unit_test(doorbells_go_where_the_bar_goes),
        cmocka_unit_test(registers_are_reached_through_the_window),
        cmocka_unit_test(a_window_to_nowhere_does_nothing),
        cmocka_unit_test(a_second_cpu_may_do_what_it_likes_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
