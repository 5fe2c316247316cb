/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * virtio over PCI: the BAR, capabilities, doorbells, and a device's life (Virtual I/O Device 1.1,
 * section 4.1). Registers are in transport_registers.c.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "hypervisor/virtio/transport_private.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* BAR 4. */
#define REGISTERS_BAR 4
#define REGISTERS_SIZE 0x4000
#define COMMON_AT 0x0
#define ISR_AT 0x1000
#define CONFIG_AT 0x2000
#define CONFIG_SIZE 256
#define NOTIFY_AT 0x3000
#define NOTIFY_MULTIPLIER 4
#define MSIX_BAR 1

/* --- BAR 4 --------------------------------------------------------------------------------- */

static void config_read(struct virtio_pci *transport, uint64_t offset, void *to, unsigned size)
{
    struct virtio_device *virtio = transport->virtio;
    if (virtio->ops->read_config && range_is_inside(offset, size, CONFIG_SIZE))
        virtio->ops->read_config(virtio, (uint32_t)offset, to, size);
}

static void config_write(struct virtio_pci *transport, uint64_t offset, const void *from,
                         unsigned size)
{
    struct virtio_device *virtio = transport->virtio;
    if (virtio->ops->write_config && range_is_inside(offset, size, CONFIG_SIZE))
        virtio->ops->write_config(virtio, (uint32_t)offset, from, size);
}

static uint64_t registers_read(void *context, uint64_t offset, unsigned size)
{
    struct virtio_pci *transport = context;
    uint8_t bytes[8] = {0};

    if (offset == ISR_AT)
        return virtio_take_isr(transport);
    pthread_mutex_lock(&transport->lock);
    if (range_is_inside(offset, size, VIRTIO_COMMON_SIZE))
        virtio_common_read(transport, offset, bytes, size);
    else if (offset >= CONFIG_AT)
        config_read(transport, offset - CONFIG_AT, bytes, size);
    pthread_mutex_unlock(&transport->lock);
    return load_le64(bytes);
}

/* Where the kernel does not do it: without doorbells, or by the window. */
static void notify(struct virtio_pci *transport, uint64_t offset)
{
    uint64_t queue = offset / NOTIFY_MULTIPLIER;
    if (queue < transport->virtio->queue_count)
        (void)!eventfd_write(transport->virtio->kick_fds[queue], 1); /* full: kicked already */
}

static void registers_write(void *context, uint64_t offset, unsigned size, uint64_t value)
{
    struct virtio_pci *transport = context;
    uint8_t bytes[8];

    if (offset >= NOTIFY_AT) {
        notify(transport, offset - NOTIFY_AT);
        return;
    }
    store_le64(bytes, value);
    pthread_mutex_lock(&transport->lock);
    if (range_is_inside(offset, size, VIRTIO_COMMON_SIZE))
        virtio_common_write(transport, offset, size, value);
    else if (offset >= CONFIG_AT)
        config_write(transport, offset - CONFIG_AT, bytes, size);
    pthread_mutex_unlock(&transport->lock);
}

static const struct bus_ops registers_ops = {.read = registers_read, .write = registers_write};

/* --- doorbells ----------------------------------------------------------------------------- */

static void registers_moved(void *context, uint64_t address)
{
    struct virtio_pci *transport = context;
    const struct doorbells *bells = transport->doorbells;

    for (unsigned i = 0; i < transport->virtio->queue_count; i++) {
        uint64_t place = NOTIFY_AT + NOTIFY_MULTIPLIER * i;
        int fd = transport->virtio->kick_fds[i];
        if (transport->has_bell[i])
            bells->remove(bells->context, transport->bells_at + place, fd);
        transport->has_bell[i] =
            bells && bells->add && address && bells->add(bells->context, address + place, fd) == 0;
    }
    transport->bells_at = address;
}

/* --- PCI_CFG: registers by way of the configuration space (4.1.4.8) ------------------------- */

#define WINDOW_DATA offsetof(struct virtio_pci_cfg_cap, pci_cfg_data)

/* Whether the window shows `size` bytes of BAR 4 now, and where. */
static bool window_is_open(const struct virtio_pci *transport, uint64_t *offset, unsigned *size)
{
    uint32_t at = load_le32(transport->window + VIRTIO_PCI_CAP_OFFSET);
    uint32_t length = load_le32(transport->window + VIRTIO_PCI_CAP_LENGTH);
    *offset = at;
    *size = length;
    return transport->window[VIRTIO_PCI_CAP_BAR] == REGISTERS_BAR &&
           (length == 1 || length == 2 || length == 4) && at % length == 0 &&
           range_is_inside(at, length, REGISTERS_SIZE);
}

static uint32_t window_read(void *context, unsigned offset, unsigned size, uint32_t stored)
{
    struct virtio_pci *transport = context;
    uint64_t at;
    unsigned width;
    uint8_t bytes[4] = {0};

    if (offset < VIRTIO_PCI_CAP_BAR)
        return stored;
    if (offset >= WINDOW_DATA && window_is_open(transport, &at, &width))
        store_le32(transport->window + WINDOW_DATA, (uint32_t)registers_read(transport, at, width));
    memcpy(bytes, transport->window + offset, size);
    return load_le32(bytes);
}

static void window_write(void *context, unsigned offset, unsigned size, uint32_t value)
{
    struct virtio_pci *transport = context;
    uint64_t at;
    unsigned width;
    uint8_t bytes[4];

    if (offset < VIRTIO_PCI_CAP_BAR)
        return;
    store_le32(bytes, value);
    memcpy(transport->window + offset, bytes, size);
    if (offset >= WINDOW_DATA && window_is_open(transport, &at, &width))
        registers_write(transport, at, width, load_le32(transport->window + WINDOW_DATA));
}

/* --- making and ending --------------------------------------------------------------------- */

static bool add_region(struct virtio_pci *transport, uint8_t type, uint32_t offset, uint32_t length)
{
    uint8_t data[sizeof(struct virtio_pci_notify_cap)] = {0};
    struct pci_capability capability = {PCI_CAP_ID_VNDR, data + 2, 0, NULL, NULL};
    size_t size = sizeof(struct virtio_pci_cap);

    data[VIRTIO_PCI_CAP_CFG_TYPE] = type;
    data[VIRTIO_PCI_CAP_BAR] = REGISTERS_BAR;
    store_le32(data + VIRTIO_PCI_CAP_OFFSET, offset);
    store_le32(data + VIRTIO_PCI_CAP_LENGTH, length);
    if (type == VIRTIO_PCI_CAP_NOTIFY_CFG || type == VIRTIO_PCI_CAP_PCI_CFG)
        size += 4;
    if (type == VIRTIO_PCI_CAP_NOTIFY_CFG)
        store_le32(data + VIRTIO_PCI_NOTIFY_CAP_MULT, NOTIFY_MULTIPLIER);
    if (type == VIRTIO_PCI_CAP_PCI_CFG) {
        data[VIRTIO_PCI_CAP_BAR] = 0;
        capability.read = window_read;
        capability.write = window_write;
    }
    data[VIRTIO_PCI_CAP_LEN] = (uint8_t)size;
    capability.length = size - 2;
    return pci_add_capability(transport->function, &capability) != 0;
}

static int add_regions(struct virtio_pci *transport, struct error *err)
{
    uint32_t bells = NOTIFY_MULTIPLIER * transport->virtio->queue_count;
    if (!add_region(transport, VIRTIO_PCI_CAP_COMMON_CFG, COMMON_AT, VIRTIO_COMMON_SIZE) ||
        !add_region(transport, VIRTIO_PCI_CAP_ISR_CFG, ISR_AT, 1) ||
        !add_region(transport, VIRTIO_PCI_CAP_DEVICE_CFG, CONFIG_AT, CONFIG_SIZE) ||
        !add_region(transport, VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY_AT, bells) ||
        !add_region(transport, VIRTIO_PCI_CAP_PCI_CFG, 0, 0))
        return error_set(err, ENOSPC, "no room for virtio's capabilities");
    return 0;
}

static int plug_in(struct virtio_pci *transport, struct pci *pci, unsigned slot, struct error *err)
{
    const struct virtio_device_ops *ops = transport->virtio->ops;
    struct pci_options options = {
        .vendor = 0x1af4,
        .device = (uint16_t)(0x1040 + ops->type),
        .subsystem_vendor = 0x1af4,
        .subsystem = 0x1100,
        .class_code = ops->pci_class,
        .subclass = ops->pci_subclass,
        .revision = 1,
        .has_intx = true,
        .bars[REGISTERS_BAR] = {REGISTERS_SIZE, &registers_ops, registers_moved},
        .msix_vectors = transport->virtio->queue_count + 1,
        .msix_bar = MSIX_BAR,
        .context = transport,
    };
    transport->function = pci_add(pci, slot, &options, err);
    return transport->function ? add_regions(transport, err) : -1;
}

static int make_kicks(struct virtio_device *virtio, struct error *err)
{
    for (unsigned i = 0; i < virtio->queue_count; i++) {
        virtio->kick_fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (virtio->kick_fds[i] < 0)
            return error_set(err, errno, "an eventfd");
    }
    return 0;
}

static void transport_free(struct virtio_pci *transport)
{
    int kicks[VIRTIO_MAX_QUEUES];

    memcpy(kicks, transport->virtio->kick_fds, sizeof(kicks));
    transport->virtio->ops->close(transport->virtio); /* it may wait for its kicks until here */
    for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++) {
        if (kicks[i] >= 0)
            close(kicks[i]);
    }
    pthread_mutex_destroy(&transport->lock);
    pthread_mutex_destroy(&transport->isr_lock);
    free(transport);
}

static void device_reset(struct device *device)
{
    struct virtio_pci *transport = (struct virtio_pci *)device;
    pthread_mutex_lock(&transport->lock);
    virtio_reset(transport);
    pthread_mutex_unlock(&transport->lock);
    memset(transport->window, 0, sizeof(transport->window));
}

static void device_pause(struct device *device)
{
    struct virtio_device *virtio = ((struct virtio_pci *)device)->virtio;
    if (virtio->ops->pause)
        virtio->ops->pause(virtio);
}

static void device_resume(struct device *device)
{
    struct virtio_device *virtio = ((struct virtio_pci *)device)->virtio;
    if (virtio->ops->resume)
        virtio->ops->resume(virtio);
}

static void device_close(struct device *device)
{
    struct virtio_pci *transport = (struct virtio_pci *)device;
    device_reset(device);
    registers_moved(transport, 0);
    transport_free(transport);
}

static const struct device_ops device_ops = {.name = "virtio-pci",
                                             .reset = device_reset,
                                             .pause = device_pause,
                                             .resume = device_resume,
                                             .close = device_close};

struct virtio_pci *virtio_pci_new(struct pci *pci, unsigned slot, const struct device_host *host,
                                  const struct doorbells *doorbells, struct virtio_device *virtio,
                                  struct error *err)
{
    struct virtio_pci *transport = calloc(1, sizeof(*transport));
    if (!transport) {
        error_set(err, errno, "virtio over PCI");
        virtio->ops->close(virtio);
        return NULL;
    }
    transport->device.ops = &device_ops;
    transport->host = host;
    transport->doorbells = doorbells;
    transport->virtio = virtio;
    virtio->transport = &virtio_pci_calls;
    virtio->plug = transport;
    memset(virtio->kick_fds, 0xff, sizeof(virtio->kick_fds)); /* -1: none */
    pthread_mutex_init(&transport->lock, NULL);
    pthread_mutex_init(&transport->isr_lock, NULL);
    if (make_kicks(virtio, err) == 0 && plug_in(transport, pci, slot, err) == 0) {
        virtio_reset(transport);
        return transport;
    }
    transport_free(transport);
    return NULL;
}

struct device *virtio_pci_device(struct virtio_pci *transport)
{
    return &transport->device;
}

unsigned virtio_pci_slot(const struct virtio_pci *transport)
{
    return pci_slot(transport->function);
}
