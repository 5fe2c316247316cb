/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A network card in a loop of its own, with a driver on the one side and on the other a socket of
 * frames that the test holds.
 */
#ifndef TESTS_CARD_FIXTURE_H
#define TESTS_CARD_FIXTURE_H

#include "hypervisor/virtio/net.h"
#include "tests/lib/virtqueue_fixture.h"

#include <linux/virtio_net.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

#define CARD_RX 0
#define CARD_TX 1
#define CARD_RAM ((size_t)4 << 20)
#define CARD_MERGEABLE (UINT64_C(1) << VIRTIO_NET_F_MRG_RXBUF)

struct card {
    struct loop *loop;
    pthread_t thread;
    struct driver_ram ram;
    struct driver_ring rings[2];
    struct driver_plug plug;
    struct virtio_device *device;
    int peer; /* the other end of its cable */
};

static inline void *card_loop(void *context)
{
    struct card *card = context;
    assert_int_equal(loop_run(card->loop, NULL), 0);
    return NULL;
}

static inline void card_rings(struct card *card, uint16_t size)
{
    card->ram.taken = 0;
    driver_ring_init(&card->rings[CARD_RX], &card->ram, size);
    driver_ring_init(&card->rings[CARD_TX], &card->ram, size);
}

/* Plugged in, its loop running, not started. */
static inline void card_make(struct card *card, struct throttle *receive, struct throttle *transmit)
{
    int ends[2];
    char spec[32];
    struct error err = {0};
    memset(card, 0, sizeof(*card));
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), 0);
    snprintf(spec, sizeof(spec), "fd:%d", ends[1]);
    card->peer = ends[0];
    card->loop = loop_new(&err);
    struct virtio_net_options options = {.mac = {0x52, 0x54, 0, 1, 2, 3},
                                         .backend = net_backend_open(spec, NULL, &err),
                                         .receive = receive,
                                         .transmit = transmit,
                                         .loop = card->loop};
    assert_non_null(options.backend);
    card->device = virtio_net_new(&options, &err);
    assert_non_null(card->device);
    driver_ram_init(&card->ram, CARD_RAM);
    driver_plug_in(&card->plug, card->device, &card->ram.memory);
    card_rings(card, 16);
    assert_int_equal(pthread_create(&card->thread, NULL, card_loop, card), 0);
}

static inline void card_start(struct card *card, uint64_t features)
{
    assert_int_equal(driver_start(&card->plug, card->rings, features, NULL), 0);
}

static inline void card_end(struct card *card)
{
    loop_stop(card->loop);
    pthread_join(card->thread, NULL);
    driver_unplug(&card->plug);
    loop_free(card->loop);
    driver_ram_fini(&card->ram);
    own_close(&card->peer);
}

/* A buffer of one segment for frames; returns where it is. */
static inline uint64_t card_give(struct card *card, uint32_t length)
{
    struct driver_part part = {driver_ram_take(&card->ram, length, 1), length, true};
    driver_ring_add(&card->rings[CARD_RX], &part, 1);
    return part.address;
}

/* A frame behind a header of zeroes, all bytes `fill`. */
static inline void card_transmit(struct card *card, uint32_t frame_length, uint8_t fill)
{
    uint32_t length = NET_HEADER_SIZE + frame_length;
    struct driver_part part = {driver_ram_take(&card->ram, length, 1), length, false};
    memset(driver_ram_at(&card->ram, part.address), 0, NET_HEADER_SIZE);
    memset(driver_ram_at(&card->ram, part.address) + NET_HEADER_SIZE, fill, frame_length);
    driver_ring_add(&card->rings[CARD_TX], &part, 1);
}

static inline struct virtio_net_stats card_stats(struct card *card)
{
    struct virtio_net_stats stats;
    virtio_net_get_stats(card->device, &stats);
    return stats;
}

#endif
