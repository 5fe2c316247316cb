/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One request to a virtio disk, from a chain of guest memory to the image and back (Virtual I/O
 * Device 1.1, section 5.2.6). Knows neither threads nor interrupts; shared by hypervisor/virtio's
 * blk*.c and its fuzzer only.
 */
#ifndef HYPERVISOR_VIRTIO_BLK_REQUEST_H
#define HYPERVISOR_VIRTIO_BLK_REQUEST_H

#include "base/log.h"
#include "formats/image.h"
#include "hypervisor/virtio/queue.h"

#include <linux/virtio_blk.h>
#include <stdatomic.h>

#define BLK_SECTOR 512u
#define BLK_MAX_RANGES 16u              /* of one discard or write zeroes */
#define BLK_MAX_DISCARD (1u << 21)      /* sectors of a range: 1 GiB */
#define BLK_MAX_WRITE_ZEROES (1u << 19) /* 256 MiB */

/* What requests work on; those of several queues do at once. */
struct blk_disk {
    struct image *image;
    uint64_t sectors;
    uint32_t granule_bytes; /* discards are made smaller to whole ones */
    bool is_read_only;
    char serial[VIRTIO_BLK_ID_BYTES]; /* padded with zero bytes */
    struct log *log;

    _Atomic uint64_t read_bytes, read_requests, written_bytes, write_requests, flushes, errors;
    _Atomic int flush_failure;   /* errno of the first one that failed: no other succeeds */
    _Atomic int64_t next_log_ms; /* failures before this are only counted */
    _Atomic uint64_t silent_failures;
};

struct blk_request {
    const struct virtqueue_chain *chain; /* borrowed */
    uint32_t type;
    uint64_t sector;
    uint64_t data_bytes; /* without header and status */
};

/* False when the chain has no room for the header or the status: its driver is broken. */
bool blk_request_decode(struct blk_request *request, const struct virtqueue_chain *chain);

/* What a throttle takes for it. */
uint64_t blk_request_cost_bytes(const struct blk_request *request);

/*
 * Does it, and writes its status last. `features` are the driver's. Gives up between steps of at
 * most 512 KiB when *must_stop; NULL: never. Returns the bytes written into the chain.
 */
uint32_t blk_request_run(struct blk_disk *disk, const struct blk_request *request,
                         uint64_t features, const _Atomic bool *must_stop);

#endif
