/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Any bytes as the memory of a guest with one disk: the first byte says what was negotiated, the
 * rest is RAM with a queue's rings at its start. Requests are handled one after the other, as a
 * worker does; the image is memory and knows what may be asked of it.
 */
#include "base/checked.h"
#include "hypervisor/virtio/blk_request.h"

#include <stdlib.h>
#include <string.h>

#define RAM_BYTES ((size_t)16384)
#define DISK_BYTES ((size_t)65536)
#define QUEUE_SIZE 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t disk_bytes[DISK_BYTES];
static bool is_read_only;
static unsigned flushes;

static void check_range(uint64_t offset, uint64_t length)
{
    if (!range_is_inside(offset, length, DISK_BYTES) || length == 0)
        abort();
}

static int image_read(const struct block_source *source, uint64_t offset, void *buffer,
                      size_t length, struct error *err)
{
    (void)source;
    (void)err;
    check_range(offset, length);
    memcpy(buffer, disk_bytes + offset, length);
    return 0;
}

static int write_bytes(struct image *image, uint64_t offset, const void *from, size_t length,
                       struct error *err)
{
    (void)image;
    (void)err;
    check_range(offset, length);
    if (is_read_only)
        abort();
    memcpy(disk_bytes + offset, from, length);
    return 0;
}

static int write_zeroes(struct image *image, uint64_t offset, uint64_t length, struct error *err)
{
    (void)image;
    (void)err;
    check_range(offset, length);
    if (is_read_only)
        abort();
    memset(disk_bytes + offset, 0, length);
    return 0;
}

/* Every second one fails. */
static int flush(struct image *image, struct error *err)
{
    (void)image;
    return flushes++ % 2 ? error_set(err, 5, "flush") : 0;
}

static const struct block_source_ops source_ops = {.read = image_read};
static const struct image_driver driver = {
    .name = "memory",
    .write = write_bytes,
    .write_zeroes = write_zeroes,
    .flush = flush,
};

static void handle_all(struct blk_disk *disk, struct virtqueue *queue, uint64_t features)
{
    static struct virtqueue_chain chain;
    struct error err;

    /* There are no more than the queue has, for nobody offers new ones. */
    for (unsigned i = 0; virtqueue_pop(queue, &chain, &err) == 1; i++) {
        struct blk_request request;
        uint32_t written;

        if (i >= QUEUE_SIZE)
            abort();
        if (!blk_request_decode(&request, &chain))
            return;
        written = blk_request_run(disk, &request, features, NULL);
        if (written > chain.write_bytes || written == 0)
            abort();
        virtqueue_push(queue, &chain, written);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct virtqueue_setup setup = {
        .size = QUEUE_SIZE, .descriptors = 0, .available = 256, .used = 512};
    static char path[] = "memory";
    struct image image = {
        .source = {.ops = &source_ops, .size_bytes = DISK_BYTES},
        .driver = &driver,
        .path = path,
        .is_writable = true,
    };
    struct guest_memory memory = {0};
    struct virtqueue queue;
    uint64_t features;
    uint8_t *ram;

    if (size == 0 || size > RAM_BYTES)
        return 0;
    flushes = 0;
    is_read_only = data[0] & 1;
    features = (uint64_t)(data[0] >> 1 & 1) << VIRTIO_BLK_F_FLUSH |
               (uint64_t)(data[0] >> 2 & 1) << VIRTIO_BLK_F_DISCARD |
               (uint64_t)(data[0] >> 2 & 1) << VIRTIO_BLK_F_WRITE_ZEROES |
               (uint64_t)(data[0] >> 3 & 1) << VIRTIO_F_INDIRECT_DESC |
               (uint64_t)(data[0] >> 4 & 1) << VIRTIO_F_EVENT_IDX;
    ram = calloc(1, RAM_BYTES);
    if (!ram)
        abort();
    memcpy(ram, data + 1, size - 1);
    guest_memory_add(&memory, 0, RAM_BYTES, ram, NULL);
    struct blk_disk disk = {
        .image = &image,
        .sectors = DISK_BYTES / BLK_SECTOR,
        .granule_bytes = 4096,
        .is_read_only = is_read_only,
        .serial = "serial",
    };
    if (virtqueue_start(&queue, &memory, &setup, features, NULL) == 0)
        handle_all(&disk, &queue, features);
    free(ram);
    return 0;
}
