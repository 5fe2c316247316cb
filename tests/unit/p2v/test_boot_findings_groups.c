/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the boot medium finds that lies across disks or under a key: RAID and LVM with disks
 * missing, LUKS that only the machine's TPM opens, and headers that lie.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "findings_fixture.h"

#include <linux/raid/md_p.h>

/* --- LUKS --- */

#define LUKS_SIZE 16384

static void make_luks(uint8_t header[LUKS_SIZE], const char *json)
{
    memset(header, 0, LUKS_SIZE);
    memcpy(header, "LUKS\xba\xbe", 6);
    store_be16(header + 6, 2);
    store_be64(header + 8, LUKS_SIZE);
    fake_format((char *)header + 4096, LUKS_SIZE - 4096, "%s", json);
}

static void put_luks(struct finding *finding, char letter, const char *json)
{
    uint8_t header[LUKS_SIZE];
    make_luks(header, json);
    write_at(finding, letter, 0, header, sizeof(header));
}

static void test_findings_tells_of_luks_by_the_real_tool(void **state)
{
    struct finding *finding = *state;
    add_disk(finding, 'a', 24 * MIB);
    char key[PATH_MAX];
    fake_file(finding->machine, "key", "secret");
    fake_format(key, sizeof(key), "--key-file=%s/key", finding->machine->root);
    MAKE(finding, 'a', "cryptsetup", "luksFormat", "-q", "--type=luks2", "--pbkdf=pbkdf2",
         "--pbkdf-force-iterations=1000", key);
    assert_string_equal(content(finding, 0), "LUKS");
    assert_non_null(find_notice(finding, "sda: encrypted (LUKS)"));
}

#define TOKEN_0 "\"tokens\":{\"0\":{\"type\":\"systemd-tpm2\",\"keyslots\":[\"1\"]}}}"

static enum findings_luks luks_of(const char *json)
{
    uint8_t header[LUKS_SIZE];
    struct block_memory memory;
    make_luks(header, json);
    block_memory_init(&memory, header, sizeof(header));
    return findings_luks(&memory.source);
}

static void test_findings_knows_what_only_the_tpm_opens(void **state)
{
    (void)state;
    assert_int_equal(luks_of("{\"keyslots\":{\"1\":{}}," TOKEN_0), FINDINGS_LUKS_TPM_ONLY);
    assert_int_equal(luks_of("{\"keyslots\":{\"0\":{},\"1\":{}}," TOKEN_0), FINDINGS_LUKS_TPM_TOO);
    assert_int_equal(luks_of("{\"keyslots\":{\"0\":{}},\"tokens\":{}}"), FINDINGS_LUKS_PASSPHRASE);
    assert_int_equal(luks_of("{\"keyslots\":[3],\"tokens\":\"x\"}"), FINDINGS_LUKS_PASSPHRASE);
    assert_int_equal(luks_of("no JSON"), FINDINGS_LUKS_PASSPHRASE);
}

static void test_findings_survives_a_luks_header_that_lies(void **state)
{
    (void)state;
    char header[8192] = "LUKS\xba\xbe";
    struct block_memory memory;
    static const uint64_t sizes[] = {0, 4096, 4097, 8192, 8193, 1 << 22, UINT64_MAX};
    store_be16(header + 6, 2);
    memset(header + 4096, '[', 4096);
    block_memory_init(&memory, header, sizeof(header));
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        store_be64(header + 8, sizes[i]);
        assert_int_equal(findings_luks(&memory.source), FINDINGS_LUKS_PASSPHRASE);
    }
}

static void test_findings_warns_of_luks_bound_to_the_tpm(void **state)
{
    struct finding *finding = *state;
    add_disk(finding, 'a', 16 * MIB);
    put_luks(finding, 'a', "{\"keyslots\":{\"1\":{}}," TOKEN_0);
    content(finding, 0);
    const struct boot_notice *notice = find_notice(finding, "only by this machine's TPM");
    assert_non_null(notice);
    assert_non_null(strstr(notice->text, "add a passphrase first"));
}

/* --- RAID and LVM --- */

/* As super_1_load of the kernel expects it: 1.2, `role` of `disks`. */
static void put_raid(struct finding *finding, char letter, uint32_t disks, uint16_t role)
{
    union {
        struct mdp_superblock_1 super;
        uint8_t bytes[sizeof(struct mdp_superblock_1) + 8];
    } block = {.super = {.magic = htole32(MD_SB_MAGIC),
                         .major_version = htole32(1),
                         .set_uuid = "0123456789abcde",
                         .set_name = "web:data",
                         .level = htole32(1),
                         .raid_disks = htole32(disks),
                         .data_offset = htole64(2048),
                         .super_offset = htole64(8),
                         .dev_number = htole32(role),
                         .max_dev = htole32(4)}};
    for (size_t i = 0; i < 4; i++)
        store_le16(block.bytes + sizeof(struct mdp_superblock_1) + 2 * i,
                   i < disks ? (uint16_t)i : 0xffff);
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof(block.bytes); i += 4)
        sum += load_le32(block.bytes + i);
    block.super.sb_csum = htole32((uint32_t)(sum & 0xffffffff) + (uint32_t)(sum >> 32));
    write_at(finding, letter, 4096, block.bytes, sizeof(block.bytes));
}

static void test_findings_tells_which_disks_of_a_raid_are_missing(void **state)
{
    struct finding *finding = *state;
    add_disk(finding, 'a', 16 * MIB);
    put_raid(finding, 'a', 2, 1);
    assert_string_equal(content(finding, 0), "RAID1 'web:data'");
    const struct boot_notice *notice =
        find_notice(finding, "RAID1 'web:data': 1 of its 2 disks missing; here: sda");
    assert_non_null(notice);
    assert_int_equal(notice->kind, BOOT_NOTICE_WARNING);
    add_disk(finding, 'b', 16 * MIB);
    put_raid(finding, 'b', 2, 0);
    assert_int_equal(look(finding), 0);
    assert_non_null(find_notice(finding, "RAID1 'web:data': all of it is here (sda, sdb)"));
}

static void test_findings_does_not_count_a_spare_as_a_disk_of_the_raid(void **state)
{
    struct finding *finding = *state;
    add_disk(finding, 'a', 16 * MIB);
    add_disk(finding, 'b', 16 * MIB);
    put_raid(finding, 'a', 2, 0);
    put_raid(finding, 'b', 2, 3);
    assert_int_equal(look(finding), 0);
    assert_non_null(find_notice(finding, "1 of its 2 disks missing"));
}

static const char metadata[] =
    "vg0 {\nid = \"VGVGVG-0000-0000-0000-0000-0000-000000\"\nseqno = 2\n\nphysical_volumes {\n\n"
    "pv0 {\nid = \"pv0pv0-0000-0000-0000-0000-0000-000000\"\ndevice = \"/dev/sda\"\n}\n\n"
    "pv1 {\nid = \"pv1pv1-0000-0000-0000-0000-0000-000000\"\ndevice = \"/dev/sdb\"\n}\n}\n\n"
    "logical_volumes {\nroot {\nid = \"rootlv-0000-0000-0000-0000-0000-000000\"\n}\n}\n}\n";

static uint32_t lvm_crc(const uint8_t *data, size_t length)
{
    uint32_t crc = 0xf597a6cf;
    for (size_t i = 0; i < length; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return crc;
}

/* A label in sector 1, a metadata area at 4 KiB. `id` without the dashes. */
static void put_lvm(struct finding *finding, char letter, const char *id)
{
    uint8_t label[512] = "LABELONE", area[4096] = {0};
    store_le64(label + 8, 1);
    store_le32(label + 20, 32);
    memcpy(label + 24, "LVM2 001", 8);
    memcpy(label + 32, id, 32);
    store_le64(label + 64, 16 * MIB);
    store_le64(label + 72, MIB); /* data area; its end; the metadata area; its end */
    store_le64(label + 104, 4096);
    store_le64(label + 112, MIB - 4096);
    store_le32(label + 16, lvm_crc(label + 20, sizeof(label) - 20));
    memcpy(area + 4, " LVM2 x[5A%r0N*>", 16);
    store_le64(area + 24, 4096);
    store_le64(area + 32, MIB - 4096);
    store_le64(area + 40, 512);
    store_le64(area + 48, sizeof(metadata));
    memcpy(area + 512, metadata, sizeof(metadata));
    write_at(finding, letter, 512, label, sizeof(label));
    write_at(finding, letter, 4096, area, sizeof(area));
}

static void test_findings_tells_which_volumes_of_an_lvm_group_are_missing(void **state)
{
    struct finding *finding = *state;
    add_disk(finding, 'a', 16 * MIB);
    put_lvm(finding, 'a', "pv0pv000000000000000000000000000");
    assert_string_equal(content(finding, 0), "LVM (vg0)");
    assert_non_null(find_notice(finding, "LVM group vg0: 1 of its 2 volumes missing; here: sda"));
    add_disk(finding, 'b', 16 * MIB);
    put_lvm(finding, 'b', "pv1pv100000000000000000000000000");
    assert_int_equal(look(finding), 0);
    assert_non_null(find_notice(finding, "LVM group vg0: all of it is here (sda, sdb)"));
}

static void test_findings_survives_lvm_metadata_that_lies(void **state)
{
    struct finding *finding = *state;
    static const uint64_t places[] = {4096 + 32, 4096 + 40, 4096 + 48, 512 + 104};
    uint8_t huge[8];
    memset(huge, 0xff, sizeof(huge));
    add_disk(finding, 'a', 16 * MIB);
    for (size_t i = 0; i < ARRAY_LENGTH(places); i++) {
        put_lvm(finding, 'a', "pv0pv000000000000000000000000000");
        write_at(finding, 'a', places[i], huge, sizeof(huge));
        assert_int_equal(look(finding), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_findings_tells_of_luks_by_the_real_tool),
        cmocka_unit_test(test_findings_knows_what_only_the_tpm_opens),
        cmocka_unit_test(test_findings_survives_a_luks_header_that_lies),
        TEST(test_findings_warns_of_luks_bound_to_the_tpm),
        TEST(test_findings_tells_which_disks_of_a_raid_are_missing),
        TEST(test_findings_does_not_count_a_spare_as_a_disk_of_the_raid),
        TEST(test_findings_tells_which_volumes_of_an_lvm_group_are_missing),
        TEST(test_findings_survives_lvm_metadata_that_lies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
