/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For the tests of virtio's transport: a device that takes its time, a machine with doorbells
 * around it, and a driver that sets it up.
 */
#ifndef TESTS_TRANSPORT_FIXTURE_H
#define TESTS_TRANSPORT_FIXTURE_H

#include "hypervisor/virtio/transport.h"
#include "tests/lib/host_fixture.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
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

static inline void fake_read_config(struct virtio_device *device, uint32_t offset, void *to,
                                    uint32_t length)
{
    struct fake *fake = (struct fake *)device;
    assert_true(offset <= 256 && length <= 256 - offset);
    for (uint32_t i = 0; i < length; i++)
        ((uint8_t *)to)[i] = offset + i < sizeof(fake->config) ? fake->config[offset + i] : 0;
}

static inline void fake_write_config(struct virtio_device *device, uint32_t offset,
                                     const void *from, uint32_t length)
{
    struct fake *fake = (struct fake *)device;
    assert_true(offset <= 256 && length <= 256 - offset);
    for (uint32_t i = 0; i < length && offset + i < sizeof(fake->config); i++)
        fake->config[offset + i] = ((const uint8_t *)from)[i];
}

/* Takes its time with each chain, as a disk does, and interrupts after each. */
static inline void *work(void *context)
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

static inline int fake_start(struct virtio_device *device, struct error *err)
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

static inline void fake_stop(struct virtio_device *device)
{
    struct fake *fake = (struct fake *)device;
    fake->stops++;
    fake->is_over = true;
    if (fake->has_worker)
        pthread_join(fake->worker, NULL);
}

static inline void fake_pause(struct virtio_device *device)
{
    ((struct fake *)device)->pauses++;
}

static inline void fake_resume(struct virtio_device *device)
{
    ((struct fake *)device)->resumes++;
}

static inline void fake_close(struct virtio_device *device)
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

static inline struct fake *fake_new(void)
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

static inline void count_warnings(struct log *log, enum log_level level, const char *line)
{
    (void)log, (void)line;
    warnings += level == LOG_LEVEL_WARNING;
}

static inline int bell_add(void *context, uint64_t address, int fd)
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

static inline void bell_remove(void *context, uint64_t address, int fd)
{
    struct fixture *f = context;
    for (unsigned i = 0; i < QUEUES; i++) {
        if (f->fake->device.kick_fds[i] == fd) {
            assert_true(f->bells[i] == address);
            f->bells[i] = 0;
        }
    }
}

static inline void map_bars(struct fixture *f)
{
    host_config_write(&f->host, SLOT, PCI_BASE_ADDRESS_4, 4, BAR_AT);
    host_config_write(&f->host, SLOT, PCI_BASE_ADDRESS_1, 4, TABLE_AT);
    host_config_write(&f->host, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static inline void begin(struct fixture *f)
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

static inline void end(struct fixture *f)
{
    struct device *device = virtio_pci_device(f->transport);
    device->ops->close(device);
    assert_true(is_closed);
    for (unsigned i = 0; i < QUEUES; i++)
        assert_true(f->bells[i] == 0);
    pci_free(f->pci);
    host_fini(&f->host);
}

static inline uint64_t get(struct fixture *f, unsigned offset, unsigned size)
{
    return bus_read(&f->host.memory_bus, BAR_AT + offset, size);
}

static inline void set(struct fixture *f, unsigned offset, unsigned size, uint64_t value)
{
    bus_write(&f->host.memory_bus, BAR_AT + offset, size, value);
}

static inline unsigned status(struct fixture *f)
{
    return (unsigned)get(f, VIRTIO_PCI_COMMON_STATUS, 1);
}

static inline void set_status(struct fixture *f, unsigned value)
{
    set(f, VIRTIO_PCI_COMMON_STATUS, 1, value);
}

static inline uint64_t offered_features(struct fixture *f)
{
    uint64_t features = 0;
    for (unsigned half = 0; half < 2; half++) {
        set(f, VIRTIO_PCI_COMMON_DFSELECT, 4, half);
        features |= get(f, VIRTIO_PCI_COMMON_DF, 4) << 32 * half;
    }
    return features;
}

static inline void accept_features(struct fixture *f, uint64_t features)
{
    for (unsigned half = 0; half < 2; half++) {
        set(f, VIRTIO_PCI_COMMON_GFSELECT, 4, half);
        set(f, VIRTIO_PCI_COMMON_GF, 4, features >> 32 * half & 0xffffffff);
    }
}

static inline void set_address(struct fixture *f, unsigned offset, uint64_t address)
{
    set(f, offset, 4, (uint32_t)address);
    set(f, offset + 4, 4, address >> 32);
}

static inline void set_queue(struct fixture *f, unsigned queue, const struct virtqueue_setup *setup)
{
    set(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
    set(f, VIRTIO_PCI_COMMON_Q_SIZE, 2, setup->size);
    set_address(f, VIRTIO_PCI_COMMON_Q_DESCLO, setup->descriptors);
    set_address(f, VIRTIO_PCI_COMMON_Q_AVAILLO, setup->available);
    set_address(f, VIRTIO_PCI_COMMON_Q_USEDLO, setup->used);
    set(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

/* Everything until DRIVER_OK, with both queues. */
static inline void drive(struct fixture *f)
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

static inline void msix_on(struct fixture *f)
{
    unsigned at = host_find_capability(&f->host, SLOT, PCI_CAP_ID_MSIX, 0);
    for (unsigned i = 0; i <= QUEUES; i++) {
        bus_write(&f->host.memory_bus, TABLE_AT + 16 * i, 4, 0xfee00000);
        bus_write(&f->host.memory_bus, TABLE_AT + 16 * i + 8, 4, 0x40 + i);
        bus_write(&f->host.memory_bus, TABLE_AT + 16 * i + 12, 4, 0);
    }
    host_config_write(&f->host, SLOT, at + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
}

static inline bool was_kicked(struct fixture *f, unsigned queue)
{
    eventfd_t count;
    return eventfd_read(f->fake->device.kick_fds[queue], &count) == 0;
}

#endif
