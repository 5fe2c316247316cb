/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The device's side of a split virtqueue (Virtual I/O Device 1.1, section 2.6): the only code that
 * touches rings. Pure over guest memory. One thread uses a queue at a time.
 *
 * A driver is hostile and writes while we read: every descriptor is copied once, a chain has at
 * most `size` descriptors however they are linked, tables of descriptors do not nest, what the
 * device reads stands before what it writes, and every segment lies in one region of RAM. What
 * breaks a rule breaks the queue for good: the device asks for a reset.
 */
#ifndef HYPERVISOR_VIRTIO_QUEUE_H
#define HYPERVISOR_VIRTIO_QUEUE_H

#include "base/error.h"
#include "hypervisor/memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIRTQUEUE_MAX_SIZE 256

#define VIRTIO_F_INDIRECT_DESC 28
#define VIRTIO_F_EVENT_IDX 29
#define VIRTIO_F_VERSION_1 32

/* What the driver wrote before it enabled the queue; copied at start and never looked at again. */
struct virtqueue_setup {
    uint16_t size;                         /* a power of two, at most VIRTQUEUE_MAX_SIZE */
    uint64_t descriptors, available, used; /* guest-physical */
};

struct virtqueue {
    const struct guest_memory *memory;
    uint16_t size;
    const uint8_t *descriptors; /* host pointers, checked at start */
    const uint8_t *available;
    uint8_t *used;
    uint16_t next_available, next_used;
    uint16_t told_used; /* next_used when the driver was last interrupted */
    bool has_event_index, has_indirect;
    bool is_broken;
};

struct virtqueue_segment {
    uint8_t *data; /* guest memory */
    uint32_t length;
};

/* segments[0 .. read_count) are for the device to read, the rest for it to write. */
struct virtqueue_chain {
    uint16_t head;
    unsigned read_count, write_count;
    uint64_t read_bytes, write_bytes; /* sums; no chain has more than 4 GiB - 1 of either */
    struct virtqueue_segment segments[VIRTQUEUE_MAX_SIZE];
};

/* `features` as negotiated. EINVAL: a size or an address that cannot be. */
int virtqueue_start(struct virtqueue *queue, const struct guest_memory *memory,
                    const struct virtqueue_setup *setup, uint64_t features, struct error *err);

/* 1: a chain; 0: none now; -1: broken (EPROTO), now and ever after. */
int virtqueue_pop(struct virtqueue *queue, struct virtqueue_chain *chain, struct error *err);

/* Gives the last popped chain back unread, for later: net, when it does not fit. */
void virtqueue_unpop(struct virtqueue *queue);

/* The chain is done; `written` bytes were written into it. */
void virtqueue_push(struct virtqueue *queue, const struct virtqueue_chain *chain, uint32_t written);

/* Several chains, of which the driver sees all or none: a frame over several buffers of net's. */
struct virtqueue_done {
    uint16_t head;
    uint32_t written;
};
void virtqueue_push_all(struct virtqueue *queue, const struct virtqueue_done *done, unsigned count);

/* After pushes: whether the driver wants an interrupt now (flags or event index; full barrier). */
bool virtqueue_should_interrupt(struct virtqueue *queue);

/*
 * Before sleeping: asks the driver to kick. True when something came meanwhile: pop again instead
 * of sleeping. virtqueue_quiet: no kicks needed while the device works anyway.
 */
bool virtqueue_want_kicks(struct virtqueue *queue);
void virtqueue_quiet(struct virtqueue *queue);

/* Copies out of the readable or into the writable bytes of a chain, at an offset into them. Returns
 * how many were there to copy, at most `length`. */
size_t virtqueue_chain_read(const struct virtqueue_chain *chain, uint64_t offset, void *to,
                            size_t length);
size_t virtqueue_chain_write(const struct virtqueue_chain *chain, uint64_t offset, const void *from,
                             size_t length);

#endif
