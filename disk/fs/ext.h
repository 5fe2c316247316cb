/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The parts of the ext2/3/4 driver: what a superblock claims, checked before libext2fs sees it, and
 * libext2fs' input from a block source. Private to disk/fs/ext*.c.
 */
#ifndef DISK_FS_EXT_H
#define DISK_FS_EXT_H

#include "disk/usedmap.h"

#include <ext2fs/ext2fs.h>

#define EXT_SUPER_OFFSET 1024u
#define EXT_SUPER_SIZE 1024u

/* 128 TiB in groups of the usual 128 MiB; the descriptors are then 64 MiB. */
#define EXT_MAX_GROUPS ((uint64_t)1 << 20)

/* Beyond so many ranges (a map of 32 MiB) groups are taken whole. */
#define EXT_MAX_RANGES ((size_t)1 << 21)

/*
 * Doubts whatever is not certain about a raw superblock: its state, its features, and each number
 * that sizes or offsets are computed from. True when libext2fs may open it.
 */
bool ext_super_is_usable(const uint8_t *super, uint64_t volume_bytes, struct usedmap *map);

/*
 * Opens the file system read-only. `cause` gets the error of a failing read and stays set for all
 * later ones; it must outlive the file system, which the caller closes with ext_close.
 */
errcode_t ext_open(const struct block_source *volume, struct error *cause, ext2_filsys *fs);
void ext_close(ext2_filsys fs);

#endif
