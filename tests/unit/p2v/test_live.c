/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Who uses a disk: a machine's /sys and /proc in a folder.
 */
#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/live.h"
#include "tests/unit/p2v/fake_root.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* sda: sda1 is the boot partition, sda2 an LVM physical volume with two logical volumes. */
static void make_lvm_server(const struct fake_machine *machine)
{
    fake_disk(machine, "sda", "8:0", "pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0");
    fake_partition(machine, "sda", "sda1", "8:1");
    fake_partition(machine, "sda", "sda2", "8:2");
    fake_virtual(machine, "dm-0", "254:0");
    fake_virtual(machine, "dm-1", "254:1");
    fake_holder(machine, "sda2", "dm-0");
    fake_holder(machine, "sda2", "dm-1");
}

static void read_live(const struct fake_machine *machine, unsigned major, unsigned minor,
                      struct live *live, struct live_mounts *mounts)
{
    struct error err = {0};
    int result = live_read(machine->root, major, minor, live, mounts, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(result, 0);
}

static void test_live_finds_mounts_on_partitions_and_on_lvm_above_them(void **state)
{
    const struct fake_machine *machine = *state;
    AUTO(live_mounts) mounts = {0};
    struct live live;
    make_lvm_server(machine);
    fake_file(machine, "proc/self/mountinfo",
              "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw\n"
              "23 22 0:20 / /proc rw - proc proc rw\n"
              "24 22 8:1 / /boot rw,relatime shared:2 - ext4 /dev/sda1 rw,stripe=4\n"
              "25 22 254:1 / /srv/my\\040data rw - xfs /dev/mapper/vg-data rw,attr2\n"
              "26 22 8:17 / /mnt rw - ext4 /dev/sdb1 rw\n");
    read_live(machine, 8, 0, &live, &mounts);
    assert_true(live.is_live);
    assert_false(live.is_unknown);
    assert_string_equal(live.what, "/ and 2 more");
    assert_int_equal(mounts.count, 3);
    assert_string_equal(mounts.items[0].path, "/srv/my data");
    assert_string_equal(mounts.items[0].type, "xfs");
    assert_string_equal(mounts.items[1].path, "/boot");
    assert_string_equal(mounts.items[2].path, "/");
}

static void test_live_lists_a_file_system_once_however_often_it_is_mounted(void **state)
{
    const struct fake_machine *machine = *state;
    AUTO(live_mounts) mounts = {0};
    struct live live;
    make_lvm_server(machine);
    fake_file(machine, "proc/self/mountinfo",
              "22 1 254:0 / / rw - ext4 /dev/mapper/vg-root rw\n"
              "23 22 254:0 /srv /export rw - ext4 /dev/mapper/vg-root rw\n");
    read_live(machine, 8, 0, &live, &mounts);
    assert_int_equal(mounts.count, 1);
    assert_string_equal(mounts.items[0].path, "/");
    assert_string_equal(live.what, "/");
}

static void test_live_knows_both_disks_of_a_raid(void **state)
{
    const struct fake_machine *machine = *state;
    AUTO(live_mounts) mounts = {0};
    struct live first, second;
    fake_disk(machine, "sda", "8:0", "pci0/ata1/host0/target0:0:0/0:0:0:0");
    fake_disk(machine, "sdb", "8:16", "pci0/ata2/host1/target1:0:0/1:0:0:0");
    fake_virtual(machine, "md0", "9:0");
    fake_holder(machine, "sda", "md0");
    fake_holder(machine, "sdb", "md0");
    fake_file(machine, "proc/self/mountinfo", "22 1 9:0 / / rw - ext4 /dev/md0 rw\n");
    read_live(machine, 8, 0, &first, &mounts);
    read_live(machine, 8, 16, &second, &mounts);
    assert_true(first.is_live);
    assert_true(second.is_live);
    assert_int_equal(mounts.count, 1);
}

static void test_live_finds_btrfs_by_its_source_and_its_other_devices(void **state)
{
    const struct fake_machine *machine = *state;
    AUTO(live_mounts) mounts = {0};
    struct live live;
    fake_disk(machine, "sda", "8:0", "pci0/ata1/host0/target0:0:0/0:0:0:0");
    fake_disk(machine, "sdb", "8:16", "pci0/ata2/host1/target1:0:0/1:0:0:0");
    fake_folder(machine, "sys/fs/btrfs/0f7b/devices");
    fake_link(machine, "sys/fs/btrfs/0f7b/devices/sda", "/sys/block/sda");
    fake_link(machine, "sys/fs/btrfs/0f7b/devices/sdb", "/sys/block/sdb");
    fake_file(machine, "proc/self/mountinfo", "22 1 0:31 /@ /data rw - btrfs /dev/sda rw\n");
    read_live(machine, 8, 16, &live, &mounts);
    assert_true(live.is_live);
    assert_int_equal(mounts.count, 1);
    assert_string_equal(mounts.items[0].type, "btrfs");
}

static void test_live_read_only_mounts_do_not_count(void **state)
{
    const struct fake_machine *machine = *state;
    AUTO(live_mounts) mounts = {0};
    struct live live;
    make_lvm_server(machine);
    fake_file(machine, "proc/self/mountinfo",
              "22 1 8:1 / /media ro,relatime - iso9660 /dev/sda1 ro\n"
              "23 1 254:0 / /mnt ro - ext4 /dev/dm-0 ro,noload\n");
    read_live(machine, 8, 0, &live, &mounts);
    assert_false(live.is_live);
    assert_int_equal(mounts.count, 0);
}

/* A read-only bind mount of what is written to elsewhere. */
static void test_live_looks_at_the_file_system_not_at_the_mount(void **state)
{
    const struct fake_machine *machine = *state;
    AUTO(live_mounts) mounts = {0};
    struct live live;
    make_lvm_server(machine);
    fake_file(machine, "proc/self/mountinfo", "22 1 8:1 / /ro ro - ext4 /dev/sda1 rw\n");
    read_live(machine, 8, 0, &live, &mounts);
    assert_true(live.is_live);
}

static void test_live_refuses_a_device_that_is_not_there(void **state)
{
    const struct fake_machine *machine = *state;
    AUTO(live_mounts) mounts = {0};
    struct live live;
    struct error err = {0};
    fake_file(machine, "proc/self/mountinfo", "");
    assert_int_equal(live_read(machine->root, 8, 0, &live, &mounts, &err), -1);
    assert_non_null(strstr(err.text, "8:0"));
}

static void test_live_survives_broken_lines(void **state)
{
    const struct fake_machine *machine = *state;
    AUTO(live_mounts) mounts = {0};
    struct live live;
    make_lvm_server(machine);
    fake_file(machine, "proc/self/mountinfo",
              "\n22\n22 1 8:1 / /boot rw\n22 1 8:1 / /boot rw - ext4\nx y z / / rw - a b c\n"
              "22 1 8:1 / /a\\04 rw - ext4 /dev/sda1 rw\n");
    read_live(machine, 8, 0, &live, &mounts);
    assert_int_equal(mounts.count, 1);
    assert_string_equal(mounts.items[0].path, "/a\\04");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_machine_new, fake_machine_free)
    const struct CMUnitTest tests[] = {
        TEST(test_live_finds_mounts_on_partitions_and_on_lvm_above_them),
        TEST(test_live_lists_a_file_system_once_however_often_it_is_mounted),
        TEST(test_live_knows_both_disks_of_a_raid),
        TEST(test_live_finds_btrfs_by_its_source_and_its_other_devices),
        TEST(test_live_read_only_mounts_do_not_count),
        TEST(test_live_looks_at_the_file_system_not_at_the_mount),
        TEST(test_live_refuses_a_device_that_is_not_there),
        TEST(test_live_survives_broken_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
