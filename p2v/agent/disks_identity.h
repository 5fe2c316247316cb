/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a disk says of itself: bus, vendor, model, serial number, world-wide name. From sysfs, and
 * from udev's database where that knows more. Private to disks*.c.
 */
#ifndef P2V_AGENT_DISKS_IDENTITY_H
#define P2V_AGENT_DISKS_IDENTITY_H

#include "p2v/agent/disks.h"

/* `folder` is the disk's in /sys. Fills in what can be told; disk->major and minor are set. */
void disks_read_identity(const char *root, const char *folder, struct machine_disk *disk);

#endif
