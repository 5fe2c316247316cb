/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The block devices that a disk is under: its partitions, and device mapper, RAID and other
 * holders above them. Private to live*.c.
 */
#ifndef P2V_AGENT_LIVE_DEVICES_H
#define P2V_AGENT_LIVE_DEVICES_H

#include <stdbool.h>
#include <stddef.h>

struct live_device {
    char name[65]; /* as in sysfs */
    unsigned major, minor;
    bool has_holders;
};

struct live_devices {
    struct live_device *items; /* the disk first */
    size_t count;
};
void live_devices_fini(struct live_devices *devices);

/* Starts with the given one; false when there is no such device. */
bool live_devices_read(const char *root, unsigned major, unsigned minor,
                       struct live_devices *devices);
bool live_devices_have(const struct live_devices *devices, unsigned major, unsigned minor);

#endif
