/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a file system kept where a disk cannot be read any more, as far as it can be told.
 */
#ifndef DISK_DAMAGE_H
#define DISK_DAMAGE_H

#include "base/extents.h"
#include "base/source.h"

#include <stddef.h>

#define DAMAGE_MAX_RANGES 100u

struct damage {
    const struct extent *ranges; /* relative to the volume, ascending, apart from each other */
    const size_t *which;         /* what the caller calls each of them */
    size_t count;                /* at most DAMAGE_MAX_RANGES */
    /* A file's path or a structure's name, not escaped: several for a range, or none. */
    void (*found)(void *context, size_t which, const char *text);
    void *context;
};

/*
 * ext2, ext3 and ext4: walks through all inodes and directories, for at most half a minute. Reads
 * that fail show zeroes to it, and lose what is behind them.
 */
void ext_damage_find(const struct block_source *volume, const struct damage *damage);

#endif
