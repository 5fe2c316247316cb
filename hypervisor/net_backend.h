/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What is at the other end of a guest's network card: a TAP device, passt, or a socket of frames.
 * One driver per file, hypervisor/net_NAME.c. Used by the loop's thread only.
 */
#ifndef HYPERVISOR_NET_BACKEND_H
#define HYPERVISOR_NET_BACKEND_H

#include "base/error.h"
#include "base/log.h"
#include "base/own.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* A frame with the 12-byte struct virtio_net_hdr_v1 before it, both ways. */
#define NET_HEADER_SIZE 12
#define NET_MAX_FRAME (NET_HEADER_SIZE + 65562)

struct net_backend;

struct net_backend_ops {
    const char *name;
    /* The frame's size, 0: none now, -1: the other end is gone. `frame` holds NET_MAX_FRAME. */
    ssize_t (*receive)(struct net_backend *backend, void *frame, size_t size, struct error *err);
    /* 1: sent or dropped; 0: not now, wait for EPOLLOUT; -1: gone. */
    int (*send)(struct net_backend *backend, const struct iovec *parts, size_t count,
                struct error *err);
    void (*close)(struct net_backend *backend);
};

/* The first member of each. */
struct net_backend {
    const struct net_backend_ops *ops;
    int fd;                    /* to wait for; owned */
    uint64_t offload_features; /* VIRTIO_NET_F_ bits that the other end can do: TAP with vnet_hdr */
    /* TAP: what the driver accepted; NULL: nothing to set. */
    int (*set_offload)(struct net_backend *backend, uint64_t features, struct error *err);
};

/*
 * "user": passt, started by this, in its own sandbox; "tap:NAME": an existing TAP or one made now
 * (CAP_NET_ADMIN); "fd:N": an inherited datagram socket, a frame without virtio header each (as
 * QEMU's -netdev dgram); "none": a card without a cable. EINVAL names what was not understood.
 */
struct net_backend *net_backend_open(const char *spec, struct log *log, struct error *err);
void net_backend_close(struct net_backend *backend); /* NULL-safe */
OWN_DEFINE_PTR(net_backend, net_backend_close)

#endif
