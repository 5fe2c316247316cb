/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A network card between a driver and a cable that both do what the input says: descriptors and
 * available rings, frames or a stream that should be one of frames, kicks, resets and pauses. One
 * step of it a round of the loop, which a watch that is always ready drives.
 */
#include "hypervisor/net_backend.h"
#include "hypervisor/virtio/net.h"
#include "tests/lib/virtqueue_fixture.h"

#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define RAM_SIZE ((size_t)256 << 10)
#define RING_SIZE 16
#define ROUNDS_AFTER 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
    const uint8_t *data;
    size_t left;
    struct loop *loop;
    struct driver_ram ram;
    struct driver_ring rings[2];
    struct driver_plug plug;
    struct loop_watch step;
    uint64_t features;
    int peer;
    int rounds_after;
};

static uint64_t take(struct run *run, size_t length)
{
    uint8_t bytes[8] = {0};
    size_t there = length < run->left ? length : run->left;
    memcpy(bytes, run->data, there);
    run->data += there;
    run->left -= there;
    return load_le64(bytes);
}

static void describe(struct run *run, struct driver_ring *ring)
{
    uint8_t what = (uint8_t)take(run, 1);
    uint64_t address = what & 0x80 ? take(run, 8) : DRIVER_RAM_START + 4 * take(run, 2);
    uint32_t length = (uint32_t)take(run, what & 0x40 ? 4 : 2);
    uint16_t flags = what >> 4 & 3; /* next, write */
    if (what & 0x80)
        flags |= (uint16_t)(take(run, 1) & VRING_DESC_F_INDIRECT);
    driver_ring_describe(ring, what % RING_SIZE, address, length, flags,
                         (uint16_t)((what + 1) % RING_SIZE));
}

/* Sent as it is: whole frames on a socket of datagrams, pieces of a stream on the other. */
static void send_input(struct run *run)
{
    static uint8_t large[70000];
    size_t length = (size_t)take(run, 2);
    const void *bytes = large;
    if (length < run->left) {
        bytes = run->data;
        run->data += length;
        run->left -= length;
    }
    if (send(run->peer, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return;
}

static void receive_all(struct run *run)
{
    static uint8_t frame[70000];
    for (int i = 0; i < 64 && recv(run->peer, frame, sizeof(frame), MSG_DONTWAIT) > 0; i++)
        continue;
}

static void reset(struct run *run)
{
    driver_stop(&run->plug);
    for (int i = 0; i < 2; i++)
        driver_ring_set_index(&run->rings[i], 0);
    driver_start(&run->plug, run->rings, run->features, NULL);
}

static void write_memory(struct run *run)
{
    size_t at = (size_t)take(run, 2) * 4, length = (size_t)take(run, 1);
    while (length-- > 0 && at < RAM_SIZE)
        run->ram.bytes[at++] = (uint8_t)take(run, 1);
}

static void do_step(struct run *run)
{
    uint8_t what = (uint8_t)take(run, 1);
    struct driver_ring *ring = &run->rings[what >> 7];
    struct virtio_device *device = run->plug.device;
    switch (what & 0xf) {
    case 0:
        write_memory(run);
        break;
    case 1:
        driver_ring_set_index(ring, (uint16_t)take(run, 2));
        driver_kick(&run->plug, what >> 7);
        break;
    case 2:
        send_input(run);
        break;
    case 3:
        receive_all(run);
        break;
    case 4:
        reset(run);
        break;
    case 5:
        device->ops->pause(device);
        break;
    case 6:
        device->ops->resume(device);
        break;
    case 7:
        close(take_fd(&run->peer));
        break;
    case 8:
        driver_ring_offer(ring, (uint16_t)take(run, 1));
        driver_kick(&run->plug, what >> 7);
        break;
    default:
        describe(run, ring);
    }
}

static void step(void *context, uint32_t events)
{
    struct run *run = context;
    (void)events;
    if (run->left > 0)
        do_step(run);
    else if (run->rounds_after-- == 0)
        loop_stop(run->loop);
}

static struct net_backend *make_backend(struct run *run, bool is_stream)
{
    int ends[2];
    char spec[32];
    if (socketpair(AF_UNIX, (is_stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0, ends) != 0)
        abort();
    run->peer = ends[1];
    snprintf(spec, sizeof(spec), "fd:%d", ends[0]);
    return is_stream ? net_passt_over(ends[0]) : net_backend_open(spec, NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run run = {.data = data, .left = size, .rounds_after = ROUNDS_AFTER};
    uint8_t how = (uint8_t)take(&run, 1);
    run.loop = loop_new(NULL);
    run.features = (uint64_t)(how & 1) << 15 | (uint64_t)(how >> 1 & 1) << VIRTIO_F_EVENT_IDX |
                   (uint64_t)(how >> 2 & 1) << VIRTIO_F_INDIRECT_DESC;
    struct virtio_net_options options = {.backend = make_backend(&run, how & 8), .loop = run.loop};
    struct virtio_device *device = virtio_net_new(&options, NULL);
    if (!device)
        abort();
    driver_ram_init(&run.ram, RAM_SIZE);
    driver_ring_init(&run.rings[0], &run.ram, RING_SIZE);
    driver_ring_init(&run.rings[1], &run.ram, RING_SIZE);
    driver_plug_in(&run.plug, device, &run.ram.memory);
    if (driver_start(&run.plug, run.rings, run.features, NULL) != 0)
        abort();
    run.step = (struct loop_watch){step, &run, eventfd(1, EFD_CLOEXEC)};
    loop_add(run.loop, &run.step, EPOLLIN, NULL);
    loop_run(run.loop, NULL);
    loop_remove(run.loop, &run.step);
    close(run.step.fd);
    driver_unplug(&run.plug);
    loop_free(run.loop);
    driver_ram_fini(&run.ram);
    own_close(&run.peer);
    return 0;
}
