/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Who uses a disk while it is being read: the file systems that are mounted read-write on it, on
 * its partitions, or on LVM, RAID and encryption above them (/proc/self/mountinfo, sysfs holders).
 */
#ifndef P2V_AGENT_LIVE_H
#define P2V_AGENT_LIVE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* A mounted file system, once, however often it is mounted. */
struct live_mount {
    char *path;            /* the mount point, owned */
    char *type;            /* "ext4", owned */
    unsigned major, minor; /* of st_dev on it */
};

/* In the order in which they are to be frozen: the deepest first, "/" last. */
struct live_mounts {
    struct live_mount *items;
    size_t count;
};
void live_mounts_fini(struct live_mounts *mounts);

struct live {
    bool is_live;    /* something may write to the disk now */
    char what[128];  /* "/boot/efi and 2 more"; for people, escaped */
    bool is_unknown; /* in use by something that is no mounted file system; `what` says */
};

/*
 * Tells about the block device (a disk or a partition), and adds its mounted file systems to
 * `mounts`. `root` is "" or a test's folder, in which no device is opened.
 */
int live_read(const char *root, unsigned major, unsigned minor, struct live *live,
              struct live_mounts *mounts, struct error *err);

/* The block device is swapped to. */
bool live_is_swap(const char *root, unsigned major, unsigned minor);

#endif
