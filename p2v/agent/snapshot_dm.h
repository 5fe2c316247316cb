/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What LVM's tools cannot do at one moment for several snapshots: they are made one after the
 * other, and then begin anew together, while all file systems stand still. Speaks to the kernel
 * (linux/dm-ioctl.h), which does not have to read anything for it from a disk. Private to
 * snapshot*.c.
 */
#ifndef P2V_AGENT_SNAPSHOT_DM_H
#define P2V_AGENT_SNAPSHOT_DM_H

#include "base/error.h"

#include <stdbool.h>

/* The device mapper's device of a COW snapshot that nobody has open. */
struct snapshot_dm {
    unsigned major, minor;
};

/* "/dev/dm-2"; caller frees. */
char *snapshot_dm_path(unsigned major, unsigned minor);

/* Forgets what the snapshot has kept, and keeps nothing more until it is started. */
int snapshot_dm_reset(const struct snapshot_dm *device, struct error *err);

/* From now on it shows its origin as it is now. One call into the kernel. */
int snapshot_dm_start(const struct snapshot_dm *device, struct error *err);

/* Lets a device go on that somebody left suspended. */
void snapshot_dm_resume(const struct snapshot_dm *device);

/* What the kernel says of it. */
struct snapshot_dm_state {
    bool is_valid;       /* it has kept everything so far */
    double used_percent; /* of its room */
};
int snapshot_dm_look(const struct snapshot_dm *device, struct snapshot_dm_state *state,
                     struct error *err);

/* The status line of a snapshot: "16/2048 8", "Invalid", "Overflow". */
struct snapshot_dm_state snapshot_dm_parse(const char *status);

#endif
