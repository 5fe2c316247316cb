/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Kicks, timers and the states of a device that works in the loop's thread.
 */
#include "hypervisor/virtio/worker.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* A limit that is lifted takes effect after this time at the latest. */
#define LONGEST_WAIT_NS INT64_C(100000000)

/* A kick's count, or a timer's: only that it came is of interest. */
static void came(struct virtio_worker_queue *queue, int fd)
{
    struct virtio_worker *worker = queue->worker;
    uint64_t count;
    ssize_t ignored = read(fd, &count, sizeof(count));
    (void)ignored;
    if (!virtio_worker_enter(worker))
        return;
    if (worker->device.queue_is_ready[queue->index])
        worker->work(&worker->device, queue->index);
    virtio_worker_leave(worker);
}

static void kicked(void *context, uint32_t events)
{
    struct virtio_worker_queue *queue = context;
    (void)events;
    came(queue, queue->kick.fd);
}

static void timer_fired(void *context, uint32_t events)
{
    struct virtio_worker_queue *queue = context;
    (void)events;
    came(queue, queue->timer.fd);
}

static int add_timer(struct virtio_worker_queue *queue, struct error *err)
{
    queue->timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (queue->timer.fd < 0)
        return error_set(err, errno, "make a timer");
    return loop_add(queue->worker->loop, &queue->timer, EPOLLIN, err);
}

int virtio_worker_init(struct virtio_worker *worker, struct loop *loop, bool has_timers,
                       struct error *err)
{
    int result = 0;
    worker->loop = loop;
    pthread_mutex_init(&worker->lock, NULL);
    for (unsigned i = 0; i < VIRTIO_WORKER_QUEUES; i++) {
        struct virtio_worker_queue *queue = &worker->queues[i];
        *queue = (struct virtio_worker_queue){.worker = worker,
                                              .index = i,
                                              .kick = {kicked, queue, -1},
                                              .timer = {timer_fired, queue, -1}};
        if (has_timers && result == 0 && i < worker->device.queue_count)
            result = add_timer(queue, err);
    }
    return result;
}

void virtio_worker_fini(struct virtio_worker *worker)
{
    for (unsigned i = 0; i < VIRTIO_WORKER_QUEUES; i++) {
        struct virtio_worker_queue *queue = &worker->queues[i];
        if (queue->kick.fd >= 0)
            loop_remove(worker->loop, &queue->kick);
        if (queue->timer.fd >= 0) {
            loop_remove(worker->loop, &queue->timer);
            close(queue->timer.fd);
        }
    }
    pthread_mutex_destroy(&worker->lock);
}

/* The kicks' descriptors are the transport's and the same at every start. */
static int watch_kicks(struct virtio_worker *worker, struct error *err)
{
    for (unsigned i = 0; i < worker->device.queue_count; i++) {
        struct loop_watch *watch = &worker->queues[i].kick;
        if (watch->fd >= 0)
            continue;
        watch->fd = worker->device.kick_fds[i];
        if (loop_add(worker->loop, watch, EPOLLIN, err) != 0) {
            watch->fd = -1;
            return -1;
        }
    }
    return 0;
}

static void kick_all(struct virtio_worker *worker)
{
    for (unsigned i = 0; i < worker->device.queue_count; i++)
        virtio_worker_again(worker, i);
}

int virtio_worker_start(struct virtio_device *device, struct error *err)
{
    struct virtio_worker *worker = (struct virtio_worker *)device;
    pthread_mutex_lock(&worker->lock);
    int result = watch_kicks(worker, err);
    worker->is_started = result == 0;
    worker->is_broken = false;
    if (result == 0)
        kick_all(worker);
    pthread_mutex_unlock(&worker->lock);
    return result;
}

void virtio_worker_stop(struct virtio_device *device)
{
    struct virtio_worker *worker = (struct virtio_worker *)device;
    pthread_mutex_lock(&worker->lock);
    worker->is_started = false;
    pthread_mutex_unlock(&worker->lock);
}

void virtio_worker_pause(struct virtio_device *device)
{
    struct virtio_worker *worker = (struct virtio_worker *)device;
    pthread_mutex_lock(&worker->lock);
    worker->is_paused = true;
    pthread_mutex_unlock(&worker->lock);
}

void virtio_worker_resume(struct virtio_device *device)
{
    struct virtio_worker *worker = (struct virtio_worker *)device;
    pthread_mutex_lock(&worker->lock);
    worker->is_paused = false;
    if (worker->is_started)
        kick_all(worker);
    pthread_mutex_unlock(&worker->lock);
}

bool virtio_worker_enter(struct virtio_worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    if (worker->is_started && !worker->is_paused && !worker->is_broken)
        return true;
    pthread_mutex_unlock(&worker->lock);
    return false;
}

void virtio_worker_leave(struct virtio_worker *worker)
{
    pthread_mutex_unlock(&worker->lock);
}

int virtio_worker_pop(struct virtio_worker *worker, unsigned queue, struct virtqueue_chain *chain)
{
    struct virtqueue *ring = &worker->device.queues[queue];
    int got = virtqueue_pop(ring, chain, NULL);
    if (got == 0 && virtqueue_want_kicks(ring))
        got = virtqueue_pop(ring, chain, NULL);
    if (got < 0)
        virtio_worker_break(worker);
    return got;
}

void virtio_worker_break(struct virtio_worker *worker)
{
    if (!worker->is_broken)
        worker->device.transport->needs_reset(worker->device.plug);
    worker->is_broken = true;
}

void virtio_worker_drain(struct virtio_worker *worker, unsigned queue,
                         bool (*one)(struct virtio_worker *worker, unsigned queue))
{
    int done = 0;
    while (done < VIRTIO_WORKER_BUDGET && one(worker, queue))
        done++;
    if (done == VIRTIO_WORKER_BUDGET)
        virtio_worker_again(worker, queue);
    virtio_worker_tell(worker, queue);
}

void virtio_worker_tell(struct virtio_worker *worker, unsigned queue)
{
    if (virtqueue_should_interrupt(&worker->device.queues[queue]))
        virtio_interrupt(&worker->device, queue);
}

void virtio_worker_again(struct virtio_worker *worker, unsigned queue)
{
    eventfd_write(worker->device.kick_fds[queue], 1);
}

bool virtio_worker_may(struct virtio_worker *worker, unsigned queue, struct throttle *throttle)
{
    int64_t wait = throttle ? throttle_wait_ns(throttle, virtio_worker_now_ns()) : 0;
    if (wait <= 0)
        return true;
    if (wait > LONGEST_WAIT_NS)
        wait = LONGEST_WAIT_NS;
    struct itimerspec when = {.it_value.tv_nsec = wait};
    timerfd_settime(worker->queues[queue].timer.fd, 0, &when, NULL);
    return false;
}

int64_t virtio_worker_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
