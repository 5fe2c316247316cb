/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Probing through windows: what libblkid finds, at any size, and at what price.
 */
#include "disk/probe.h"
#include "tests/unit/disk/sparse.h"

static void test_probe_names_type_usage_uuid_and_label(void **state)
{
    struct sparse volume;
    struct probe probe;
    struct error err = {0};

    (void)state;
    sparse_init(&volume, 64 * MIB, 0);
    uint8_t *header = put_swap(&volume, 0, 64 * MIB, 4096);
    memcpy(header + 1052, "old swap", 8);
    assert_int_equal(probe_read(&volume.source, &probe, &err), 0);
    assert_string_equal(probe.type, "swap");
    assert_string_equal(probe.usage, "other");
    assert_string_equal(probe.version, "1");
    assert_string_equal(probe.uuid, "5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a");
    assert_string_equal(probe.label, "old swap");
    assert_false(probe.is_ambiguous);
    sparse_fini(&volume);
}

static void test_probe_escapes_what_a_label_could_do_to_a_terminal(void **state)
{
    struct sparse volume;
    struct probe probe;

    (void)state;
    sparse_init(&volume, 64 * MIB, 0);
    uint8_t *header = put_swap(&volume, 0, 64 * MIB, 4096);
    memcpy(header + 1052, "\x1b[31m\nx", 7);
    assert_int_equal(probe_read(&volume.source, &probe, NULL), 0);
    for (const char *at = probe.label; *at; at++)
        assert_true((unsigned char)*at >= ' ');
    assert_non_null(strstr(probe.label, "x"));
    sparse_fini(&volume);
}

static void test_probe_of_zeroes_is_unknown(void **state)
{
    struct sparse volume;
    struct probe probe;

    (void)state;
    for (uint64_t size = 0; size <= 8 * MIB; size = size * 3 + 1) {
        sparse_init(&volume, size, 0);
        assert_int_equal(probe_read(&volume.source, &probe, NULL), 0);
        assert_string_equal(probe.type, "");
        assert_false(probe.is_ambiguous);
    }
}

static void test_probe_reads_a_few_mebibytes_of_the_largest_volume(void **state)
{
    static const uint64_t sizes[] = {64 * TIB, (uint64_t)1 << 60, INT64_MAX};
    struct sparse volume;
    struct probe probe;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        sparse_init(&volume, sizes[i], 0);
        put_swap(&volume, 0, 16 * GIB, 4096);
        assert_int_equal(probe_read(&volume.source, &probe, NULL), 0);
        assert_string_equal(probe.type, "swap");
        assert_true(volume.bytes_read < 6 * MIB);
        sparse_fini(&volume);
    }
}

static void test_probe_of_an_impossible_size_is_an_error(void **state)
{
    struct sparse volume;
    struct probe probe;
    struct error err = {0};

    (void)state;
    sparse_init(&volume, UINT64_MAX, 0);
    assert_int_equal(probe_read(&volume.source, &probe, &err), -1);
    assert_non_null(strstr(err.text, "probe: memory file"));
}

/* A RAID member's superblock (version 1.0) is 8 KiB before the end, behind any file system. */
static void test_probe_finds_raid_metadata_at_the_end(void **state)
{
    struct sparse volume;
    struct probe probe;
    uint64_t size = 100 * GIB;

    (void)state;
    sparse_init(&volume, size, 0);
    put_swap(&volume, 0, size - 64 * KIB, 4096);
    uint8_t *super = sparse_at(&volume, size - 8192, 4096);
    store_le32(super, 0xa92b4efc);
    store_le32(super + 4, 1);
    store_le64(super + 144, (size - 8192) / 512);
    uint64_t sum = 0;
    for (size_t i = 0; i < 256; i += 4)
        sum += load_le32(super + i);
    store_le32(super + 216, (uint32_t)((sum & 0xffffffff) + (sum >> 32)));
    assert_int_equal(probe_read(&volume.source, &probe, NULL), 0);
    assert_string_equal(probe.type, "linux_raid_member");
    assert_string_equal(probe.usage, "raid");
    sparse_fini(&volume);
}

static void test_probe_of_two_superblocks_is_ambiguous(void **state)
{
    struct sparse volume;
    struct probe probe;

    (void)state;
    sparse_init(&volume, 64 * MIB, 0);
    put_swap(&volume, 0, 64 * MIB, 4096);
    uint8_t *minix = sparse_at(&volume, 65536 + 64, 8); /* btrfs' magic, and enough around it */
    memcpy(minix, "_BHRfS_M", 8);
    store_le32(sparse_at(&volume, 65536 + 144, 4), 4096);
    memcpy(sparse_at(&volume, 32769, 5), "CD001", 5);
    *sparse_at(&volume, 32768, 1) = 1;
    assert_int_equal(probe_read(&volume.source, &probe, NULL), 0);
    assert_true(probe.is_ambiguous);
    assert_string_equal(probe.type, "");
    sparse_fini(&volume);
}

static void test_probe_that_cannot_read_is_an_error(void **state)
{
    struct sparse volume;
    struct probe probe;
    struct error err = {0};

    (void)state;
    sparse_init(&volume, 64 * MIB, 0);
    volume.fail_from = 2 * MIB;
    assert_int_equal(probe_read(&volume.source, &probe, &err), -1);
    assert_non_null(strstr(err.text, "probe: read"));
}

/* libblkid believes in NTFS only when the MFT is where the boot sector says, at 10 GiB here. */
static void test_probe_looks_for_the_mft_of_ntfs_where_it_is(void **state)
{
    struct sparse volume;
    struct probe probe;
    uint64_t cluster = 4096, mft = 10 * GIB / 4096;

    (void)state;
    sparse_init(&volume, 100 * GIB, 0);
    uint8_t *boot = sparse_at(&volume, 0, 512);
    memcpy(boot + 3, "NTFS    ", 8);
    store_le16(boot + 0x0b, 512);
    boot[0x0d] = 8;
    boot[0x15] = 0xf8;
    store_le64(boot + 0x28, 100 * GIB / 512 - 1);
    store_le64(boot + 0x30, mft);
    store_le64(boot + 0x38, 2);
    boot[0x40] = 0xf6; /* records of 1 KiB */
    boot[0x44] = 1;
    for (int i = 0; i < 4; i++)
        memcpy(sparse_at(&volume, mft * cluster + 1024 * (uint64_t)i, 4), "FILE", 4);
    assert_int_equal(probe_read(&volume.source, &probe, NULL), 0);
    assert_string_equal(probe.type, "ntfs");

    store_le64(boot + 0x30, UINT64_MAX / 2); /* nowhere */
    assert_int_equal(probe_read(&volume.source, &probe, NULL), 0);
    assert_string_equal(probe.type, "");
    sparse_fini(&volume);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_probe_names_type_usage_uuid_and_label),
        cmocka_unit_test(test_probe_escapes_what_a_label_could_do_to_a_terminal),
        cmocka_unit_test(test_probe_of_zeroes_is_unknown),
        cmocka_unit_test(test_probe_reads_a_few_mebibytes_of_the_largest_volume),
        cmocka_unit_test(test_probe_of_an_impossible_size_is_an_error),
        cmocka_unit_test(test_probe_finds_raid_metadata_at_the_end),
        cmocka_unit_test(test_probe_of_two_superblocks_is_ambiguous),
        cmocka_unit_test(test_probe_that_cannot_read_is_an_error),
        cmocka_unit_test(test_probe_looks_for_the_mft_of_ntfs_where_it_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
