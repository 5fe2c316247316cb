/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Where things lie on the disks that are sent, as the kernel tells it. Private to snapshot*.c.
 */
#ifndef P2V_AGENT_SNAPSHOT_MACHINE_H
#define P2V_AGENT_SNAPSHOT_MACHINE_H

#include "p2v/agent/snapshot.h"
#include "p2v/agent/snapshot_plan.h"

/* The callbacks of struct snapshot_machine; the context is struct snapshots_options. */
int snapshot_machine_find(void *options, const char *path, size_t *disk, uint64_t *offset);
bool snapshot_machine_is_swap(void *options, unsigned major, unsigned minor);

/* What is in use of a partition, or of all of the disk. */
struct snapshot_use {
    bool is_live;
    uint64_t bytes; /* that the file systems say are used */
    char what[128]; /* as live's; "" when nothing */
};
int snapshot_machine_use(const struct snapshot_disk *disk, uint64_t offset,
                         struct snapshot_use *use, struct error *err);

/* How much may be kept in memory. */
uint64_t snapshot_machine_memory(void);

#endif
