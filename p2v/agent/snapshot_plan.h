/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * From what LVM reports to what is to be done: which logical volumes need a snapshot, how large,
 * and which ranges of the disks they stand for. Decides only; knows no device and runs nothing.
 * Private to snapshot*.c.
 */
#ifndef P2V_AGENT_SNAPSHOT_PLAN_H
#define P2V_AGENT_SNAPSHOT_PLAN_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The columns that the reports must have: lvs, and pvs --segments. Bytes, no units, binary. */
#define SNAPSHOT_LVS_COLUMNS                                                                       \
    "vg_name,vg_seqno,vg_extent_size,vg_free_count,lv_name,lv_attr,lv_tags,lv_kernel_major,"       \
    "lv_kernel_minor,lv_device_open,lv_size,segtype,seg_start,seg_size,stripes,stripe_size,"       \
    "seg_pe_ranges"
#define SNAPSHOT_PVS_COLUMNS                                                                       \
    "pv_name,vg_name,vg_seqno,vg_extent_size,pe_start,pv_pe_count,dev_size,pvseg_start,"           \
    "pvseg_size,segtype"

/* Both mark a snapshot as ours. */
#define SNAPSHOT_TAG "rehost_snapshot"
#define SNAPSHOT_NAME "rehost_snapshot_"

#define SNAPSHOT_SWAP_HEADER 65536u /* bytes: a page, however large the machine's are */

#define SNAPSHOT_NAME_SIZE 128 /* LVM's own limit for a name is 127 */

/* A logical volume in use. */
struct snapshot_volume {
    char vg[SNAPSHOT_NAME_SIZE], name[SNAPSHOT_NAME_SIZE];
    unsigned major, minor;
    uint64_t size_bytes, extent_bytes;
    uint64_t room_extents; /* for its snapshot */
};

/* A range of a disk that is the volume's: as struct overlay_part. */
struct snapshot_part {
    size_t volume, disk;
    uint64_t offset, length; /* bytes of the disk */
    uint64_t start;          /* bytes of the volume */
    uint64_t stripe_bytes;
    unsigned stripes;
};

struct snapshot_area {
    size_t disk;
    uint64_t offset, length;
};
struct snapshot_areas {
    struct snapshot_area *items;
    size_t count;
};

struct snapshot_plan {
    struct snapshot_volume *volumes;
    size_t volume_count;
    struct snapshot_part *parts;
    size_t part_count;
    struct snapshot_areas members;  /* the physical volumes, whole */
    struct snapshot_areas metadata; /* LVM's own before and behind their extents */
    struct snapshot_areas free;     /* extents that belong to nobody */
    struct snapshot_areas swap;     /* what is swapped to, without the header */
    char obstacle[256];             /* why there can be no snapshots; "" */
};
void snapshot_plan_fini(struct snapshot_plan *plan);

struct snapshot_machine {
    /*
     * Where a physical volume lies: 1 there, 0 on none of the disks that count, -1 on one of them,
     * but not byte for byte (RAID, encryption).
     */
    int (*find)(void *context, const char *path, size_t *disk, uint64_t *offset);
    bool (*is_swap)(void *context, unsigned major, unsigned minor);
    void *context;
};

/* -1: the reports cannot be understood. An obstacle is not an error. */
int snapshot_plan_read(struct snapshot_plan *plan, const char *lvs, const char *pvs,
                       const struct snapshot_machine *machine, struct error *err);

/* A snapshot that we, or a run that was killed, have made. */
struct snapshot_own {
    char vg[SNAPSHOT_NAME_SIZE], name[SNAPSHOT_NAME_SIZE];
    unsigned major, minor; /* when is_active */
    bool is_active;
};
struct snapshot_owns {
    struct snapshot_own *items;
    size_t count;
};
void snapshot_owns_fini(struct snapshot_owns *owns);
int snapshot_owns_read(struct snapshot_owns *owns, const char *lvs, struct error *err);

#endif
