/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The small virtio devices: entropy, memory balloon, console (Virtual I/O Device 1.1, sections 5.4,
 * 5.5 and 5.3). All work in the loop's thread.
 */
#ifndef HYPERVISOR_VIRTIO_SMALL_H
#define HYPERVISOR_VIRTIO_SMALL_H

#include "hypervisor/loop.h"
#include "hypervisor/virtio/device.h"

/* Random bytes of this system's, at most 1 MiB a second. */
struct virtio_device *virtio_rng_new(struct loop *loop, struct error *err);

/* Pages that the guest gives up go back to this system. Target: any thread, in bytes of balloon. */
struct virtio_device *virtio_balloon_new(struct loop *loop, struct error *err);
void virtio_balloon_set(struct virtio_device *device, uint64_t target_bytes);
uint64_t virtio_balloon_get(struct virtio_device *device); /* how much it holds now */

/* One port. `in` (-1: silent) and `out` are borrowed. */
struct virtio_device *virtio_console_new(struct loop *loop, int in, int out, struct error *err);

#endif
