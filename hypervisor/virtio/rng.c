/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * virtio-rng: this system's random bytes, at a rate that is no load on it.
 */
#include "base/checked.h"
#include "hypervisor/virtio/small.h"
#include "hypervisor/virtio/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#define BYTES_PER_SECOND (UINT64_C(1) << 20)
#define CHAIN_BYTES 16384 /* of one chain: what is longer gets less than it asked for */

struct rng {
    struct virtio_worker worker;
    struct throttle throttle;
    struct virtqueue_chain chain;
};

static struct rng *rng_of(struct virtio_device *device)
{
    return (struct rng *)device;
}

static uint32_t fill(const struct virtqueue_chain *chain)
{
    uint32_t filled = 0;
    for (unsigned i = 0; i < chain->write_count && filled < CHAIN_BYTES; i++) {
        const struct virtqueue_segment *segment = &chain->segments[chain->read_count + i];
        size_t piece = (size_t)min_u64(segment->length, CHAIN_BYTES - filled);
        ssize_t got = getrandom(segment->data, piece, 0);
        if (got > 0)
            filled += (uint32_t)got;
        if (got < (ssize_t)piece)
            break;
    }
    return filled;
}

static bool serve(struct virtio_worker *worker, unsigned queue)
{
    struct rng *rng = (struct rng *)worker;
    if (!virtio_worker_may(worker, queue, &rng->throttle) ||
        virtio_worker_pop(worker, queue, &rng->chain) <= 0)
        return false;
    uint32_t filled = fill(&rng->chain);
    virtqueue_push(&worker->device.queues[queue], &rng->chain, filled);
    throttle_take(&rng->throttle, filled, 0, virtio_worker_now_ns());
    return true;
}

static void rng_work(struct virtio_device *device, unsigned queue)
{
    virtio_worker_drain(&rng_of(device)->worker, queue, serve);
}

static void rng_close(struct virtio_device *device)
{
    struct rng *rng = rng_of(device);
    virtio_worker_fini(&rng->worker);
    throttle_fini(&rng->throttle);
    free(rng);
}

static const struct virtio_device_ops rng_ops = {
    .name = "virtio-rng",
    .type = VIRTIO_RNG,
    .pci_class = 0x00, /* not in a class, as QEMU's */
    .pci_subclass = 0xff,
    .start = virtio_worker_start,
    .stop = virtio_worker_stop,
    .pause = virtio_worker_pause,
    .resume = virtio_worker_resume,
    .close = rng_close,
};

struct virtio_device *virtio_rng_new(struct loop *loop, struct error *err)
{
    struct throttle_rates rates = {.bytes_per_second = BYTES_PER_SECOND};
    struct rng *rng = calloc(1, sizeof(*rng));
    if (!rng) {
        error_set(err, ENOMEM, "a source of random bytes");
        return NULL;
    }
    rng->worker.device =
        (struct virtio_device){.ops = &rng_ops, .queue_count = 1, .queue_size = 64};
    rng->worker.work = rng_work;
    throttle_init(&rng->throttle, &rates, virtio_worker_now_ns());
    if (virtio_worker_init(&rng->worker, loop, true, err) == 0)
        return &rng->worker.device;
    rng_close(&rng->worker.device);
    return NULL;
}
