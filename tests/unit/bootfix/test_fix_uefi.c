/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * UEFI's removable-media path: filled from what the EFI system partition holds, never overwritten.
 */
#include "tests/lib/phony_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define EFI "/boot/efi/EFI"
#define REMOVABLE EFI "/BOOT/BOOTX64.EFI"

static void plan_fix(struct phony *phony)
{
    struct error err = {0};
    assert_true(fix_uefi.applies(phony->system));
    if (fix_uefi.plan(&phony->context, &err) != 0)
        fail_msg("%s", err.text);
}

static void set_text(char **field, const char *text)
{
    free(*field);
    *field = text ? text_copy(text) : NULL;
}

static void assert_copied(const struct phony *phony, const char *path, const char *source)
{
    const struct edit *edit = phony_find_edit(phony, path);
    if (!edit)
        fail_msg("%s is not planned", path);
    assert_int_equal(edit->kind, EDIT_COPY);
    assert_string_equal(edit->after, source);
}

static void assert_left_alone(const struct phony *phony, const char *warning)
{
    assert_int_equal(phony->plan.edit_count, 0);
    if (!phony_has_note(phony, true, warning))
        fail_msg("no warning with '%s'", warning);
}

/* A system by UEFI whose ESP holds these files alone. */
static void init_with(struct phony *phony, const char *const *files)
{
    phony_init(phony);
    phony->system->firmware = SYSTEM_FIRMWARE_UEFI;
    phony->system->arch = text_copy("x86_64");
    phony_add_volume(phony, 0, 1, "vfat", "1212-E5D0", NULL)->mountpoint = text_copy("/boot/efi");
    for (; *files; files++) {
        AUTO_FREE char *path = text_format(EFI "/%s", *files);
        phony_add(phony, path, "MZ");
    }
}

static void test_shim_and_what_it_starts_are_copied_together(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_uefi(&phony);
    plan_fix(&phony);
    assert_copied(&phony, REMOVABLE, EFI "/debian/shimx64.efi");
    assert_copied(&phony, EFI "/BOOT/grubx64.efi", EFI "/debian/grubx64.efi");
    assert_copied(&phony, EFI "/BOOT/mmx64.efi", EFI "/debian/mmx64.efi");
    assert_copied(&phony, EFI "/BOOT/grub.cfg", EFI "/debian/grub.cfg");
    /* shim's fallback would make an entry and start the machine again */
    assert_null(phony_find_edit(&phony, EFI "/BOOT/fbx64.efi"));
    assert_true(phony_has_note(&phony, false, "BOOT/BOOTX64.EFI, a copy of shimx64.efi"));
    phony_fini(&phony);
}

static void test_the_next_upgrade_of_grub_renews_the_copy(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_uefi(&phony);
    plan_fix(&phony);
    AUTO_FREE char *answers = phony_planned(&phony, "/var/cache/debconf/config.dat");
    assert_non_null(strstr(answers, "\nValue: true\n"));
    assert_null(strstr(answers, "Value: false"));
    phony_fini(&phony);
}

static void test_a_path_that_is_filled_stays_as_it_is(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_uefi(&phony);
    phony_add(&phony, REMOVABLE, "MZ other");
    plan_fix(&phony);
    assert_int_equal(phony.plan.edit_count, 0);
    assert_int_equal(phony.plan.note_count, 0);
    phony_fini(&phony);
}

static void test_what_lies_beside_a_missing_loader_is_not_overwritten(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_uefi(&phony);
    phony_add(&phony, EFI "/BOOT/grubx64.efi", "MZ other");
    plan_fix(&phony);
    assert_copied(&phony, REMOVABLE, EFI "/debian/shimx64.efi");
    assert_null(phony_find_edit(&phony, EFI "/BOOT/grubx64.efi"));
    phony_fini(&phony);
}

static void test_grub_without_shim_is_copied_alone(void **state)
{
    (void)state;
    static const char *const files[] = {"gentoo/grubx64.efi", "gentoo/mmx64.efi", NULL};
    struct phony phony;
    init_with(&phony, files);
    plan_fix(&phony);
    assert_copied(&phony, REMOVABLE, EFI "/gentoo/grubx64.efi");
    assert_int_equal(phony.plan.edit_count, 1);
    phony_fini(&phony);
}

static void test_systemd_boot_is_a_loader_too(void **state)
{
    (void)state;
    static const char *const files[] = {"systemd/systemd-bootx64.efi", "Linux/kernel.efi", NULL};
    struct phony phony;
    init_with(&phony, files);
    plan_fix(&phony);
    assert_copied(&phony, REMOVABLE, EFI "/systemd/systemd-bootx64.efi");
    phony_fini(&phony);
}

static void test_of_several_loaders_the_systems_own_is_taken(void **state)
{
    (void)state;
    static const char *const files[] = {"centos/shimx64.efi", "redhat/shimx64.efi",
                                        "ubuntu/shimx64.efi", NULL};
    struct phony phony;
    init_with(&phony, files);
    set_text(&phony.system->distro, "rhel");
    plan_fix(&phony);
    assert_copied(&phony, REMOVABLE, EFI "/redhat/shimx64.efi");
    phony_fini(&phony);
}

static void test_several_loaders_of_others_are_left_alone(void **state)
{
    (void)state;
    static const char *const files[] = {"centos/shimx64.efi", "ubuntu/shimx64.efi", NULL};
    struct phony phony;
    init_with(&phony, files);
    plan_fix(&phony);
    assert_left_alone(&phony, "there is more than one boot loader");
    phony_fini(&phony);
}

static void test_no_loader_at_all_is_a_warning(void **state)
{
    (void)state;
    static const char *const files[] = {"Microsoft/Boot/bootmgfw.efi", "BOOT/fbx64.efi", NULL};
    struct phony phony;
    init_with(&phony, files);
    plan_fix(&phony);
    assert_left_alone(&phony, "there is no boot loader");
    phony_fini(&phony);
}

static void test_files_of_another_architecture_do_not_count(void **state)
{
    (void)state;
    static const char *const files[] = {"debian/shimx64.efi", "debian/shimaa64.efi", NULL};
    struct phony phony;
    init_with(&phony, files);
    set_text(&phony.system->arch, "aarch64");
    plan_fix(&phony);
    assert_copied(&phony, EFI "/BOOT/BOOTAA64.EFI", EFI "/debian/shimaa64.efi");
    set_text(&phony.system->arch, NULL);
    phony_apply(&phony);
    plan_fix(&phony);
    assert_left_alone(&phony, "no boot loader that Rehost knows");
    phony_fini(&phony);
}

static void test_an_esp_that_fstab_does_not_mount_is_a_warning(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_uefi(&phony);
    set_text(&phony.system->volumes[0].mountpoint, NULL);
    plan_fix(&phony);
    assert_left_alone(&phony, "fstab mounts no EFI system partition");
    phony_fini(&phony);
}

static void test_a_disk_for_bios_and_uefi_is_filled_too(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_uefi(&phony);
    phony.system->firmware = SYSTEM_FIRMWARE_BIOS;
    plan_fix(&phony);
    assert_copied(&phony, REMOVABLE, EFI "/debian/shimx64.efi");
    phony_fini(&phony);
}

static void test_a_machine_that_the_bios_starts_is_not_warned_of(void **state)
{
    (void)state;
    static const char *const files[] = {"centos/shimx64.efi", "ubuntu/shimx64.efi", NULL};
    struct phony phony;
    init_with(&phony, files);
    phony.system->firmware = SYSTEM_FIRMWARE_BIOS;
    plan_fix(&phony);
    set_text(&phony.system->arch, NULL);
    plan_fix(&phony);
    assert_int_equal(phony.plan.edit_count, 0);
    assert_int_equal(phony.plan.note_count, 0);
    set_text(&phony.system->volumes[0].mountpoint, NULL);
    assert_false(fix_uefi.applies(phony.system));
    phony_fini(&phony);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shim_and_what_it_starts_are_copied_together),
        cmocka_unit_test(test_the_next_upgrade_of_grub_renews_the_copy),
        cmocka_unit_test(test_a_path_that_is_filled_stays_as_it_is),
        cmocka_unit_test(test_what_lies_beside_a_missing_loader_is_not_overwritten),
        cmocka_unit_test(test_grub_without_shim_is_copied_alone),
        cmocka_unit_test(test_systemd_boot_is_a_loader_too),
        cmocka_unit_test(test_of_several_loaders_the_systems_own_is_taken),
        cmocka_unit_test(test_several_loaders_of_others_are_left_alone),
        cmocka_unit_test(test_no_loader_at_all_is_a_warning),
        cmocka_unit_test(test_files_of_another_architecture_do_not_count),
        cmocka_unit_test(test_an_esp_that_fstab_does_not_mount_is_a_warning),
        cmocka_unit_test(test_a_disk_for_bios_and_uefi_is_filled_too),
        cmocka_unit_test(test_a_machine_that_the_bios_starts_is_not_warned_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
