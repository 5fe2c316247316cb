/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * virtio-balloon: the driver names pages that it does without, and this system gets their memory
 * back. A page that it uses all the same is there again, with zeroes: its own loss. How full the
 * balloon is the driver says itself, and only it is told something by that.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "hypervisor/virtio/small.h"
#include "hypervisor/virtio/worker.h"

#include <errno.h>
#include <linux/virtio_balloon.h>
#include <stdlib.h>
#include <sys/mman.h>

#define INFLATE 0
#define DEFLATE 1
#define PAGE_SIZE ((uint64_t)1 << VIRTIO_BALLOON_PFN_SHIFT)
#define NUMBER_SIZE 4
#define CHAIN_PAGES 4096 /* of one chain are looked at; Linux names 256 */
#define PIECE_PAGES 256

struct balloon {
    struct virtio_worker worker;
    struct virtqueue_chain chain;
    uint32_t target_pages, actual_pages;
};

static struct balloon *balloon_of(struct virtio_device *device)
{
    return (struct balloon *)device;
}

/* Pages side by side are given back together: drivers name them in rising or falling order. */
struct run {
    uint8_t *start;
    size_t length;
};

static void run_end(struct run *run)
{
    if (run->length > 0)
        madvise(run->start, run->length, MADV_DONTNEED);
    run->length = 0;
}

static void run_add(struct run *run, uint8_t *page)
{
    bool is_after = run->length > 0 && page == run->start + run->length;
    bool is_before = run->length > 0 && page + PAGE_SIZE == run->start;
    if (!is_after && !is_before)
        run_end(run);
    if (!is_after)
        run->start = page;
    run->length += PAGE_SIZE;
}

static void give_back(const struct guest_memory *memory, const struct virtqueue_chain *chain)
{
    uint8_t numbers[PIECE_PAGES * NUMBER_SIZE];
    struct run run = {0};
    size_t got = sizeof(numbers);
    for (uint64_t at = 0; at < CHAIN_PAGES * NUMBER_SIZE && got == sizeof(numbers); at += got) {
        got = virtqueue_chain_read(chain, at, numbers, sizeof(numbers));
        for (size_t i = 0; i + NUMBER_SIZE <= got; i += NUMBER_SIZE) {
            uint64_t address = (uint64_t)load_le32(numbers + i) << VIRTIO_BALLOON_PFN_SHIFT;
            uint8_t *page = guest_memory_at(memory, address, PAGE_SIZE);
            if (page)
                run_add(&run, page);
        }
    }
    run_end(&run);
}

static bool serve(struct virtio_worker *worker, unsigned queue)
{
    struct balloon *balloon = (struct balloon *)worker;
    struct virtqueue *ring = &worker->device.queues[queue];
    if (virtio_worker_pop(worker, queue, &balloon->chain) <= 0)
        return false;
    if (queue == INFLATE)
        give_back(ring->memory, &balloon->chain);
    virtqueue_push(ring, &balloon->chain, 0);
    return true;
}

static void balloon_work(struct virtio_device *device, unsigned queue)
{
    virtio_worker_drain(&balloon_of(device)->worker, queue, serve);
}

static void balloon_read_config(struct virtio_device *device, uint32_t offset, void *to,
                                uint32_t length)
{
    struct balloon *balloon = balloon_of(device);
    uint8_t config[2 * NUMBER_SIZE];
    pthread_mutex_lock(&balloon->worker.lock);
    store_le32(config, balloon->target_pages);
    store_le32(config + NUMBER_SIZE, balloon->actual_pages);
    pthread_mutex_unlock(&balloon->worker.lock);
    memset(to, 0, length);
    if (offset < sizeof(config))
        memcpy(to, config + offset, (size_t)min_u64(length, sizeof(config) - offset));
}

/* The driver writes how much it gave up, as a whole. */
static void balloon_write_config(struct virtio_device *device, uint32_t offset, const void *from,
                                 uint32_t length)
{
    struct balloon *balloon = balloon_of(device);
    if (offset != NUMBER_SIZE || length != NUMBER_SIZE)
        return;
    pthread_mutex_lock(&balloon->worker.lock);
    balloon->actual_pages = load_le32(from);
    pthread_mutex_unlock(&balloon->worker.lock);
}

static int balloon_start(struct virtio_device *device, struct error *err)
{
    struct balloon *balloon = balloon_of(device);
    pthread_mutex_lock(&balloon->worker.lock);
    balloon->actual_pages = 0; /* a reset gave all pages back to the guest */
    pthread_mutex_unlock(&balloon->worker.lock);
    return virtio_worker_start(device, err);
}

static void balloon_close(struct virtio_device *device)
{
    struct balloon *balloon = balloon_of(device);
    virtio_worker_fini(&balloon->worker);
    free(balloon);
}

static const struct virtio_device_ops balloon_ops = {
    .name = "virtio-balloon",
    .type = VIRTIO_BALLOON,
    .pci_class = 0x00, /* not in a class, as QEMU's */
    .pci_subclass = 0xff,
    .read_config = balloon_read_config,
    .write_config = balloon_write_config,
    .start = balloon_start,
    .stop = virtio_worker_stop,
    .pause = virtio_worker_pause,
    .resume = virtio_worker_resume,
    .close = balloon_close,
};

struct virtio_device *virtio_balloon_new(struct loop *loop, struct error *err)
{
    struct balloon *balloon = calloc(1, sizeof(*balloon));
    if (!balloon) {
        error_set(err, ENOMEM, "a balloon");
        return NULL;
    }
    balloon->worker.device = (struct virtio_device){
        .ops = &balloon_ops,
        .offered = UINT64_C(1) << VIRTIO_BALLOON_F_DEFLATE_ON_OOM,
        .queue_count = 2,
        .queue_size = 128,
    };
    balloon->worker.work = balloon_work;
    if (virtio_worker_init(&balloon->worker, loop, false, err) == 0)
        return &balloon->worker.device;
    balloon_close(&balloon->worker.device);
    return NULL;
}

void virtio_balloon_set(struct virtio_device *device, uint64_t target_bytes)
{
    struct balloon *balloon = balloon_of(device);
    pthread_mutex_lock(&balloon->worker.lock);
    balloon->target_pages = (uint32_t)min_u64(target_bytes / PAGE_SIZE, UINT32_MAX);
    if (balloon->worker.is_started)
        device->transport->config_changed(device->plug);
    pthread_mutex_unlock(&balloon->worker.lock);
}

uint64_t virtio_balloon_get(struct virtio_device *device)
{
    struct balloon *balloon = balloon_of(device);
    pthread_mutex_lock(&balloon->worker.lock);
    uint64_t bytes = balloon->actual_pages * PAGE_SIZE;
    pthread_mutex_unlock(&balloon->worker.lock);
    return bytes;
}
