/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * GRUB's files: what it boots, what its configuration is made from, what remembers old disks.
 */
#include "bootfix/cmdline.h"
#include "bootfix/debconf.h"
#include "bootfix/grub_cfg.h"
#include "bootfix/grub_default.h"
#include "tests/lib/phony_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void plan_fix(struct phony *phony)
{
    struct error err = {0};
    assert_int_equal(fix_grub.plan(&phony->context, &err), 0);
}

static void assert_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" is not in:\n%s", part, text);
}

static const char *missing(const char *arguments)
{
    return cmdline_missing_console((struct span){arguments, strlen(arguments)});
}

static void test_the_serial_console_comes_last_and_beside_what_is_there(void **state)
{
    (void)state;
    assert_string_equal(missing("ro quiet"), "console=tty0 console=ttyS0,115200n8");
    assert_string_equal(missing("console=tty0 quiet"), "console=ttyS0,115200n8");
    assert_string_equal(missing("console=ttyS1,57600"), "console=ttyS0,115200n8");
    assert_string_equal(missing("console=ttyS0,9600 console=tty0"), "");
    assert_string_equal(missing("console=ttyS0"), "");
    assert_string_equal(missing("console=ttyS01"), "console=ttyS0,115200n8");
}

static void test_debian_11_boots_by_uuid_and_on_both_consoles(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_debian11(&phony);
    plan_fix(&phony);
    AUTO_FREE char *text = phony_planned(&phony, "/boot/grub/grub.cfg");
    assert_contains(text, "\tlinux\t/vmlinuz-5.10.0-32-amd64 "
                          "root=UUID=11111111-0001-4000-8000-000000000011 ro  quiet "
                          "resume=UUID=11111111-0002-4000-8000-000000000011 console=tty0 "
                          "console=ttyS0,115200n8\n");
    assert_contains(text, "root=UUID=11111111-0001-4000-8000-000000000011 ro single console=tty0 "
                          "console=ttyS0,115200n8\n");
    assert_contains(text, "\tset root='hd0,msdos1'\n");
    assert_contains(text, "\tlinux16\t/memtest86+.bin\n");
    assert_null(strstr(text, "/dev/sda"));
    phony_fini(&phony);
}

static void test_debian_11_defaults_make_the_same_configuration_again(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_debian11(&phony);
    plan_fix(&phony);
    AUTO_FREE char *text = phony_planned(&phony, "/etc/default/grub");
    assert_contains(text, "\nGRUB_CMDLINE_LINUX=\"console=tty0 console=ttyS0,115200n8\"\n");
    assert_contains(text, "\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet "
                          "resume=UUID=11111111-0002-4000-8000-000000000011\"\n");
    assert_contains(text, "\n#GRUB_DISABLE_LINUX_UUID=true\n");
    assert_contains(text, "\nGRUB_DISTRIBUTOR=`lsb_release -i -s 2> /dev/null || echo Debian`\n");
    phony_fini(&phony);
}

static void test_a_device_map_of_old_disks_only_is_removed(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_debian11(&phony);
    plan_fix(&phony);
    assert_int_equal(phony_find_edit(&phony, "/boot/grub/device.map")->kind, EDIT_REMOVE);
    phony_fini(&phony);
}

static void test_a_device_map_keeps_what_is_not_a_disk_of_old(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_sysv(&phony);
    plan_fix(&phony);
    AUTO_FREE char *text = phony_planned(&phony, "/boot/grub/device.map");
    assert_string_equal(text, "(fd0)\t/dev/fd0\n");
    phony_fini(&phony);
}

static void test_grub_pc_forgets_disks_that_are_gone(void **state)
{
    (void)state;
    struct phony phony;
    struct span value;
    phony_init_debian11(&phony);
    plan_fix(&phony);
    AUTO_FREE char *text = phony_planned(&phony, "/var/cache/debconf/config.dat");
    assert_contains(text, "Name: grub-pc/install_devices\n"
                          "Template: grub-pc/install_devices\n"
                          "Value: \n"
                          "Owners: grub-pc\n"
                          "Flags: seen\n"
                          "Variables:\n"
                          " CHOICES = /dev/sda (500107 MB; ST3500418AS)\n");
    assert_contains(text, "Name: grub-pc/install_devices_empty\n"
                          "Template: grub-pc/install_devices_empty\n"
                          "Value: true\n"
                          "Owners: grub-pc\n"
                          "Flags: seen\n"
                          "\n"
                          "Name: man-db/auto-update\n");
    assert_true(debconf_find(text, "man-db/auto-update", &value));
    assert_true(span_is(value, "true"));
    assert_true(phony_has_note(&phony, false, "dpkg-reconfigure grub-pc"));
    phony_fini(&phony);
}

static void test_grub_pc_without_the_second_question_is_a_warning(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_debian11(&phony);
    phony_add(&phony, "/var/cache/debconf/config.dat",
              "Name: grub-pc/install_devices\nTemplate: grub-pc/install_devices\n"
              "Value: /dev/sda, /dev/sdb\nOwners: grub-pc\n");
    plan_fix(&phony);
    assert_null(phony_find_edit(&phony, "/var/cache/debconf/config.dat"));
    assert_true(phony_has_note(&phony, true, "grub-pc installed on disks that are gone"));
    phony_fini(&phony);
}

static void test_disks_that_were_named_after_the_move_are_remembered(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_debian12(&phony);
    phony_add(&phony, "/boot/grub/device.map", "(hd0) /dev/vda\n(hd1) /dev/sdb\n");
    phony_add(&phony, "/var/cache/debconf/config.dat",
              "Name: grub-pc/install_devices\nTemplate: grub-pc/install_devices\n"
              "Value: /dev/vda\nOwners: grub-pc\n");
    plan_fix(&phony);
    AUTO_FREE char *map = phony_planned(&phony, "/boot/grub/device.map");
    assert_string_equal(map, "(hd0) /dev/vda\n");
    assert_null(phony_find_edit(&phony, "/var/cache/debconf/config.dat"));
    assert_int_equal(phony.plan.note_count, 0);
    phony_fini(&phony);
}

static void test_debian_12_with_a_serial_console_needs_nothing(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_debian12(&phony);
    plan_fix(&phony);
    assert_int_equal(phony.plan.edit_count, 0);
    assert_int_equal(phony.plan.note_count, 0);
    phony_fini(&phony);
}

static void test_defaults_without_the_variable_get_it(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_sysv(&phony);
    plan_fix(&phony);
    AUTO_FREE char *text = phony_planned(&phony, "/etc/default/grub");
    assert_string_equal(text, "GRUB_CMDLINE_LINUX_DEFAULT='quiet'\n"
                              "GRUB_CMDLINE_LINUX=\"console=tty0 console=ttyS0,115200n8\"\n");
    AUTO_FREE char *config = phony_planned(&phony, "/boot/grub/grub.cfg");
    assert_contains(config, "root=UUID=07070707-0001-4000-8000-000000000007 ro quiet console=tty0");
    phony_fini(&phony);
}

static void check_default(const char *before, const char *expected)
{
    struct phony phony;
    AUTO(text) after = {0};
    phony_init_debian11(&phony);
    struct cmdline_rules rules = {&phony.context, "grub", "/etc/default/grub", true};
    grub_default_fix(&rules, before, false, &after);
    assert_string_equal(text_string(&after), expected);
    phony_fini(&phony);
}

static void test_every_plain_way_to_write_a_value_is_edited_in_place(void **state)
{
    (void)state;
    check_default("GRUB_CMDLINE_LINUX=quiet # why\n",
                  "GRUB_CMDLINE_LINUX=\"quiet console=tty0 console=ttyS0,115200n8\" # why\n");
    check_default("  export GRUB_CMDLINE_LINUX='a b'\n",
                  "  export GRUB_CMDLINE_LINUX='a b console=tty0 console=ttyS0,115200n8'\n");
    check_default("GRUB_CMDLINE_LINUX=\"dm=\\\"x\\\"\"\n",
                  "GRUB_CMDLINE_LINUX=\"dm=\\\"x\\\" console=tty0 console=ttyS0,115200n8\"\n");
    check_default("GRUB_CMDLINE_LINUX=",
                  "GRUB_CMDLINE_LINUX=\"console=tty0 console=ttyS0,115200n8\"");
    check_default("GRUB_CMDLINE_LINUX_DEFAULT=\"console=ttyS1\"\n",
                  "GRUB_CMDLINE_LINUX_DEFAULT=\"console=ttyS1 console=ttyS0,115200n8\"\n");
    check_default("GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX crashkernel=1G\"\n",
                  "GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX crashkernel=1G\"\n");
    check_default("#GRUB_CMDLINE_LINUX=\"\"\n", "#GRUB_CMDLINE_LINUX=\"\"\n");
}

static void test_values_that_need_a_shell_are_left_with_a_warning(void **state)
{
    (void)state;
    static const char *const lines[] = {"GRUB_CMDLINE_LINUX=\"a\n", "GRUB_CMDLINE_LINUX=\"a\"b\n",
                                        "GRUB_CMDLINE_LINUX=$(cat x)\n",
                                        "GRUB_CMDLINE_LINUX=a;b\n"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct phony phony;
        AUTO(text) after = {0};
        phony_init_debian11(&phony);
        struct cmdline_rules rules = {&phony.context, "grub", "/etc/default/grub", true};
        grub_default_fix(&rules, lines[i], true, &after);
        assert_string_equal(text_string(&after), lines[i]);
        assert_true(phony_has_note(&phony, true, "not understood"));
        phony_fini(&phony);
    }
}

static void check_config(const char *before, const char *expected, unsigned warnings)
{
    struct phony phony;
    AUTO(text) after = {0};
    struct grub_cfg_counts counts;
    phony_init_debian11(&phony);
    struct cmdline_rules rules = {.context = &phony.context, .fixer = "grub", .file = "grub.cfg"};
    grub_cfg_fix(&rules, before, &after, &counts);
    assert_string_equal(text_string(&after), expected);
    assert_int_equal(phony.plan.note_count, warnings);
    phony_fini(&phony);
}

static void test_a_kernel_without_initramfs_finds_its_root_by_partition(void **state)
{
    (void)state;
    check_config("linux /vmlinuz root=/dev/sda5 console=ttyS0\n}\ninitrd /x\n",
                 "linux /vmlinuz root=PARTUUID=11111111-05 console=ttyS0\n}\ninitrd /x\n", 0);
}

static void test_unknown_devices_and_strange_lines_stay_with_a_warning(void **state)
{
    (void)state;
    check_config("linux /vmlinuz root=/dev/sdc1 console=ttyS0\ninitrd /i\n",
                 "linux /vmlinuz root=/dev/sdc1 console=ttyS0\ninitrd /i\n", 1);
    check_config("linux /vmlinuz root=\"/dev/sda5\"\n", "linux /vmlinuz root=\"/dev/sda5\"\n", 1);
    check_config("menuentry x { linux /vmlinuz root=/dev/sda5; }\n",
                 "menuentry x { linux /vmlinuz root=/dev/sda5; }\n", 1);
    check_config("# linux /vmlinuz root=/dev/sda5\n", "# linux /vmlinuz root=/dev/sda5\n", 0);
}

static void test_xen_gets_the_root_of_its_linux_module(void **state)
{
    (void)state;
    check_config("multiboot2 /xen.gz\nmodule2 /vmlinuz root=/dev/sda5 ro\nmodule2 /initrd\n",
                 "multiboot2 /xen.gz\nmodule2 /vmlinuz "
                 "root=UUID=11111111-0001-4000-8000-000000000011 ro\nmodule2 /initrd\n",
                 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_serial_console_comes_last_and_beside_what_is_there),
        cmocka_unit_test(test_debian_11_boots_by_uuid_and_on_both_consoles),
        cmocka_unit_test(test_debian_11_defaults_make_the_same_configuration_again),
        cmocka_unit_test(test_a_device_map_of_old_disks_only_is_removed),
        cmocka_unit_test(test_a_device_map_keeps_what_is_not_a_disk_of_old),
        cmocka_unit_test(test_grub_pc_forgets_disks_that_are_gone),
        cmocka_unit_test(test_grub_pc_without_the_second_question_is_a_warning),
        cmocka_unit_test(test_disks_that_were_named_after_the_move_are_remembered),
        cmocka_unit_test(test_debian_12_with_a_serial_console_needs_nothing),
        cmocka_unit_test(test_defaults_without_the_variable_get_it),
        cmocka_unit_test(test_every_plain_way_to_write_a_value_is_edited_in_place),
        cmocka_unit_test(test_values_that_need_a_shell_are_left_with_a_warning),
        cmocka_unit_test(test_a_kernel_without_initramfs_finds_its_root_by_partition),
        cmocka_unit_test(test_unknown_devices_and_strange_lines_stay_with_a_warning),
        cmocka_unit_test(test_xen_gets_the_root_of_its_linux_module),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
