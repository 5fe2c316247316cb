/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * epoll, and an eventfd that ends it. A watch that is removed while the loop hands out a batch of
 * events is taken out of the batch too.
 */
#include "hypervisor/loop.h"

#include "base/own.h"
#include "base/text.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LOOP_BATCH 32

struct loop {
    int epoll_fd, stop_fd;
    atomic_bool should_stop;
    pthread_mutex_t lock; /* of the batch */
    struct epoll_event batch[LOOP_BATCH];
    int batch_count;
};

static int control(struct loop *loop, int what, struct loop_watch *watch, int fd, uint32_t events,
                   struct error *err)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    return epoll_ctl(loop->epoll_fd, what, fd, &event) == 0
               ? 0
               : error_set(err, errno, "watch descriptor %d", fd);
}

struct loop *loop_new(struct error *err)
{
    struct loop *loop = memory_new(1, sizeof(*loop));
    pthread_mutex_init(&loop->lock, NULL);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->epoll_fd >= 0 && loop->stop_fd >= 0 &&
        control(loop, EPOLL_CTL_ADD, NULL, loop->stop_fd, EPOLLIN, err) == 0)
        return loop;
    error_set(err, errno, "make an event loop");
    loop_free(loop);
    return NULL;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    own_close(&loop->epoll_fd);
    own_close(&loop->stop_fd);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}

int loop_add(struct loop *loop, struct loop_watch *watch, uint32_t events, struct error *err)
{
    return control(loop, EPOLL_CTL_ADD, watch, watch->fd, events, err);
}

int loop_change(struct loop *loop, struct loop_watch *watch, uint32_t events, struct error *err)
{
    return control(loop, EPOLL_CTL_MOD, watch, watch->fd, events, err);
}

void loop_remove(struct loop *loop, struct loop_watch *watch)
{
    control(loop, EPOLL_CTL_DEL, watch, watch->fd, 0, NULL);
    pthread_mutex_lock(&loop->lock);
    for (int i = 0; i < loop->batch_count; i++) {
        if (loop->batch[i].data.ptr == watch)
            loop->batch[i].data.ptr = NULL;
    }
    pthread_mutex_unlock(&loop->lock);
}

/* The i-th of the batch, unless it is the stop descriptor or was removed meanwhile. */
static struct loop_watch *next_ready(struct loop *loop, int i, uint32_t *events)
{
    pthread_mutex_lock(&loop->lock);
    struct loop_watch *watch = loop->batch[i].data.ptr;
    *events = loop->batch[i].events;
    pthread_mutex_unlock(&loop->lock);
    return watch;
}

static void set_batch(struct loop *loop, const struct epoll_event *events, int count)
{
    pthread_mutex_lock(&loop->lock);
    for (int i = 0; i < count; i++)
        loop->batch[i] = events[i];
    loop->batch_count = count;
    pthread_mutex_unlock(&loop->lock);
}

int loop_run(struct loop *loop, struct error *err)
{
    struct epoll_event found[LOOP_BATCH];
    while (!atomic_load(&loop->should_stop)) {
        int count = epoll_wait(loop->epoll_fd, found, LOOP_BATCH, -1);
        if (count < 0 && errno != EINTR)
            return error_set(err, errno, "wait for events");
        set_batch(loop, found, count < 0 ? 0 : count);
        for (int i = 0; i < count && !atomic_load(&loop->should_stop); i++) {
            uint32_t events;
            struct loop_watch *watch = next_ready(loop, i, &events);
            if (watch)
                watch->ready(watch->context, events);
        }
        set_batch(loop, NULL, 0);
    }
    return 0;
}

/* Signal-safe. */
void loop_stop(struct loop *loop)
{
    int saved = errno;
    atomic_store(&loop->should_stop, true);
    ssize_t ignored = write(loop->stop_fd, &(uint64_t){1}, sizeof(uint64_t));
    (void)ignored;
    errno = saved;
}
