/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * virtio over PCI, as a driver sees it: finding it, the device status, queues that stay as they
 * were checked, interrupts, doorbells, and a reset with requests in flight.
 */
#include "hypervisor/virtio/transport.h"
#include "tests/lib/host_fixture.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SLOT 2
#define GSI (LAYOUT_GSI_PCI + SLOT)
#define BAR_AT UINT64_C(0xe0000000)
#define TABLE_AT UINT64_C(0xe0100000)
#define ISR_AT (BAR_AT + 0x1000)
#define CONFIG_AT (BAR_AT + 0x2000)
#define NOTIFY_AT (BAR_AT + 0x3000)
#define QUEUES 2
#define QUEUE_SIZE 64
#define FEATURE (UINT64_C(1) << 5)
#define VERSION_1 (UINT64_C(1) << VIRTIO_F_VERSION_1)

enum {
    ACKNOWLEDGE = 1,
    DRIVER = 2,
    DRIVER_OK = 4,
    FEATURES_OK = 8,
    NEEDS_RESET = 64,
    FAILED = 128
};
#define READY (ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)

/* --- a device ------------------------------------------------------------------------------ */

struct fake {
    struct virtio_device device;
    unsigned starts, stops, pauses, resumes;
    bool fails, has_worker;
    uint8_t config[8];
    pthread_t worker;
    atomic_bool is_over;
    atomic_uint done;
};

static bool is_closed; /* of the last one */

static void fake_read_config(struct virtio_device *device, uint32_t offset, void *to,
                             uint32_t length)
{
    struct fake *fake = (struct fake *)device;
    for (uint32_t i = 0; i < length; i++)
        ((uint8_t *)to)[i] = offset + i < sizeof(fake->config) ? fake->config[offset + i] : 0;
}

static void fake_write_config(struct virtio_device *device, uint32_t offset, const void *from,
                              uint32_t length)
{
    struct fake *fake = (struct fake *)device;
    for (uint32_t i = 0; i < length && offset + i < sizeof(fake->config); i++)
        fake->config[offset + i] = ((const uint8_t *)from)[i];
}

/* Takes its time with each chain, as a disk does, and interrupts after each. */
static void *work(void *context)
{
    struct fake *fake = context;
    struct virtqueue *queue = &fake->device.queues[0];
    struct virtqueue_chain chain;

    while (!fake->is_over) {
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
        if (virtqueue_pop(queue, &chain, NULL) <= 0)
            continue;
        virtqueue_chain_write(&chain, 0, "done", 4);
        virtqueue_push(queue, &chain, 4);
        fake->done++;
        fake->device.transport->config_changed(fake->device.plug);
        virtio_interrupt(&fake->device, 0);
    }
    return NULL;
}

static int fake_start(struct virtio_device *device, struct error *err)
{
    struct fake *fake = (struct fake *)device;
    if (fake->fails)
        return error_set(err, EIO, "it does not want to");
    fake->starts++;
    fake->is_over = false;
    if (fake->has_worker)
        assert_int_equal(pthread_create(&fake->worker, NULL, work, fake), 0);
    return 0;
}

static void fake_stop(struct virtio_device *device)
{
    struct fake *fake = (struct fake *)device;
    fake->stops++;
    fake->is_over = true;
    if (fake->has_worker)
        pthread_join(fake->worker, NULL);
}

static void fake_pause(struct virtio_device *device)
{
    ((struct fake *)device)->pauses++;
}

static void fake_resume(struct virtio_device *device)
{
    ((struct fake *)device)->resumes++;
}

static void fake_close(struct virtio_device *device)
{
    is_closed = true;
    free(device);
}

static const struct virtio_device_ops fake_ops = {
    .name = "fake",
    .type = VIRTIO_BLK,
    .pci_class = 1,
    .read_config = fake_read_config,
    .write_config = fake_write_config,
    .start = fake_start,
    .stop = fake_stop,
    .pause = fake_pause,
    .resume = fake_resume,
    .close = fake_close,
};

static struct fake *fake_new(void)
{
    struct fake *fake = calloc(1, sizeof(*fake));
    assert_non_null(fake);
    fake->device.ops = &fake_ops;
    fake->device.offered = FEATURE;
    fake->device.queue_count = QUEUES;
    fake->device.queue_size = QUEUE_SIZE;
    memcpy(fake->config, "CONFIG!!", 8);
    is_closed = false;
    return fake;
}

/* --- a machine around it ------------------------------------------------------------------- */

struct fixture {
    struct host_fixture host;
    struct log log;
    struct pci *pci;
    struct fake *fake;
    struct virtio_pci *transport;
    struct driver_ring rings[QUEUES];
    struct doorbells doorbells;
    uint64_t bells[QUEUES]; /* address of each; 0: none */
    bool bells_fail;
};

static unsigned warnings;

static void count_warnings(struct log *log, enum log_level level, const char *line)
{
    (void)log, (void)line;
    warnings += level == LOG_LEVEL_WARNING;
}

static int bell_add(void *context, uint64_t address, int fd)
{
    struct fixture *f = context;
    if (f->bells_fail)
        return -1;
    for (unsigned i = 0; i < QUEUES; i++) {
        if (f->fake->device.kick_fds[i] == fd) {
            assert_true(f->bells[i] == 0);
            f->bells[i] = address;
        }
    }
    return 0;
}

static void bell_remove(void *context, uint64_t address, int fd)
{
    struct fixture *f = context;
    for (unsigned i = 0; i < QUEUES; i++) {
        if (f->fake->device.kick_fds[i] == fd) {
            assert_true(f->bells[i] == address);
            f->bells[i] = 0;
        }
    }
}

static void map_bars(struct fixture *f)
{
    host_config_write(&f->host, SLOT, PCI_BASE_ADDRESS_4, 4, BAR_AT);
    host_config_write(&f->host, SLOT, PCI_BASE_ADDRESS_1, 4, TABLE_AT);
    host_config_write(&f->host, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void begin(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    host_init(&f->host, (size_t)1 << 20);
    f->log.emit = count_warnings;
    f->host.host.log = &f->log;
    warnings = 0;
    f->doorbells = (struct doorbells){bell_add, bell_remove, f};
    f->pci = pci_new(&f->host.host, NULL);
    f->fake = fake_new();
    f->transport =
        virtio_pci_new(f->pci, SLOT, &f->host.host, &f->doorbells, &f->fake->device, NULL);
    assert_non_null(f->transport);
    for (unsigned i = 0; i < QUEUES; i++)
        driver_ring_init(&f->rings[i], &f->host.ram, QUEUE_SIZE);
    map_bars(f);
}

static void end(struct fixture *f)
{
    struct device *device = virtio_pci_device(f->transport);
    device->ops->close(device);
    assert_true(is_closed);
    for (unsigned i = 0; i < QUEUES; i++)
        assert_true(f->bells[i] == 0);
    pci_free(f->pci);
    host_fini(&f->host);
}

static uint64_t get(struct fixture *f, unsigned offset, unsigned size)
{
    return bus_read(&f->host.memory_bus, BAR_AT + offset, size);
}

static void set(struct fixture *f, unsigned offset, unsigned size, uint64_t value)
{
    bus_write(&f->host.memory_bus, BAR_AT + offset, size, value);
}

static unsigned status(struct fixture *f)
{
    return (unsigned)get(f, VIRTIO_PCI_COMMON_STATUS, 1);
}

static void set_status(struct fixture *f, unsigned value)
{
    set(f, VIRTIO_PCI_COMMON_STATUS, 1, value);
}

static uint64_t offered_features(struct fixture *f)
{
    uint64_t features = 0;
    for (unsigned half = 0; half < 2; half++) {
        set(f, VIRTIO_PCI_COMMON_DFSELECT, 4, half);
        features |= get(f, VIRTIO_PCI_COMMON_DF, 4) << 32 * half;
    }
    return features;
}

static void accept_features(struct fixture *f, uint64_t features)
{
    for (unsigned half = 0; half < 2; half++) {
        set(f, VIRTIO_PCI_COMMON_GFSELECT, 4, half);
        set(f, VIRTIO_PCI_COMMON_GF, 4, features >> 32 * half & 0xffffffff);
    }
}

static void set_address(struct fixture *f, unsigned offset, uint64_t address)
{
    set(f, offset, 4, (uint32_t)address);
    set(f, offset + 4, 4, address >> 32);
}

static void set_queue(struct fixture *f, unsigned queue, const struct virtqueue_setup *setup)
{
    set(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
    set(f, VIRTIO_PCI_COMMON_Q_SIZE, 2, setup->size);
    set_address(f, VIRTIO_PCI_COMMON_Q_DESCLO, setup->descriptors);
    set_address(f, VIRTIO_PCI_COMMON_Q_AVAILLO, setup->available);
    set_address(f, VIRTIO_PCI_COMMON_Q_USEDLO, setup->used);
    set(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

/* Everything until DRIVER_OK, with both queues. */
static void drive(struct fixture *f)
{
    set_status(f, 0);
    set_status(f, ACKNOWLEDGE);
    set_status(f, ACKNOWLEDGE | DRIVER);
    accept_features(f, VERSION_1 | FEATURE);
    set_status(f, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    assert_int_equal(status(f), ACKNOWLEDGE | DRIVER | FEATURES_OK);
    for (unsigned i = 0; i < QUEUES; i++)
        set_queue(f, i, &f->rings[i].setup);
    set_status(f, READY);
}

static void msix_on(struct fixture *f)
{
    unsigned at = host_find_capability(&f->host, SLOT, PCI_CAP_ID_MSIX, 0);
    for (unsigned i = 0; i <= QUEUES; i++) {
        bus_write(&f->host.memory_bus, TABLE_AT + 16 * i, 4, 0xfee00000);
        bus_write(&f->host.memory_bus, TABLE_AT + 16 * i + 8, 4, 0x40 + i);
        bus_write(&f->host.memory_bus, TABLE_AT + 16 * i + 12, 4, 0);
    }
    host_config_write(&f->host, SLOT, at + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
}

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

static bool was_kicked(struct fixture *f, unsigned queue)
{
    eventfd_t count;
    return eventfd_read(f->fake->device.kick_fds[queue], &count) == 0;
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
        cmocka_unit_test(every_offset_can_be_accessed_at_every_width),
        cmocka_unit_test(only_accesses_of_a_registers_width_change_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
