/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The machine's disks: what counts as one, in which order, and who they say they are.
 */
#include "base/own.h"
#include "p2v/agent/disks.h"
#include "tests/unit/p2v/fake_root.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void list(const struct fake_machine *machine, struct machine_disks *disks)
{
    struct error err = {0};
    assert_int_equal(machine_disks_list(machine->root, disks, NULL, &err), 0);
}

static void test_disks_lists_hardware_and_nothing_else(void **state)
{
    const struct fake_machine *machine = *state;
    AUTO(machine_disks) disks = {0};
    fake_disk(machine, "sda", "8:0", "pci0/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0");
    fake_partition(machine, "sda", "sda1", "8:1");
    fake_virtual(machine, "loop0", "7:0");
    fake_virtual(machine, "dm-0", "254:0");
    fake_virtual(machine, "md127", "9:127");
    fake_virtual(machine, "zram0", "253:0");
    fake_virtual(machine, "nbd0", "43:0");
    fake_virtual(machine, "ram0", "1:0");
    fake_disk(machine, "sr0", "11:0", "pci0/0000:00:1f.2/ata2/host1/target1:0:0/1:0:0:0");
    fake_disk(machine, "fd0", "2:0", "platform/floppy.0");
    fake_disk(machine, "sdb", "8:16", "pci0/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0");
    fake_in_block(machine, "sdb", "size", "0\n"); /* a card reader without a card */
    list(machine, &disks);
    assert_int_equal(disks.count, 1);
    assert_string_equal(disks.items[0].name, "sda");
    assert_string_equal(disks.items[0].path, "/dev/sda");
    assert_string_equal(disks.items[0].bus, "sata");
    assert_int_equal(disks.items[0].size_bytes, 1 << 30);
    assert_false(disks.items[0].is_external);
}

static void test_disks_are_in_the_order_of_their_addresses_not_of_their_names(void **state)
{
    const struct fake_machine *machine = *state;
    AUTO(machine_disks) disks = {0};
    fake_disk(machine, "sda", "8:0", "pci0/ata2/host10/target10:0:0/10:0:0:0");
    fake_disk(machine, "sdb", "8:16", "pci0/ata1/host2/target2:0:0/2:0:0:0");
    fake_disk(machine, "nvme10n1", "259:1", "pci0/nvme/nvme10");
    fake_disk(machine, "nvme2n1", "259:0", "pci0/nvme/nvme2");
    list(machine, &disks);
    assert_int_equal(disks.count, 4);
    assert_string_equal(disks.items[0].name, "nvme2n1");
    assert_string_equal(disks.items[1].name, "nvme10n1");
    assert_string_equal(disks.items[2].name, "sdb");
    assert_string_equal(disks.items[3].name, "sda");
}

static void test_disks_order_two_letters_behind_one(void **state)
{
    const struct fake_machine *machine = *state;
    AUTO(machine_disks) disks = {0};
    fake_disk(machine, "vdaa", "252:416", "pci0/virtio9");
    fake_disk(machine, "vdb", "252:16", "pci0/virtio2");
    list(machine, &disks);
    assert_string_equal(disks.items[0].name, "vdb");
    assert_string_equal(disks.items[1].name, "vdaa");
    assert_string_equal(disks.items[0].bus, "virtio");
}

static void test_disks_usb_and_removable_ones_are_external(void **state)
{
    const struct fake_machine *machine = *state;
    AUTO(machine_disks) disks = {0};
    fake_disk(machine, "sda", "8:0", "pci0/usb1/1-1/host3/target3:0:0/3:0:0:0");
    fake_disk(machine, "sdb", "8:16", "pci0/ata1/host4/target4:0:0/4:0:0:0");
    fake_in_block(machine, "sdb", "removable", "1\n");
    list(machine, &disks);
    assert_int_equal(disks.count, 2);
    assert_string_equal(disks.items[0].bus, "usb");
    assert_true(disks.items[0].is_external);
    assert_true(disks.items[1].is_external);
}

static void test_disks_take_cciss_and_mmc_by_their_names(void **state)
{
    const struct fake_machine *machine = *state;
    AUTO(machine_disks) disks = {0};
    fake_disk(machine, "cciss!c0d0", "104:0", "pci0/cciss0/c0d0");
    fake_disk(machine, "mmcblk0", "179:0", "pci0/mmc_host/mmc0/mmc0:0001");
    fake_disk(machine, "mmcblk0boot0", "179:8", "pci0/mmc_host/mmc0/mmc0:0001/boot");
    list(machine, &disks);
    assert_int_equal(disks.count, 2);
    assert_string_equal(disks.items[0].name, "cciss/c0d0");
    assert_string_equal(disks.items[0].path, "/dev/cciss/c0d0");
    assert_string_equal(disks.items[1].bus, "mmc");
}

static void test_disks_read_serial_and_wwn_from_vital_product_data(void **state)
{
    const struct fake_machine *machine = *state;
    AUTO(machine_disks) disks = {0};
    static const uint8_t serial[] = {0, 0x80, 0, 8, ' ', ' ', 'S', '3', 'R', 'I', 'A', 'L', 'x'};
    static const uint8_t names[] = {0, 0x83, 0, 20, 2,    0x11, 0, 4, 1, 2, 3, 4,
                                    1, 3,    0, 8,  0x50, 0x01, 2, 3, 4, 5, 6, 7};
    fake_disk(machine, "sda", "8:0", "pci0/host0/end_device-0:0/target0:0:0/0:0:0:0");
    fake_bytes(machine, "sys/class/block/sda/device/vpd_pg80", serial, sizeof(serial));
    fake_bytes(machine, "sys/class/block/sda/device/vpd_pg83", names, sizeof(names));
    fake_in_block(machine, "sda", "device/vendor", "SEAGATE \n");
    fake_in_block(machine, "sda", "device/model", "ST600MM0006     \n");
    fake_in_block(machine, "sda", "queue/logical_block_size", "4096\n");
    fake_in_block(machine, "sda", "queue/rotational", "1\n");
    list(machine, &disks);
    assert_string_equal(disks.items[0].bus, "sas");
    assert_string_equal(disks.items[0].serial, "S3RIAL");
    assert_string_equal(disks.items[0].wwn, "naa.5001020304050607");
    assert_string_equal(disks.items[0].vendor, "SEAGATE");
    assert_string_equal(disks.items[0].model, "ST600MM0006");
    assert_int_equal(disks.items[0].logical_sector_size, 4096);
    assert_true(disks.items[0].is_rotational);
}

static void test_disks_survive_lying_vital_product_data(void **state)
{
    const struct fake_machine *machine = *state;
    AUTO(machine_disks) disks = {0};
    static const uint8_t serial[] = {0, 0x80, 0xff, 0xff, 'A', '\x1b', 'B'};
    static const uint8_t names[] = {0, 0x83, 0, 200, 1, 3, 0, 200, 1};
    fake_disk(machine, "sda", "8:0", "pci0/host0/target0:0:0/0:0:0:0");
    fake_bytes(machine, "sys/class/block/sda/device/vpd_pg80", serial, sizeof(serial));
    fake_bytes(machine, "sys/class/block/sda/device/vpd_pg83", names, sizeof(names));
    list(machine, &disks);
    assert_string_equal(disks.items[0].serial, "A?B");
    assert_string_equal(disks.items[0].wwn, "");
}

static void test_disks_ask_udev_for_what_sysfs_does_not_know(void **state)
{
    const struct fake_machine *machine = *state;
    AUTO(machine_disks) disks = {0};
    fake_disk(machine, "sda", "8:0", "pci0/ata1/host0/target0:0:0/0:0:0:0");
    fake_file(machine, "run/udev/data/b8:0",
              "S:disk/by-id/x\nE:ID_SERIAL_SHORT=WD-1234\nE:ID_MODEL_ENC=WDC\\x20WD10\\x20\\x20\n"
              "E:ID_WWN_WITH_EXTENSION=0x50014ee2b5f5c6a7\n");
    list(machine, &disks);
    assert_string_equal(disks.items[0].serial, "WD-1234");
    assert_string_equal(disks.items[0].model, "WDC WD10");
    assert_string_equal(disks.items[0].wwn, "0x50014ee2b5f5c6a7");
}

static void test_disks_on_two_paths_are_listed_once(void **state)
{
    const struct fake_machine *machine = *state;
    AUTO(machine_disks) disks = {0};
    fake_disk(machine, "sda", "8:0", "pci0/rport-0:0-1/host0/target0:0:0/0:0:0:0");
    fake_disk(machine, "sdb", "8:16", "pci0/rport-1:0-1/host1/target1:0:0/1:0:0:0");
    fake_disk(machine, "sdc", "8:32", "pci0/rport-1:0-1/host1/target1:0:1/1:0:1:0");
    fake_in_block(machine, "sda", "device/wwid", "naa.600508b1001c\n");
    fake_in_block(machine, "sdb", "device/wwid", "naa.600508b1001c\n");
    fake_in_block(machine, "sdc", "device/wwid", "naa.600508b1001d\n");
    list(machine, &disks);
    assert_int_equal(disks.count, 2);
    assert_string_equal(disks.items[0].name, "sda");
    assert_string_equal(disks.items[1].name, "sdc");
}

static void test_disks_find_one_by_its_number_whatever_it_is(void **state)
{
    const struct fake_machine *machine = *state;
    struct machine_disk disk;
    fake_virtual(machine, "loop7", "7:7");
    assert_int_equal(machine_disk_find(machine->root, 7, 7, &disk), 1);
    assert_string_equal(disk.name, "loop7");
    assert_int_equal(machine_disk_find(machine->root, 7, 8, &disk), 0);
}

static void test_disks_without_sysfs_are_an_error(void **state)
{
    (void)state;
    struct machine_disks disks;
    struct error err = {0};
    assert_int_equal(machine_disks_list("/nonexistent", &disks, NULL, &err), -1);
    assert_non_null(strstr(err.text, "/sys/block"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_machine_new, fake_machine_free)
    const struct CMUnitTest tests[] = {
        TEST(test_disks_lists_hardware_and_nothing_else),
        TEST(test_disks_are_in_the_order_of_their_addresses_not_of_their_names),
        TEST(test_disks_order_two_letters_behind_one),
        TEST(test_disks_usb_and_removable_ones_are_external),
        TEST(test_disks_take_cciss_and_mmc_by_their_names),
        TEST(test_disks_read_serial_and_wwn_from_vital_product_data),
        TEST(test_disks_survive_lying_vital_product_data),
        TEST(test_disks_ask_udev_for_what_sysfs_does_not_know),
        TEST(test_disks_on_two_paths_are_listed_once),
        TEST(test_disks_find_one_by_its_number_whatever_it_is),
        TEST(test_disks_without_sysfs_are_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
