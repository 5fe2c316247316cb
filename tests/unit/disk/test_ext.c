/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * ext2/3/4: file systems made by mke2fs, and superblocks that lie. Whether a map is complete is
 * shown by tests/integration/usedmap.sh, with e2fsck as the judge; here it is what is doubted.
 */
#include "base/child.h"
#include "base/io.h"
#include "base/own.h"
#include "disk/fs/drivers.h"
#include "disk/fs/ext.h"
#include "tests/unit/disk/sparse.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#define VOLUME (16 * MIB)
#define SUPER(name) (1024 + offsetof(struct ext2_super_block, name))

/* One file system in memory; each test changes a copy. */
struct fixture {
    uint8_t *original, *data;
    struct block_memory volume;
    struct usedmap map;
};

static void make_file_system(const char *path, uint64_t size, const char *features)
{
    const char *const argv[] = {"mke2fs", "-q", "-F",     "-t", "ext4", "-b",
                                "1024",   "-O", features, path, NULL};
    struct error err = {0};
    AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    int status =
        child_run(argv, NULL, NULL, NULL, &(struct child_limits){.timeout_ms = 20000}, &err);
    if (status != 0)
        fail_msg("mke2fs: %d %s", status, err.text);
}

static uint8_t *load_file_system(uint64_t size, const char *features)
{
    char path[] = "/tmp/test_ext_XXXXXX";
    uint8_t *data = malloc(size);

    assert_non_null(data);
    close(mkstemp(path));
    make_file_system(path, size, features);
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    unlink(path);
    assert_int_equal(io_read_at(fd, data, size, 0, NULL), 0);
    return data;
}

static int group_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->original = load_file_system(VOLUME, "metadata_csum,64bit");
    f->data = malloc(VOLUME);
    *state = f;
    return 0;
}

static int group_teardown(void **state)
{
    struct fixture *f = *state;

    free(f->original);
    free(f->data);
    free(f);
    return 0;
}

static int setup(void **state)
{
    struct fixture *f = *state;

    memcpy(f->data, f->original, VOLUME);
    block_memory_init(&f->volume, f->data, VOLUME);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    usedmap_fini(&f->map);
    return 0;
}

/* After a change: the checksum is right again, so that the change itself is what is judged. */
static void seal_super(uint8_t *data)
{
    uint32_t crc = ext2fs_crc32c_le(~0u, data + 1024, 1020);

    store_le32(data + 1024 + 1020, crc);
}

static void read_map(struct fixture *f)
{
    usedmap_fini(&f->map);
    assert_int_equal(usedmap_read(&ext_driver, &f->volume.source, &f->map, NULL), 0);
}

static void assert_all_used(const struct fixture *f, const char *doubt)
{
    if (f->map.is_certain || !strstr(f->map.doubt, doubt))
        fail_msg("\"%s\" does not say \"%s\"", f->map.doubt, doubt);
    assert_int_equal(f->map.used.count, 1);
    assert_int_equal(f->map.used.items[0].offset, 0);
    assert_int_equal(f->map.used.items[0].length, f->volume.source.size_bytes);
}

static void test_ext_map_is_what_the_free_count_says(void **state)
{
    struct fixture *f = *state;

    read_map(f);
    assert_string_equal(f->map.doubt, "");
    assert_true(f->map.is_certain);
    uint64_t free_blocks = load_le32(f->data + SUPER(s_free_blocks_count));
    assert_int_equal(extents_total(&f->map.used), VOLUME - free_blocks * 1024);
}

static void test_ext_boot_block_superblock_and_descriptors_are_used(void **state)
{
    struct fixture *f = *state;

    read_map(f);
    assert_true(extents_contain(&f->map.used, 0, 1024 + 1024 + 1024));
    /* the backup in group 1 */
    assert_true(extents_contain(&f->map.used, (1 + 8192) * 1024, 2048));
}

static void test_ext_tail_behind_the_file_system_is_used(void **state)
{
    struct fixture *f = *state;
    struct sparse volume;

    sparse_init(&volume, VOLUME + 5 * MIB + 512, 0);
    memcpy(sparse_at(&volume, 0, VOLUME), f->data, VOLUME);
    assert_int_equal(usedmap_read(&ext_driver, &volume.source, &f->map, NULL), 0);
    assert_true(f->map.is_certain);
    assert_true(extents_contain(&f->map.used, VOLUME, 5 * MIB + 512));
    sparse_fini(&volume);
}

static void test_ext_journal_that_needs_recovery_is_doubted(void **state)
{
    struct fixture *f = *state;

    f->data[SUPER(s_feature_incompat)] |= 4;
    seal_super(f->data);
    read_map(f);
    assert_all_used(f, "the journal needs recovery");
}

static void test_ext_state_that_is_not_clean_is_doubted(void **state)
{
    struct fixture *f = *state;

    store_le16(f->data + SUPER(s_state), 0);
    seal_super(f->data);
    read_map(f);
    assert_all_used(f, "not cleanly unmounted");

    store_le16(f->data + SUPER(s_state), 1 | 2);
    seal_super(f->data);
    read_map(f);
    assert_all_used(f, "has errors");
}

static void test_ext_every_unknown_feature_bit_is_doubted(void **state)
{
    struct fixture *f = *state;
    static const struct {
        size_t offset;
        uint32_t known;
    } sets[] = {
        {SUPER(s_feature_compat), 0x1e3f & ~0x40u},
        {SUPER(s_feature_incompat), 0x3e7d6 & ~0x800u},
        {SUPER(s_feature_ro_compat), 0x1f77b},
    };

    for (size_t i = 0; i < ARRAY_LENGTH(sets); i++) {
        for (uint32_t bit = 1; bit != 0; bit <<= 1) {
            if (bit & sets[i].known)
                continue;
            memcpy(f->data, f->original, VOLUME);
            store_le32(f->data + sets[i].offset, load_le32(f->data + sets[i].offset) | bit);
            seal_super(f->data);
            read_map(f);
            assert_false(f->map.is_certain);
            assert_int_equal(extents_total(&f->map.used), VOLUME);
        }
    }
}

static void test_ext_external_journal_is_doubted(void **state)
{
    struct fixture *f = *state;

    store_le32(f->data + SUPER(s_journal_inum), 0);
    store_le32(f->data + SUPER(s_journal_dev), 0x801);
    seal_super(f->data);
    read_map(f);
    assert_all_used(f, "the journal is on another device");
}

static uint8_t *find_journal(struct fixture *f)
{
    for (size_t at = 0; at < VOLUME; at += 1024) {
        if (load_be32(f->data + at) == 0xc03b3998 && load_be32(f->data + at + 4) == 4)
            return f->data + at;
    }
    fail_msg("no journal");
    return NULL;
}

static void test_ext_journal_with_something_in_it_is_doubted(void **state)
{
    struct fixture *f = *state;

    store_be32(find_journal(f) + 28, 1);
    read_map(f);
    assert_all_used(f, "the journal is not empty");
}

static void test_ext_journal_without_superblock_or_with_an_error_is_doubted(void **state)
{
    struct fixture *f = *state;
    uint8_t *journal = find_journal(f);

    store_be32(journal + 32, 5);
    read_map(f);
    assert_all_used(f, "the journal has recorded an error");
    store_be32(journal, 0);
    read_map(f);
    assert_all_used(f, "the journal has no superblock");
}

static void test_ext_wrong_checksums_are_doubted(void **state)
{
    struct fixture *f = *state;

    f->data[SUPER(s_mtime)] ^= 1;
    read_map(f);
    assert_all_used(f, "open: ");

    memcpy(f->data, f->original, VOLUME);
    f->data[2048 + 12] ^= 1; /* free blocks, in the descriptor of group 0 */
    read_map(f);
    assert_all_used(f, "wrong checksum of the descriptor of group 0");

    memcpy(f->data, f->original, VOLUME);
    f->data[1024 * (size_t)load_le32(f->data + 2048) + 900] ^= 1; /* block bitmap of group 0 */
    read_map(f);
    assert_all_used(f, "wrong checksum of the block bitmap of group 0");
}

/* Without checksums the free counts and the structures' own bits are what a bitmap is held to. */
static void test_ext_bitmap_that_does_not_add_up_is_doubted(void **state)
{
    struct fixture *f = *state;
    AUTO_FREE uint8_t *plain = load_file_system(VOLUME, "^metadata_csum,^uninit_bg,^64bit");

    memcpy(f->data, plain, VOLUME);
    read_map(f);
    assert_true(f->map.is_certain);
    uint32_t bitmap = load_le32(f->data + 2048);
    f->data[1024 * (size_t)bitmap + 1000] ^= 1;
    read_map(f);
    assert_all_used(f, "its descriptor says");

    memcpy(f->data, plain, VOLUME);
    uint32_t bit = bitmap - 1; /* of the bitmap itself, in group 0 */
    f->data[1024 * (size_t)bitmap + bit / 8] &= (uint8_t) ~(1u << bit % 8);
    store_le16(f->data + 2048 + 12, (uint16_t)(load_le16(f->data + 2048 + 12) + 1));
    read_map(f);
    assert_all_used(f, "the block bitmap of group 0 is marked free");
}

static void test_ext_descriptor_that_points_outside_is_doubted(void **state)
{
    struct fixture *f = *state;
    AUTO_FREE uint8_t *plain = load_file_system(VOLUME, "^metadata_csum,^uninit_bg,^64bit");
    static const uint32_t places[] = {0, 1, VOLUME / 1024, UINT32_MAX};

    for (size_t field = 0; field < 3; field++) {
        for (size_t i = 0; i < ARRAY_LENGTH(places); i++) {
            memcpy(f->data, plain, VOLUME);
            store_le32(f->data + 2048 + 4 * field, places[i]);
            read_map(f);
            assert_all_used(f, "the descriptor of group 0 points outside");
        }
    }
}

/* Every 32-bit field of the superblock, with values that hurt: no crash, no hang, no wrong size. */
static void test_ext_lying_superblock_field_never_does_harm(void **state)
{
    struct fixture *f = *state;
    static const uint32_t values[] = {0,    1,     2,          7,          32,         255,
                                      8192, 65536, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};

    for (size_t offset = 1024; offset < 1024 + 0x280; offset += 4) {
        for (size_t i = 0; i < ARRAY_LENGTH(values); i++) {
            uint32_t kept = load_le32(f->data + offset);

            store_le32(f->data + offset, values[i]);
            seal_super(f->data);
            read_map(f);
            assert_true(f->map.used.count > 0);
            assert_true(extents_total(&f->map.used) <= VOLUME);
            store_le32(f->data + offset, kept);
        }
    }
    seal_super(f->data);
    read_map(f);
    assert_true(f->map.is_certain);
}

static void test_ext_lie_is_named(void **state)
{
    struct fixture *f = *state;
    static const struct {
        size_t offset;
        uint32_t value;
        const char *doubt;
    } lies[] = {
        {SUPER(s_blocks_count), VOLUME / 1024 + 1, "16385 blocks of 1024 bytes do not fit"},
        {SUPER(s_blocks_count_hi), 1, "do not fit into 16777216 bytes"},
        {SUPER(s_log_block_size), 7, "impossible block size"},
        {SUPER(s_log_block_size), 0xffffffff, "impossible block size"},
        {SUPER(s_log_cluster_size), 40, "impossible block size"},
        {SUPER(s_log_cluster_size), 3, "impossible first data block"},
        {SUPER(s_first_data_block), 0, "impossible first data block 0"},
        {SUPER(s_first_data_block), 2, "impossible first data block 2"},
        {SUPER(s_blocks_per_group), 0, "impossible group size"},
        {SUPER(s_clusters_per_group), 8, "impossible group size"},
        {SUPER(s_inodes_per_group), 0, "number of inodes"},
        {SUPER(s_inodes_count), 5, "number of inodes does not fit"},
        {SUPER(s_rev_level), 2, "unknown revision 2"},
        {SUPER(s_rev_level), 0, "revision 0 with features"},
        {SUPER(s_magic), 0, "no superblock"},
    };

    for (size_t i = 0; i < ARRAY_LENGTH(lies); i++) {
        memcpy(f->data, f->original, VOLUME);
        store_le32(f->data + lies[i].offset, lies[i].value);
        seal_super(f->data);
        read_map(f);
        assert_all_used(f, lies[i].doubt);
    }
}

static void test_ext_two_byte_lie_is_named(void **state)
{
    struct fixture *f = *state;
    static const struct {
        size_t offset;
        uint16_t value;
        const char *doubt;
    } lies[] = {
        {SUPER(s_inode_size), 0, "impossible inode size 0"},
        {SUPER(s_inode_size), 100, "impossible inode size 100"},
        {SUPER(s_inode_size), 2048, "impossible inode size 2048"},
        {SUPER(s_desc_size), 0, "impossible group descriptor size 0"},
        {SUPER(s_desc_size), 63, "impossible group descriptor size 63"},
        {SUPER(s_desc_size), 4096, "impossible group descriptor size 4096"},
        {SUPER(s_reserved_gdt_blocks), 300, "reserved descriptor blocks"},
    };

    for (size_t i = 0; i < ARRAY_LENGTH(lies); i++) {
        memcpy(f->data, f->original, VOLUME);
        store_le16(f->data + lies[i].offset, lies[i].value);
        seal_super(f->data);
        read_map(f);
        assert_all_used(f, lies[i].doubt);
    }
}

static void test_ext_truncated_volume_is_doubted(void **state)
{
    struct fixture *f = *state;
    static const uint64_t sizes[] = {0, 1023, 2047, 2048, 4096, VOLUME / 2, VOLUME - 1};

    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        block_memory_init(&f->volume, f->data, sizes[i]);
        read_map(f);
        assert_false(f->map.is_certain);
        assert_int_equal(extents_total(&f->map.used), sizes[i]);
    }
}

static void test_ext_volume_that_cannot_be_read_is_doubted(void **state)
{
    struct fixture *f = *state;
    struct sparse volume;
    static const uint64_t limits[] = {1, 2049, 70000, 8 * MIB};

    for (size_t i = 0; i < ARRAY_LENGTH(limits); i++) {
        sparse_init(&volume, VOLUME, 0);
        memcpy(sparse_at(&volume, 0, VOLUME), f->data, VOLUME);
        volume.fail_from = limits[i];
        usedmap_fini(&f->map);
        assert_int_equal(usedmap_read(&ext_driver, &volume.source, &f->map, NULL), 0);
        assert_all_used(f, "Input/output error");
        sparse_fini(&volume);
    }
}

static double cpu_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* A superblock that claims 64 TiB, on a sparse volume of that size: refused without reading it. */
static void test_ext_claims_of_64_tebibytes_cost_nothing(void **state)
{
    struct fixture *f = *state;
    struct sparse volume;
    uint64_t blocks = 64 * TIB / 4096;

    sparse_init(&volume, 64 * TIB, 0);
    uint8_t *super = sparse_at(&volume, 0, 4096);
    memcpy(super + 1024, f->data + 1024, 1024);
    store_le32(super + SUPER(s_log_block_size), 2);
    store_le32(super + SUPER(s_log_cluster_size), 2);
    store_le32(super + SUPER(s_first_data_block), 0);
    store_le32(super + SUPER(s_blocks_count), (uint32_t)blocks);
    store_le32(super + SUPER(s_blocks_count_hi), (uint32_t)(blocks >> 32));
    store_le32(super + SUPER(s_blocks_per_group), 32768);
    store_le32(super + SUPER(s_clusters_per_group), 32768);
    store_le32(super + SUPER(s_inodes_per_group), 16);
    store_le32(super + SUPER(s_inodes_count), (uint32_t)(blocks / 32768 * 16));
    store_le16(super + SUPER(s_reserved_gdt_blocks), 0);
    seal_super(super);
    double start = cpu_seconds();
    assert_int_equal(usedmap_read(&ext_driver, &volume.source, &f->map, NULL), 0);
    assert_false(f->map.is_certain);
    assert_true(cpu_seconds() - start < 0.5);
    assert_true(volume.bytes_read <= 40 * MIB); /* its descriptors, if it had any */

    usedmap_fini(&f->map);
    store_le32(super + SUPER(s_blocks_per_group), 8);
    store_le32(super + SUPER(s_clusters_per_group), 8);
    store_le32(super + SUPER(s_inodes_count), (uint32_t)(blocks / 8 * 16));
    seal_super(super);
    volume.bytes_read = 0;
    assert_int_equal(usedmap_read(&ext_driver, &volume.source, &f->map, NULL), 0);
    assert_non_null(strstr(f->map.doubt, "too many groups"));
    assert_true(volume.bytes_read <= 4096);
    sparse_fini(&volume);
}

/* CRC-16 (reflected 0x8005), as group descriptors without metadata_csum have it. */
static uint16_t crc16(uint16_t crc, const uint8_t *data, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc & 1 ? crc >> 1 ^ 0xa001 : crc >> 1);
    }
    return crc;
}

#define SCATTERED_GROUPS 131072u

static void put_scattered_super(uint8_t *super)
{
    memset(super, 0, 1024);
    store_le32(super - 1024 + SUPER(s_inodes_count), 8 * SCATTERED_GROUPS);
    store_le32(super - 1024 + SUPER(s_blocks_count), 1 + 256 * SCATTERED_GROUPS);
    store_le32(super - 1024 + SUPER(s_first_data_block), 1);
    store_le32(super - 1024 + SUPER(s_blocks_per_group), 256);
    store_le32(super - 1024 + SUPER(s_clusters_per_group), 256);
    store_le32(super - 1024 + SUPER(s_inodes_per_group), 8);
    store_le16(super - 1024 + SUPER(s_magic), EXT2_SUPER_MAGIC);
    store_le16(super - 1024 + SUPER(s_state), EXT2_VALID_FS);
    store_le32(super - 1024 + SUPER(s_rev_level), 1);
    store_le16(super - 1024 + SUPER(s_inode_size), 128);
    store_le32(super - 1024 + SUPER(s_feature_incompat), EXT4_FEATURE_INCOMPAT_FLEX_BG);
    store_le32(super - 1024 + SUPER(s_feature_ro_compat),
               EXT4_FEATURE_RO_COMPAT_GDT_CSUM | EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER);
}

/* Every structure of every group is alone and before the last one: the worst order to add in. */
static void test_ext_scattered_structures_cost_no_more_than_sorting_them(void **state)
{
    struct fixture *f = *state;
    struct sparse volume;
    double start;

    sparse_init(&volume, (1 + 256 * (uint64_t)SCATTERED_GROUPS) * 1024, 0);
    uint8_t *super = sparse_at(&volume, 1024, 1024);
    uint8_t *descriptors = sparse_at(&volume, 2048, SCATTERED_GROUPS * 32);
    put_scattered_super(super);
    for (uint32_t group = 0; group < SCATTERED_GROUPS; group++) {
        uint8_t *descriptor = descriptors + 32 * (size_t)group, number[4];
        uint32_t top = 256 * SCATTERED_GROUPS - 8 * group;

        store_le32(descriptor, top);
        store_le32(descriptor + 4, top - 2);
        store_le32(descriptor + 8, top - 4);
        store_le16(descriptor + 18, EXT2_BG_BLOCK_UNINIT);
        store_le32(number, group);
        uint16_t crc = crc16(0xffff, super + 0x68, 16);
        crc = crc16(crc, number, 4);
        store_le16(descriptor + 30, crc16(crc, descriptor, 30));
    }
    start = cpu_seconds();
    assert_int_equal(usedmap_read(&ext_driver, &volume.source, &f->map, NULL), 0);
    assert_string_equal(f->map.doubt, "");
    assert_true(f->map.used.count > SCATTERED_GROUPS * 3);
    assert_true(cpu_seconds() - start < 5);
    sparse_fini(&volume);
}

/* Every second block is free: beyond EXT_MAX_RANGES whole groups are taken, and nothing is lost. */
static void test_ext_map_of_too_many_ranges_takes_groups_whole(void **state)
{
    struct fixture *f = *state;
    struct sparse volume;
    const uint32_t groups = 600, per_group = 8192;

    sparse_init(&volume, (1 + groups * (uint64_t)per_group) * 1024, 0);
    uint8_t *super = sparse_at(&volume, 1024, 1024);
    uint8_t *descriptors = sparse_at(&volume, 2048, groups * 32);
    put_scattered_super(super);
    store_le32(super - 1024 + SUPER(s_inodes_count), 8 * groups);
    store_le32(super - 1024 + SUPER(s_blocks_count), 1 + groups * per_group);
    store_le32(super - 1024 + SUPER(s_blocks_per_group), per_group);
    store_le32(super - 1024 + SUPER(s_clusters_per_group), per_group);
    store_le32(super - 1024 + SUPER(s_feature_ro_compat), 0);
    memset(sparse_at(&volume, 101 * 1024, 1024), 0x55, 1024); /* the bitmap of every group */
    for (uint32_t group = 0; group < groups; group++) {
        uint8_t *descriptor = descriptors + 32 * (size_t)group;

        store_le32(descriptor, 101);
        store_le32(descriptor + 4, 103);
        store_le32(descriptor + 8, 105);
        store_le16(descriptor + 12, (uint16_t)(per_group / 2));
    }
    assert_int_equal(usedmap_read(&ext_driver, &volume.source, &f->map, NULL), 0);
    assert_string_equal(f->map.doubt, "");
    assert_true(f->map.used.count > EXT_MAX_RANGES - 64 * 1024);
    assert_true(f->map.used.count <= EXT_MAX_RANGES + per_group / 2 + 1);
    assert_true(extents_contain(&f->map.used, (1 + (groups - 10) * (uint64_t)per_group) * 1024,
                                10 * (uint64_t)per_group * 1024));
    assert_false(extents_contain(&f->map.used, 2000 * 1024, 2048));
    sparse_fini(&volume);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_ext_map_is_what_the_free_count_says),
        CASE(test_ext_boot_block_superblock_and_descriptors_are_used),
        CASE(test_ext_tail_behind_the_file_system_is_used),
        CASE(test_ext_journal_that_needs_recovery_is_doubted),
        CASE(test_ext_state_that_is_not_clean_is_doubted),
        CASE(test_ext_every_unknown_feature_bit_is_doubted),
        CASE(test_ext_external_journal_is_doubted),
        CASE(test_ext_journal_with_something_in_it_is_doubted),
        CASE(test_ext_journal_without_superblock_or_with_an_error_is_doubted),
        CASE(test_ext_wrong_checksums_are_doubted),
        CASE(test_ext_bitmap_that_does_not_add_up_is_doubted),
        CASE(test_ext_descriptor_that_points_outside_is_doubted),
        CASE(test_ext_lying_superblock_field_never_does_harm),
        CASE(test_ext_lie_is_named),
        CASE(test_ext_two_byte_lie_is_named),
        CASE(test_ext_truncated_volume_is_doubted),
        CASE(test_ext_volume_that_cannot_be_read_is_doubted),
        CASE(test_ext_claims_of_64_tebibytes_cost_nothing),
        CASE(test_ext_scattered_structures_cost_no_more_than_sorting_them),
        CASE(test_ext_map_of_too_many_ranges_takes_groups_whole),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
