/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What is in a volume, by its superblock (libblkid). The library needs a file descriptor; sources
 * that have none (images) are shown to it through a sparse memory file that holds the windows at
 * the start and the end of the volume in which superblocks live.
 */
#ifndef DISK_PROBE_H
#define DISK_PROBE_H

#include "base/error.h"
#include "base/source.h"

#include <stdbool.h>

struct probe {
    char type[32];  /* libblkid's TYPE: "ext4", "swap", "LVM2_member", …; "" when unknown */
    char usage[16]; /* "filesystem", "raid", "crypto", "other"; "" when unknown */
    char version[32];
    char uuid[64];     /* printable, escaped; "" when none */
    char label[256];   /* printable, escaped; "" when none */
    bool is_ambiguous; /* several superblocks claim the volume; type is "" then */
};

/* An unknown or ambiguous volume is not an error; -1 for failing reads. */
int probe_read(const struct block_source *volume, struct probe *probe, struct error *err);

#endif
