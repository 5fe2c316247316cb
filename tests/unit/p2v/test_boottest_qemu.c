/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QEMU's command line: nothing of the definition is lost, and no text of it becomes an option.
 */
#include "base/bytes.h"
#include "base/text.h"
#include "p2v/boottest_qemu.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct guest *guest;
    struct qemu_machine machine;
    struct qemu_arguments arguments;
};

static int set_up(void **state)
{
    struct fixture *fixture = memory_new(1, sizeof(*fixture));
    fixture->guest = guest_new("web01");
    fixture->machine = (struct qemu_machine){.guest = fixture->guest,
                                             .accelerator = "tcg",
                                             .memory_bytes = 512 * MIB,
                                             .cpus = 1,
                                             .variables_fd = -1};
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    qemu_arguments_fini(&fixture->arguments);
    guest_free(fixture->guest);
    free(fixture);
    return 0;
}

static void add_disk(struct fixture *fixture, enum guest_bus bus, const char *serial)
{
    size_t index = fixture->guest->disk_count++;
    fixture->guest->disks[index].path = text_copy("disk.qcow2");
    fixture->guest->disks[index].format = text_copy("qcow2");
    fixture->guest->disks[index].bus = bus;
    fixture->guest->disks[index].serial = serial ? text_copy(serial) : NULL;
    fixture->machine.disk_fds[index] = 100 + (int)index;
}

static void add_nic(struct fixture *fixture, enum guest_nic_model model)
{
    size_t index = fixture->guest->nic_count++;
    fixture->guest->nics[index].mac = text_format("52:54:00:00:00:%02zx", index);
    fixture->guest->nics[index].model = model;
    fixture->machine.network_fds[index] = 200 + (int)index;
}

static void make(struct fixture *fixture)
{
    qemu_arguments_fini(&fixture->arguments);
    assert_int_equal(qemu_arguments_make(&fixture->arguments, &fixture->machine, NULL), 0);
    assert_null(fixture->arguments.items[fixture->arguments.count]);
}

/* How many arguments are, or have in them, that text. */
static size_t count(const struct fixture *fixture, const char *text)
{
    size_t found = 0;
    for (size_t i = 0; i < fixture->arguments.count; i++)
        found += strstr(fixture->arguments.items[i], text) != NULL;
    return found;
}

static void test_the_machine_is_alone_and_may_start_nothing(void **state)
{
    struct fixture *fixture = *state;
    make(fixture);
    assert_string_equal(fixture->arguments.items[0], QEMU_PROGRAM);
    assert_int_equal(count(fixture, "-nodefaults"), 1);
    assert_int_equal(count(fixture, "-no-user-config"), 1);
    assert_int_equal(count(fixture, "spawn=deny"), 1);
    assert_int_equal(count(fixture, "-netdev"), 0);
    assert_int_equal(count(fixture, "q35,"), 1);
    assert_int_equal(count(fixture, "512M"), 1);
}

static void test_the_accelerator_is_always_named_with_its_processor(void **state)
{
    struct fixture *fixture = *state;
    make(fixture);
    assert_int_equal(count(fixture, "tcg"), 1);
    assert_int_equal(count(fixture, "max"), 1);
    fixture->machine.accelerator = "kvm";
    make(fixture);
    assert_int_equal(count(fixture, "kvm"), 1);
    assert_int_equal(count(fixture, "host"), 1);
}

static void test_disks_get_their_bus_and_their_inherited_descriptor(void **state)
{
    struct fixture *fixture = *state;
    add_disk(fixture, GUEST_BUS_VIRTIO_BLK, "9VM12A00");
    add_disk(fixture, GUEST_BUS_VIRTIO_SCSI, NULL);
    add_disk(fixture, GUEST_BUS_SATA, NULL);
    add_disk(fixture, GUEST_BUS_SATA, NULL);
    make(fixture);
    assert_int_equal(count(fixture, "virtio-blk-pci,"), 1);
    assert_int_equal(count(fixture, "drive=disk0,bootindex=1,serial=9VM12A00"), 1);
    assert_int_equal(count(fixture, "scsi-hd,bus=scsi.0,scsi-id=0,drive=disk1"), 1);
    assert_int_equal(count(fixture, "ich9-ahci"), 1);
    assert_int_equal(count(fixture, "ide-hd,bus=sata0.1,drive=disk3"), 1);
    assert_int_equal(count(fixture, "fd=103,set=4"), 1);
    assert_int_equal(count(fixture, "bootindex="), 1);
}

static void test_boot_order_is_taken_from_the_definition(void **state)
{
    struct fixture *fixture = *state;
    add_disk(fixture, GUEST_BUS_VIRTIO_BLK, NULL);
    add_disk(fixture, GUEST_BUS_VIRTIO_BLK, NULL);
    fixture->guest->disks[1].boot_order = 1;
    make(fixture);
    assert_int_equal(count(fixture, "drive=disk1,bootindex=1"), 1);
    assert_int_equal(count(fixture, "bootindex="), 1);
}

static void test_a_serial_cannot_add_options(void **state)
{
    struct fixture *fixture = *state;
    add_disk(fixture, GUEST_BUS_VIRTIO_BLK, "a,share-rw=on\n,b");
    make(fixture);
    assert_int_equal(count(fixture, ",serial=a,,share-rw=on,,b"), 1);
}

static void test_ide_disks_need_a_machine_that_has_ide_and_are_at_most_four(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    for (int i = 0; i < 4; i++)
        add_disk(fixture, GUEST_BUS_IDE, NULL);
    make(fixture);
    assert_int_equal(count(fixture, "pc,"), 1);
    assert_int_equal(count(fixture, "ide-hd,bus=ide.1,unit=1"), 1);
    add_disk(fixture, GUEST_BUS_IDE, NULL);
    qemu_arguments_fini(&fixture->arguments);
    assert_int_equal(qemu_arguments_make(&fixture->arguments, &fixture->machine, &err), -1);
    assert_int_equal(err.errnum, ENOTSUP);
}

static void test_interfaces_keep_model_and_mac_and_boot_nothing(void **state)
{
    struct fixture *fixture = *state;
    add_nic(fixture, GUEST_NIC_VIRTIO);
    add_nic(fixture, GUEST_NIC_E1000E);
    make(fixture);
    assert_int_equal(count(fixture, "virtio-net-pci,netdev=net0,mac=52:54:00:00:00:00,romfile="),
                     1);
    assert_int_equal(count(fixture, "e1000e,netdev=net1,mac=52:54:00:00:00:01,romfile="), 1);
    assert_int_equal(count(fixture, "socket,id=net1,fd=201"), 1);
}

static void test_the_most_devices_that_a_definition_can_have_find_their_places(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < GUEST_MAX_DISKS; i++)
        add_disk(fixture, GUEST_BUS_VIRTIO_BLK, NULL);
    for (int i = 0; i < GUEST_MAX_NICS; i++)
        add_nic(fixture, GUEST_NIC_VIRTIO);
    make(fixture);
    assert_int_equal(count(fixture, "multifunction=on"), GUEST_MAX_DISKS + GUEST_MAX_NICS + 2);
    assert_int_equal(count(fixture, "addr=0x2.0x0"), 1);
    assert_int_equal(count(fixture, "addr=0x1f"), 0);
}

static void test_uefi_brings_its_firmware_and_variables(void **state)
{
    struct fixture *fixture = *state;
    fixture->machine.firmware_path = "/usr/share/OVMF/OVMF_CODE.fd";
    fixture->machine.variables_fd = 77;
    fixture->guest->secure_boot = true;
    make(fixture);
    assert_int_equal(count(fixture, "smm=on,pflash0=code,pflash1=variables"), 1);
    assert_int_equal(count(fixture, "read-only=on,file.driver=file,file.filename=/usr/share"), 1);
    assert_int_equal(count(fixture, "fd=77,set=65"), 1);
}

static void test_memory_is_bounded_by_guest_host_and_need(void **state)
{
    (void)state;
    assert_int_equal(qemu_choose_memory(64 * GIB, 32 * GIB), GIB);
    assert_int_equal(qemu_choose_memory(512 * MIB, 32 * GIB), 512 * MIB);
    assert_int_equal(qemu_choose_memory(64 * GIB, GIB), 512 * MIB);
    assert_int_equal(qemu_choose_memory(64 * GIB, 0), 256 * MIB);
    assert_int_equal(qemu_choose_memory(0, 32 * GIB), MIB);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_machine_is_alone_and_may_start_nothing),
        TEST(test_the_accelerator_is_always_named_with_its_processor),
        TEST(test_disks_get_their_bus_and_their_inherited_descriptor),
        TEST(test_boot_order_is_taken_from_the_definition),
        TEST(test_a_serial_cannot_add_options),
        TEST(test_ide_disks_need_a_machine_that_has_ide_and_are_at_most_four),
        TEST(test_interfaces_keep_model_and_mac_and_boot_nothing),
        TEST(test_the_most_devices_that_a_definition_can_have_find_their_places),
        TEST(test_uefi_brings_its_firmware_and_variables),
        cmocka_unit_test(test_memory_is_bounded_by_guest_host_and_need),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
