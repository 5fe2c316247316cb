/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * virtio-console with one port: what the guest writes is written on as far as the reader takes it
 * at once and dropped beyond that, because the guest's kernel waits in a loop until we took it.
 * What is typed waits until the guest has room.
 */
#include "base/checked.h"
#include "hypervisor/virtio/small.h"
#include "hypervisor/virtio/worker.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#define RX 0
#define TX 1
#define CHAIN_BYTES 65536 /* of one chain are written */
#define READ_PARTS 8

struct console {
    struct virtio_worker worker;
    int out;
    struct loop_watch in;
    bool is_watched; /* the loop's thread alone, as is the chain */
    bool has_ended;  /* nobody types any more */
    struct virtqueue_chain chain;
};

static struct console *console_of(struct virtio_device *device)
{
    return (struct console *)device;
}

/* As much as is ready to be taken, in pieces that a pipe then takes whole. */
static bool put(int out, const uint8_t *data, size_t length)
{
    while (length > 0) {
        struct pollfd pollfd = {.fd = out, .events = POLLOUT};
        size_t piece = length < PIPE_BUF ? length : PIPE_BUF;
        if (poll(&pollfd, 1, 0) <= 0 || !(pollfd.revents & POLLOUT))
            return false;
        ssize_t written = write(out, data, piece);
        if (written <= 0)
            return false;
        data += written;
        length -= (size_t)written;
    }
    return true;
}

static void print(const struct console *console)
{
    const struct virtqueue_chain *chain = &console->chain;
    size_t left = CHAIN_BYTES;
    for (unsigned i = 0; i < chain->read_count && left > 0; i++) {
        size_t piece = (size_t)min_u64(chain->segments[i].length, left);
        if (!put(console->out, chain->segments[i].data, piece))
            return;
        left -= piece;
    }
}

static bool transmit(struct virtio_worker *worker, unsigned queue)
{
    struct console *console = (struct console *)worker;
    if (virtio_worker_pop(worker, queue, &console->chain) <= 0)
        return false;
    print(console);
    virtqueue_push(&worker->device.queues[queue], &console->chain, 0);
    return true;
}

/* What cannot be watched (a file, /dev/null) is as an end that nobody types at. */
static void watch(struct console *console, bool on)
{
    if (on == console->is_watched || console->has_ended)
        return;
    if (!on)
        loop_remove(console->worker.loop, &console->in);
    else if (loop_add(console->worker.loop, &console->in, EPOLLIN, NULL) != 0)
        console->has_ended = true;
    console->is_watched = on && !console->has_ended;
}

/* One read for each time that the loop says it does not block. */
static void receive(struct console *console)
{
    struct iovec parts[READ_PARTS];
    struct virtqueue *queue = &console->worker.device.queues[RX];
    const struct virtqueue_chain *chain = &console->chain;
    unsigned count = 0;
    if (virtio_worker_pop(&console->worker, RX, &console->chain) <= 0) {
        watch(console, false);
        return;
    }
    for (; count < chain->write_count && count < READ_PARTS; count++)
        parts[count] = (struct iovec){chain->segments[chain->read_count + count].data,
                                      chain->segments[chain->read_count + count].length};
    ssize_t got = readv(console->in.fd, parts, (int)count);
    if (got > 0) {
        virtqueue_push(queue, chain, (uint32_t)got);
        virtio_worker_tell(&console->worker, RX);
        return;
    }
    virtqueue_unpop(queue);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    watch(console, false);
    console->has_ended = true;
}

/* A kick for typed text means that there is room: it is read when the loop says that there is some.
 */
static void console_work(struct virtio_device *device, unsigned queue)
{
    struct console *console = console_of(device);
    if (queue == TX)
        virtio_worker_drain(&console->worker, TX, transmit);
    else
        watch(console, true);
}

static void typed(void *context, uint32_t events)
{
    struct console *console = context;
    (void)events;
    if (!virtio_worker_enter(&console->worker)) {
        watch(console, false);
        return;
    }
    if (console->worker.device.queue_is_ready[RX])
        receive(console);
    else
        watch(console, false);
    virtio_worker_leave(&console->worker);
}

static void console_close(struct virtio_device *device)
{
    struct console *console = console_of(device);
    watch(console, false);
    virtio_worker_fini(&console->worker);
    free(console);
}

static const struct virtio_device_ops console_ops = {
    .name = "virtio-console",
    .type = VIRTIO_CONSOLE,
    .pci_class = 0x07, /* communication controller: other */
    .pci_subclass = 0x80,
    .start = virtio_worker_start,
    .stop = virtio_worker_stop,
    .pause = virtio_worker_pause,
    .resume = virtio_worker_resume,
    .close = console_close,
};

struct virtio_device *virtio_console_new(struct loop *loop, int in, int out, struct error *err)
{
    struct console *console = calloc(1, sizeof(*console));
    if (!console) {
        error_set(err, ENOMEM, "a console");
        return NULL;
    }
    console->out = out;
    console->in = (struct loop_watch){typed, console, in};
    console->has_ended = in < 0;
    console->worker.device =
        (struct virtio_device){.ops = &console_ops, .queue_count = 2, .queue_size = 64};
    console->worker.work = console_work;
    if (virtio_worker_init(&console->worker, loop, false, err) == 0)
        return &console->worker.device;
    console_close(&console->worker.device);
    return NULL;
}
