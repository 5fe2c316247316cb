/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Everything on one disk: its partition table, the volumes, and what of the disk is used. This is
 * what copying and `rehost inspect` start from.
 */
#ifndef DISK_LAYOUT_H
#define DISK_LAYOUT_H

#include "base/error.h"
#include "base/extents.h"
#include "base/log.h"
#include "base/source.h"
#include "disk/partition.h"
#include "disk/probe.h"
#include "disk/usedmap.h"

struct volume {
    const struct partition *partition; /* inside the layout's table; NULL: the whole disk */
    uint64_t offset, length;           /* bytes on the disk */
    struct probe probe;
    const struct usedmap_driver *driver;
    struct usedmap map; /* relative to the volume */
};

/* {0} is valid for layout_fini. Not movable: volumes point into the table. */
struct layout {
    struct partition_table table;
    struct volume *volumes; /* by offset; none when the disk is empty */
    size_t count;

    /*
     * What has to be copied, relative to the disk: table.structures and the used part of every
     * volume. What no partition covers is not used, except as in `structures`; when the table is
     * doubtful, or there is neither a table nor a known file system, it is the whole disk.
     */
    struct extents used;
};

/*
 * Warnings (each doubt, a backup table used) go to the log. -1: the first sector cannot be read, or
 * no memory. What cannot be read elsewhere is a doubt.
 */
int layout_read(const struct block_source *disk, struct layout *layout, struct log *log,
                struct error *err);
void layout_fini(struct layout *layout);

#endif
