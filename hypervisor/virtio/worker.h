/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A virtio device that works in the loop's thread: what is the same for all of these. It is told of
 * kicks and of timers that it set, only between start and stop and while it is not paused, with its
 * lock held.
 *
 * The lock is taken by start, stop and the config callbacks too, in vCPU threads: it is held for a
 * bounded piece of work (VIRTIO_WORKER_BUDGET), never while waiting.
 */
#ifndef HYPERVISOR_VIRTIO_WORKER_H
#define HYPERVISOR_VIRTIO_WORKER_H

#include "hypervisor/loop.h"
#include "hypervisor/throttle.h"
#include "hypervisor/virtio/device.h"

#define VIRTIO_WORKER_QUEUES 2
#define VIRTIO_WORKER_BUDGET 256 /* chains, before others have their turn */

struct virtio_worker_queue {
    struct virtio_worker *worker;
    unsigned index;
    struct loop_watch kick, timer;
};

/* The first member of each. */
struct virtio_worker {
    struct virtio_device device;
    struct loop *loop;
    void (*work)(struct virtio_device *device, unsigned queue);
    pthread_mutex_t lock;
    bool is_started, is_paused, is_broken, has_kicks;
    struct virtio_worker_queue queues[VIRTIO_WORKER_QUEUES];
};

/* `device` and `work` are set. With a timer for each queue if asked. Leaves what fini may be called
 * for, also on failure. */
int virtio_worker_init(struct virtio_worker *worker, struct loop *loop, bool has_timers,
                       struct error *err);
void virtio_worker_fini(struct virtio_worker *worker);

/* Callbacks of the device; work is done for every queue soon after start and resume. */
int virtio_worker_start(struct virtio_device *device, struct error *err);
void virtio_worker_stop(struct virtio_device *device);
void virtio_worker_pause(struct virtio_device *device);
void virtio_worker_resume(struct virtio_device *device);

/* For watches of the device's own: locks, and whether it may work now. */
bool virtio_worker_enter(struct virtio_worker *worker);
void virtio_worker_leave(struct virtio_worker *worker);

/* --- with the lock held --- */

/* 1: a chain; 0: none, and the driver will kick; -1: broken, as the driver has been told. */
int virtio_worker_pop(struct virtio_worker *worker, unsigned queue, struct virtqueue_chain *chain);

/* The driver broke a rule: nothing more is done until a reset, and it is told so. */
void virtio_worker_break(struct virtio_worker *worker);

/* As long as `one` says that there may be more, within the budget; then interrupts if the driver
 * wants it. */
void virtio_worker_drain(struct virtio_worker *worker, unsigned queue,
                         bool (*one)(struct virtio_worker *worker, unsigned queue));
void virtio_worker_tell(struct virtio_worker *worker, unsigned queue);

/* Work for the queue again, when others had their turn; or when the throttle (NULL: none) lets it:
 * then false. */
void virtio_worker_again(struct virtio_worker *worker, unsigned queue);
bool virtio_worker_may(struct virtio_worker *worker, unsigned queue, struct throttle *throttle);

/* What a throttle is asked with. */
int64_t virtio_worker_now_ns(void);

#endif
