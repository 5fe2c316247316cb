/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A disk of this machine, or a file used as one, as a block source. Opened read-only, always.
 */
#ifndef DISK_DEVICE_H
#define DISK_DEVICE_H

#include "base/error.h"
#include "base/own.h"
#include "base/source.h"

struct device; /* begins with struct block_source */

/* The logical sector size of a block device is asked from the kernel; a file's is 0. */
struct device *device_open(const char *path, struct error *err);
const struct block_source *device_source(const struct device *device);
void device_close(struct device *device);
OWN_DEFINE_PTR(device, device_close)

#endif
