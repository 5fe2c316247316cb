/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * virtio-net: frames go from and to guest memory directly, behind virtio's header. A frame is read
 * into the next buffer and, beyond its end, into our own: only what runs over is copied, into the
 * further buffers that a driver with mergeable ones gives. Nothing is read while the guest has no
 * buffer, so that who sends to it meets a full queue and not us.
 */
#include "hypervisor/virtio/net.h"

#include "base/bytes.h"
#include "hypervisor/virtio/worker.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/virtio_net.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>

#define RX 0
#define TX 1
#define QUEUE_SIZE 256
#define SMALLEST_FRAME (NET_HEADER_SIZE + ETH_HLEN)
#define NUM_BUFFERS_AT 10 /* in the header */
#define BIT(bit) (UINT64_C(1) << (bit))

struct net {
    struct virtio_worker worker;
    struct net_backend *backend;
    struct throttle *throttles[2];
    struct log *log;
    uint8_t mac[ETH_ALEN];
    bool is_link_up;

    /* The loop's thread alone. */
    struct loop_watch watch;
    uint32_t watched; /* its events; 0: it is not in the loop */

    bool wants_frames; /* there is a buffer for the next one */
    bool is_send_blocked;
    bool has_buffer, is_spreading; /* a frame is in `buffer`, its rest waits for more of them */
    struct virtqueue_chain buffer, more, out;
    struct virtqueue_done done[VIRTQUEUE_MAX_SIZE]; /* of the frame, the first is `buffer` */
    unsigned done_count;
    size_t rest_at, rest_size; /* what is to be spread yet: of `overflow` */
    uint8_t overflow[NET_MAX_FRAME];

    atomic_uint_fast64_t received_bytes, received_frames, sent_bytes, sent_frames, dropped_frames;
};

static struct net *net_of(struct virtio_device *device)
{
    return (struct net *)device;
}

static void note_link_down(struct net *net, const struct error *err)
{
    const uint8_t *mac = net->mac;
    log_warning(net->log, "network card %02x:%02x:%02x:%02x:%02x:%02x: its link is down: %s",
                mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], err->text);
    net->is_link_up = net->wants_frames = net->is_send_blocked = false;
}

static void link_down(struct net *net, const struct error *err)
{
    note_link_down(net, err);
    virtio_worker_again(&net->worker, TX); /* what waits to be sent is dropped */
    net->worker.device.transport->config_changed(net->worker.device.plug);
}

static void count(atomic_uint_fast64_t *frames, atomic_uint_fast64_t *bytes, uint64_t size)
{
    atomic_fetch_add_explicit(frames, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(bytes, size, memory_order_relaxed);
}

static void drop(struct net *net)
{
    atomic_fetch_add_explicit(&net->dropped_frames, 1, memory_order_relaxed);
}

static size_t parts_of(const struct virtqueue_segment *segments, unsigned segment_count,
                       struct iovec *parts)
{
    for (unsigned i = 0; i < segment_count; i++)
        parts[i] = (struct iovec){segments[i].data, segments[i].length};
    return segment_count;
}

static void pay(struct net *net, unsigned queue, size_t bytes)
{
    if (net->throttles[queue])
        throttle_take(net->throttles[queue], bytes, 1, virtio_worker_now_ns());
}

/* --- to the guest --- */

/* Buffers without room for a header go back as they are. */
static bool has_buffer(struct net *net)
{
    for (int i = 0; i < VIRTIO_WORKER_BUDGET && !net->has_buffer; i++) {
        if (virtio_worker_pop(&net->worker, RX, &net->buffer) <= 0)
            return false;
        net->has_buffer = net->buffer.write_bytes >= NET_HEADER_SIZE;
        if (!net->has_buffer)
            virtqueue_push(&net->worker.device.queues[RX], &net->buffer, 0);
    }
    if (!net->has_buffer)
        virtio_worker_again(&net->worker, RX);
    return net->has_buffer;
}

/* Into the buffer and what is behind it. */
static ssize_t read_frame(struct net *net)
{
    struct iovec parts[NET_MAX_PARTS];
    struct error err = {0};
    size_t part_count =
        parts_of(net->buffer.segments + net->buffer.read_count, net->buffer.write_count, parts);
    parts[part_count++] = (struct iovec){net->overflow, sizeof(net->overflow)};
    ssize_t got = net->backend->ops->receive(net->backend, parts, part_count, &err);
    if (got < 0)
        link_down(net, &err);
    if (got > NET_HEADER_SIZE)
        pay(net, RX, (size_t)got - NET_HEADER_SIZE);
    return got;
}

/* The driver has to see all of a frame's buffers at once; false: too few are there yet. */
static bool spread(struct net *net)
{
    uint8_t num_buffers[2];
    while (net->rest_at < net->rest_size) {
        /* More of them than the queue holds: it offers some twice. */
        if (net->done_count == ARRAY_LENGTH(net->done)) {
            virtio_worker_break(&net->worker);
            return false;
        }
        if (virtio_worker_pop(&net->worker, RX, &net->more) <= 0)
            return false;
        size_t piece = virtqueue_chain_write(&net->more, 0, net->overflow + net->rest_at,
                                             net->rest_size - net->rest_at);
        net->done[net->done_count++] = (struct virtqueue_done){net->more.head, (uint32_t)piece};
        net->rest_at += piece;
    }
    store_le16(num_buffers, (uint16_t)net->done_count);
    virtqueue_chain_write(&net->buffer, NUM_BUFFERS_AT, num_buffers, sizeof(num_buffers));
    virtqueue_push_all(&net->worker.device.queues[RX], net->done, net->done_count);
    net->has_buffer = net->is_spreading = false;
    return true;
}

static void place_frame(struct net *net, size_t size)
{
    uint64_t room = net->buffer.write_bytes;
    bool fits = size <= room || virtio_has(&net->worker.device, VIRTIO_NET_F_MRG_RXBUF);
    if (size < SMALLEST_FRAME || size > NET_MAX_FRAME || !fits) {
        drop(net);
        return;
    }
    net->done[0] = (struct virtqueue_done){net->buffer.head, (uint32_t)(size < room ? size : room)};
    net->done_count = 1;
    net->rest_at = 0;
    net->rest_size = size - net->done[0].written;
    net->is_spreading = true;
    count(&net->received_frames, &net->received_bytes, size - NET_HEADER_SIZE);
}

/* Whether there may be another. */
static bool receive_frame(struct virtio_worker *worker, unsigned queue)
{
    struct net *net = (struct net *)worker;
    net->wants_frames = false;
    if (net->is_spreading && !spread(net))
        return false;
    if (!net->is_link_up || !virtio_worker_may(worker, queue, net->throttles[RX]) ||
        !has_buffer(net))
        return false;
    ssize_t got = read_frame(net);
    if (got > 0)
        place_frame(net, (size_t)got);
    net->wants_frames = got >= 0 && (!net->is_spreading || spread(net));
    return got > 0;
}

static void receive_frames(struct net *net)
{
    virtqueue_quiet(&net->worker.device.queues[RX]);
    virtio_worker_drain(&net->worker, RX, receive_frame);
}

/* --- from the guest --- */

/* As of a backend: 0 is not now; what cannot be sent is dropped. */
static int send_chain(struct net *net)
{
    struct iovec parts[NET_MAX_PARTS];
    struct error err = {0};
    size_t size = net->out.read_bytes < SIZE_MAX ? (size_t)net->out.read_bytes : SIZE_MAX;
    int sent = -1;
    if (net->is_link_up && size >= SMALLEST_FRAME && size <= NET_MAX_FRAME) {
        size_t part_count = parts_of(net->out.segments, net->out.read_count, parts);
        sent = net->backend->ops->send(net->backend, parts, part_count, &err);
        if (sent < 0)
            link_down(net, &err);
    }
    if (sent > 0) {
        count(&net->sent_frames, &net->sent_bytes, size - NET_HEADER_SIZE);
        pay(net, TX, size - NET_HEADER_SIZE);
    } else if (sent < 0) {
        drop(net);
    }
    return sent != 0;
}

static bool transmit_frame(struct virtio_worker *worker, unsigned queue)
{
    struct net *net = (struct net *)worker;
    struct virtqueue *ring = &worker->device.queues[queue];
    if (net->is_send_blocked || !virtio_worker_may(worker, queue, net->throttles[TX]) ||
        virtio_worker_pop(worker, queue, &net->out) <= 0)
        return false;
    net->is_send_blocked = !send_chain(net);
    if (net->is_send_blocked)
        virtqueue_unpop(ring);
    else
        virtqueue_push(ring, &net->out, 0);
    return !net->is_send_blocked;
}

static void transmit_frames(struct net *net)
{
    virtqueue_quiet(&net->worker.device.queues[TX]);
    virtio_worker_drain(&net->worker, TX, transmit_frame);
}

/* --- in the loop --- */

/* One that nobody wants anything of leaves the loop: an end that hangs up would wake it for ever.
 */
static void watch(struct net *net, uint32_t events)
{
    if (events == net->watched)
        return;
    if (events == 0)
        loop_remove(net->worker.loop, &net->watch);
    else if (net->watched == 0)
        loop_add(net->worker.loop, &net->watch, events, NULL);
    else
        loop_change(net->worker.loop, &net->watch, events, NULL);
    net->watched = events;
}

static void watch_for_needs(struct net *net)
{
    uint32_t events = net->wants_frames ? EPOLLIN : 0;
    if (net->is_send_blocked || net->backend->has_unsent)
        events |= EPOLLOUT;
    watch(net, net->is_link_up ? events : 0);
}

static void net_work(struct virtio_device *device, unsigned queue)
{
    struct net *net = net_of(device);
    if (queue == RX)
        receive_frames(net);
    else
        transmit_frames(net);
    watch_for_needs(net);
}

static void flush(struct net *net)
{
    struct error err = {0};
    if (net->backend->has_unsent && net->backend->ops->flush(net->backend, &err) < 0)
        link_down(net, &err);
}

/* Not started or paused: it is silenced here, and comes back with the work after start or resume.
 */
static void backend_ready(void *context, uint32_t events)
{
    struct net *net = context;
    if (!virtio_worker_enter(&net->worker)) {
        watch(net, 0);
        return;
    }
    if (events & ~(uint32_t)EPOLLIN) {
        flush(net);
        net->is_send_blocked = false;
        if (net->worker.device.queue_is_ready[TX])
            transmit_frames(net);
    }
    if (events & ~(uint32_t)EPOLLOUT && net->worker.device.queue_is_ready[RX])
        receive_frames(net);
    watch_for_needs(net);
    virtio_worker_leave(&net->worker);
}

/* --- the device --- */

static void net_read_config(struct virtio_device *device, uint32_t offset, void *to,
                            uint32_t length)
{
    struct net *net = net_of(device);
    struct virtio_net_config config = {0};
    pthread_mutex_lock(&net->worker.lock);
    store_le16(&config.status, net->is_link_up ? VIRTIO_NET_S_LINK_UP : 0);
    pthread_mutex_unlock(&net->worker.lock);
    memcpy(config.mac, net->mac, sizeof(config.mac));
    memset(to, 0, length);
    if (offset < sizeof(config))
        memcpy(to, (const uint8_t *)&config + offset,
               length < sizeof(config) - offset ? length : sizeof(config) - offset);
}

/* The driver looks at the link after this: what is found here needs no interrupt. */
static int net_start(struct virtio_device *device, struct error *err)
{
    struct net *net = net_of(device);
    struct net_backend *backend = net->backend;
    struct error gone = {0};
    net->wants_frames = net->is_send_blocked = net->has_buffer = net->is_spreading = false;
    if (net->is_link_up && backend->set_offload &&
        backend->set_offload(backend, device->features, &gone) != 0)
        note_link_down(net, &gone);
    return virtio_worker_start(device, err);
}

static void net_close(struct virtio_device *device)
{
    struct net *net = net_of(device);
    watch(net, 0);
    virtio_worker_fini(&net->worker);
    net_backend_close(net->backend);
    free(net);
}

static const struct virtio_device_ops net_ops = {
    .name = "virtio-net",
    .type = VIRTIO_NET,
    .pci_class = 0x02, /* network controller: Ethernet */
    .pci_subclass = 0x00,
    .read_config = net_read_config,
    .start = net_start,
    .stop = virtio_worker_stop,
    .pause = virtio_worker_pause,
    .resume = virtio_worker_resume,
    .close = net_close,
};

struct virtio_device *virtio_net_new(const struct virtio_net_options *options, struct error *err)
{
    struct net *net = calloc(1, sizeof(*net));
    if (!net) {
        net_backend_close(options->backend);
        error_set(err, ENOMEM, "a network card");
        return NULL;
    }
    net->backend = options->backend;
    net->throttles[RX] = options->receive;
    net->throttles[TX] = options->transmit;
    net->log = options->log;
    net->is_link_up = net->backend->fd >= 0;
    net->watch = (struct loop_watch){backend_ready, net, net->backend->fd};
    memcpy(net->mac, options->mac, sizeof(net->mac));
    net->worker.device = (struct virtio_device){
        .ops = &net_ops,
        .offered = BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_MRG_RXBUF) |
                   net->backend->offload_features,
        .queue_count = 2,
        .queue_size = QUEUE_SIZE,
    };
    net->worker.work = net_work;
    if (virtio_worker_init(&net->worker, options->loop, true, err) == 0)
        return &net->worker.device;
    net_close(&net->worker.device);
    return NULL;
}

void virtio_net_get_stats(struct virtio_device *device, struct virtio_net_stats *stats)
{
    struct net *net = net_of(device);
    *stats = (struct virtio_net_stats){
        .received_bytes = atomic_load(&net->received_bytes),
        .received_frames = atomic_load(&net->received_frames),
        .sent_bytes = atomic_load(&net->sent_bytes),
        .sent_frames = atomic_load(&net->sent_frames),
        .dropped_frames = atomic_load(&net->dropped_frames),
    };
}
