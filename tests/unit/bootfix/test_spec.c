/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Names of block devices and the volumes behind them.
 */
#include "bootfix/spec.h"
#include "tests/lib/phony_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static struct spec parse(const char *text)
{
    struct spec spec;
    spec_parse((struct span){text, strlen(text)}, &spec);
    return spec;
}

static void test_kernel_names_give_disk_and_partition(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned disk, partition;
    } names[] = {
        {"/dev/sda1", 0, 1},
        {"/dev/sdb", 1, 0},
        {"/dev/hdc12", 2, 12},
        {"/dev/vdz3", 25, 3},
        {"/dev/sdaa2", 26, 2},
        {"/dev/xvdb1", 1, 1},
        {"/dev/nvme0n1p2", 0, 2},
        {"/dev/nvme12n1", 12, 0},
        {"/dev/cciss/c0d1p3", 1, 3},
        {"/dev/cciss/c0d0", 0, 0},
        {"/dev/mmcblk1p1", 1, 1},
        {"/dev/ida/c0d0p1", 0, 1},
        {"/dev/cciss/c1d0p1", UINT_MAX, 1},
        {"/dev/nvme0n2p1", UINT_MAX, 1},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct spec spec = parse(names[i].text);
        assert_int_equal(spec.kind, SPEC_KERNEL);
        assert_true(spec_is_unstable(&spec));
        assert_int_equal(spec.disk, names[i].disk);
        assert_int_equal(spec.partition, names[i].partition);
    }
}

static void test_stable_names_and_other_devices_are_left_alone(void **state)
{
    (void)state;
    static const char *const names[] = {"UUID=1234-ABCD",
                                        "LABEL=root",
                                        "PARTUUID=1-01",
                                        "/dev/mapper/vg-root",
                                        "/dev/vg/root",
                                        "/dev/md0",
                                        "/dev/sr0",
                                        "/dev/fd0",
                                        "/dev/cdrom",
                                        "tmpfs",
                                        "server:/export",
                                        "//server/share",
                                        "/dev/sda0",
                                        "/dev/sda1x",
                                        "/dev/nvme0n1p",
                                        "/dev/mmcblk0boot0",
                                        "/dev/sd",
                                        "/dev/disk/by-id/md-uuid-1:2-part1",
                                        "/dev/disk/by-id/dm-name-x",
                                        "",
                                        "/dev/loop0",
                                        "/dev/disk/by-label/x",
                                        "/dev/disk/by-id/lvm-pv-uuid-1",
                                        "/dev/sda10000",
                                        "/dev/nvme0n1p99999"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct spec spec = parse(names[i]);
        assert_false(spec_is_unstable(&spec));
    }
}

static void test_tags_lose_quotes_and_escapes(void **state)
{
    (void)state;
    assert_string_equal(parse("UUID=\"abc\"").value, "abc");
    assert_string_equal(parse("LABEL=my\\040disk").value, "my disk");
    assert_string_equal(parse("/dev/disk/by-label/my\\x20disk").value, "my disk");
    assert_string_equal(parse("LABEL=\\9\\x").value, "\\9\\x");
    assert_int_equal(parse("PARTLABEL=x").kind, SPEC_PARTLABEL);
}

static void test_a_name_longer_than_any_device_is_no_device(void **state)
{
    (void)state;
    char name[1000] = "UUID=";
    memset(name + 5, 'a', sizeof(name) - 6);
    assert_int_equal(parse(name).kind, SPEC_OTHER);
}

static int setup(void **state)
{
    static struct phony phony;
    phony_init_debian12(&phony);
    phony_add_volume(&phony, UINT_MAX, 0, "ext4", "12121212-0004-4000-8000-000000000012", NULL);
    *state = &phony;
    return 0;
}

static int teardown(void **state)
{
    phony_fini(*state);
    return 0;
}

static const char *found_uuid(struct phony *phony, const char *name)
{
    const struct system_volume *volume = system_find_volume(phony->system, name);
    return volume ? volume->uuid : "none";
}

static void test_volumes_are_found_by_every_kind_of_name(void **state)
{
    struct phony *phony = *state;
    phony->system->volumes[2].label = text_copy("data disk");
    const char *root = "12121212-0001-4000-8000-000000000012";
    const char *data = "12121212-0003-4000-8000-000000000012";
    assert_string_equal(found_uuid(phony, "/dev/sda2"), root);
    assert_string_equal(found_uuid(phony, "/dev/nvme0n1p2"), root);
    assert_string_equal(found_uuid(phony, "/dev/sdb1"), data);
    assert_string_equal(found_uuid(phony, "LABEL=\"data disk\""), data);
    assert_string_equal(found_uuid(phony, "/dev/disk/by-label/data\\x20disk"), data);
    assert_string_equal(found_uuid(phony, "UUID=12121212-0001-4000-8000-000000000012"), root);
    assert_string_equal(found_uuid(phony, "PARTUUID=12121212-AA02-4000-8000-000000000012"), root);
    assert_string_equal(found_uuid(phony, "/dev/mapper/vg-root"),
                        "12121212-0004-4000-8000-000000000012");
    assert_string_equal(found_uuid(phony, "/dev/sdc1"), "none");
    assert_string_equal(found_uuid(phony, "/dev/sda7"), "none");
}

static void test_lvm_names_with_doubled_dashes_are_understood(void **state)
{
    struct phony *phony = *state;
    struct system_volume *volume = &phony->system->volumes[3];
    free(volume->device);
    volume->device = text_copy("/dev/my-vg/my-root");
    assert_ptr_equal(system_find_volume(phony->system, "/dev/mapper/my--vg-my--root"), volume);
    assert_null(system_find_volume(phony->system, "/dev/mapper/my-vg-my--root"));
}

static void test_hardware_names_are_found_only_when_one_volume_can_be_meant(void **state)
{
    struct phony *phony = *state;
    assert_string_equal(found_uuid(phony, "/dev/disk/by-id/ata-DISK_1-part3"),
                        "12121212-0002-4000-8000-000000000012");
    phony_add_volume(phony, 1, 3, "ext4", "12121212-0005-4000-8000-000000000012", NULL);
    assert_string_equal(found_uuid(phony, "/dev/disk/by-id/ata-DISK_1-part3"), "none");
    struct spec spec = parse("/dev/disk/by-path/pci-0000:00:1f.2-ata-1-part3");
    const struct system_volume *swap = spec_find_volume(phony->system, &spec, "swap");
    assert_string_equal(swap->uuid, "12121212-0002-4000-8000-000000000012");
}

static void test_a_volume_of_another_type_is_not_the_one(void **state)
{
    struct phony *phony = *state;
    struct spec spec = parse("/dev/sda2");
    assert_null(spec_find_volume(phony->system, &spec, "xfs"));
    assert_non_null(spec_find_volume(phony->system, &spec, "ext3"));
    assert_non_null(spec_find_volume(phony->system, &spec, "auto"));
}

static void test_a_shared_uuid_gives_way_to_the_partuuid(void **state)
{
    struct phony *phony = *state;
    char name[SPEC_NAME_SIZE];
    const struct system_volume *root = &phony->system->volumes[0];
    assert_true(spec_stable_name(phony->system, root, name));
    assert_string_equal(name, "UUID=12121212-0001-4000-8000-000000000012");
    phony_add_volume(phony, 1, 2, "ext4", root->uuid, "12121212-bb02-4000-8000-000000000012");
    root = &phony->system->volumes[0];
    assert_true(spec_stable_name(phony->system, root, name));
    assert_string_equal(name, "PARTUUID=12121212-aa02-4000-8000-000000000012");
}

static void test_a_btrfs_on_two_disks_keeps_its_uuid(void **state)
{
    struct phony *phony = *state;
    char name[SPEC_NAME_SIZE];
    phony_add_volume(phony, 0, 7, "btrfs", "bbbbbbbb-0001-4000-8000-000000000001", "1-07");
    struct system_volume *volume =
        phony_add_volume(phony, 1, 7, "btrfs", "bbbbbbbb-0001-4000-8000-000000000001", "2-07");
    assert_true(spec_stable_name(phony->system, volume, name));
    assert_string_equal(name, "UUID=bbbbbbbb-0001-4000-8000-000000000001");
}

static void test_a_shared_partuuid_names_nothing(void **state)
{
    struct phony *phony = *state;
    char name[SPEC_NAME_SIZE];
    phony_add_volume(phony, 0, 7, NULL, NULL, "00000000-01");
    struct system_volume *volume = phony_add_volume(phony, 1, 7, NULL, NULL, "00000000-01");
    assert_false(spec_stable_name(phony->system, volume, name));
}

static void test_a_uuid_with_strange_bytes_is_never_written(void **state)
{
    struct phony *phony = *state;
    char name[SPEC_NAME_SIZE];
    struct system_volume *volume =
        phony_add_volume(phony, 2, 1, "vfat", "12 / ext4\n/dev/sda1", NULL);
    assert_false(spec_stable_name(phony->system, volume, name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernel_names_give_disk_and_partition),
        cmocka_unit_test(test_stable_names_and_other_devices_are_left_alone),
        cmocka_unit_test(test_tags_lose_quotes_and_escapes),
        cmocka_unit_test(test_a_name_longer_than_any_device_is_no_device),
        cmocka_unit_test_setup_teardown(test_volumes_are_found_by_every_kind_of_name, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_lvm_names_with_doubled_dashes_are_understood, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            test_hardware_names_are_found_only_when_one_volume_can_be_meant, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_volume_of_another_type_is_not_the_one, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_shared_uuid_gives_way_to_the_partuuid, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_btrfs_on_two_disks_keeps_its_uuid, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_shared_partuuid_names_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_uuid_with_strange_bytes_is_never_written, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
