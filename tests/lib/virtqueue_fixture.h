/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The driver's side of a virtio device, for tests and fuzzers: guest memory, a ring that offers
 * chains and takes them back (Virtual I/O Device 1.1, section 2.6), and a plug instead of a
 * transport that counts what the device tells. Nothing is checked: a test may offer any nonsense.
 */
#ifndef TESTS_VIRTQUEUE_FIXTURE_H
#define TESTS_VIRTQUEUE_FIXTURE_H

#include "base/bytes.h"
#include "hypervisor/virtio/device.h"

#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* One region of RAM, not at 0, so that guest addresses and offsets cannot be mixed up. */
#define DRIVER_RAM_START UINT64_C(0x100000)

struct driver_ram {
    struct guest_memory memory;
    uint8_t *bytes;
    size_t size, taken;
};

static inline void driver_ram_init(struct driver_ram *ram, size_t size)
{
    *ram = (struct driver_ram){.size = size};
    ram->bytes = aligned_alloc(4096, (size + 4095) & ~(size_t)4095);
    if (!ram->bytes)
        abort();
    memset(ram->bytes, 0, size);
    if (guest_memory_add(&ram->memory, DRIVER_RAM_START, size, ram->bytes, NULL) < 0)
        abort();
}

static inline void driver_ram_fini(struct driver_ram *ram)
{
    free(ram->bytes);
    ram->bytes = NULL;
}

/* Room for a buffer: its guest-physical address. */
static inline uint64_t driver_ram_take(struct driver_ram *ram, size_t length, size_t alignment)
{
    size_t offset = (ram->taken + alignment - 1) & ~(alignment - 1);
    if (offset + length > ram->size)
        abort();
    ram->taken = offset + length;
    return DRIVER_RAM_START + offset;
}

static inline uint8_t *driver_ram_at(const struct driver_ram *ram, uint64_t address)
{
    return ram->bytes + (address - DRIVER_RAM_START);
}

struct driver_ring {
    struct driver_ram *ram;
    struct virtqueue_setup setup;
    uint16_t next_available, next_used;
    uint16_t owner[VIRTQUEUE_MAX_SIZE]; /* the head + 1 of the chain a descriptor is in; 0: free */
};

static inline void driver_ring_init(struct driver_ring *ring, struct driver_ram *ram, uint16_t size)
{
    *ring = (struct driver_ring){.ram = ram, .setup.size = size};
    ring->setup.descriptors = driver_ram_take(ram, 16u * size, 16);
    ring->setup.available = driver_ram_take(ram, 6 + 2u * size, 2);
    ring->setup.used = driver_ram_take(ram, 6 + 8u * size, 4);
}

static inline void *driver_available(const struct driver_ring *ring, size_t offset)
{
    return driver_ram_at(ring->ram, ring->setup.available) + offset;
}

static inline void *driver_used(const struct driver_ring *ring, size_t offset)
{
    return driver_ram_at(ring->ram, ring->setup.used) + offset;
}

/* --- chains ---------------------------------------------------------------------------------- */

/* A descriptor as it stands in a table: flags are VRING_DESC_F_*. */
static inline void driver_describe(void *table, unsigned index, uint64_t address, uint32_t length,
                                   uint16_t flags, uint16_t next)
{
    uint8_t *at = (uint8_t *)table + (size_t)16 * index;
    store_le64(at, address);
    store_le32(at + 8, length);
    store_le16(at + 12, flags);
    store_le16(at + 14, next);
}

static inline void driver_ring_describe(const struct driver_ring *ring, unsigned index,
                                        uint64_t address, uint32_t length, uint16_t flags,
                                        uint16_t next)
{
    driver_describe(driver_ram_at(ring->ram, ring->setup.descriptors), index, address, length,
                    flags, next);
}

static inline void driver_ring_set_index(struct driver_ring *ring, uint16_t index)
{
    ring->next_available = index;
    __atomic_store_n((uint16_t *)driver_available(ring, 2), index, __ATOMIC_RELEASE);
}

/* Puts a head into the available ring and publishes it. */
static inline void driver_ring_offer(struct driver_ring *ring, uint16_t head)
{
    uint16_t place = ring->next_available % ring->setup.size;
    store_le16(driver_available(ring, 4 + 2u * place), head);
    driver_ring_set_index(ring, (uint16_t)(ring->next_available + 1));
}

/* A buffer of a chain; parts that the device writes stand after those that it reads. */
struct driver_part {
    uint64_t address;
    uint32_t length;
    bool is_written; /* by the device */
};

static inline uint16_t driver_ring_free(struct driver_ring *ring)
{
    for (uint16_t i = 0; i < ring->setup.size; i++) {
        if (!ring->owner[i])
            return i;
    }
    abort(); /* the test offers more than fits */
}

static inline uint16_t driver_part_flags(const struct driver_part *part, bool is_last)
{
    return (uint16_t)((part->is_written ? VRING_DESC_F_WRITE : 0) |
                      (is_last ? 0 : VRING_DESC_F_NEXT));
}

/* Offers a chain; returns its head. */
static inline uint16_t driver_ring_add(struct driver_ring *ring, const struct driver_part *parts,
                                       size_t count)
{
    uint16_t head = driver_ring_free(ring), index = head;
    for (size_t i = 0; i < count; i++) {
        ring->owner[index] = (uint16_t)(head + 1);
        uint16_t next = i + 1 < count ? driver_ring_free(ring) : 0;
        driver_ring_describe(ring, index, parts[i].address, parts[i].length,
                             driver_part_flags(&parts[i], i + 1 == count), next);
        index = next;
    }
    driver_ring_offer(ring, head);
    return head;
}

/* The same by a table of its own, taken from RAM. */
static inline uint16_t driver_ring_add_indirect(struct driver_ring *ring,
                                                const struct driver_part *parts, size_t count)
{
    uint16_t head = driver_ring_free(ring);
    uint64_t table = driver_ram_take(ring->ram, 16 * count, 16);
    for (size_t i = 0; i < count; i++)
        driver_describe(driver_ram_at(ring->ram, table), (unsigned)i, parts[i].address,
                        parts[i].length, driver_part_flags(&parts[i], i + 1 == count),
                        (uint16_t)(i + 1));
    ring->owner[head] = (uint16_t)(head + 1);
    driver_ring_describe(ring, head, table, (uint32_t)(16 * count), VRING_DESC_F_INDIRECT, 0);
    driver_ring_offer(ring, head);
    return head;
}

/* What the device has done, in its order: false when there is nothing more. */
static inline bool driver_ring_take(struct driver_ring *ring, uint32_t *head, uint32_t *written)
{
    uint16_t index = __atomic_load_n((uint16_t *)driver_used(ring, 2), __ATOMIC_ACQUIRE);
    if (index == ring->next_used)
        return false;
    const uint8_t *entry = driver_used(ring, 4 + 8u * (ring->next_used % ring->setup.size));
    *head = load_le32(entry);
    *written = load_le32(entry + 4);
    ring->next_used++;
    for (size_t i = 0; i < ring->setup.size; i++) {
        if (ring->owner[i] == *head + 1)
            ring->owner[i] = 0;
    }
    return true;
}

/* Waits up to two seconds for a device that works on a thread of its own. */
static inline bool driver_ring_wait(struct driver_ring *ring, uint32_t *head, uint32_t *written)
{
    for (int i = 0; i < 20000; i++) {
        if (driver_ring_take(ring, head, written))
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
    return false;
}

/* VRING_AVAIL_F_NO_INTERRUPT or 0; and with the event index, after which entry to interrupt. */
static inline void driver_ring_set_flags(struct driver_ring *ring, uint16_t flags)
{
    store_le16(driver_available(ring, 0), flags);
}

static inline void driver_ring_set_used_event(struct driver_ring *ring, uint16_t index)
{
    store_le16(driver_available(ring, 4 + 2u * ring->setup.size), index);
}

static inline uint16_t driver_ring_used_flags(const struct driver_ring *ring)
{
    return load_le16(driver_used(ring, 0));
}

static inline uint16_t driver_ring_available_event(const struct driver_ring *ring)
{
    return load_le16(driver_used(ring, 4 + 8u * ring->setup.size));
}

/* --- a plug instead of a transport ----------------------------------------------------------- */

struct driver_plug {
    struct virtio_device *device;
    const struct guest_memory *memory;
    atomic_uint interrupts[VIRTIO_MAX_QUEUES];
    atomic_uint config_changes, resets_needed;
    bool is_started;
};

static inline void driver_plug_interrupt(void *plug, unsigned queue)
{
    ((struct driver_plug *)plug)->interrupts[queue]++;
}

static inline void driver_plug_config_changed(void *plug)
{
    ((struct driver_plug *)plug)->config_changes++;
}

static inline void driver_plug_needs_reset(void *plug)
{
    ((struct driver_plug *)plug)->resets_needed++;
}

static const struct virtio_transport driver_plug_transport = {
    .interrupt = driver_plug_interrupt,
    .config_changed = driver_plug_config_changed,
    .needs_reset = driver_plug_needs_reset,
};

/* The device stays the caller's until driver_unplug, which closes it. */
static inline void driver_plug_in(struct driver_plug *plug, struct virtio_device *device,
                                  const struct guest_memory *memory)
{
    memset(plug, 0, sizeof(*plug));
    plug->device = device;
    plug->memory = memory;
    device->transport = &driver_plug_transport;
    device->plug = plug;
    for (unsigned i = 0; i < device->queue_count; i++) {
        device->kick_fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (device->kick_fds[i] < 0)
            abort();
    }
}

/* DRIVER_OK with these queues (size 0: not enabled), as many as the device has. */
static inline int driver_start(struct driver_plug *plug, const struct driver_ring *rings,
                               uint64_t features, struct error *err)
{
    struct virtio_device *device = plug->device;

    device->features = features | UINT64_C(1) << VIRTIO_F_VERSION_1;
    for (unsigned i = 0; i < device->queue_count; i++) {
        device->queue_is_ready[i] = rings[i].setup.size != 0;
        if (device->queue_is_ready[i] &&
            virtqueue_start(&device->queues[i], plug->memory, &rings[i].setup, device->features,
                            err) < 0)
            return -1;
    }
    if (device->ops->start && device->ops->start(device, err) < 0)
        return -1;
    plug->is_started = true;
    return 0;
}

static inline void driver_stop(struct driver_plug *plug)
{
    if (plug->is_started && plug->device->ops->stop)
        plug->device->ops->stop(plug->device);
    plug->is_started = false;
}

static inline void driver_kick(struct driver_plug *plug, unsigned queue)
{
    if (eventfd_write(plug->device->kick_fds[queue], 1) < 0)
        abort();
}

static inline void driver_unplug(struct driver_plug *plug)
{
    int fds[VIRTIO_MAX_QUEUES];
    unsigned count = plug->device->queue_count;

    driver_stop(plug);
    memcpy(fds, plug->device->kick_fds, sizeof(fds));
    plug->device->ops->close(plug->device);
    for (unsigned i = 0; i < count; i++)
        close(fds[i]);
}

#endif
