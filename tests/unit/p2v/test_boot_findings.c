/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the boot medium finds: which disks go, what is on them, and what is said before they are
 * copied. Encrypted disks and groups of disks are in test_boot_findings_groups.c.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "findings_fixture.h"

/* --- which disks go --- */

static void name_disk(struct finding *finding, const char *name)
{
    finding->settings.disks.items[finding->settings.disks.count++] = (char *)(uintptr_t)name;
}

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
        TEST(test_findings_names_hardware_without_a_driver),
        TEST(test_findings_says_what_to_switch_for_vmd_and_rst),
        TEST(test_findings_describes_the_machine_in_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
