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
#define NET_MAX_PARTS 264 /* of one frame in memory: a chain and a few more */

struct net_backend;

struct net_backend_ops {
    const char *name;
    /* One frame into parts that hold NET_MAX_FRAME or more together: its size with the header
     * (num_buffers is the caller's to set), 0: none now, -1: the other end is gone. */
    ssize_t (*receive)(struct net_backend *backend, const struct iovec *parts, size_t count,
                       struct error *err);
    /* At most NET_MAX_FRAME. 1: sent or dropped; 0: not now, wait for EPOLLOUT; -1: gone. */
    int (*send)(struct net_backend *backend, const struct iovec *parts, size_t count,
                struct error *err);
    /* When EPOLLOUT is there while has_unsent: 1: all sent; 0: not yet; -1: gone. May be NULL. */
    int (*flush)(struct net_backend *backend, struct error *err);
    void (*close)(struct net_backend *backend);
};

/* The first member of each. */
struct net_backend {
    const struct net_backend_ops *ops;
    int fd;                    /* to wait for; owned; -1: no cable, nothing is asked of it */
    bool has_unsent;           /* a frame that was sent is only in part on its way */
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

/* The drivers: what follows the colon of their spec, or "". */
struct net_backend *net_tap_open(const char *name, struct log *log, struct error *err);
struct net_backend *net_passt_open(const char *rest, struct log *log, struct error *err);
struct net_backend *net_fd_open(const char *number, struct log *log, struct error *err);
struct net_backend *net_none_open(const char *rest, struct log *log, struct error *err);

/* For a peer that knows no virtio header: the parts behind it, and the header zeroed if asked.
 * Returns how many; `count` and `behind` are at most NET_MAX_PARTS. */
size_t net_parts_behind_header(const struct iovec *parts, size_t count, bool clear,
                               struct iovec behind[NET_MAX_PARTS]);

/* A stream of frames as passt's, over any connected stream socket; takes the descriptor. */
struct net_backend *net_passt_over(int fd);

#endif
