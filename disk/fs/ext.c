/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * ext2, ext3 and ext4 (libext2fs): what is checked before the groups are believed, and what lies
 * around the file system. The groups are ext_groups.c's.
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

int ext_library_failed(struct ext_reader *reader, errcode_t status, const char *what)
{
    if (reader->cause.text[0] != '\0')
        return error_set(reader->err, 0, "ext: %s: %s", what, reader->cause.text);
    usedmap_doubt(reader->map, "ext: %s: %s", what, error_message(status));
    return 0;
}

bool ext_has_block_range(const struct ext_reader *reader, uint64_t first, uint64_t count)
{
    return first > reader->fs->super->s_first_data_block &&
           range_is_inside(first, count, reader->block_count);
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
static int check_journal(struct ext_reader *reader)
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
    if (!status && !ext_has_block_range(reader, block, 1))
        status = EXT2_ET_BAD_BLOCK_NUM;
    if (!status)
        status = io_channel_read_blk64(fs->io, block, 1, reader->bitmap);
    if (status)
        return ext_library_failed(reader, status, "journal");
    check_journal_super(reader->bitmap, reader->map);
    return 0;
}

/* What is before and behind the file system is not its own, so it cannot call it free. */
static int add_edges(struct ext_reader *reader, uint64_t volume_bytes)
{
    uint64_t block_size = reader->fs->blocksize;
    uint64_t end = reader->block_count * block_size;

    if (extents_add(&reader->map->used, 0, max_u64(block_size, 2 * EXT_SUPER_OFFSET), reader->err) <
        0)
        return -1;
    return extents_add(&reader->map->used, end, volume_bytes - end, reader->err);
}

static int read_file_system(struct ext_reader *reader, uint64_t volume_bytes)
{
    reader->block_count = ext2fs_blocks_count(reader->fs->super);
    if (reader->block_count > volume_bytes / reader->fs->blocksize) {
        usedmap_doubt(reader->map, "ext: the superblock changed while it was read");
        return 0;
    }
    reader->bitmap = malloc(reader->fs->blocksize);
    if (!reader->bitmap)
        return error_set(reader->err, ENOMEM, "ext: block bitmap");
    ext_check_descriptors(reader);
    if (reader->map->is_certain && check_journal(reader) < 0)
        return -1;
    if (reader->map->is_certain && ext_add_groups(reader) < 0)
        return -1;
    return reader->map->is_certain ? add_edges(reader, volume_bytes) : 0;
}

static int ext_read(const struct block_source *volume, struct usedmap *map, struct error *err)
{
    uint8_t super[EXT_SUPER_SIZE];
    struct ext_reader reader = {.map = map, .err = err};
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
    result = status ? ext_library_failed(&reader, status, "open")
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
