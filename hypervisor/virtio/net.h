/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * virtio-net (Virtual I/O Device 1.1, section 5.1): one pair of queues, in the loop's thread.
 */
#ifndef HYPERVISOR_VIRTIO_NET_H
#define HYPERVISOR_VIRTIO_NET_H

#include "base/log.h"
#include "hypervisor/loop.h"
#include "hypervisor/net_backend.h"
#include "hypervisor/throttle.h"
#include "hypervisor/virtio/device.h"

struct virtio_net_options {
    uint8_t mac[6];
    struct net_backend *backend;         /* taken, also on failure */
    struct throttle *receive, *transmit; /* borrowed, bytes only; NULL: none */
    struct loop *loop;
    struct log *log;
};

struct virtio_net_stats {
    uint64_t received_bytes, received_frames, sent_bytes, sent_frames, dropped_frames;
};

struct virtio_device *virtio_net_new(const struct virtio_net_options *options, struct error *err);
void virtio_net_get_stats(struct virtio_device *device, struct virtio_net_stats *stats);

#endif
