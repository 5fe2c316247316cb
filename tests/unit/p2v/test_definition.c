/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The definition made from what was found on the disks.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/definition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char linux_type[] = "linux", debian[] = "debian", twelve[] = "12", host[] = "web01",
            id[] = "0123456789abcdef0123456789abcdef", kernel_name[] = "6.1.0-18-amd64";

static struct system_kernel virtio_kernel = {
    .version = kernel_name, .has_virtio_blk = true, .has_virtio_net = true, .has_virtio_pci = true};

static struct system some_system(void)
{
    return (struct system){.type = linux_type,
                           .distro = debian,
                           .version = twelve,
                           .hostname = host,
                           .machine_id = id,
                           .kernels = &virtio_kernel,
                           .kernel_count = 1};
}

static struct block_memory disk_memory;
static struct source disk;
static struct sources disks = {&disk, 1};
static struct definition_hints seen; /* of the machine itself; nothing unless a test says so */

static int start(void **state)
{
    (void)state;
    seen = (struct definition_hints){.sockets = 0};
    block_memory_init(&disk_memory, "", 0);
    disk_memory.source.size_bytes = 3 * GIB + 100;
    disk = (struct source){.path = "/images/server.img", .block = &disk_memory.source};
    return 0;
}

static struct guest *define(const struct system *system, const char *name, const char *folder)
{
    AUTO(nics) none = {.count = 0}, nics = {.count = 0};
    nics_choose(system, &none, "gpt:X", &nics, NULL);
    struct definition_options options = {.name = name,
                                         .folder_name = folder,
                                         .machine_id = "gpt:X",
                                         .format = "qcow2",
                                         .hardware = definition_hardware_for(system),
                                         .hints = &seen};
    struct guest *guest = definition_new(&disks, system, &nics, &options);
    struct error err = {0};
    if (guest_validate(guest, false, &err) != 0)
        fail_msg("%s", err.text);
    return guest;
}

static void test_definition_of_a_known_system_has_virtio(void **state)
{
    (void)state;
    struct system system = some_system();
    system.is_clock_localtime = true;
    AUTO_PTR(guest) guest = define(&system, NULL, "folder");
    assert_string_equal(guest->name, "web01");
    assert_string_equal(guest->os_distro, "debian");
    assert_int_equal(guest->clock, GUEST_CLOCK_LOCALTIME);
    assert_string_equal(guest->disks[0].path, "disk0.qcow2");
    assert_int_equal(guest->disks[0].size_bytes, 3 * GIB + 512); /* whole sectors */
    assert_int_equal(guest->disks[0].bus, GUEST_BUS_VIRTIO_BLK);
    assert_int_equal(guest->disks[0].boot_order, 1);
    assert_int_equal(guest->nics[0].model, GUEST_NIC_VIRTIO);
}

static void test_definition_of_an_unknown_system_has_old_hardware(void **state)
{
    (void)state;
    AUTO_PTR(guest) guest = define(NULL, NULL, "old server");
    assert_string_equal(guest->name, "oldserver"); /* what of it may be in a name */
    assert_string_equal(guest->os_type, "unknown");
    assert_int_equal(guest->disks[0].bus, GUEST_BUS_SATA);
    assert_int_equal(guest->nics[0].model, GUEST_NIC_E1000);
}

static void test_definition_follows_the_newest_kernel(void **state)
{
    (void)state;
    struct system_kernel kernel = virtio_kernel;
    struct system system = some_system();
    system.kernels = &kernel;
    kernel.has_virtio_net = false;
    struct definition_hardware hardware = definition_hardware_for(&system);
    assert_int_equal(hardware.bus, GUEST_BUS_VIRTIO_BLK);
    assert_int_equal(hardware.nic_model, GUEST_NIC_E1000);
    kernel.has_virtio_pci = false;
    assert_int_equal(definition_hardware_for(&system).bus, GUEST_BUS_SATA);
}

static void test_definition_names_the_machine_by_what_is_at_hand(void **state)
{
    (void)state;
    static char hostile[] = "-\x1b[31m../we b\xff", nobody[] = "localhost";
    struct system system = some_system();
    AUTO_PTR(guest) given = define(&system, "db7", "folder");
    assert_string_equal(given->name, "db7");
    system.hostname = hostile;
    AUTO_PTR(guest) cleaned = define(&system, NULL, "folder");
    assert_string_equal(cleaned->name, "31m..web");
    system.hostname = nobody;
    AUTO_PTR(guest) folder = define(&system, NULL, "folder");
    assert_string_equal(folder->name, "folder");
    AUTO_PTR(guest) nothing = define(NULL, NULL, "...");
    assert_string_equal(nothing->name, "machine");
}

static void test_definition_is_the_same_on_a_second_run(void **state)
{
    (void)state;
    struct system system = some_system();
    AUTO_PTR(guest) first = define(&system, NULL, "a");
    AUTO_PTR(guest) second = define(&system, NULL, "b");
    AUTO_PTR(guest) other = define(NULL, NULL, "b");
    assert_string_equal(first->uuid, second->uuid);
    assert_string_equal(first->nics[0].mac, second->nics[0].mac);
    assert_string_not_equal(first->uuid, other->uuid);
}

static void test_definition_guesses_uefi_from_the_table_alone(void **state)
{
    (void)state;
    struct partition partitions[2] = {{.number = 1}, {.number = 2}};
    snprintf(partitions[0].type_guid, sizeof(partitions[0].type_guid), "%s", PARTITION_TYPE_ESP);
    disk.layout.table.partitions = partitions;
    disk.layout.table.count = 2;
    AUTO_PTR(guest) uefi = define(NULL, NULL, "x");
    assert_int_equal(uefi->firmware, GUEST_FIRMWARE_UEFI);
    snprintf(partitions[1].type_guid, sizeof(partitions[1].type_guid), "%s",
             PARTITION_TYPE_BIOS_BOOT);
    AUTO_PTR(guest) bios = define(NULL, NULL, "x");
    assert_int_equal(bios->firmware, GUEST_FIRMWARE_BIOS);
}

static void test_definition_boots_from_the_disk_that_uefi_starts_from(void **state)
{
    (void)state;
    struct partition esp = {.number = 1};
    snprintf(esp.type_guid, sizeof(esp.type_guid), "%s", PARTITION_TYPE_ESP);
    struct source both[2] = {disk, disk};
    const struct sources two = {both, 2};
    both[1].layout.table.partitions = &esp;
    both[1].layout.table.count = 1;
    struct system system = some_system();
    struct nics nics = {0};
    const struct definition_options options = {.format = "qcow2", .folder_name = "x"};
    AUTO_PTR(guest) bios = definition_new(&two, &system, &nics, &options);
    assert_int_equal(bios->disks[0].boot_order, 1);
    assert_int_equal(bios->disks[1].boot_order, 0);
    system.firmware = SYSTEM_FIRMWARE_UEFI;
    AUTO_PTR(guest) uefi = definition_new(&two, &system, &nics, &options);
    assert_int_equal(uefi->disks[0].boot_order, 0);
    assert_int_equal(uefi->disks[1].boot_order, 1);
}

static void test_definition_machine_id_prefers_the_disks_own(void **state)
{
    (void)state;
    AUTO_FREE char *by_name = definition_machine_id(&disks);
    assert_string_equal(by_name, "file:server.img");
    disk.layout.table.kind = PARTITION_TABLE_MBR;
    disk.layout.table.mbr_disk_id = 0xdeadbeef;
    AUTO_FREE char *by_mbr = definition_machine_id(&disks);
    assert_string_equal(by_mbr, "mbr:deadbeef");
}

static void test_definition_set_nics_replaces_all(void **state)
{
    (void)state;
    struct system system = some_system();
    AUTO_PTR(guest) guest = define(&system, NULL, "x");
    const char *texts[] = {"eth0=52:54:00:00:00:01", "eth1=52:54:00:00:00:02"};
    struct option_list list = {texts, 2};
    AUTO(nics) nics = {.count = 0};
    assert_int_equal(nics_parse(&list, &nics, NULL), 0);
    definition_set_nics(guest, &nics, GUEST_NIC_E1000);
    assert_int_equal(guest->nic_count, 2);
    assert_string_equal(guest->nics[1].name, "eth1");
    assert_string_equal(guest->nics[0].mac, "52:54:00:00:00:01");
    assert_int_equal(guest_validate(guest, false, NULL), 0);
}

static void test_definition_name_is_valid_knows_its_limits(void **state)
{
    (void)state;
    assert_true(definition_name_is_valid("web01.example_2-x"));
    assert_false(definition_name_is_valid(""));
    assert_false(definition_name_is_valid("a/b"));
    assert_false(definition_name_is_valid("-rf"));
    assert_false(definition_name_is_valid(".."));
    char name[65];
    memset(name, 'a', sizeof(name));
    name[64] = '\0';
    assert_false(definition_name_is_valid(name));
    assert_true(definition_name_is_valid(name + 1));
}

#define TEST(name) cmocka_unit_test_setup(name, start)

static void test_definition_is_of_the_machine_that_was_seen(void **state)
{
    (void)state;
    struct system system = some_system();
    seen = (struct definition_hints){.uuid = "4c4c4544-0051-3810-8052-b4c04f4b3132",
                                     .sockets = 2,
                                     .cores = 8,
                                     .threads = 2,
                                     .memory_bytes = 64 * GIB,
                                     .is_clock_known = true,
                                     .is_localtime = true};
    AUTO_PTR(guest) guest = define(&system, NULL, "web");
    assert_string_equal(guest->uuid, seen.uuid);
    assert_int_equal(guest->sockets * 100 + guest->cores * 10 + guest->threads, 282);
    assert_int_equal(guest->memory_bytes, 64 * GIB);
    assert_int_equal(guest->clock, GUEST_CLOCK_LOCALTIME);
}

/* The table's partitions: an EFI system partition, and perhaps GRUB's place beside it. */
static enum guest_firmware firmware_of(bool has_esp, bool has_bios_boot, bool is_uefi)
{
    struct partition partitions[2] = {{.number = 1}, {.number = 2}};
    snprintf(partitions[0].type_guid, sizeof(partitions[0].type_guid), "%s",
             has_esp ? PARTITION_TYPE_ESP : "");
    snprintf(partitions[1].type_guid, sizeof(partitions[1].type_guid), "%s",
             has_bios_boot ? PARTITION_TYPE_BIOS_BOOT : "");
    disk.layout.table.partitions = partitions;
    disk.layout.table.count = 2;
    seen = (struct definition_hints){
        .is_firmware_known = true, .is_uefi = is_uefi, .is_secure_boot = is_uefi};
    AUTO_PTR(guest) guest = define(NULL, NULL, "web");
    disk.layout.table.partitions = NULL;
    disk.layout.table.count = 0;
    assert_int_equal(guest->secure_boot, guest->firmware == GUEST_FIRMWARE_UEFI && is_uefi);
    return guest->firmware;
}

static void test_definition_has_the_firmware_that_was_seen_where_the_disk_allows_it(void **state)
{
    (void)state;
    assert_int_equal(firmware_of(true, true, true), GUEST_FIRMWARE_UEFI);
    assert_int_equal(firmware_of(true, true, false), GUEST_FIRMWARE_BIOS);
    assert_int_equal(firmware_of(true, false, false), GUEST_FIRMWARE_UEFI);
    assert_int_equal(firmware_of(false, true, true), GUEST_FIRMWARE_BIOS);
    assert_int_equal(firmware_of(false, false, false), GUEST_FIRMWARE_BIOS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_definition_is_of_the_machine_that_was_seen, start),
        cmocka_unit_test_setup(
            test_definition_has_the_firmware_that_was_seen_where_the_disk_allows_it, start),
        TEST(test_definition_of_a_known_system_has_virtio),
        TEST(test_definition_of_an_unknown_system_has_old_hardware),
        TEST(test_definition_follows_the_newest_kernel),
        TEST(test_definition_names_the_machine_by_what_is_at_hand),
        TEST(test_definition_is_the_same_on_a_second_run),
        TEST(test_definition_guesses_uefi_from_the_table_alone),
        TEST(test_definition_boots_from_the_disk_that_uefi_starts_from),
        TEST(test_definition_machine_id_prefers_the_disks_own),
        TEST(test_definition_set_nics_replaces_all),
        TEST(test_definition_name_is_valid_knows_its_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
