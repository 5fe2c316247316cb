/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The input is memory that a driver wrote: a setup, then the bytes of 64 KiB of guest memory, rings
 * included. Chains are popped, copied and pushed as a device does; each must lie in memory.
 */
#include "tests/lib/virtqueue_fixture.h"

#define RAM_SIZE ((size_t)1 << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct virtqueue *queue, const struct virtqueue_chain *chain,
                  const struct driver_ram *ram)
{
    unsigned count = chain->read_count + chain->write_count;
    uint64_t sum = 0;

    if (count == 0 || count > queue->size || chain->head >= queue->size)
        abort();
    for (unsigned i = 0; i < count; i++) {
        const struct virtqueue_segment *segment = &chain->segments[i];
        size_t offset = (size_t)(segment->data - ram->bytes);
        if (segment->length == 0 || offset > ram->size || segment->length > ram->size - offset)
            abort();
        sum += segment->length;
    }
    if (sum != chain->read_bytes + chain->write_bytes || chain->read_bytes > UINT32_MAX ||
        chain->write_bytes > UINT32_MAX)
        abort();
}

static void use(struct virtqueue *queue, const struct driver_ram *ram)
{
    struct virtqueue_chain chain;
    uint8_t buffer[300];

    for (int i = 0; i < 64 && virtqueue_pop(queue, &chain, NULL) > 0; i++) {
        check(queue, &chain, ram);
        if (i == 3) {
            virtqueue_unpop(queue);
            continue;
        }
        size_t length = virtqueue_chain_read(&chain, (uint64_t)i * 7, buffer, sizeof(buffer));
        virtqueue_chain_write(&chain, (uint64_t)i * 5, buffer, length);
        virtqueue_push(queue, &chain, (uint32_t)length);
        virtqueue_should_interrupt(queue);
        if (!virtqueue_want_kicks(queue))
            virtqueue_quiet(queue);
    }
    if (queue->is_broken && virtqueue_pop(queue, &chain, NULL) >= 0)
        abort();
}

/* size, features, where the rings are: 2, 1, 3 * 2 bytes; then memory. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct driver_ram ram;
    struct virtqueue queue;

    if (size < 9)
        return 0;
    const struct virtqueue_setup setup = {.size = load_le16(data),
                                          .descriptors = DRIVER_RAM_START + load_le16(data + 3),
                                          .available = DRIVER_RAM_START + load_le16(data + 5),
                                          .used = DRIVER_RAM_START + load_le16(data + 7)};
    driver_ram_init(&ram, RAM_SIZE);
    memcpy(ram.bytes, data + 9, size - 9 < RAM_SIZE ? size - 9 : RAM_SIZE);
    if (virtqueue_start(&queue, &ram.memory, &setup, (uint64_t)data[2] << 28, NULL) == 0)
        use(&queue, &ram);
    driver_ram_fini(&ram);
    return 0;
}
