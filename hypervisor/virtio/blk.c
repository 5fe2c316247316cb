/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The virtio disk as a device: its features and configuration, and a worker thread for each queue.
 * Workers are made with the device, before the sandbox closes, and rest until the driver is ready.
 * One handles a request at a time, so resting means that nothing is in flight.
 */
#include "hypervisor/virtio/blk.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/clock.h"
#include "hypervisor/sandbox.h"
#include "hypervisor/virtio/blk_request.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define QUEUE_SIZE VIRTQUEUE_MAX_SIZE
#define MIN_GRANULE 4096u

/* A limit that is changed takes effect after this time at the latest. */
#define LONGEST_WAIT_NS INT64_C(100000000)

/* The driver hears of what is done when the queue is empty, or after so much. */
#define BATCH_REQUESTS 16u
#define BATCH_BYTES ((uint64_t)256 << 10)

struct worker {
    struct blk *blk;
    unsigned index;
    pthread_t thread;
    int wake_fd; /* eventfd: look at must_rest */
    _Atomic bool must_rest;
    bool is_started, is_resting; /* blk's lock */

    /* The thread's own. */
    unsigned unheard; /* requests done since the driver was told */
    uint64_t unheard_bytes;
    struct virtqueue_chain chain;
};

struct blk {
    struct virtio_device device;
    struct blk_disk disk;
    struct throttle *throttle; /* borrowed, may be NULL */
    struct virtio_blk_config config;

    pthread_mutex_t lock; /* not held while a worker works */
    pthread_cond_t changed;
    bool is_paused, is_ending;
    _Atomic bool has_complained;
    _Atomic bool must_stop; /* requests are given up instead of finished */
    unsigned worker_count;
    struct worker *workers;
};

static struct blk *blk_of(struct virtio_device *device)
{
    return (struct blk *)((char *)device - offsetof(struct blk, device));
}

/* --- a worker at work ------------------------------------------------------------------------ */

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static bool has_to_rest(struct worker *worker)
{
    return atomic_load_explicit(&worker->must_rest, memory_order_acquire);
}

static void tell_driver(struct worker *worker)
{
    struct virtio_device *device = &worker->blk->device;

    if (worker->unheard && virtqueue_should_interrupt(&device->queues[worker->index]))
        virtio_interrupt(device, worker->index);
    worker->unheard = 0;
    worker->unheard_bytes = 0;
}

/* Until a kick, if kicks are of interest, or until it must rest, or the time is over (-1: never).
 */
static void sleep_until(struct worker *worker, bool is_kicked, int64_t ns)
{
    int kick_fd = worker->blk->device.kick_fds[worker->index];
    struct pollfd fds[2] = {
        {.fd = worker->wake_fd, .events = POLLIN},
        {.fd = kick_fd, .events = POLLIN},
    };
    struct timespec time = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    eventfd_t count;

    if (ppoll(fds, is_kicked ? 2 : 1, ns < 0 ? NULL : &time, NULL) > 0 && is_kicked &&
        fds[1].revents)
        eventfd_read(kick_fd, &count);
}

/* A request may begin: false when the worker must rest before that. */
static bool wait_for_throttle(struct worker *worker)
{
    struct throttle *throttle = worker->blk->throttle;
    int64_t wait;

    while (throttle && !has_to_rest(worker) && (wait = throttle_wait_ns(throttle, now_ns())) > 0) {
        tell_driver(worker);
        sleep_until(worker, false, wait < LONGEST_WAIT_NS ? wait : LONGEST_WAIT_NS);
    }
    return !has_to_rest(worker);
}

static void handle(struct worker *worker, struct virtqueue *queue,
                   const struct blk_request *request)
{
    struct blk *blk = worker->blk;
    uint64_t bytes = blk_request_cost_bytes(request);
    uint32_t written;

    if (blk->throttle)
        throttle_take(blk->throttle, bytes, 1, now_ns());
    written = blk_request_run(&blk->disk, request, blk->device.features, &blk->must_stop);
    virtqueue_push(queue, request->chain, written);
    worker->unheard_bytes += bytes;
    if (++worker->unheard >= BATCH_REQUESTS || worker->unheard_bytes >= BATCH_BYTES)
        tell_driver(worker);
}

static bool break_queue(struct worker *worker, const char *why)
{
    struct virtio_device *device = &worker->blk->device;

    /* The guest can bring this about as often as it likes: it is told once. */
    if (!atomic_exchange(&worker->blk->has_complained, true))
        log_warning(worker->blk->disk.log, "disk %s: its driver broke queue %u: %s",
                    worker->blk->disk.image->path, worker->index, why);
    device->queues[worker->index].is_broken = true;
    device->transport->needs_reset(device->plug);
    return false;
}

/* All that is in the queue. False: the queue is broken. */
static bool drain(struct worker *worker)
{
    struct virtqueue *queue = &worker->blk->device.queues[worker->index];
    struct blk_request request;
    struct error err;
    bool is_whole = true;

    virtqueue_quiet(queue);
    while (is_whole && wait_for_throttle(worker)) {
        int popped = virtqueue_pop(queue, &worker->chain, &err);

        if (popped == 0)
            break;
        if (popped < 0)
            is_whole = break_queue(worker, err.text);
        else if (!blk_request_decode(&request, &worker->chain))
            is_whole = break_queue(worker, "a request without header or status");
        else
            handle(worker, queue, &request);
    }
    tell_driver(worker);
    return is_whole;
}

static void serve(struct worker *worker)
{
    struct virtqueue *queue = &worker->blk->device.queues[worker->index];
    bool is_whole = !queue->is_broken;

    while (!has_to_rest(worker)) {
        if (is_whole)
            is_whole = drain(worker);
        if (!is_whole || !virtqueue_want_kicks(queue))
            sleep_until(worker, is_whole, -1);
    }
}

/* --- a worker at rest ------------------------------------------------------------------------ */

/* False: it is over. */
static bool rest(struct worker *worker)
{
    struct blk *blk = worker->blk;
    bool goes_on;
    eventfd_t count;

    pthread_mutex_lock(&blk->lock);
    worker->is_resting = true;
    pthread_cond_broadcast(&blk->changed);
    while (!blk->is_ending && (blk->is_paused || !worker->is_started))
        pthread_cond_wait(&blk->changed, &blk->lock);
    worker->is_resting = blk->is_ending;
    atomic_store(&worker->must_rest, false);
    eventfd_read(worker->wake_fd, &count);
    goes_on = !blk->is_ending;
    pthread_mutex_unlock(&blk->lock);
    return goes_on;
}

static void *worker_main(void *context)
{
    struct worker *worker = context;
    struct virtio_device *device = &worker->blk->device;
    struct error err;

    while (rest(worker)) {
        if (sandbox_enter(SANDBOX_IO, &err) == 0)
            serve(worker);
        else if (!device->queues[worker->index].is_broken)
            break_queue(worker, err.text);
        while (!has_to_rest(worker)) /* only after a failure */
            sleep_until(worker, false, -1);
    }
    return NULL;
}

/* Returns when no worker works. Under the lock. */
static void rest_all_locked(struct blk *blk)
{
    for (unsigned i = 0; i < blk->worker_count; i++) {
        atomic_store_explicit(&blk->workers[i].must_rest, true, memory_order_release);
        eventfd_write(blk->workers[i].wake_fd, 1);
    }
    for (unsigned i = 0; i < blk->worker_count; i++) {
        while (!blk->workers[i].is_resting)
            pthread_cond_wait(&blk->changed, &blk->lock);
    }
}

/* --- the device ------------------------------------------------------------------------------ */

static void blk_read_config(struct virtio_device *device, uint32_t offset, void *to,
                            uint32_t length)
{
    const struct blk *blk = blk_of(device);
    size_t there = 0;

    if (offset < sizeof(blk->config))
        there = (size_t)min_u64(length, sizeof(blk->config) - offset);
    memcpy(to, (const char *)&blk->config + offset, there);
    memset((char *)to + there, 0, length - there);
}

static int blk_start(struct virtio_device *device, struct error *err)
{
    struct blk *blk = blk_of(device);

    (void)err;
    pthread_mutex_lock(&blk->lock);
    for (unsigned i = 0; i < blk->worker_count; i++)
        blk->workers[i].is_started = device->queue_is_ready[i];
    pthread_cond_broadcast(&blk->changed);
    pthread_mutex_unlock(&blk->lock);
    return 0;
}

static void blk_stop(struct virtio_device *device)
{
    struct blk *blk = blk_of(device);

    pthread_mutex_lock(&blk->lock);
    for (unsigned i = 0; i < blk->worker_count; i++)
        blk->workers[i].is_started = false;
    atomic_store(&blk->must_stop, true);
    rest_all_locked(blk);
    atomic_store(&blk->must_stop, false);
    pthread_mutex_unlock(&blk->lock);
}

static void set_paused(struct virtio_device *device, bool is_paused)
{
    struct blk *blk = blk_of(device);

    pthread_mutex_lock(&blk->lock);
    blk->is_paused = is_paused;
    if (is_paused)
        rest_all_locked(blk);
    pthread_cond_broadcast(&blk->changed);
    pthread_mutex_unlock(&blk->lock);
}

static void blk_pause(struct virtio_device *device)
{
    set_paused(device, true);
}

static void blk_resume(struct virtio_device *device)
{
    set_paused(device, false);
}

static void end_workers(struct blk *blk)
{
    pthread_mutex_lock(&blk->lock);
    blk->is_ending = true;
    atomic_store(&blk->must_stop, true);
    rest_all_locked(blk);
    pthread_cond_broadcast(&blk->changed);
    pthread_mutex_unlock(&blk->lock);
    for (unsigned i = 0; i < blk->worker_count; i++) {
        pthread_join(blk->workers[i].thread, NULL);
        close(blk->workers[i].wake_fd);
    }
}

static void blk_close(struct virtio_device *device)
{
    struct blk *blk = blk_of(device);

    end_workers(blk);
    image_close(blk->disk.image);
    pthread_cond_destroy(&blk->changed);
    pthread_mutex_destroy(&blk->lock);
    free(blk->workers);
    free(blk);
}

static const struct virtio_device_ops blk_ops = {
    .name = "disk",
    .type = VIRTIO_BLK,
    .pci_class = 0x01, /* mass storage, other */
    .pci_subclass = 0x80,
    .read_config = blk_read_config,
    .start = blk_start,
    .stop = blk_stop,
    .pause = blk_pause,
    .resume = blk_resume,
    .close = blk_close,
};

void virtio_blk_get_stats(struct virtio_device *device, struct virtio_blk_stats *stats)
{
    const struct blk_disk *disk = &blk_of(device)->disk;

    *stats = (struct virtio_blk_stats){
        .read_bytes = atomic_load(&disk->read_bytes),
        .read_requests = atomic_load(&disk->read_requests),
        .written_bytes = atomic_load(&disk->written_bytes),
        .write_requests = atomic_load(&disk->write_requests),
        .flushes = atomic_load(&disk->flushes),
        .errors = atomic_load(&disk->errors),
    };
}

/* --- making it ------------------------------------------------------------------------------- */

/* Old qcow2 images with a backing file cannot say zero: a discard would make them larger. */
static bool can_discard(const struct image_info *info)
{
    return !(info->version == 2 && info->backing_file);
}

/* Offers a feature, and says so where a field of the configuration depends on it. */
static bool offer(struct blk *blk, unsigned feature, bool is_offered)
{
    blk->device.offered |= (uint64_t)is_offered << feature;
    return is_offered;
}

/* A field whose feature is not offered stays zero. SeaBIOS takes blocks of exactly 512 bytes. */
static void set_config(struct blk *blk, const struct image_info *info)
{
    struct virtio_blk_config *config = &blk->config;
    bool is_writable = !blk->disk.is_read_only;

    offer(blk, VIRTIO_BLK_F_FLUSH, true);
    offer(blk, VIRTIO_BLK_F_SEG_MAX, true);
    offer(blk, VIRTIO_BLK_F_BLK_SIZE, true);
    offer(blk, VIRTIO_BLK_F_RO, !is_writable);
    store_le64(&config->capacity, blk->disk.sectors);
    store_le32(&config->seg_max, QUEUE_SIZE - 2);
    store_le32(&config->blk_size, BLK_SECTOR);
    if (offer(blk, VIRTIO_BLK_F_MQ, blk->device.queue_count > 1))
        store_le16(&config->num_queues, (uint16_t)blk->device.queue_count);
    if (offer(blk, VIRTIO_BLK_F_DISCARD, is_writable && can_discard(info))) {
        store_le32(&config->max_discard_sectors, BLK_MAX_DISCARD);
        store_le32(&config->max_discard_seg, BLK_MAX_RANGES);
        store_le32(&config->discard_sector_alignment, blk->disk.granule_bytes / BLK_SECTOR);
    }
    if (offer(blk, VIRTIO_BLK_F_WRITE_ZEROES, is_writable)) {
        store_le32(&config->max_write_zeroes_sectors, BLK_MAX_WRITE_ZEROES);
        store_le32(&config->max_write_zeroes_seg, BLK_MAX_RANGES);
        config->write_zeroes_may_unmap = 1;
    }
}

static void set_disk(struct blk *blk, const struct virtio_blk_options *options)
{
    struct blk_disk *disk = &blk->disk;
    struct image_info info;

    image_get_info(options->image, &info);
    disk->image = options->image;
    disk->sectors = options->image->source.size_bytes / BLK_SECTOR;
    disk->granule_bytes = (uint32_t)max_u64(info.cluster_size, MIN_GRANULE);
    disk->is_read_only = options->is_read_only || !options->image->is_writable;
    disk->log = options->log;
    if (options->serial)
        memcpy(disk->serial, options->serial, strnlen(options->serial, sizeof(disk->serial)));
    blk->throttle = options->throttle;
    blk->device.ops = &blk_ops;
    blk->device.queue_count = options->queues;
    blk->device.queue_size = QUEUE_SIZE;
    set_config(blk, &info);
}

/* Signals are for other threads. */
static int start_thread(struct worker *worker)
{
    pthread_attr_t attributes;
    sigset_t all;
    int failure;

    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setsigmask_np(&attributes, &all);
    failure = pthread_create(&worker->thread, &attributes, worker_main, worker);
    pthread_attr_destroy(&attributes);
    return failure;
}

static int start_workers(struct blk *blk, struct error *err)
{
    blk->workers = calloc(blk->device.queue_count, sizeof(*blk->workers));
    if (!blk->workers)
        return error_set(err, ENOMEM, "disk's queues");
    for (unsigned i = 0; i < blk->device.queue_count; i++) {
        struct worker *worker = &blk->workers[i];
        int failure;

        worker->blk = blk;
        worker->index = i;
        worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (worker->wake_fd < 0)
            return error_set(err, errno, "eventfd");
        failure = start_thread(worker);
        if (failure) {
            close(worker->wake_fd);
            return error_set(err, failure, "disk's thread");
        }
        blk->worker_count++;
    }
    return 0;
}

struct virtio_device *virtio_blk_new(const struct virtio_blk_options *options, struct error *err)
{
    bool is_sane = options->queues >= 1 && options->queues <= VIRTIO_MAX_QUEUES &&
                   options->image->source.size_bytes % BLK_SECTOR == 0;
    struct blk *blk = is_sane ? calloc(1, sizeof(*blk)) : NULL;

    if (!blk) {
        error_set(err, is_sane ? ENOMEM : EINVAL, "disk %s with %u queues", options->image->path,
                  options->queues);
        image_close(options->image);
        return NULL;
    }
    pthread_mutex_init(&blk->lock, NULL);
    clock_condition_init(&blk->changed);
    set_disk(blk, options);
    if (start_workers(blk, err) < 0) {
        error_wrap(err, "disk %s", options->image->path);
        blk_close(&blk->device);
        return NULL;
    }
    return &blk->device;
}
