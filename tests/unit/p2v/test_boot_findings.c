/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the boot medium finds: which disks go, what is on them, and what is said before they are
 * copied. The disks are made by the real tools where those can work on files.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/boot/findings_private.h"
#include "tests/unit/p2v/fake_root.h"

#include <linux/raid/md_p.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <cmocka.h>

struct finding {
    struct fake_machine *machine;
    struct boot_settings settings;
    struct boot_findings findings;
    struct error err;
};

static int open_finding(void **state)
{
    struct finding *finding = calloc(1, sizeof(*finding));
    if (fake_machine_new((void **)&finding->machine) != 0)
        return -1;
    *state = finding;
    return 0;
}

static int close_finding(void **state)
{
    struct finding *finding = *state;
    void *machine = finding->machine;
    free(finding);
    return fake_machine_free(&machine);
}

/* A disk of the machine with nothing on it. `letter` 'a' is sda. */
static void add_disk(struct finding *finding, char letter, uint64_t size)
{
    static const uint8_t zero;
    char name[] = "sdX", number[16], place[64], path[PATH_MAX];
    name[2] = letter;
    fake_format(number, sizeof(number), "8:%d", (letter - 'a') * 16);
    fake_format(place, sizeof(place), "pci0/ata%d/host%d/target%d:0:0/%d:0:0:0", letter - 'a' + 1,
                letter - 'a', letter - 'a', letter - 'a');
    fake_disk(finding->machine, name, number, place);
    fake_format(path, sizeof(path), "dev/%s", name);
    fake_bytes(finding->machine, path, &zero, 1);
    fake_format(path, sizeof(path), "%s/dev/%s", finding->machine->root, name);
    assert_int_equal(truncate(path, (off_t)size), 0);
}

static void write_at(struct finding *finding, char letter, uint64_t offset, const void *data,
                     size_t length)
{
    char path[PATH_MAX];
    fake_format(path, sizeof(path), "%s/dev/sd%c", finding->machine->root, letter);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)offset, SEEK_SET), 0);
    assert_int_equal(fwrite(data, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

/* Skips where there is no such tool. */
static void run(const char *const argv[])
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
            _exit(126);
        setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
        print_message("skipped: %s is not installed\n", argv[0]);
        skip();
    }
    assert_int_equal(status, 0);
}

/* A real tool on the disk's file, which it gets as its last word. */
static void make(struct finding *finding, char letter, const char *const words[])
{
    char path[PATH_MAX];
    const char *argv[32];
    size_t count = 0;
    fake_format(path, sizeof(path), "%s/dev/sd%c", finding->machine->root, letter);
    while (words[count]) {
        argv[count] = words[count];
        count++;
    }
    argv[count++] = path;
    argv[count] = NULL;
    run(argv);
}
#define MAKE(finding, letter, ...) make(finding, letter, (const char *const[]){__VA_ARGS__, NULL})

static int look(struct finding *finding)
{
    return boot_findings_read(finding->machine->root, &finding->settings, &finding->findings, NULL,
                              &finding->err);
}

static const char *content(struct finding *finding, size_t index)
{
    assert_int_equal(look(finding), 0);
    assert_true(index < finding->findings.disk_count);
    return finding->findings.disks[index].content;
}

/* NULL: there is no such notice. */
static const struct boot_notice *find_notice(const struct finding *finding, const char *words)
{
    for (size_t i = 0; i < finding->findings.notice_count; i++) {
        if (strstr(finding->findings.notices[i].text, words))
            return &finding->findings.notices[i];
    }
    return NULL;
}

static void name_disk(struct finding *finding, const char *name)
{
    finding->settings.disks.items[finding->settings.disks.count++] = (char *)(uintptr_t)name;
}

/* --- which disks go --- */

static void test_findings_takes_what_is_built_in_and_leaves_usb_out(void **state)
{
    struct finding *finding = *state;
    add_disk(finding, 'a', MIB);
    fake_disk(finding->machine, "sdb", "8:16", "pci0/usb1/1-1/host6/target6:0:0/6:0:0:0");
    fake_bytes(finding->machine, "dev/sdb", "", 1);
    assert_int_equal(look(finding), 0);
    assert_int_equal(finding->findings.disk_count, 2);
    assert_true(finding->findings.disks[0].is_chosen);
    assert_string_equal(finding->findings.disks[0].why_not, "");
    assert_false(finding->findings.disks[1].is_chosen);
    assert_string_equal(finding->findings.disks[1].why_not, "USB");
    finding->settings.has_external = true;
    assert_int_equal(look(finding), 0);
    assert_true(finding->findings.disks[1].is_chosen);
}

static void put_medium(struct finding *finding, char letter)
{
    uint8_t descriptor[2048] = "\1CD001\1";
    memcpy(descriptor + 40, "REHOST                          ", 32);
    write_at(finding, letter, 16 * 2048, descriptor, sizeof(descriptor));
}

static void test_findings_never_takes_the_boot_medium(void **state)
{
    struct finding *finding = *state;
    add_disk(finding, 'a', MIB);
    add_disk(finding, 'b', MIB);
    put_medium(finding, 'b');
    finding->settings.has_external = true;
    assert_int_equal(look(finding), 0);
    assert_true(finding->findings.disks[0].is_chosen);
    assert_false(finding->findings.disks[1].is_chosen);
    assert_string_equal(finding->findings.disks[1].why_not, "the boot medium");
    name_disk(finding, "sdb");
    assert_int_equal(look(finding), -1);
    assert_non_null(strstr(finding->err.text, "'sdb' is the boot medium"));
}

static void test_findings_takes_exactly_the_disks_that_were_named(void **state)
{
    struct finding *finding = *state;
    for (char letter = 'a'; letter <= 'f'; letter++)
        add_disk(finding, letter, MIB);
    fake_in_block(finding->machine, "sdb", "serial", "SER-B\n");
    fake_in_block(finding->machine, "sdc", "device/wwid", "naa.5000c500a1b2c3d4\n");
    fake_link(finding->machine, "dev/disk/by-id/ata-Disk_D", "/dev/sdd");
    name_disk(finding, "/dev/sda");
    name_disk(finding, "SER-B");
    name_disk(finding, "naa.5000c500a1b2c3d4");
    name_disk(finding, "ata-Disk_D");
    name_disk(finding, "disk/by-id/ata-Disk_D");
    name_disk(finding, "sde");
    assert_int_equal(look(finding), 0);
    for (size_t i = 0; i < 5; i++)
        assert_true(finding->findings.disks[i].is_chosen);
    assert_false(finding->findings.disks[5].is_chosen);
    assert_string_equal(finding->findings.disks[5].why_not, "not named by rehost.disks");
}

static void test_findings_says_what_there_is_when_a_named_disk_is_not(void **state)
{
    struct finding *finding = *state;
    add_disk(finding, 'a', MIB);
    fake_in_block(finding->machine, "sda", "serial", "SER-A\n");
    name_disk(finding, "sdz");
    assert_int_equal(look(finding), -1);
    assert_non_null(strstr(finding->err.text, "'sdz' is not there; there is: sda (1.0 GiB, serial "
                                              "SER-A)"));
}

static void test_findings_without_a_disk_says_what_may_be_the_matter(void **state)
{
    struct finding *finding = *state;
    assert_int_equal(look(finding), 0);
    assert_non_null(find_notice(finding, "no disk of its own"));
}

/* --- what is on them --- */

static void test_findings_calls_an_empty_disk_empty(void **state)
{
    struct finding *finding = *state;
    add_disk(finding, 'a', 4 * MIB);
    assert_string_equal(content(finding, 0), "nothing");
}

static void test_findings_names_file_systems_with_their_labels(void **state)
{
    struct finding *finding = *state;
    add_disk(finding, 'a', 8 * MIB);
    add_disk(finding, 'b', 8 * MIB);
    MAKE(finding, 'a', "mkfs.ext4", "-q", "-F", "-L", "root");
    MAKE(finding, 'b', "mkswap");
    assert_string_equal(content(finding, 0), "ext4 'root'");
    assert_string_equal(content(finding, 1), "swap");
    assert_true(finding->findings.disks[0].used_bytes < 8 * MIB);
}

/* MBR: an EFI system partition, and one of LVM's without anything. */
static void test_findings_lists_the_partitions_of_a_table(void **state)
{
    struct finding *finding = *state;
    uint8_t sector[512] = {0};
    add_disk(finding, 'a', 8 * MIB);
    for (unsigned i = 0; i < 2; i++) {
        uint8_t *entry = sector + 446 + (size_t)16 * i;
        entry[4] = i == 0 ? 0xef : 0x83;
        store_le32(entry + 8, 2048 + 4096 * i);
        store_le32(entry + 12, 4096);
    }
    store_le16(sector + 510, 0xaa55);
    write_at(finding, 'a', 0, sector, sizeof(sector));
    assert_string_equal(content(finding, 0), "MBR: ESP, unknown");
}

static void test_findings_warns_of_a_hibernated_system(void **state)
{
    struct finding *finding = *state;
    add_disk(finding, 'a', 8 * MIB);
    MAKE(finding, 'a', "mkswap");
    write_at(finding, 'a', 4096 - 10, "S1SUSPEND\0", 10);
    assert_string_equal(content(finding, 0), "swap (hibernated)");
    const struct boot_notice *notice = find_notice(finding, "sda: a hibernated system");
    assert_non_null(notice);
    assert_int_equal(notice->kind, BOOT_NOTICE_WARNING);
}

/* `start` are the first bytes of hiberfil.sys, one of so many files in the root folder. */
static void put_windows(struct finding *finding, const char *start, size_t files)
{
    char source[PATH_MAX], disk[PATH_MAX];
    static char content_of_file[100000];
    memcpy(content_of_file, start, strlen(start));
    fake_bytes(finding->machine, "hiberfil", content_of_file, sizeof(content_of_file));
    fake_format(source, sizeof(source), "%s/hiberfil", finding->machine->root);
    fake_format(disk, sizeof(disk), "%s/dev/sda", finding->machine->root);
    MAKE(finding, 'a', "mkfs.ntfs", "-q", "-F", "-f", "-L", "Windows");
    for (size_t i = 0; i < files; i++) {
        char name[256];
        fake_format(name, sizeof(name), "%0200zu fills the folder", i);
        run((const char *const[]){"ntfscp", "-f", "-q", disk, "/dev/null", name, NULL});
    }
    run((const char *const[]){"ntfscp", "-f", "-q", disk, source, "HiberFil.sys", NULL});
}

static void test_findings_warns_of_a_windows_that_sleeps(void **state)
{
    struct finding *finding = *state;
    add_disk(finding, 'a', 8 * MIB);
    put_windows(finding, "HIBR", 0);
    assert_string_equal(content(finding, 0), "NTFS 'Windows'");
    assert_non_null(find_notice(finding, "sda: Windows sleeps there"));
}

static void test_findings_finds_the_sleeping_windows_in_a_large_root_folder(void **state)
{
    struct finding *finding = *state;
    add_disk(finding, 'a', 8 * MIB);
    put_windows(finding, "hibr", 24); /* an index of several blocks, attributes elsewhere */
    content(finding, 0);
    assert_non_null(find_notice(finding, "sda: Windows sleeps there"));
}

static void test_findings_says_nothing_of_a_windows_that_was_shut_down(void **state)
{
    struct finding *finding = *state;
    add_disk(finding, 'a', 8 * MIB);
    put_windows(finding, "wake", 0);
    content(finding, 0);
    assert_null(find_notice(finding, "Windows sleeps there"));
}

/* --- LUKS --- */

static void put_luks(struct finding *finding, char letter, const char *json)
{
    char header[16384] = "LUKS\xba\xbe";
    store_be16(header + 6, 2);
    store_be64(header + 8, sizeof(header));
    snprintf(header + 4096, sizeof(header) - 4096, "%s", json);
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
    char header[16384] = "LUKS\xba\xbe";
    struct block_memory memory;
    store_be16(header + 6, 2);
    store_be64(header + 8, sizeof(header));
    snprintf(header + 4096, sizeof(header) - 4096, "%s", json);
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

/* --- hardware --- */

static void add_function(struct finding *finding, const char *slot, const char *class,
                         const char *vendor, const char *device, const char *driver)
{
    const struct {
        const char *file, *text;
    } files[] = {{"class", class}, {"vendor", vendor}, {"device", device}};
    char path[PATH_MAX];
    for (size_t i = 0; i < ARRAY_LENGTH(files); i++) {
        fake_format(path, sizeof(path), "sys/bus/pci/devices/%s/%s", slot, files[i].file);
        fake_file(finding->machine, path, files[i].text);
    }
    if (!driver)
        return;
    fake_format(path, sizeof(path), "sys/bus/pci/drivers/%s", driver);
    fake_folder(finding->machine, path);
    char target[PATH_MAX];
    fake_format(target, sizeof(target), "/%s", path);
    fake_format(path, sizeof(path), "sys/bus/pci/devices/%s/driver", slot);
    fake_link(finding->machine, path, target);
}

static void test_findings_names_hardware_without_a_driver(void **state)
{
    struct finding *finding = *state;
    add_disk(finding, 'a', MIB);
    add_function(finding, "0000:00:1f.2", "0x010601\n", "0x8086\n", "0x2922\n", "ahci");
    add_function(finding, "0000:3b:00.0", "0x020000\n", "0x14e4\n", "0x16d8\n", NULL);
    add_function(finding, "0000:5e:00.0", "0x010400\n", "0x1000\n", "0x10e2\n", NULL);
    add_function(finding, "0000:00:02.0", "0x030000\n", "0x8086\n", "0x0046\n", NULL);
    assert_int_equal(look(finding), 0);
    assert_int_equal(finding->findings.notice_count, 2);
    const struct boot_notice *network =
        find_notice(finding, "network card: Broadcom, PCI 14e4:16d8 at 0000:3b:00.0");
    assert_non_null(network);
    assert_int_equal(network->kind, BOOT_NOTICE_MISSING);
    assert_non_null(find_notice(finding, "RAID controller: Broadcom / LSI, PCI 1000:10e2"));
}

static void test_findings_says_what_to_switch_for_vmd_and_rst(void **state)
{
    struct finding *finding = *state;
    add_disk(finding, 'a', MIB);
    add_function(finding, "0000:00:0e.0", "0x010400\n", "0x8086\n", "0x9a0b\n", NULL);
    add_function(finding, "0000:00:17.0", "0x010400\n", "0x8086\n", "0x2822\n", NULL);
    add_function(finding, "0000:00:18.0", "0x010400\n", "0x8086\n", "0x282a\n", "ahci");
    fake_file(finding->machine, "sys/bus/pci/devices/0000:00:18.0/remapped_nvme", "2\n");
    assert_int_equal(look(finding), 0);
    assert_non_null(find_notice(finding, "Intel VMD (PCI 8086:9a0b, 0000:00:0e.0)"));
    assert_non_null(find_notice(finding, "switch VMD off in the BIOS setup"));
    assert_non_null(find_notice(finding, "switch SATA from RAID to AHCI"));
    assert_non_null(find_notice(finding, "hides 2 NVMe disks"));
}

static void test_findings_describes_the_machine_in_a_line(void **state)
{
    struct finding *finding = *state;
    fake_file(finding->machine, "sys/class/dmi/id/sys_vendor", "Dell Inc.\n");
    fake_file(finding->machine, "sys/class/dmi/id/product_name", "PowerEdge R720\n");
    fake_file(finding->machine, "sys/class/dmi/id/product_serial", "To be filled by O.E.M.\n");
    fake_file(finding->machine, "proc/cpuinfo", "processor\t: 0\n\nprocessor\t: 1\n");
    fake_folder(finding->machine, "sys/firmware/efi");
    assert_int_equal(look(finding), 0);
    assert_string_equal(finding->findings.machine, "Dell Inc. PowerEdge R720, UEFI, 2 CPUs");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_finding, close_finding)
    const struct CMUnitTest tests[] = {
        TEST(test_findings_takes_what_is_built_in_and_leaves_usb_out),
        TEST(test_findings_never_takes_the_boot_medium),
        TEST(test_findings_takes_exactly_the_disks_that_were_named),
        TEST(test_findings_says_what_there_is_when_a_named_disk_is_not),
        TEST(test_findings_without_a_disk_says_what_may_be_the_matter),
        TEST(test_findings_calls_an_empty_disk_empty),
        TEST(test_findings_names_file_systems_with_their_labels),
        TEST(test_findings_lists_the_partitions_of_a_table),
        TEST(test_findings_warns_of_a_hibernated_system),
        TEST(test_findings_warns_of_a_windows_that_sleeps),
        TEST(test_findings_finds_the_sleeping_windows_in_a_large_root_folder),
        TEST(test_findings_says_nothing_of_a_windows_that_was_shut_down),
        TEST(test_findings_tells_of_luks_by_the_real_tool),
        cmocka_unit_test(test_findings_knows_what_only_the_tpm_opens),
        cmocka_unit_test(test_findings_survives_a_luks_header_that_lies),
        TEST(test_findings_warns_of_luks_bound_to_the_tpm),
        TEST(test_findings_tells_which_disks_of_a_raid_are_missing),
        TEST(test_findings_does_not_count_a_spare_as_a_disk_of_the_raid),
        TEST(test_findings_tells_which_volumes_of_an_lvm_group_are_missing),
        TEST(test_findings_survives_lvm_metadata_that_lies),
        TEST(test_findings_names_hardware_without_a_driver),
        TEST(test_findings_says_what_to_switch_for_vmd_and_rst),
        TEST(test_findings_describes_the_machine_in_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
