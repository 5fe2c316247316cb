/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Which files and structures of ext2/3/4 lie in unreadable ranges (libext2fs): first the groups'
 * own blocks, then the blocks of every inode, then the names of the inodes found.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/own.h"
#include "base/text.h"
#include "disk/damage.h"
#include "disk/fs/ext.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_MILLISECONDS 30000
#define MAX_FILES 1000u
#define SECTOR 512u
#define MAX_INODE_SIZE 65536

struct hit {
    ext2_ino_t inode;
    size_t range;
    bool is_named;
};

struct search {
    ext2_filsys fs;
    const struct damage *damage;
    int64_t deadline;
    ext2_ino_t inode;     /* being looked at */
    ext2_ino_t directory; /* being looked at */
    struct hit hits[MAX_FILES];
    size_t hit_count;
};

/* --- a volume that can always be read --- */

struct forgiving {
    struct block_source source;
    const struct block_source *parent;
};

static int forgiving_read(const struct block_source *source, uint64_t offset, void *buffer,
                          size_t length, struct error *err)
{
    const struct forgiving *forgiving = (const struct forgiving *)source;
    (void)err;
    if (block_source_read(forgiving->parent, offset, buffer, length, NULL) == 0)
        return 0;
    for (size_t done = 0; done < length; done += SECTOR) {
        size_t piece = (size_t)min_u64(SECTOR, length - done);
        uint8_t *at = (uint8_t *)buffer + done;
        if (block_source_read(forgiving->parent, offset + done, at, piece, NULL) != 0)
            memset(at, 0, piece);
    }
    return 0;
}

static const struct block_source_ops forgiving_ops = {.read = forgiving_read};

/* --- which range --- */

static bool is_late(const struct search *search)
{
    return clock_ms() > search->deadline;
}

/* The first range that touches the blocks; count when none does. */
static size_t range_of(const struct search *search, blk64_t block, uint64_t count)
{
    const struct damage *damage = search->damage;
    uint64_t start = block * search->fs->blocksize;
    uint64_t end = start + count * search->fs->blocksize;
    size_t low = 0, high = damage->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (damage->ranges[middle].offset + damage->ranges[middle].length <= start)
            low = middle + 1;
        else
            high = middle;
    }
    return low < damage->count && damage->ranges[low].offset < end ? low : damage->count;
}

static void tell(const struct search *search, size_t range, const char *text)
{
    search->damage->found(search->damage->context, search->damage->which[range], text);
}

/* --- the groups' own blocks --- */

/* Block 0 is no structure's but the first superblock's: the library's word for 'none'. */
static void tell_structure(const struct search *search, blk64_t block, uint64_t count,
                           const char *what, dgrp_t group)
{
    bool is_there = block != 0 || (group == 0 && what[0] == 's');
    size_t range = is_there ? range_of(search, block, count) : search->damage->count;
    char text[80];
    if (range == search->damage->count)
        return;
    snprintf(text, sizeof(text), "the %s of group %u", what, group);
    tell(search, range, text);
}

static void find_structures(const struct search *search)
{
    ext2_filsys fs = search->fs;
    for (dgrp_t group = 0; group < fs->group_desc_count && !is_late(search); group++) {
        blk64_t super = 0, old = 0, new = 0;
        blk_t used = 0;
        ext2fs_super_and_bgd_loc2(fs, group, &super, &old, &new, &used);
        tell_structure(search, super, 1, "superblock", group);
        tell_structure(search, old, fs->desc_blocks, "descriptors", group);
        tell_structure(search, new, 1, "descriptors", group);
        tell_structure(search, ext2fs_block_bitmap_loc(fs, group), 1, "block bitmap", group);
        tell_structure(search, ext2fs_inode_bitmap_loc(fs, group), 1, "inode bitmap", group);
        tell_structure(search, ext2fs_inode_table_loc(fs, group), fs->inode_blocks_per_group,
                       "inode table", group);
    }
}

/* --- the inodes' blocks --- */

static void add_hit(struct search *search, size_t range)
{
    for (size_t i = search->hit_count; i > 0; i--) {
        const struct hit *hit = &search->hits[i - 1];
        if (hit->inode != search->inode)
            break;
        if (hit->range == range)
            return;
    }
    if (search->hit_count < MAX_FILES)
        search->hits[search->hit_count++] = (struct hit){search->inode, range, false};
}

static int look_at_block(ext2_filsys fs, blk64_t *block, e2_blkcnt_t number, blk64_t parent,
                         int parent_offset, void *context)
{
    struct search *search = context;
    size_t range = range_of(search, *block, 1);
    (void)fs, (void)number, (void)parent, (void)parent_offset;
    if (range < search->damage->count)
        add_hit(search, range);
    return 0;
}

/* Calls for every inode in use, until it is late. */
static void for_each_inode(struct search *search,
                           void (*call)(struct search *search, ext2_ino_t number,
                                        struct ext2_inode *inode))
{
    ext2_inode_scan scan;
    ext2_ino_t number = 0;
    unsigned step = 0;
    int size = EXT2_INODE_SIZE(search->fs->super);
    AUTO_FREE struct ext2_inode *inode = size <= MAX_INODE_SIZE ? malloc((size_t)size) : NULL;
    if (!inode || ext2fs_open_inode_scan(search->fs, 0, &scan) != 0)
        return;
    for (;;) {
        errcode_t status = ext2fs_get_next_inode_full(scan, &number, inode, size);
        if (status == 0 && number == 0)
            break;
        if (step++ % 256 == 0 && is_late(search))
            break;
        /* A broken inode, or a part of the table that is: on to the next. */
        if (status == 0 && inode->i_links_count > 0)
            call(search, number, inode);
        else if (status == EXT2_ET_NO_MEMORY)
            break;
    }
    ext2fs_close_inode_scan(scan);
}

static void look_at_blocks(struct search *search, ext2_ino_t number, struct ext2_inode *inode)
{
    search->inode = number;
    if (ext2fs_inode_has_valid_blocks2(search->fs, inode))
        ext2fs_block_iterate3(search->fs, number, BLOCK_FLAG_READ_ONLY, NULL, look_at_block,
                              search);
}

/* --- their names --- */

static void tell_file(struct search *search, struct hit *hit, const struct ext2_dir_entry *entry)
{
    char *folder = NULL;
    AUTO(text) path = {0};
    if (ext2fs_get_pathname(search->fs, search->directory, 0, &folder) == 0 && folder) {
        text_add(&path, folder);
        if (!text_ends_with(folder, "/"))
            text_add(&path, "/");
    } else {
        text_add(&path, "…/");
    }
    text_add_bytes(&path, entry->name, (size_t)ext2fs_dirent_name_len(entry));
    tell(search, hit->range, text_string(&path));
    hit->is_named = true;
    if (folder)
        ext2fs_free_mem(&folder);
}

static int look_at_entry(struct ext2_dir_entry *entry, int offset, int block_size, char *buffer,
                         void *context)
{
    struct search *search = context;
    int length = ext2fs_dirent_name_len(entry);
    (void)offset, (void)block_size, (void)buffer;
    if (entry->inode == 0 || (length == 1 && entry->name[0] == '.') ||
        (length == 2 && memcmp(entry->name, "..", 2) == 0))
        return 0;
    for (size_t i = 0; i < search->hit_count; i++) {
        if (search->hits[i].inode == entry->inode && !search->hits[i].is_named)
            tell_file(search, &search->hits[i], entry);
    }
    return is_late(search) ? DIRENT_ABORT : 0;
}

static void look_at_names(struct search *search, ext2_ino_t number, struct ext2_inode *inode)
{
    if (!LINUX_S_ISDIR(inode->i_mode))
        return;
    search->directory = number;
    ext2fs_dir_iterate(search->fs, number, 0, NULL, look_at_entry, search);
}

/* Inodes that have no name in a directory. */
static void tell_rest(struct search *search)
{
    for (size_t i = 0; i < search->hit_count; i++) {
        const struct hit *hit = &search->hits[i];
        char text[48];
        if (hit->is_named)
            continue;
        snprintf(text, sizeof(text), "inode %u", hit->inode);
        tell(search, hit->range,
             hit->inode == search->fs->super->s_journal_inum ? "the journal"
             : hit->inode == EXT2_ROOT_INO                   ? "/"
                                                             : text);
    }
}

/* --- */

/* A mounted file system is as good as any here: nothing is decided by what is found. */
static bool may_be_opened(const struct block_source *volume)
{
    uint8_t bytes[EXT_SUPER_SIZE];
    struct usedmap map = {.is_certain = true};
    if (volume->size_bytes < EXT_SUPER_OFFSET + EXT_SUPER_SIZE ||
        block_source_read(volume, EXT_SUPER_OFFSET, bytes, sizeof(bytes), NULL) != 0)
        return false;
    uint8_t *incompat = bytes + offsetof(struct ext2_super_block, s_feature_incompat);
    uint8_t *state = bytes + offsetof(struct ext2_super_block, s_state);
    store_le32(incompat, load_le32(incompat) & ~(uint32_t)EXT3_FEATURE_INCOMPAT_RECOVER);
    store_le16(state, EXT2_VALID_FS);
    bool is_usable = ext_super_is_usable(bytes, volume->size_bytes, &map);
    usedmap_fini(&map);
    return is_usable;
}

void ext_damage_find(const struct block_source *volume, const struct damage *damage)
{
    struct forgiving forgiving = {.source = *volume, .parent = volume};
    struct error cause = {0};
    AUTO_FREE struct search *search = calloc(1, sizeof(*search));
    forgiving.source.ops = &forgiving_ops;
    if (!search || !may_be_opened(&forgiving.source))
        return;
    *search = (struct search){.damage = damage, .deadline = clock_ms() + MAX_MILLISECONDS};
    if (ext_open(&forgiving.source, &cause, &search->fs) == 0) {
        find_structures(search);
        for_each_inode(search, look_at_blocks);
        if (search->hit_count)
            for_each_inode(search, look_at_names);
        tell_rest(search);
    }
    ext_close(search->fs);
}
