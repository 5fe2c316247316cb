/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The parts of the ext2/3/4 driver: what a superblock claims, checked before libext2fs sees it;
 * libext2fs' input from a block source; the walk over the groups. Private to disk/fs/ext*.c.
 */
#ifndef DISK_FS_EXT_H
#define DISK_FS_EXT_H

#include "disk/usedmap.h"

#include <ext2fs/ext2fs.h>

#define EXT_SUPER_OFFSET 1024u
#define EXT_SUPER_SIZE 1024u

/* 128 TiB in groups of the usual 128 MiB; the descriptors are then 64 MiB. */
#define EXT_MAX_GROUPS ((uint64_t)1 << 20)

/* However large a descriptor says it is. */
#define EXT_MAX_DESCRIPTOR_BYTES ((uint64_t)64 << 20)

/* Beyond so many ranges (a map of 32 MiB) groups are taken whole. */
#define EXT_MAX_RANGES ((size_t)1 << 21)

/* One file system being read; `map` gets the result. */
struct ext_reader {
    ext2_filsys fs;
    struct usedmap *map;
    struct error *err;
    struct error cause; /* of a failing read, set by ext_io.c */
    uint64_t block_count;
    uint8_t *bitmap; /* one block */
};

/* A failing read is the caller's error (-1); all else that libext2fs says is a doubt (0). */
int ext_library_failed(struct ext_reader *reader, errcode_t status, const char *what);

/* Not block 0 and not the superblock either: nothing else is kept there. */
bool ext_has_block_range(const struct ext_reader *reader, uint64_t first, uint64_t count);

/* Doubts descriptors with wrong checksums or with places outside the file system. */
void ext_check_descriptors(struct ext_reader *reader);

/* Adds the blocks that bitmaps call used, and the file system's own structures. */
int ext_add_groups(struct ext_reader *reader);

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
