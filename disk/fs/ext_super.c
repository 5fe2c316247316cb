/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The superblock of ext2/3/4, as it lies on the disk (Linux' Documentation/filesystems/ext4/
 * super.rst): is the file system at rest, are all its features known, and can its numbers be true
 * of a volume of this size? Only then libext2fs computes with them.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "disk/fs/ext.h"

#define FIELD16(super, name) load_le16((super) + offsetof(struct ext2_super_block, name))
#define FIELD32(super, name) load_le32((super) + offsetof(struct ext2_super_block, name))

#define LOG_BLOCK_SIZE_MAX 6u    /* 64 KiB */
#define LOG_CLUSTER_SIZE_MAX 19u /* 512 MiB */
#define LOG_FLEX_MAX 31u
#define DESC_SIZE_MAX 1024u

/* Features whose allocation rules this driver knows. */
#define KNOWN_COMPAT                                                                               \
    (EXT2_FEATURE_COMPAT_DIR_PREALLOC | EXT2_FEATURE_COMPAT_IMAGIC_INODES |                        \
     EXT3_FEATURE_COMPAT_HAS_JOURNAL | EXT2_FEATURE_COMPAT_EXT_ATTR |                              \
     EXT2_FEATURE_COMPAT_RESIZE_INODE | EXT2_FEATURE_COMPAT_DIR_INDEX |                            \
     EXT4_FEATURE_COMPAT_SPARSE_SUPER2 | EXT4_FEATURE_COMPAT_FAST_COMMIT |                         \
     EXT4_FEATURE_COMPAT_STABLE_INODES | EXT4_FEATURE_COMPAT_ORPHAN_FILE)
#define KNOWN_INCOMPAT                                                                             \
    (EXT2_FEATURE_INCOMPAT_FILETYPE | EXT2_FEATURE_INCOMPAT_META_BG |                              \
     EXT3_FEATURE_INCOMPAT_EXTENTS | EXT4_FEATURE_INCOMPAT_64BIT | EXT4_FEATURE_INCOMPAT_MMP |     \
     EXT4_FEATURE_INCOMPAT_FLEX_BG | EXT4_FEATURE_INCOMPAT_EA_INODE |                              \
     EXT4_FEATURE_INCOMPAT_CSUM_SEED | EXT4_FEATURE_INCOMPAT_LARGEDIR |                            \
     EXT4_FEATURE_INCOMPAT_INLINE_DATA | EXT4_FEATURE_INCOMPAT_ENCRYPT |                           \
     EXT4_FEATURE_INCOMPAT_CASEFOLD)
#define KNOWN_RO_COMPAT                                                                            \
    (EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER | EXT2_FEATURE_RO_COMPAT_LARGE_FILE |                     \
     EXT4_FEATURE_RO_COMPAT_HUGE_FILE | EXT4_FEATURE_RO_COMPAT_GDT_CSUM |                          \
     EXT4_FEATURE_RO_COMPAT_DIR_NLINK | EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE |                       \
     EXT4_FEATURE_RO_COMPAT_QUOTA | EXT4_FEATURE_RO_COMPAT_BIGALLOC |                              \
     EXT4_FEATURE_RO_COMPAT_METADATA_CSUM | EXT4_FEATURE_RO_COMPAT_READONLY |                      \
     EXT4_FEATURE_RO_COMPAT_PROJECT | EXT4_FEATURE_RO_COMPAT_SHARED_BLOCKS |                       \
     EXT4_FEATURE_RO_COMPAT_VERITY | EXT4_FEATURE_RO_COMPAT_ORPHAN_PRESENT)

static void check_state(const uint8_t *super, struct usedmap *map)
{
    uint32_t incompat = FIELD32(super, s_feature_incompat);
    uint32_t state = FIELD16(super, s_state);

    if (incompat & EXT3_FEATURE_INCOMPAT_JOURNAL_DEV)
        usedmap_doubt(map, "ext: the journal of another file system");
    if (incompat & EXT3_FEATURE_INCOMPAT_RECOVER)
        usedmap_doubt(map, "ext: the journal needs recovery (not cleanly unmounted)");
    if (state & EXT2_ERROR_FS)
        usedmap_doubt(map, "ext: the file system has errors; run e2fsck");
    if (!(state & EXT2_VALID_FS))
        usedmap_doubt(map, "ext: not cleanly unmounted");
}

static void check_features(const uint8_t *super, struct usedmap *map)
{
    uint32_t compat = FIELD32(super, s_feature_compat) & ~(uint32_t)KNOWN_COMPAT;
    uint32_t incompat = FIELD32(super, s_feature_incompat) & ~(uint32_t)KNOWN_INCOMPAT;
    uint32_t ro_compat = FIELD32(super, s_feature_ro_compat) & ~(uint32_t)KNOWN_RO_COMPAT;
    bool has_journal = (FIELD32(super, s_feature_compat) & EXT3_FEATURE_COMPAT_HAS_JOURNAL) != 0;

    if (compat | incompat | ro_compat)
        usedmap_doubt(map, "ext: unknown features (compat 0x%x, incompat 0x%x, ro_compat 0x%x)",
                      compat, incompat, ro_compat);
    if (has_journal && FIELD32(super, s_journal_inum) == 0)
        usedmap_doubt(map, "ext: the journal is on another device");
    if (FIELD32(super, s_rev_level) == EXT2_GOOD_OLD_REV &&
        (FIELD32(super, s_feature_compat) | FIELD32(super, s_feature_incompat) |
         FIELD32(super, s_feature_ro_compat)) != 0)
        usedmap_doubt(map, "ext: revision 0 with features");
}

static uint64_t block_count(const uint8_t *super)
{
    uint64_t count = FIELD32(super, s_blocks_count);

    if (FIELD32(super, s_feature_incompat) & EXT4_FEATURE_INCOMPAT_64BIT)
        count |= (uint64_t)FIELD32(super, s_blocks_count_hi) << 32;
    return count;
}

static void check_block_size(const uint8_t *super, uint64_t volume_bytes, struct usedmap *map)
{
    uint32_t log_block = FIELD32(super, s_log_block_size);
    uint32_t log_cluster = FIELD32(super, s_log_cluster_size);
    uint32_t first = FIELD32(super, s_first_data_block);
    uint64_t blocks = block_count(super);

    if (log_block > LOG_BLOCK_SIZE_MAX || log_cluster > LOG_CLUSTER_SIZE_MAX ||
        log_cluster < log_block) {
        usedmap_doubt(map, "ext: impossible block size (2^%u KiB, clusters 2^%u KiB)", log_block,
                      log_cluster);
        return;
    }
    if (blocks > volume_bytes >> (10 + log_block))
        usedmap_doubt(map, "ext: %llu blocks of %u bytes do not fit into %llu bytes",
                      (unsigned long long)blocks, 1024u << log_block,
                      (unsigned long long)volume_bytes);
    /* Block 0 is the boot block only where a block and a cluster are 1 KiB. */
    if (first != (log_cluster == 0) || first >= blocks)
        usedmap_doubt(map, "ext: impossible first data block %u", first);
}

static void check_inodes(const uint8_t *super, uint32_t block_size, struct usedmap *map)
{
    uint32_t per_group = FIELD32(super, s_inodes_per_group);
    uint32_t size = FIELD32(super, s_rev_level) == EXT2_GOOD_OLD_REV ? EXT2_GOOD_OLD_INODE_SIZE
                                                                     : FIELD16(super, s_inode_size);

    if (per_group == 0 || per_group > 8 * block_size)
        usedmap_doubt(map, "ext: impossible number of inodes in a group, %u", per_group);
    if (size < EXT2_GOOD_OLD_INODE_SIZE || size > block_size || !is_power_of_two(size))
        usedmap_doubt(map, "ext: impossible inode size %u", size);
}

static void check_descriptors(const uint8_t *super, uint32_t block_size, uint64_t groups,
                              struct usedmap *map)
{
    uint32_t incompat = FIELD32(super, s_feature_incompat);
    uint32_t size = EXT2_MIN_DESC_SIZE;

    if (incompat & EXT4_FEATURE_INCOMPAT_64BIT) {
        size = FIELD16(super, s_desc_size);
        if (size < EXT2_MIN_DESC_SIZE_64BIT || size > DESC_SIZE_MAX || size > block_size ||
            !is_power_of_two(size)) {
            usedmap_doubt(map, "ext: impossible group descriptor size %u", size);
            return;
        }
    }
    uint64_t blocks = div_round_up(groups * size, block_size);
    if (blocks >= block_count(super))
        usedmap_doubt(map, "ext: more group descriptors than blocks");
    if (groups * size > EXT_MAX_DESCRIPTOR_BYTES)
        usedmap_doubt(map, "ext: too many group descriptors (%llu bytes)",
                      (unsigned long long)(groups * size));
    if ((incompat & EXT2_FEATURE_INCOMPAT_META_BG) && FIELD32(super, s_first_meta_bg) > blocks)
        usedmap_doubt(map, "ext: impossible first meta group %u", FIELD32(super, s_first_meta_bg));
    if (FIELD16(super, s_reserved_gdt_blocks) > block_size / 4)
        usedmap_doubt(map, "ext: impossible number of reserved descriptor blocks");
}

static void check_groups(const uint8_t *super, struct usedmap *map)
{
    uint32_t log_block = FIELD32(super, s_log_block_size);
    uint32_t ratio_bits = FIELD32(super, s_log_cluster_size) - log_block;
    uint32_t block_size = 1024u << log_block;
    uint32_t per_group = FIELD32(super, s_blocks_per_group);
    uint64_t clusters = FIELD32(super, s_clusters_per_group);
    bool is_bigalloc = (FIELD32(super, s_feature_ro_compat) & EXT4_FEATURE_RO_COMPAT_BIGALLOC) != 0;

    if (ratio_bits != 0 && !is_bigalloc)
        usedmap_doubt(map, "ext: clusters without bigalloc");
    if (clusters == 0 || clusters % 8 != 0 || clusters > 8 * block_size ||
        clusters << ratio_bits != per_group) {
        usedmap_doubt(map, "ext: impossible group size (%u blocks, %llu clusters)", per_group,
                      (unsigned long long)clusters);
        return;
    }
    uint64_t groups =
        div_round_up(block_count(super) - FIELD32(super, s_first_data_block), per_group);
    if (groups > EXT_MAX_GROUPS)
        usedmap_doubt(map, "ext: too many groups (%llu)", (unsigned long long)groups);
    if (groups * FIELD32(super, s_inodes_per_group) != FIELD32(super, s_inodes_count))
        usedmap_doubt(map, "ext: the number of inodes does not fit the groups");
    check_inodes(super, block_size, map);
    check_descriptors(super, block_size, groups, map);
}

bool ext_super_is_usable(const uint8_t *super, uint64_t volume_bytes, struct usedmap *map)
{
    if (FIELD16(super, s_magic) != EXT2_SUPER_MAGIC) {
        usedmap_doubt(map, "ext: no superblock");
        return false;
    }
    if (FIELD32(super, s_rev_level) > EXT2_DYNAMIC_REV)
        usedmap_doubt(map, "ext: unknown revision %u", FIELD32(super, s_rev_level));
    check_state(super, map);
    check_features(super, map);
    check_block_size(super, volume_bytes, map);
    if (super[offsetof(struct ext2_super_block, s_log_groups_per_flex)] > LOG_FLEX_MAX)
        usedmap_doubt(map, "ext: impossible flex_bg size");
    if (map->is_certain)
        check_groups(super, map);
    return map->is_certain;
}
