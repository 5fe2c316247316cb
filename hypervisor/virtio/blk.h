/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * virtio-blk over an image (Virtual I/O Device 1.1, section 5.2): read, write, flush, discard,
 * write zeroes, the serial; one worker thread a queue.
 */
#ifndef HYPERVISOR_VIRTIO_BLK_H
#define HYPERVISOR_VIRTIO_BLK_H

#include "base/log.h"
#include "formats/image.h"
#include "hypervisor/throttle.h"
#include "hypervisor/virtio/device.h"

struct virtio_blk_options {
    struct image *image;       /* taken, also on failure; a multiple of 512 bytes */
    const char *serial;        /* at most 20 bytes reach the guest; NULL: none */
    bool is_read_only;         /* whatever the driver accepts */
    unsigned queues;           /* 1 to VIRTIO_MAX_QUEUES */
    struct throttle *throttle; /* borrowed, shared by a guest's disks; NULL: none */
    struct log *log;
};

struct virtio_blk_stats { /* since it was made; read from any thread */
    uint64_t read_bytes, read_requests, written_bytes, write_requests, flushes, errors;
};

struct virtio_device *virtio_blk_new(const struct virtio_blk_options *options, struct error *err);
void virtio_blk_get_stats(struct virtio_device *device, struct virtio_blk_stats *stats);

#endif
