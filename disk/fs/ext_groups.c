/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The groups of ext2/3/4: a block is used when the bitmap of its group says so, or when it holds
 * the file system's own structures. Bitmaps are read one at a time, each checked against its
 * checksum and its group's free count, so that memory does not grow with the volume.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "disk/fs/ext.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Structures that no bitmap covers, in any order: a hostile file system may scatter a million of
 * them, and adding each to a sorted set at once would move all behind it.
 */
struct pending {
    struct extent *items; /* blocks */
    size_t count, capacity;
};

static int add_blocks(struct ext_reader *reader, struct extents *used, uint64_t first,
                      uint64_t count)
{
    uint64_t size = reader->fs->blocksize;

    if (first >= reader->block_count)
        return 0;
    count = min_u64(count, reader->block_count - first);
    return extents_add(used, first * size, count * size, reader->err);
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
static int add_bitmap(struct ext_reader *reader, uint64_t first_block, uint32_t clusters,
                      uint32_t *free_count)
{
    uint32_t ratio_bits = (uint32_t)reader->fs->cluster_ratio_bits;
    uint32_t position = 0;

    *free_count = 0;
    while (position < clusters) {
        uint32_t start = find_bit(reader->bitmap, position, clusters, true);
        uint32_t end = find_bit(reader->bitmap, start, clusters, false);

        *free_count += start - position;
        if (end > start &&
            add_blocks(reader, &reader->map->used, first_block + ((uint64_t)start << ratio_bits),
                       (uint64_t)(end - start) << ratio_bits) < 0)
            return -1;
        position = end;
    }
    return 0;
}

static int read_bitmap(struct ext_reader *reader, dgrp_t group)
{
    ext2_filsys fs = reader->fs;
    int size = (int)EXT2_CLUSTERS_PER_GROUP(fs->super) / 8;
    errcode_t status =
        io_channel_read_blk64(fs->io, ext2fs_block_bitmap_loc(fs, group), 1, reader->bitmap);

    if (status)
        return ext_library_failed(reader, status, "block bitmap");
    if (!ext2fs_block_bitmap_csum_verify(fs, group, (char *)reader->bitmap, size))
        usedmap_doubt(reader->map, "ext: wrong checksum of the block bitmap of group %u", group);
    return 0;
}

static bool is_uninitialised(const struct ext_reader *reader, dgrp_t group)
{
    return ext2fs_has_group_desc_csum(reader->fs) &&
           ext2fs_bg_flags_test(reader->fs, group, EXT2_BG_BLOCK_UNINIT);
}

static int add_group(struct ext_reader *reader, dgrp_t group)
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
        return add_blocks(reader, &reader->map->used, first, blocks);
    if (add_bitmap(reader, first, clusters, &free_count) < 0)
        return -1;
    if (free_count != ext2fs_bg_free_blocks_count(fs, group))
        usedmap_doubt(reader->map, "ext: group %u has %u free clusters, its descriptor says %u",
                      group, free_count, ext2fs_bg_free_blocks_count(fs, group));
    return 0;
}

static int defer(struct ext_reader *reader, struct pending *pending, uint64_t first, uint64_t count)
{
    uint64_t size = reader->fs->blocksize;

    if (extents_contain(&reader->map->used, first * size, count * size))
        return 0;
    if (pending->count == pending->capacity) {
        size_t capacity = pending->capacity ? 2 * pending->capacity : 64;
        struct extent *grown = reallocarray(pending->items, capacity, sizeof(*grown));

        if (!grown)
            return error_set(reader->err, ENOMEM, "ext: structures");
        pending->items = grown;
        pending->capacity = capacity;
    }
    pending->items[pending->count++] = (struct extent){first, count};
    return 0;
}

/*
 * The superblock and descriptor blocks that a group has a copy of. The bitmap of a BLOCK_UNINIT
 * group is not on the disk, these blocks are.
 */
static int add_backups(struct ext_reader *reader, struct pending *pending, dgrp_t group)
{
    ext2_filsys fs = reader->fs;
    blk64_t super, old_descriptors, new_descriptors;
    uint64_t count = fs->desc_blocks + (uint64_t)fs->super->s_reserved_gdt_blocks;

    if (ext2fs_has_feature_meta_bg(fs->super))
        count = fs->super->s_first_meta_bg;
    ext2fs_super_and_bgd_loc2(fs, group, &super, &old_descriptors, &new_descriptors, NULL);
    if (super && defer(reader, pending, super, 1) < 0)
        return -1;
    if (old_descriptors && defer(reader, pending, old_descriptors, count) < 0)
        return -1;
    return new_descriptors ? defer(reader, pending, new_descriptors, 1) : 0;
}

/* A bitmap that calls its own file system's structures free is not one to believe. */
static int add_structure(struct ext_reader *reader, struct pending *pending, dgrp_t group,
                         uint64_t first, uint64_t count, const char *what)
{
    uint64_t size = reader->fs->blocksize;

    if (!is_uninitialised(reader, ext2fs_group_of_blk2(reader->fs, first)) &&
        !extents_contain(&reader->map->used, first * size, count * size))
        usedmap_doubt(reader->map, "ext: the %s of group %u is marked free", what, group);
    return defer(reader, pending, first, count);
}

static int add_structures(struct ext_reader *reader, struct pending *pending, dgrp_t group)
{
    ext2_filsys fs = reader->fs;

    if (add_backups(reader, pending, group) < 0 ||
        add_structure(reader, pending, group, ext2fs_block_bitmap_loc(fs, group), 1,
                      "block bitmap") < 0 ||
        add_structure(reader, pending, group, ext2fs_inode_bitmap_loc(fs, group), 1,
                      "inode bitmap") < 0)
        return -1;
    return add_structure(reader, pending, group, ext2fs_inode_table_loc(fs, group),
                         fs->inode_blocks_per_group, "inode table");
}

static int compare_extents(const void *left, const void *right)
{
    const struct extent *a = left, *b = right;

    return (a->offset > b->offset) - (a->offset < b->offset);
}

/* Both are sorted now: one pass makes them one set. */
static int merge(struct ext_reader *reader, struct pending *pending)
{
    struct extents *used = &reader->map->used, merged = {0};
    uint64_t size = reader->fs->blocksize;
    size_t i = 0, j = 0;

    if (pending->count == 0)
        return 0;
    qsort(pending->items, pending->count, sizeof(*pending->items), compare_extents);
    while (i < used->count || j < pending->count) {
        int status;

        if (j == pending->count ||
            (i < used->count && used->items[i].offset <= pending->items[j].offset * size)) {
            status =
                extents_add(&merged, used->items[i].offset, used->items[i].length, reader->err);
            i++;
        } else {
            status =
                add_blocks(reader, &merged, pending->items[j].offset, pending->items[j].length);
            j++;
        }
        if (status < 0) {
            extents_fini(&merged);
            return -1;
        }
    }
    extents_fini(used);
    *used = merged;
    return 0;
}

static void check_group(struct ext_reader *reader, dgrp_t group)
{
    ext2_filsys fs = reader->fs;

    if (!ext2fs_group_desc_csum_verify(fs, group))
        usedmap_doubt(reader->map, "ext: wrong checksum of the descriptor of group %u", group);
    if (!ext_has_block_range(reader, ext2fs_block_bitmap_loc(fs, group), 1) ||
        !ext_has_block_range(reader, ext2fs_inode_bitmap_loc(fs, group), 1) ||
        !ext_has_block_range(reader, ext2fs_inode_table_loc(fs, group), fs->inode_blocks_per_group))
        usedmap_doubt(reader->map, "ext: the descriptor of group %u points outside", group);
}

void ext_check_descriptors(struct ext_reader *reader)
{
    for (dgrp_t group = 0; group < reader->fs->group_desc_count && reader->map->is_certain; group++)
        check_group(reader, group);
}

int ext_add_groups(struct ext_reader *reader)
{
    dgrp_t count = reader->fs->group_desc_count;
    struct pending pending = {0};
    int status = 0;

    for (dgrp_t group = 0; group < count && status == 0 && reader->map->is_certain; group++)
        status = add_group(reader, group);
    for (dgrp_t group = 0; group < count && status == 0 && reader->map->is_certain; group++)
        status = add_structures(reader, &pending, group);
    if (status == 0 && reader->map->is_certain)
        status = merge(reader, &pending);
    free(pending.items);
    return status;
}
