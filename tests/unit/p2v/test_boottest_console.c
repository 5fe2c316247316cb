/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The console watcher, on what real machines (Debian 11 to 13 in an emulator) said and on what a
 * hostile one might. Every text is fed whole and byte by byte, and must mean the same.
 */
#include "p2v/boottest_console.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_same(const struct boot_console *a, const struct boot_console *b)
{
    assert_int_equal(a->stage, b->stage);
    assert_int_equal(a->stop, b->stop);
    assert_string_equal(a->cause, b->cause);
    assert_string_equal(a->last_line, b->last_line);
    assert_int_equal(a->failed_count, b->failed_count);
    assert_int_equal(a->rename_count, b->rename_count);
}

static void feed_all(struct boot_console *console, const char *bytes, size_t length)
{
    struct boot_console other = {0};
    boot_console_feed(console, bytes, length);
    for (size_t i = 0; i < length; i++)
        boot_console_feed(&other, &bytes[i], 1);
    assert_same(console, &other);
    boot_console_fini(&other);
}

static void check(const char *said, enum boot_stage stage, const char *stop)
{
    struct boot_console console = {0};
    char text[256] = "";
    feed_all(&console, said, strlen(said));
    if (console.stop != BOOT_STOP_NONE)
        boot_console_describe_stop(&console, text, sizeof(text));
    assert_int_equal(console.stage, stage);
    assert_string_equal(text, stop);
    boot_console_fini(&console);
}

/* Debian 12 through SeaBIOS and GRUB, started with "quiet". */
#define FIRMWARE                                                                                   \
    "\033c\033[?7l\033[2J\033[0mSeaBIOS (version 1.16.2-debian-1.16.2-1)\r\n"                      \
    "Booting from Hard Disk...\r\n"
#define LOADER FIRMWARE "GRUB loading.\r\n\033[0;30;47mWelcome to GRUB!\r\n\r\n"
#define ISSUE "\r\r\nDebian GNU/Linux 12 web01 ttyS0\r\n\r\n"

static void test_a_silent_console_shows_nothing(void **state)
{
    (void)state;
    check("", BOOT_NOTHING, "");
    check(FIRMWARE, BOOT_NOTHING, "");
}

static void test_welcome_to_grub_is_the_loader_and_not_a_running_system(void **state)
{
    (void)state;
    check(LOADER, BOOT_LOADER, "");
    check("Welcome to Debian GNU/Linux 12 (bookworm)!\r\n", BOOT_ROOT, "");
}

static void test_a_quiet_boot_to_the_prompt_is_a_login(void **state)
{
    (void)state;
    check(LOADER ISSUE "web01 login: ", BOOT_LOGIN, "");
}

static void test_a_prompt_behind_terminal_queries_is_a_login(void **state)
{
    (void)state;
    check("\033[!p\033]104\007\033[?7h\033[6n\033[32766;32766H\033[6n\r\r\n"
          "Debian GNU/Linux 13 db01 ttyS0\r\n\r\ndb01 login: ",
          BOOT_LOGIN, "");
}

static void test_last_login_and_sentences_about_login_are_no_prompt(void **state)
{
    (void)state;
    check("Last login: Sun Nov 22 10:00:00 UTC 2026 on ttyS0\r\n", BOOT_NOTHING, "");
    check("please wait for the login: it comes\r\n", BOOT_NOTHING, "");
    check("login: ", BOOT_NOTHING, "");
    check("[   12.000000] audit login: 0\r\n", BOOT_KERNEL, "");
}

static void test_kernel_timestamps_show_that_the_kernel_runs(void **state)
{
    (void)state;
    check("[    0.000000] Linux version 6.1.0-50-amd64 (x) #1 SMP\r\n", BOOT_KERNEL, "");
    check("[   22.334455] x\n", BOOT_KERNEL, "");
    check("[22] x\n[1.5] y\n[  .123456] z\n[ 1.23456] w\n", BOOT_NOTHING, "");
}

static void test_the_end_of_the_initramfs_shows_that_the_root_is_mounted(void **state)
{
    (void)state;
    check("Begin: Mounting root file system ... ", BOOT_NOTHING, "");
    check("Begin: Mounting root file system ... \n", BOOT_KERNEL, "");
    check("Begin: Running /scripts/init-bottom ... done.\r\n", BOOT_ROOT, "");
    check("INIT: version 3.06 booting\r\n", BOOT_ROOT, "");
    check("[\033[0;32m  OK  \033[0m] Reached target \033[0;1;39mbasic.target\033[0m.\r\n",
          BOOT_ROOT, "");
    check("[    4.2] x\r[    4.211111] systemd[1]: Set hostname to <web01>.\n", BOOT_ROOT, "");
}

static void test_systemd_inside_an_initramfs_is_not_yet_the_root(void **state)
{
    (void)state;
    const char *const initrd =
        "[    3.111111] systemd[1]: Running in initrd.\r\n"
        "Welcome to Debian GNU/Linux 12 (bookworm) dracut-059-4 (Initramfs)!\r\n"
        "[  OK  ] Reached target sysinit.target - System Initialization.\r\n";
    char whole[512];
    check(initrd, BOOT_KERNEL, "");
    snprintf(whole, sizeof(whole), "%s[    9.111111] systemd[1]: Switching root.\r\n", initrd);
    check(whole, BOOT_ROOT, "");
}

static void test_the_initramfs_shell_is_a_stop_and_names_its_reason(void **state)
{
    (void)state;
    check(LOADER "mdadm: No devices listed in conf file were found.\r\n"
                 "Gave up waiting for root file system device.  Common problems:\r\n"
                 " - Boot args (cat /proc/cmdline)\r\n"
                 "ALERT!  UUID=1212-01 does not exist.  Dropping to a shell!\r\n(initramfs) ",
          BOOT_KERNEL, "stopped in the initramfs shell: ALERT! UUID=1212-01 does not exist.");
    check("(initramfs) ", BOOT_KERNEL, "stopped in the initramfs shell");
    check("see (initramfs) and initramfs-tools(7)\r\n(initramfs)\r\n", BOOT_NOTHING, "");
}

static void test_emergency_mode_names_the_device_that_was_waited_for(void **state)
{
    (void)state;
    check("[\033[0;1;31m TIME \033[0m] Timed out waiting for device \033[0;1;39m/dev/sdb1\033[0m."
          "\r\n[\033[0;1;33mDEPEND\033[0m] Dependency failed for /srv/data.\r\n"
          "You are in emergency mode. After logging in, type \"journalctl -xb\" to view\r\n"
          "Give root password for maintenance\r\n(or press Control-D to continue): ",
          BOOT_ROOT, "stopped in emergency mode: [ TIME ] Timed out waiting for device /dev/sdb1.");
    check("Cannot open access to console, the root account is locked.\r\n", BOOT_ROOT,
          "stopped in emergency mode: Cannot open access to console, the root account is locked.");
}

static void test_a_kernel_panic_counts_even_after_the_login_prompt(void **state)
{
    (void)state;
    check("[    1.900000] Kernel panic - not syncing: VFS: Unable to mount root fs on "
          "unknown-block(0,0)\r\n",
          BOOT_KERNEL, "kernel panic: VFS: Unable to mount root fs on unknown-block(0,0)");
    check("web01 login: [   99.000000] x\r\n[   99.100000] Kernel panic - not syncing: Oops\r\n",
          BOOT_LOGIN, "kernel panic: Oops");
}

static void test_other_stops_are_not_believed_once_somebody_can_log_in(void **state)
{
    (void)state;
    check("web01 login: \r\n(initramfs) \r\nYou are in emergency mode\r\nNo bootable device.\r\n",
          BOOT_LOGIN, "");
}

static void test_firmware_without_a_boot_device_and_grubs_prompts_are_stops(void **state)
{
    (void)state;
    check(FIRMWARE "Boot failed: not a bootable disk\r\n\nNo bootable device.\r\n", BOOT_NOTHING,
          "the firmware found nothing to boot: Boot failed: not a bootable disk");
    check("\033[2J\033[01;01HBdsDxe: failed to load Boot0001 \"UEFI Misc Device\" from "
          "PciRoot(0x0)/Pci(0x4,0x0): Not Found\r\nBdsDxe: starting Boot0002 \"x\"\r\n"
          "\033[2J\033[01;01H\033[01;01HUEFI Interactive Shell v2.2\r\n",
          BOOT_LOADER,
          "the firmware found nothing to boot: BdsDxe: failed to load Boot0001 \"UEFI Misc "
          "Device\" from PciRoot(0x0)/Pci(0x4,0x0): Not Found");
    check("GRUB loading.\r\nerror: no such device: 1212-01.\r\nEntering rescue mode...\r\n"
          "grub rescue> ",
          BOOT_LOADER, "stopped at the boot loader's prompt: error: no such device: 1212-01.");
    check("\033[2J\033[1;1HGNU GRUB  version 2.06\033[3;1Hgrub> ", BOOT_LOADER,
          "stopped at the boot loader's prompt");
}

static void test_failed_units_are_counted_and_named(void **state)
{
    (void)state;
    struct boot_console console = {0};
    static const char said[] =
        "[\033[0;1;31mFAILED\033[0m] Failed to start \033[0;1;39mnetworking.service\033[0m - "
        "Raise network interfaces.\r\n"
        "[FAILED] Failed to start Raise network interfaces.\r\n"
        "[FAILED] Failed to mount /srv/da\001ta.\r\n";
    feed_all(&console, said, sizeof(said) - 1);
    assert_int_equal(console.failed_count, 3);
    assert_string_equal(console.failed[0], "networking.service");
    assert_string_equal(console.failed[1], "Raise network interfaces");
    assert_string_equal(console.failed[2], "/srv/data");
    for (int i = 0; i < 20; i++)
        boot_console_feed(&console, "[FAILED] Failed to start x.\n", 28);
    assert_int_equal(console.failed_count, 23);
    boot_console_fini(&console);
}

static void test_interface_names_follow_the_order_of_the_devices(void **state)
{
    (void)state;
    struct boot_console console = {0};
    static const char said[] = "[    2.1] x\n"
                               "[    2.100000] virtio_net virtio10 ens5: renamed from eth1\r\n"
                               "[    2.200000] virtio_net virtio9 ens4: renamed from eth0\r\n"
                               "[    3.200000] virtio_net virtio9 enp3s0f0: renamed from ens4\r\n"
                               "[    3.300000] e1000e 0000:00:02.0 lan: renamed from eth2\r\n";
    boot_console_feed(&console, said, sizeof(said) - 1);
    assert_string_equal(boot_console_interface_name(&console, "virtio_net", 0, 2), "enp3s0f0");
    assert_string_equal(boot_console_interface_name(&console, "virtio_net", 1, 2), "ens5");
    assert_string_equal(boot_console_interface_name(&console, "e1000e", 0, 1), "lan");
    assert_null(boot_console_interface_name(&console, "virtio_net", 0, 3));
    assert_null(boot_console_interface_name(&console, "8139cp", 0, 1));
    boot_console_fini(&console);
}

static void test_a_flood_is_kept_only_up_to_the_limit_and_still_watched(void **state)
{
    (void)state;
    struct boot_console console = {0};
    size_t length = BOOT_CONSOLE_LIMIT - 7;
    char *flood = malloc(length);
    assert_non_null(flood);
    memset(flood, 'x', length);
    boot_console_feed(&console, flood, length);
    boot_console_feed(&console, flood, length);
    boot_console_feed(&console, "\nweb01 login: ", 14);
    assert_int_equal(console.text.length, BOOT_CONSOLE_LIMIT);
    assert_int_equal(console.stage, BOOT_LOGIN);
    free(flood);
    boot_console_fini(&console);
}

static void test_an_endless_escape_sequence_ends_with_its_line(void **state)
{
    (void)state;
    check("\033]0;title without an end\nweb01 login: ", BOOT_LOGIN, "");
    check("\033[1;2;3\nweb01 login: ", BOOT_LOGIN, "");
}

static void test_copied_lines_are_printable_and_cut_at_a_character(void **state)
{
    (void)state;
    char buffer[8];
    boot_console_copy_line(buffer, sizeof(buffer), "a  b\xff", 5);
    assert_string_equal(buffer, "a b\\xff");
    boot_console_copy_line(buffer, sizeof(buffer), "abcdef\xc3\xa4", 8);
    assert_string_equal(buffer, "abcdef");
    boot_console_copy_line(buffer, sizeof(buffer), "   ", 3);
    assert_string_equal(buffer, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_silent_console_shows_nothing),
        cmocka_unit_test(test_welcome_to_grub_is_the_loader_and_not_a_running_system),
        cmocka_unit_test(test_a_quiet_boot_to_the_prompt_is_a_login),
        cmocka_unit_test(test_a_prompt_behind_terminal_queries_is_a_login),
        cmocka_unit_test(test_last_login_and_sentences_about_login_are_no_prompt),
        cmocka_unit_test(test_kernel_timestamps_show_that_the_kernel_runs),
        cmocka_unit_test(test_the_end_of_the_initramfs_shows_that_the_root_is_mounted),
        cmocka_unit_test(test_systemd_inside_an_initramfs_is_not_yet_the_root),
        cmocka_unit_test(test_the_initramfs_shell_is_a_stop_and_names_its_reason),
        cmocka_unit_test(test_emergency_mode_names_the_device_that_was_waited_for),
        cmocka_unit_test(test_a_kernel_panic_counts_even_after_the_login_prompt),
        cmocka_unit_test(test_other_stops_are_not_believed_once_somebody_can_log_in),
        cmocka_unit_test(test_firmware_without_a_boot_device_and_grubs_prompts_are_stops),
        cmocka_unit_test(test_failed_units_are_counted_and_named),
        cmocka_unit_test(test_interface_names_follow_the_order_of_the_devices),
        cmocka_unit_test(test_a_flood_is_kept_only_up_to_the_limit_and_still_watched),
        cmocka_unit_test(test_an_endless_escape_sequence_ends_with_its_line),
        cmocka_unit_test(test_copied_lines_are_printable_and_cut_at_a_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
