/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Split virtqueues. What the driver may change at any time is read exactly once, into locals, and
 * only these are judged and used; what does not change after the start is in host memory.
 */
#include "hypervisor/virtio/queue.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Section 2.6.5: a descriptor, and its flags. */
struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};
#define DESCRIPTOR_SIZE 16
#define DESCRIPTOR_NEXT 1
#define DESCRIPTOR_WRITE 2
#define DESCRIPTOR_INDIRECT 4

#define AVAILABLE_NO_INTERRUPT 1
#define USED_NO_NOTIFY 1

/* Both rings begin with flags and an index, two bytes each; an event index stands at their ends. */
#define RING_INDEX 2
#define RING_ENTRIES 4
#define AVAILABLE_ENTRY 2
#define USED_ENTRY 8

static inline uint16_t load_shared(const uint8_t *from)
{
    return le16toh(__atomic_load_n((const uint16_t *)(const void *)from, __ATOMIC_RELAXED));
}

static inline void store_shared(uint8_t *to, uint16_t value)
{
    __atomic_store_n((uint16_t *)(void *)to, htole16(value), __ATOMIC_RELAXED);
}

/* With acquire: what stands in the ring up to this index is read after it. */
static inline uint16_t available_index(const struct virtqueue *queue)
{
    const void *at = queue->available + RING_INDEX;
    return le16toh(__atomic_load_n((const uint16_t *)at, __ATOMIC_ACQUIRE));
}

static void *ring_at(const struct guest_memory *memory, uint64_t address, uint64_t length,
                     uint64_t alignment)
{
    return address % alignment == 0 ? guest_memory_at(memory, address, length) : NULL;
}

int virtqueue_start(struct virtqueue *queue, const struct guest_memory *memory,
                    const struct virtqueue_setup *setup, uint64_t features, struct error *err)
{
    uint64_t size = setup->size;
    if (!is_power_of_two(size) || size > VIRTQUEUE_MAX_SIZE)
        return error_set(err, EINVAL, "a queue of %u descriptors", setup->size);
    *queue = (struct virtqueue){
        .memory = memory,
        .size = setup->size,
        .descriptors = ring_at(memory, setup->descriptors, DESCRIPTOR_SIZE * size, 16),
        .available =
            ring_at(memory, setup->available, RING_ENTRIES + AVAILABLE_ENTRY * size + 2, 2),
        .used = ring_at(memory, setup->used, RING_ENTRIES + USED_ENTRY * size + 2, 4),
        .has_event_index = features >> VIRTIO_F_EVENT_IDX & 1,
        .has_indirect = features >> VIRTIO_F_INDIRECT_DESC & 1,
    };
    if (queue->descriptors && queue->available && queue->used)
        return 0;
    return error_set(err, EINVAL,
                     "a queue's rings at 0x%" PRIx64 ", 0x%" PRIx64 " and 0x%" PRIx64
                     " are not in memory, or not aligned",
                     setup->descriptors, setup->available, setup->used);
}

/* --- chains ---------------------------------------------------------------------------------- */

/* Where a chain is being read: the queue's own table, or one of guest memory. */
struct walk {
    const struct guest_memory *memory;
    const uint8_t *table;
    uint32_t entries;
    unsigned steps, limit; /* descriptors seen, and at most */
    bool may_be_indirect;
};

static void descriptor_copy(struct descriptor *descriptor, const uint8_t *from)
{
    uint8_t bytes[DESCRIPTOR_SIZE];
    memcpy(bytes, from, sizeof(bytes));
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* the compiler may not read guest memory again */
    *descriptor = (struct descriptor){load_le64(bytes), load_le32(bytes + 8), load_le16(bytes + 12),
                                      load_le16(bytes + 14)};
}

static const char *descriptor_read(struct walk *walk, uint16_t index, struct descriptor *descriptor)
{
    if (index >= walk->entries)
        return "a descriptor's number is beyond its table";
    if (walk->steps++ >= walk->limit)
        return "a chain is a loop, or longer than the queue";
    descriptor_copy(descriptor, walk->table + (size_t)index * DESCRIPTOR_SIZE);
    return NULL;
}

/* Goes on in the table that a descriptor stands for; that one itself is no part of the chain. */
static const char *enter_table(struct walk *walk, struct descriptor *descriptor)
{
    if (!walk->may_be_indirect)
        return "an indirect table that may not be here";
    if (descriptor->flags & DESCRIPTOR_NEXT)
        return "an indirect table with a next descriptor";
    if (descriptor->length == 0 || descriptor->length % DESCRIPTOR_SIZE)
        return "an indirect table's length is no multiple of 16";
    walk->table = guest_memory_at(walk->memory, descriptor->address, descriptor->length);
    if (!walk->table)
        return "an indirect table is not in memory";
    walk->entries = descriptor->length / DESCRIPTOR_SIZE;
    walk->may_be_indirect = false;
    walk->steps--;
    return descriptor_read(walk, 0, descriptor);
}

static const char *chain_append(struct virtqueue_chain *chain, const struct guest_memory *memory,
                                const struct descriptor *descriptor)
{
    bool is_written = descriptor->flags & DESCRIPTOR_WRITE;
    uint64_t *bytes = is_written ? &chain->write_bytes : &chain->read_bytes;
    unsigned count = chain->read_count + chain->write_count;

    if (descriptor->flags & DESCRIPTOR_INDIRECT)
        return "an indirect table inside of another";
    if (descriptor->length == 0)
        return "a descriptor of no bytes";
    if (!is_written && chain->write_count)
        return "a descriptor to read after one to write";
    uint8_t *data = guest_memory_at(memory, descriptor->address, descriptor->length);
    if (!data)
        return "a descriptor is not in memory";
    *bytes += descriptor->length;
    if (*bytes > UINT32_MAX)
        return "a chain of 4 GiB or more";
    chain->segments[count] = (struct virtqueue_segment){data, descriptor->length};
    if (is_written)
        chain->write_count++;
    else
        chain->read_count++;
    return NULL;
}

/* Each step is one of at most `size`, so segments[] cannot overflow. */
static const char *chain_read_all(struct virtqueue *queue, struct virtqueue_chain *chain)
{
    struct walk walk = {.memory = queue->memory,
                        .table = queue->descriptors,
                        .entries = queue->size,
                        .limit = queue->size,
                        .may_be_indirect = queue->has_indirect};
    struct descriptor descriptor = {.flags = DESCRIPTOR_NEXT, .next = chain->head};
    const char *fault = NULL;

    while (!fault && descriptor.flags & DESCRIPTOR_NEXT) {
        fault = descriptor_read(&walk, descriptor.next, &descriptor);
        if (!fault && descriptor.flags & DESCRIPTOR_INDIRECT)
            fault = enter_table(&walk, &descriptor);
        if (!fault)
            fault = chain_append(chain, queue->memory, &descriptor);
    }
    return fault;
}

static int broken(struct virtqueue *queue, const char *fault, struct error *err)
{
    queue->is_broken = true;
    return error_set(err, EPROTO, "%s", fault);
}

int virtqueue_pop(struct virtqueue *queue, struct virtqueue_chain *chain, struct error *err)
{
    if (queue->is_broken)
        return broken(queue, "the queue is broken", err);
    uint16_t waiting = (uint16_t)(available_index(queue) - queue->next_available);
    if (waiting == 0)
        return 0;
    if (waiting > queue->size)
        return broken(queue, "the available index jumped", err);
    chain->head = load_shared(queue->available + RING_ENTRIES +
                              AVAILABLE_ENTRY * (queue->next_available % queue->size));
    chain->read_count = chain->write_count = 0;
    chain->read_bytes = chain->write_bytes = 0;
    const char *fault = chain_read_all(queue, chain);
    if (fault)
        return broken(queue, fault, err);
    queue->next_available++;
    return 1;
}

void virtqueue_unpop(struct virtqueue *queue)
{
    queue->next_available--;
}

void virtqueue_push(struct virtqueue *queue, const struct virtqueue_chain *chain, uint32_t written)
{
    struct virtqueue_done done = {chain->head, written};
    virtqueue_push_all(queue, &done, 1);
}

void virtqueue_push_all(struct virtqueue *queue, const struct virtqueue_done *done, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint8_t *entry = queue->used + RING_ENTRIES + USED_ENTRY * (queue->next_used % queue->size);
        store_le32(entry, done[i].head);
        store_le32(entry + 4, done[i].written);
        queue->next_used++;
        /* 65536 pushes without asking for an interrupt are not none: forget the oldest */
        if (queue->next_used == queue->told_used)
            queue->told_used++;
    }
    __atomic_store_n((uint16_t *)(void *)(queue->used + RING_INDEX), htole16(queue->next_used),
                     __ATOMIC_RELEASE);
}

/* --- interrupts and kicks --------------------------------------------------------------------- */

bool virtqueue_should_interrupt(struct virtqueue *queue)
{
    uint16_t used = queue->next_used, pushed = (uint16_t)(used - queue->told_used);
    if (pushed == 0)
        return false;
    queue->told_used = used;
    /* the driver writes its wish, then looks at the used index; we vice versa */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!queue->has_event_index)
        return !(load_shared(queue->available) & AVAILABLE_NO_INTERRUPT);
    uint16_t event = load_shared(queue->available + RING_ENTRIES + AVAILABLE_ENTRY * queue->size);
    return (uint16_t)(used - event - 1) < pushed;
}

bool virtqueue_want_kicks(struct virtqueue *queue)
{
    if (queue->is_broken)
        return false;
    if (queue->has_event_index)
        store_shared(queue->used + RING_ENTRIES + USED_ENTRY * queue->size, queue->next_available);
    else
        store_shared(queue->used, 0);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return available_index(queue) != queue->next_available;
}

void virtqueue_quiet(struct virtqueue *queue)
{
    /* with the event index nothing is to do: the driver does not cross it again */
    if (!queue->has_event_index)
        store_shared(queue->used, USED_NO_NOTIFY);
}

/* --- copies ---------------------------------------------------------------------------------- */

/* Out of the segments, or into them: one of `to` and `from` is NULL. */
static size_t chain_copy(const struct virtqueue_segment *segments, unsigned count, uint64_t offset,
                         uint8_t *to, const uint8_t *from, size_t length)
{
    size_t done = 0;
    for (unsigned i = 0; i < count && done < length; i++) {
        if (offset >= segments[i].length) {
            offset -= segments[i].length;
            continue;
        }
        size_t part = (size_t)min_u64(segments[i].length - offset, length - done);
        if (to)
            memcpy(to + done, segments[i].data + offset, part);
        else
            memcpy(segments[i].data + offset, from + done, part);
        done += part;
        offset = 0;
    }
    return done;
}

size_t virtqueue_chain_read(const struct virtqueue_chain *chain, uint64_t offset, void *to,
                            size_t length)
{
    return chain_copy(chain->segments, chain->read_count, offset, to, NULL, length);
}

size_t virtqueue_chain_write(const struct virtqueue_chain *chain, uint64_t offset, const void *from,
                             size_t length)
{
    return chain_copy(chain->segments + chain->read_count, chain->write_count, offset, NULL, from,
                      length);
}
