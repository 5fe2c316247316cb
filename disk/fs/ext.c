/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * ext2, ext3 and ext4: a block is used when the bitmap of its group says so, or when it holds the
 * file system's own structures. Bitmaps are read one at a time, each checked against its checksum
 * and its group's free count, so that memory does not grow with the volume.
 */
#include "disk/fs/ext.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/own.h"
#include "disk/fs/drivers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define JOURNAL_MAGIC 0xc03b3998u
#define JOURNAL_SUPER_V1 3
#define JOURNAL_SUPER_V2 4

struct reader {
    ext2_filsys fs;
    struct usedmap *map;
    struct error *err;
    struct error cause; /* of a failing read, set by ext_io.c */
    uint64_t block_count;
    uint8_t *bitmap; /* one block */
};

/* A failing read is the caller's error; everything else that libext2fs says is a doubt. */
static int library_failed(struct reader *reader, errcode_t status, const char *what)
{
    if (reader->cause.text[0] != '\0')
        return error_set(reader->err, 0, "ext: %s: %s", what, reader->cause.text);
    usedmap_doubt(reader->map, "ext: %s: %s", what, error_message(status));
    return 0;
}

static int add_blocks(struct reader *reader, uint64_t first, uint64_t count)
{
    uint64_t size = reader->fs->blocksize;

    if (first >= reader->block_count)
        return 0;
    count = min_u64(count, reader->block_count - first);
    return extents_add(&reader->map->used, first * size, count * size, reader->err);
}

static bool has_blocks(const struct reader *reader, uint64_t first, uint64_t count)
{
    uint64_t size = reader->fs->blocksize;

    return extents_contain(&reader->map->used, first * size, count * size);
}

/* The first bit at or behind `from` that has that value; `end` when none has. */
static uint32_t find_bit(const uint8_t *bitmap, uint32_t from, uint32_t end, bool value)
{
    uint64_t skip = value ? 0 : UINT64_MAX;

    while (from < end) {
        uint64_t word;

        if (from % 8 == 0 && end - from >= 64) {
            memcpy(&word, bitmap + from / 8, sizeof(word));
            if (word == skip) {
                from += 64;
                continue;
            }
        }
        if (((bitmap[from / 8] >> from % 8) & 1) == value)
            return from;
        from++;
    }
    return end;
}

/* Adds the used clusters of a group; *free_count is how many are not. */
static int add_bitmap(struct reader *reader, uint64_t first_block, uint32_t clusters,
                      uint32_t *free_count)
{
    uint32_t ratio_bits = (uint32_t)reader->fs->cluster_ratio_bits;
    uint32_t position = 0;

    *free_count = 0;
    while (position < clusters) {
        uint32_t start = find_bit(reader->bitmap, position, clusters, true);
        uint32_t end = find_bit(reader->bitmap, start, clusters, false);

        *free_count += start - position;
        if (end > start && add_blocks(reader, first_block + ((uint64_t)start << ratio_bits),
                                      (uint64_t)(end - start) << ratio_bits) < 0)
            return -1;
        position = end;
    }
    return 0;
}

static int read_bitmap(struct reader *reader, dgrp_t group)
{
    ext2_filsys fs = reader->fs;
    int size = (int)EXT2_CLUSTERS_PER_GROUP(fs->super) / 8;
    errcode_t status =
        io_channel_read_blk64(fs->io, ext2fs_block_bitmap_loc(fs, group), 1, reader->bitmap);

    if (status)
        return library_failed(reader, status, "block bitmap");
    if (!ext2fs_block_bitmap_csum_verify(fs, group, (char *)reader->bitmap, size))
        usedmap_doubt(reader->map, "ext: wrong checksum of the block bitmap of group %u", group);
    return 0;
}

static bool is_uninitialised(const struct reader *reader, dgrp_t group)
{
    return ext2fs_has_group_desc_csum(reader->fs) &&
           ext2fs_bg_flags_test(reader->fs, group, EXT2_BG_BLOCK_UNINIT);
}

static int add_group(struct reader *reader, dgrp_t group)
{
    ext2_filsys fs = reader->fs;
    uint64_t first = ext2fs_group_first_block2(fs, group);
    uint64_t blocks = min_u64(reader->block_count - first, EXT2_BLOCKS_PER_GROUP(fs->super));
    uint32_t clusters = (uint32_t)div_round_up(blocks, 1u << fs->cluster_ratio_bits);
    uint32_t free_count;

    if (is_uninitialised(reader, group))
        return 0;
    if (read_bitmap(reader, group) < 0)
        return -1;
    if (!reader->map->is_certain)
        return 0;
    if (reader->map->used.count > EXT_MAX_RANGES)
        return add_blocks(reader, first, blocks);
    if (add_bitmap(reader, first, clusters, &free_count) < 0)
        return -1;
    if (free_count != ext2fs_bg_free_blocks_count(fs, group))
        usedmap_doubt(reader->map, "ext: group %u has %u free clusters, its descriptor says %u",
                      group, free_count, ext2fs_bg_free_blocks_count(fs, group));
    return 0;
}

/*
 * The superblock and descriptor blocks that a group has a copy of. The bitmap of a BLOCK_UNINIT
 * group is not on the disk, these blocks are.
 */
static int add_backups(struct reader *reader, dgrp_t group)
{
    ext2_filsys fs = reader->fs;
    blk64_t super, old_descriptors, new_descriptors;
    uint64_t count = fs->desc_blocks + (uint64_t)fs->super->s_reserved_gdt_blocks;

    if (ext2fs_has_feature_meta_bg(fs->super))
        count = fs->super->s_first_meta_bg;
    ext2fs_super_and_bgd_loc2(fs, group, &super, &old_descriptors, &new_descriptors, NULL);
    if (super && add_blocks(reader, super, 1) < 0)
        return -1;
    if (old_descriptors && add_blocks(reader, old_descriptors, count) < 0)
        return -1;
    return new_descriptors ? add_blocks(reader, new_descriptors, 1) : 0;
}

/* A bitmap that calls its own file system's structures free is not one to believe. */
static int add_structure(struct reader *reader, dgrp_t group, uint64_t first, uint64_t count,
                         const char *what)
{
    ext2_filsys fs = reader->fs;
    dgrp_t home = ext2fs_group_of_blk2(fs, first);

    if (!is_uninitialised(reader, home) && !has_blocks(reader, first, count))
        usedmap_doubt(reader->map, "ext: the %s of group %u is marked free", what, group);
    return add_blocks(reader, first, count);
}

static int add_structures(struct reader *reader, dgrp_t group)
{
    ext2_filsys fs = reader->fs;

    if (add_backups(reader, group) < 0 ||
        add_structure(reader, group, ext2fs_block_bitmap_loc(fs, group), 1, "block bitmap") < 0 ||
        add_structure(reader, group, ext2fs_inode_bitmap_loc(fs, group), 1, "inode bitmap") < 0)
        return -1;
    return add_structure(reader, group, ext2fs_inode_table_loc(fs, group),
                         fs->inode_blocks_per_group, "inode table");
}

static bool is_in_file_system(const struct reader *reader, uint64_t first, uint64_t count)
{
    return first > reader->fs->super->s_first_data_block &&
           range_is_inside(first, count, reader->block_count);
}

static void check_group(struct reader *reader, dgrp_t group)
{
    ext2_filsys fs = reader->fs;

    if (!ext2fs_group_desc_csum_verify(fs, group))
        usedmap_doubt(reader->map, "ext: wrong checksum of the descriptor of group %u", group);
    if (!is_in_file_system(reader, ext2fs_block_bitmap_loc(fs, group), 1) ||
        !is_in_file_system(reader, ext2fs_inode_bitmap_loc(fs, group), 1) ||
        !is_in_file_system(reader, ext2fs_inode_table_loc(fs, group), fs->inode_blocks_per_group))
        usedmap_doubt(reader->map, "ext: the descriptor of group %u points outside", group);
}

static int add_groups(struct reader *reader)
{
    dgrp_t count = reader->fs->group_desc_count;

    for (dgrp_t group = 0; group < count && reader->map->is_certain; group++) {
        if (add_group(reader, group) < 0)
            return -1;
    }
    for (dgrp_t group = 0; group < count && reader->map->is_certain; group++) {
        if (add_structures(reader, group) < 0)
            return -1;
    }
    return 0;
}

/* The journal's superblock is big-endian (jbd2): is there anything to replay after all? */
static void check_journal_super(const uint8_t *block, struct usedmap *map)
{
    uint32_t kind = load_be32(block + 4);

    if (load_be32(block) != JOURNAL_MAGIC || (kind != JOURNAL_SUPER_V1 && kind != JOURNAL_SUPER_V2))
        usedmap_doubt(map, "ext: the journal has no superblock");
    else if (load_be32(block + 28) != 0)
        usedmap_doubt(map, "ext: the journal is not empty");
    else if (load_be32(block + 32) != 0)
        usedmap_doubt(map, "ext: the journal has recorded an error");
}

/*
 * A clear needs_recovery flag beside a journal with something in it: Linux drops such a journal,
 * e2fsck offers to replay it. The bitmaps are then only one of two truths.
 */
static int check_journal(struct reader *reader)
{
    ext2_filsys fs = reader->fs;
    ext2_ino_t number = fs->super->s_journal_inum;
    struct ext2_inode inode;
    blk64_t block = 0;

    if (!ext2fs_has_feature_journal(fs->super))
        return 0;
    errcode_t status = ext2fs_read_inode(fs, number, &inode);
    if (!status)
        status = ext2fs_bmap2(fs, number, &inode, NULL, 0, 0, NULL, &block);
    if (!status && !is_in_file_system(reader, block, 1))
        status = EXT2_ET_BAD_BLOCK_NUM;
    if (!status)
        status = io_channel_read_blk64(fs->io, block, 1, reader->bitmap);
    if (status)
        return library_failed(reader, status, "journal");
    check_journal_super(reader->bitmap, reader->map);
    return 0;
}

/* What is before and behind the file system is not its own, so it cannot call it free. */
static int add_edges(struct reader *reader, uint64_t volume_bytes)
{
    uint64_t block_size = reader->fs->blocksize;
    uint64_t end = reader->block_count * block_size;

    if (extents_add(&reader->map->used, 0, max_u64(block_size, 2 * EXT_SUPER_OFFSET), reader->err) <
        0)
        return -1;
    return extents_add(&reader->map->used, end, volume_bytes - end, reader->err);
}

static int read_file_system(struct reader *reader, uint64_t volume_bytes)
{
    reader->block_count = ext2fs_blocks_count(reader->fs->super);
    if (reader->block_count > volume_bytes / reader->fs->blocksize) {
        usedmap_doubt(reader->map, "ext: the superblock changed while it was read");
        return 0;
    }
    reader->bitmap = malloc(reader->fs->blocksize);
    if (!reader->bitmap)
        return error_set(reader->err, ENOMEM, "ext: block bitmap");
    for (dgrp_t group = 0; group < reader->fs->group_desc_count && reader->map->is_certain; group++)
        check_group(reader, group);
    if (reader->map->is_certain && check_journal(reader) < 0)
        return -1;
    if (add_groups(reader) < 0)
        return -1;
    return reader->map->is_certain ? add_edges(reader, volume_bytes) : 0;
}

static int ext_read(const struct block_source *volume, struct usedmap *map, struct error *err)
{
    uint8_t super[EXT_SUPER_SIZE];
    struct reader reader = {.map = map, .err = err};
    int result;

    if (volume->size_bytes < EXT_SUPER_OFFSET + EXT_SUPER_SIZE) {
        usedmap_doubt(map, "ext: no room for a superblock");
        return 0;
    }
    if (block_source_read(volume, EXT_SUPER_OFFSET, super, sizeof(super), err) < 0)
        return error_wrap(err, "ext: superblock");
    if (!ext_super_is_usable(super, volume->size_bytes, map))
        return 0;
    errcode_t status = ext_open(volume, &reader.cause, &reader.fs);
    result = status ? library_failed(&reader, status, "open")
                    : read_file_system(&reader, volume->size_bytes);
    free(reader.bitmap);
    ext_close(reader.fs);
    return result;
}

const struct usedmap_driver ext_driver = {
    .name = "ext",
    .description = "ext2, ext3, ext4: free blocks; an unclean or damaged one is copied whole",
    .types = (const char *const[]){"ext2", "ext3", "ext4", "ext4dev", NULL},
    .read = ext_read,
};
