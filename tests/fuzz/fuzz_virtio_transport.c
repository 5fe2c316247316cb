/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The input is what a driver does to virtio over PCI: accesses of 8 bytes each to its registers,
 * its MSI-X table, its configuration space and to the rings in guest memory. A device beneath works
 * on its queues whenever it is kicked; start and stop must alternate.
 */
#include "hypervisor/virtio/transport.h"
#include "tests/lib/host_fixture.h"

#include <linux/pci_regs.h>

#define SLOT 1
#define STEP_SIZE 8
#define BAR_AT UINT64_C(0xe0000000)
#define TABLE_AT UINT64_C(0xe0100000)
#define RAM_SIZE 16384

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct echo {
    struct virtio_device device;
    bool is_started;
    uint8_t config[32];
};

static void echo_read_config(struct virtio_device *device, uint32_t offset, void *to,
                             uint32_t length)
{
    if (offset > 256 || length > 256 - offset)
        abort();
    memset(to, (int)((struct echo *)device)->config[offset % 32], length);
}

static void echo_write_config(struct virtio_device *device, uint32_t offset, const void *from,
                              uint32_t length)
{
    if (offset > 256 || length > 256 - offset)
        abort();
    ((struct echo *)device)->config[offset % 32] = *(const uint8_t *)from;
}

static int echo_start(struct virtio_device *device, struct error *err)
{
    struct echo *echo = (struct echo *)device;
    if (echo->is_started || !virtio_has(device, VIRTIO_F_VERSION_1))
        abort();
    if (echo->config[0] == 0xff)
        return error_set(err, 0, "as the driver wished");
    echo->is_started = true;
    return 0;
}

static void echo_stop(struct virtio_device *device)
{
    struct echo *echo = (struct echo *)device;
    if (!echo->is_started)
        abort();
    echo->is_started = false;
}

static void echo_close(struct virtio_device *device)
{
    if (((struct echo *)device)->is_started)
        abort();
    free(device);
}

static const struct virtio_device_ops echo_ops = {.name = "echo",
                                                  .type = VIRTIO_RNG,
                                                  .read_config = echo_read_config,
                                                  .write_config = echo_write_config,
                                                  .start = echo_start,
                                                  .stop = echo_stop,
                                                  .close = echo_close};

static void serve(struct virtio_device *device, unsigned index)
{
    struct virtqueue *queue = &device->queues[index];
    struct virtqueue_chain chain;
    uint8_t buffer[64];
    int result = 0;

    for (int i = 0; i < 32 && (result = virtqueue_pop(queue, &chain, NULL)) > 0; i++) {
        size_t length = virtqueue_chain_read(&chain, 0, buffer, sizeof(buffer));
        virtqueue_push(queue, &chain, (uint32_t)virtqueue_chain_write(&chain, 0, buffer, length));
    }
    if (virtqueue_should_interrupt(queue))
        virtio_interrupt(device, index);
    if (result < 0)
        device->transport->needs_reset(device->plug);
}

static void serve_kicked(struct echo *echo)
{
    eventfd_t count;
    for (unsigned i = 0; i < echo->device.queue_count; i++) {
        if (eventfd_read(echo->device.kick_fds[i], &count) == 0 && echo->is_started &&
            echo->device.queue_is_ready[i])
            serve(&echo->device, i);
    }
}

static struct echo *echo_new(void)
{
    struct echo *echo = calloc(1, sizeof(*echo));
    if (!echo)
        abort();
    echo->device.ops = &echo_ops;
    echo->device.offered = 0x27;
    echo->device.queue_count = 3;
    echo->device.queue_size = 8;
    return echo;
}

/* [0]: which of five, and the width; [1], [2]: where; [4..8): the value. */
static void step(struct host_fixture *host, const uint8_t *at)
{
    unsigned size = 1u << (at[0] >> 4 & 3), offset = load_le16(at + 1);
    uint32_t value = load_le32(at + 4);

    switch (at[0] & 7) {
    case 0:
        bus_read(&host->memory_bus, BAR_AT + offset % 0x4000, size);
        break;
    case 1:
        bus_write(&host->memory_bus, BAR_AT + offset % 64, size, value);
        break;
    case 2:
        bus_write(&host->memory_bus, BAR_AT + offset % 0x4000, size, value);
        break;
    case 3:
        bus_write(&host->memory_bus, TABLE_AT + offset % 0x1000, size, value);
        break;
    case 4:
        host_config_write(host, SLOT, offset & 0xff, size, value);
        break;
    case 5:
        host_config_read(host, SLOT, offset & 0xff, size);
        break;
    default:
        store_le32(host->ram.bytes + offset % (RAM_SIZE - 4), value);
    }
}

static void map_bars(struct host_fixture *host)
{
    host_config_write(host, SLOT, PCI_BASE_ADDRESS_4, 4, BAR_AT);
    host_config_write(host, SLOT, PCI_BASE_ADDRESS_1, 4, TABLE_AT);
    host_config_write(host, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct host_fixture host;
    struct echo *echo = echo_new();

    host_init(&host, RAM_SIZE);
    struct pci *pci = pci_new(&host.host, NULL);
    struct virtio_pci *transport = virtio_pci_new(pci, SLOT, &host.host, NULL, &echo->device, NULL);
    if (!transport)
        abort();
    map_bars(&host);
    for (; size >= STEP_SIZE; data += STEP_SIZE, size -= STEP_SIZE) {
        step(&host, data);
        serve_kicked(echo);
    }
    virtio_pci_device(transport)->ops->close(virtio_pci_device(transport));
    pci_free(pci);
    host_fini(&host);
    return 0;
}
