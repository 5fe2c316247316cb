/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A running machine's disks as they were at one moment: what lies on LVM's logical volumes in use
 * is read from snapshots of them, what else is in use (/boot, the EFI system partition, LVM's own
 * metadata) was put aside in memory at that moment, and the rest is at rest. So one pass is enough
 * and services wait for an instant only.
 *
 *     disk      | table | /boot    | LVM metadata | root LV  | free | swap LV |
 *     read from   memory  memory     memory         snapshot   --     disk
 *
 * The snapshots are LVM's own, tagged, in the free extents of the volume group; the copy shows the
 * group as it was without them. All or nothing: where one thing in use can be had in neither way,
 * there are no snapshots, and the disks are gone over in passes as ever.
 */
#ifndef P2V_AGENT_SNAPSHOT_H
#define P2V_AGENT_SNAPSHOT_H

#include "base/error.h"
#include "base/extents.h"
#include "base/log.h"
#include "base/own.h"
#include "base/source.h"
#include "p2v/agent/live_source.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A disk that is in use. Borrowed until snapshots_close. */
struct snapshot_disk {
    const char *name;
    unsigned major, minor;
    struct live_source *source;
};

struct snapshots_options {
    const struct snapshot_disk *disks; /* borrowed */
    size_t disk_count;
    /*
     * Stops all writing to the disks, and lets it go on: as sender_options.freeze, but thaw tells
     * whether nothing was written meanwhile. In between nothing is written to any file.
     */
    int (*freeze)(void *context, struct error *err);
    bool (*thaw)(void *context);
    void *context;
    struct log *log;
};

struct snapshots;

/* Removes what a killed run has left behind. EBUSY: another run has some now. */
int snapshots_sweep(struct log *log, struct error *err);

/* Sweeps, too. NULL with err: there can be no snapshots, and why. */
struct snapshots *snapshots_open(const struct snapshots_options *options, struct error *err);

/* Removes those that there are. */
void snapshots_close(struct snapshots *snapshots);
OWN_DEFINE_PTR(snapshots, snapshots_close)

/* The disk, by way of its snapshots as long as there are any. Valid until close. */
const struct block_source *snapshots_block(const struct snapshots *snapshots, size_t disk);

/*
 * Takes them; from now on all of the disks is of this moment. 1: done; 0: cannot be had, and
 * `obstacle` says why; -1: something failed. Without success everything is as before. Not while
 * somebody reads the disks, as drop.
 */
int snapshots_take(struct snapshots *snapshots, char *obstacle, size_t size, struct error *err);

/* Whether the disks are read by way of snapshots now: from take to drop. */
bool snapshots_are_taken(const struct snapshots *snapshots);

/* What is used of the disk at that moment; only after take. Adds to `used`. */
int snapshots_used(const struct snapshots *snapshots, size_t disk, struct extents *used,
                   struct error *err);

/* Whether everything that was read since has been of that moment; if not, the log got it. */
bool snapshots_hold(struct snapshots *snapshots);

/* Removes them; the disks are read as they are again. Nothing to do without any. */
void snapshots_drop(struct snapshots *snapshots);

/* For the report; after take, and after drop. */
struct snapshot_figures {
    const char *vg, *name; /* of the volume; borrowed */
    uint64_t size_bytes, room_bytes;
    double used_percent; /* of the room, when it was looked at last */
};
size_t snapshots_count(const struct snapshots *snapshots);
struct snapshot_figures snapshots_figures(const struct snapshots *snapshots, size_t index);

#endif
