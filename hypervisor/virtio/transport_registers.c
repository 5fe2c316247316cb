/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a driver sees of virtio over PCI: the device status, features, queues (Virtual I/O Device
 * 1.1, sections 2.1 and 4.1.4.3), and interrupts. Queues are handed to the device at DRIVER_OK;
 * what the driver writes afterwards changes none of them until a reset.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "hypervisor/virtio/transport_private.h"

/* Section 2.1: device status. */
#define STATUS_ACKNOWLEDGE 1
#define STATUS_DRIVER 2
#define STATUS_DRIVER_OK 4
#define STATUS_FEATURES_OK 8
#define STATUS_NEEDS_RESET 64
#define STATUS_FAILED 128
#define STATUS_DRIVERS                                                                             \
    (STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_DRIVER_OK | STATUS_FEATURES_OK | STATUS_FAILED)

#define ISR_QUEUE 1
#define ISR_CONFIG VIRTIO_PCI_ISR_CONFIG

/* --- interrupts ---------------------------------------------------------------------------- */

static void send_interrupt(struct virtio_pci *transport, uint16_t vector, uint8_t cause)
{
    if (pci_send_msix(transport->function, vector)) /* NO_VECTOR is beyond all: nothing is sent */
        return;
    pthread_mutex_lock(&transport->isr_lock);
    transport->isr |= cause;
    pci_set_intx(transport->function, true);
    pthread_mutex_unlock(&transport->isr_lock);
}

uint8_t virtio_take_isr(struct virtio_pci *transport)
{
    pthread_mutex_lock(&transport->isr_lock);
    uint8_t isr = transport->isr;
    transport->isr = 0;
    pci_set_intx(transport->function, false);
    pthread_mutex_unlock(&transport->isr_lock);
    return isr;
}

static void interrupt(void *plug, unsigned queue)
{
    struct virtio_pci *transport = plug;
    send_interrupt(transport, transport->queue_vectors[queue], ISR_QUEUE);
}

static void config_changed(void *plug)
{
    struct virtio_pci *transport = plug;
    transport->generation++;
    if (transport->status & STATUS_DRIVER_OK)
        send_interrupt(transport, transport->config_vector, ISR_CONFIG);
}

static void needs_reset(void *plug)
{
    struct virtio_pci *transport = plug;
    atomic_fetch_or(&transport->status, STATUS_NEEDS_RESET);
    config_changed(plug);
}

const struct virtio_transport virtio_pci_calls = {
    .interrupt = interrupt, .config_changed = config_changed, .needs_reset = needs_reset};

/* --- status: all under the lock ------------------------------------------------------------ */

/* The guest can bring this about as often as it likes: it is told once. */
static void complain(struct virtio_pci *transport, const struct error *err)
{
    if (!transport->has_complained)
        log_warning(transport->host->log, "%s in PCI slot %u: %s", transport->virtio->ops->name,
                    pci_slot(transport->function), err->text);
    transport->has_complained = true;
}

static uint64_t offered(const struct virtio_pci *transport)
{
    return transport->virtio->offered | UINT64_C(1) << VIRTIO_F_VERSION_1 |
           UINT64_C(1) << VIRTIO_F_EVENT_IDX | UINT64_C(1) << VIRTIO_F_INDIRECT_DESC;
}

static bool features_are_good(const struct virtio_pci *transport)
{
    return !(transport->accepted & ~offered(transport)) &&
           (transport->accepted >> VIRTIO_F_VERSION_1 & 1);
}

static int start_queues(struct virtio_pci *transport, struct error *err)
{
    struct virtio_device *virtio = transport->virtio;
    for (unsigned i = 0; i < virtio->queue_count; i++) {
        const struct queue_registers *registers = &transport->queues[i];
        virtio->queue_is_ready[i] = registers->is_enabled;
        if (registers->is_enabled && virtqueue_start(&virtio->queues[i], transport->host->memory,
                                                     &registers->setup, virtio->features, err) < 0)
            return error_wrap(err, "queue %u", i);
    }
    return 0;
}

static void start(struct virtio_pci *transport)
{
    struct virtio_device *virtio = transport->virtio;
    struct error err = {0};

    virtio->features = transport->accepted;
    if (start_queues(transport, &err) == 0 &&
        (!virtio->ops->start || virtio->ops->start(virtio, &err) == 0)) {
        transport->is_started = true;
        return;
    }
    complain(transport, &err);
    needs_reset(transport);
}

static void reset_registers(struct virtio_pci *transport)
{
    transport->offered_select = transport->accepted_select = 0;
    transport->accepted = 0;
    transport->queue_select = 0;
    transport->config_vector = VIRTIO_MSI_NO_VECTOR;
    for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++) {
        transport->queue_vectors[i] = VIRTIO_MSI_NO_VECTOR;
        transport->queues[i] =
            (struct queue_registers){.setup.size = transport->virtio->queue_size};
    }
    virtio_take_isr(transport);
    transport->status = 0;
}

void virtio_reset(struct virtio_pci *transport)
{
    struct virtio_device *virtio = transport->virtio;
    if (transport->is_started && virtio->ops->stop)
        virtio->ops->stop(virtio);
    transport->is_started = false;
    memset(virtio->queue_is_ready, 0, sizeof(virtio->queue_is_ready));
    reset_registers(transport);
}

/* Bits are only ever added, but by a reset (2.1.1). */
static void status_write(struct virtio_pci *transport, uint8_t value)
{
    uint8_t before = transport->status, added = value & ~before & STATUS_DRIVERS;
    if (value == 0) {
        virtio_reset(transport);
        return;
    }
    if (added & STATUS_FEATURES_OK && !features_are_good(transport))
        added &= ~(STATUS_FEATURES_OK | STATUS_DRIVER_OK);
    if (added & STATUS_DRIVER_OK && !((before | added) & STATUS_FEATURES_OK))
        added &= ~STATUS_DRIVER_OK;
    atomic_fetch_or(&transport->status, added);
    if (added & STATUS_DRIVER_OK)
        start(transport);
}

/* --- common configuration ------------------------------------------------------------------ */

static struct queue_registers *selected_queue(struct virtio_pci *transport)
{
    return transport->queue_select < transport->virtio->queue_count
               ? &transport->queues[transport->queue_select]
               : NULL;
}

static void queue_image(struct virtio_pci *transport, uint8_t *image)
{
    const struct queue_registers *queue = selected_queue(transport);
    store_le16(image + VIRTIO_PCI_COMMON_Q_MSIX, VIRTIO_MSI_NO_VECTOR);
    if (!queue)
        return;
    store_le16(image + VIRTIO_PCI_COMMON_Q_SIZE, queue->setup.size);
    store_le16(image + VIRTIO_PCI_COMMON_Q_MSIX, transport->queue_vectors[transport->queue_select]);
    store_le16(image + VIRTIO_PCI_COMMON_Q_ENABLE, queue->is_enabled);
    store_le16(image + VIRTIO_PCI_COMMON_Q_NOFF, transport->queue_select);
    store_le64(image + VIRTIO_PCI_COMMON_Q_DESCLO, queue->setup.descriptors);
    store_le64(image + VIRTIO_PCI_COMMON_Q_AVAILLO, queue->setup.available);
    store_le64(image + VIRTIO_PCI_COMMON_Q_USEDLO, queue->setup.used);
}

/* The half of a 64-bit register that a select register chooses. */
static uint32_t half(uint64_t value, uint32_t select)
{
    return select < 2 ? (uint32_t)(value >> (32 * select)) : 0;
}

static void set_half(uint64_t *value, uint32_t select, uint32_t to)
{
    unsigned shift = 32 * (select & 1);
    *value = (*value & ~(UINT64_C(0xffffffff) << shift)) | (uint64_t)to << shift;
}

/* As reading changes nothing, any width at any offset is cut out of the whole. */
static void common_image(struct virtio_pci *transport, uint8_t image[VIRTIO_COMMON_SIZE])
{
    memset(image, 0, VIRTIO_COMMON_SIZE);
    store_le32(image + VIRTIO_PCI_COMMON_DFSELECT, transport->offered_select);
    store_le32(image + VIRTIO_PCI_COMMON_DF, half(offered(transport), transport->offered_select));
    store_le32(image + VIRTIO_PCI_COMMON_GFSELECT, transport->accepted_select);
    store_le32(image + VIRTIO_PCI_COMMON_GF, half(transport->accepted, transport->accepted_select));
    store_le16(image + VIRTIO_PCI_COMMON_MSIX, transport->config_vector);
    store_le16(image + VIRTIO_PCI_COMMON_NUMQ, (uint16_t)transport->virtio->queue_count);
    image[VIRTIO_PCI_COMMON_STATUS] = transport->status;
    image[VIRTIO_PCI_COMMON_CFGGENERATION] = transport->generation;
    store_le16(image + VIRTIO_PCI_COMMON_Q_SELECT, transport->queue_select);
    queue_image(transport, image);
}

static uint16_t checked_vector(const struct virtio_pci *transport, uint64_t value)
{
    return value <= transport->virtio->queue_count ? (uint16_t)value : VIRTIO_MSI_NO_VECTOR;
}

/* Frozen from queue_enable on, and after DRIVER_OK: the device works with what was checked. */
static void queue_write(struct virtio_pci *transport, uint64_t offset, uint32_t value)
{
    struct queue_registers *queue = selected_queue(transport);
    if (!queue || queue->is_enabled || transport->status & STATUS_DRIVER_OK)
        return;
    uint32_t high = offset / 4 & 1;
    switch (offset) {
    case VIRTIO_PCI_COMMON_Q_SIZE:
        if (is_power_of_two(value) && value <= transport->virtio->queue_size)
            queue->setup.size = (uint16_t)value;
        break;
    case VIRTIO_PCI_COMMON_Q_ENABLE:
        queue->is_enabled = value == 1;
        break;
    case VIRTIO_PCI_COMMON_Q_DESCLO:
    case VIRTIO_PCI_COMMON_Q_DESCHI:
        set_half(&queue->setup.descriptors, high, value);
        break;
    case VIRTIO_PCI_COMMON_Q_AVAILLO:
    case VIRTIO_PCI_COMMON_Q_AVAILHI:
        set_half(&queue->setup.available, high, value);
        break;
    case VIRTIO_PCI_COMMON_Q_USEDLO:
    case VIRTIO_PCI_COMMON_Q_USEDHI:
        set_half(&queue->setup.used, high, value);
        break;
    }
}

static void features_write(struct virtio_pci *transport, uint32_t value)
{
    if (!(transport->status & STATUS_FEATURES_OK) && transport->accepted_select < 2)
        set_half(&transport->accepted, transport->accepted_select, value);
}

static void register_write(struct virtio_pci *transport, uint64_t offset, uint32_t value)
{
    switch (offset) {
    case VIRTIO_PCI_COMMON_DFSELECT:
        transport->offered_select = value;
        break;
    case VIRTIO_PCI_COMMON_GFSELECT:
        transport->accepted_select = value;
        break;
    case VIRTIO_PCI_COMMON_GF:
        features_write(transport, value);
        break;
    case VIRTIO_PCI_COMMON_MSIX:
        transport->config_vector = checked_vector(transport, value);
        break;
    case VIRTIO_PCI_COMMON_STATUS:
        status_write(transport, (uint8_t)value);
        break;
    case VIRTIO_PCI_COMMON_Q_SELECT:
        transport->queue_select = (uint16_t)value;
        break;
    case VIRTIO_PCI_COMMON_Q_MSIX:
        if (selected_queue(transport))
            transport->queue_vectors[transport->queue_select] = checked_vector(transport, value);
        break;
    default:
        queue_write(transport, offset, value);
    }
}

/* How wide each register is (4.1.3.1: a driver uses that width); 0: nothing begins there. */
static unsigned register_size(uint64_t offset)
{
    switch (offset) {
    case VIRTIO_PCI_COMMON_STATUS:
        return 1;
    case VIRTIO_PCI_COMMON_MSIX:
    case VIRTIO_PCI_COMMON_Q_SELECT:
    case VIRTIO_PCI_COMMON_Q_SIZE:
    case VIRTIO_PCI_COMMON_Q_MSIX:
    case VIRTIO_PCI_COMMON_Q_ENABLE:
        return 2;
    case VIRTIO_PCI_COMMON_DFSELECT:
    case VIRTIO_PCI_COMMON_GFSELECT:
    case VIRTIO_PCI_COMMON_GF:
        return 4;
    }
    return offset >= VIRTIO_PCI_COMMON_Q_DESCLO && offset < VIRTIO_COMMON_SIZE && offset % 4 == 0
               ? 4
               : 0;
}

void virtio_common_read(struct virtio_pci *transport, uint64_t offset, void *to, unsigned size)
{
    uint8_t image[VIRTIO_COMMON_SIZE];
    common_image(transport, image);
    memcpy(to, image + offset, size);
}

void virtio_common_write(struct virtio_pci *transport, uint64_t offset, unsigned size,
                         uint64_t value)
{
    if (size == 8 && offset >= VIRTIO_PCI_COMMON_Q_DESCLO && offset % 8 == 0) {
        virtio_common_write(transport, offset, 4, (uint32_t)value);
        virtio_common_write(transport, offset + 4, 4, value >> 32);
    } else if (size == register_size(offset)) {
        register_write(transport, offset, (uint32_t)value);
    }
}
