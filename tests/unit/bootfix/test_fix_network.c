/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Names of interfaces pinned to MACs: by .link files and by persistent-net rules.
 */
#include "bootfix/interfaces.h"
#include "bootfix/link_file.h"
#include "bootfix/udev_rule.h"
#include "tests/lib/phony_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define RULES "/etc/udev/rules.d/70-persistent-net.rules"

static void plan_fix(struct phony *phony)
{
    struct error err = {0};
    assert_int_equal(fix_network.plan(&phony->context, &err), 0);
}

static void check_file(struct phony *phony, const char *path, const char *expected)
{
    AUTO_FREE char *text = phony_planned(phony, path);
    assert_string_equal(text, expected);
}

static void init_one(struct phony *phony, const char *name)
{
    phony_init(phony);
    phony_add(phony, "/usr/lib/systemd/libsystemd-shared-252.so", "");
    phony_add_nic(phony, name, "52:54:00:00:00:01");
}

static void test_each_card_gets_a_link_file(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_debian12(&phony);
    plan_fix(&phony);
    check_file(&phony, "/etc/systemd/network/10-rehost-enp3s0f0.link",
               "# Written by Rehost when this machine became virtual.\n"
               "[Match]\n"
               "MACAddress=52:54:00:00:12:01\n"
               "Type=ether\n"
               "\n"
               "[Link]\n"
               "Name=enp3s0f0\n");
    assert_int_equal(phony.plan.edit_count, 2);
    assert_int_equal(phony.plan.note_count, 0);
    assert_int_equal(phony.plan.edits[0].mode, 0644);
    phony_fini(&phony);
}

static void test_a_systemd_before_245_is_not_asked_for_types(void **state)
{
    (void)state;
    struct phony phony;
    phony_init(&phony);
    phony_add(&phony, "/lib/systemd/libsystemd-shared-241.so", "");
    phony_add_nic(&phony, "eno1", "52:54:00:00:00:01");
    plan_fix(&phony);
    AUTO_FREE char *text = phony_planned(&phony, "/etc/systemd/network/10-rehost-eno1.link");
    assert_non_null(strstr(text, "MACAddress="));
    assert_null(strstr(text, "Type="));
    phony_fini(&phony);
}

static void test_without_systemd_the_persistent_rule_is_rewritten(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_sysv(&phony);
    plan_fix(&phony);
    check_file(&phony, RULES,
               "# PCI device 0x14e4:0x164c (bnx2)\n"
               "SUBSYSTEM==\"net\", ACTION==\"add\", DRIVERS==\"?*\", "
               "ATTR{address}==\"52:54:00:00:07:01\", ATTR{type}==\"1\", NAME=\"eth0\"\n");
    assert_int_equal(phony.plan.edit_count, 1);
    phony_fini(&phony);
}

static void test_without_systemd_and_rules_a_rule_is_written(void **state)
{
    (void)state;
    struct phony phony;
    init_one(&phony, "eth0");
    phony.system->has_systemd = false;
    phony_add_nic(&phony, "eth1", "52:54:00:00:00:02");
    plan_fix(&phony);
    AUTO_FREE char *text = phony_planned(&phony, RULES);
    assert_non_null(strstr(text, "ATTR{address}==\"52:54:00:00:00:01\", ATTR{type}==\"1\", "
                                 "NAME=\"eth0\"\n"));
    assert_non_null(strstr(text, "ATTR{address}==\"52:54:00:00:00:02\", ATTR{type}==\"1\", "
                                 "NAME=\"eth1\"\n"));
    assert_int_equal(phony.plan.note_count, 0);
    phony_fini(&phony);
}

static void test_a_rule_that_holds_is_enough_also_with_systemd(void **state)
{
    (void)state;
    struct phony phony;
    init_one(&phony, "eth0");
    phony_add(&phony, RULES,
              "SUBSYSTEM==\"net\", ACTION==\"add\", ATTR{address}==\"52:54:00:00:00:01\", "
              "NAME=\"eth0\"\n");
    plan_fix(&phony);
    assert_int_equal(phony.plan.edit_count, 0);
    phony_fini(&phony);
}

static void test_a_rule_by_slot_is_rewritten_and_a_second_one_silenced(void **state)
{
    (void)state;
    struct phony phony;
    init_one(&phony, "lan0");
    phony_add(&phony, RULES,
              "SUBSYSTEM==\"net\", KERNELS==\"0000:03:00.0\", NAME=\"lan0\"\n"
              "SUBSYSTEM==\"net\", ATTR{address}==\"00:00:5e:00:53:09\", NAME=\"lan0\"\n"
              "SUBSYSTEM==\"net\", ATTR{address}==\"00:00:5e:00:53:08\", NAME=\"lan1\"\n");
    plan_fix(&phony);
    check_file(&phony, RULES,
               "SUBSYSTEM==\"net\", ACTION==\"add\", DRIVERS==\"?*\", "
               "ATTR{address}==\"52:54:00:00:00:01\", ATTR{type}==\"1\", NAME=\"lan0\"\n"
               "#SUBSYSTEM==\"net\", ATTR{address}==\"00:00:5e:00:53:09\", NAME=\"lan0\"\n"
               "SUBSYSTEM==\"net\", ATTR{address}==\"00:00:5e:00:53:08\", NAME=\"lan1\"\n");
    phony_fini(&phony);
}

static void test_an_own_link_file_of_the_guest_is_adapted(void **state)
{
    (void)state;
    struct phony phony;
    init_one(&phony, "lan0");
    phony_add(&phony, "/etc/systemd/network/50-lan0.link",
              "# the uplink\n[Match]\n# by slot\nPath=pci-0000:03:00.0\n\n[Link]\nName=lan0\n"
              "MTUBytes=9000\n");
    plan_fix(&phony);
    check_file(&phony, "/etc/systemd/network/50-lan0.link",
               "# the uplink\n[Match]\nMACAddress=52:54:00:00:00:01\nType=ether\n# by slot\n\n"
               "[Link]\nName=lan0\nMTUBytes=9000\n");
    assert_int_equal(phony.plan.edit_count, 1);
    phony_fini(&phony);
}

static void test_a_link_file_that_holds_is_enough(void **state)
{
    (void)state;
    struct phony phony;
    init_one(&phony, "lan0");
    phony_add(&phony, "/etc/systemd/network/50-lan0.link",
              "[Match]\nMACAddress=52:54:00:00:00:01 00:00:5e:00:53:01\n[Link]\nName=lan0\n");
    plan_fix(&phony);
    assert_int_equal(phony.plan.edit_count, 0);
    phony_fini(&phony);
}

static void test_a_link_file_that_comes_first_is_warned_of(void **state)
{
    (void)state;
    struct phony phony;
    init_one(&phony, "eno1");
    phony_add(&phony, "/etc/systemd/network/00-all.link",
              "[Match]\nOriginalName=*\n[Link]\nNamePolicy=mac\n");
    phony_add(&phony, "/etc/systemd/network/99-late.link",
              "[Match]\nOriginalName=*\n[Link]\nNamePolicy=mac\n");
    plan_fix(&phony);
    assert_true(phony_has_note(&phony, true, "00-all.link may give eno1 another name"));
    assert_int_equal(phony.plan.note_count, 1);
    phony_fini(&phony);
}

static void test_exchanged_kernel_names_are_warned_of(void **state)
{
    (void)state;
    struct phony phony;
    init_one(&phony, "eth1");
    phony_add_nic(&phony, "eth0", "52:54:00:00:00:02");
    phony_add_nic(&phony, "eth7", "52:54:00:00:00:03");
    plan_fix(&phony);
    assert_int_equal(phony.plan.note_count, 2);
    assert_int_equal(phony.plan.edit_count, 3);
    phony_fini(&phony);
}

static void test_names_that_are_none_never_become_files(void **state)
{
    (void)state;
    struct phony phony;
    phony_init(&phony);
    phony_add_nic(&phony, "../../tmp/x", "52:54:00:00:00:01");
    phony_add_nic(&phony, "eth0", "52:54:00:00:00:01\nName=x");
    phony_add_nic(&phony, "eth0", NULL);
    plan_fix(&phony);
    assert_int_equal(phony.plan.edit_count, 0);
    assert_int_equal(phony.plan.note_count, 3);
    phony_fini(&phony);
}

static void test_files_that_match_by_the_old_mac_follow_to_the_new_one(void **state)
{
    (void)state;
    struct phony phony;
    struct error err = {0};
    init_one(&phony, "eno1");
    phony_add_nic(&phony, "eno2", "52:54:00:00:00:02");
    phony_add(&phony, "/etc/systemd/network/a.network",
              "# f00:00:5E:00:53:01\n[Match]\nMACAddress=00:00:5E:00:53:01\nName=eno1\n");
    phony_add(&phony, "/etc/systemd/network/b.network",
              "[Match]\nMACAddress=52:54:00:00:00:01\nName=eno2\n[Network]\nDHCP=yes\n");
    assert_int_equal(interfaces_read(files_memory_files(phony.memory), phony.system, &err), 0);
    plan_fix(&phony);
    check_file(&phony, "/etc/systemd/network/a.network",
               "# f00:00:5E:00:53:01\n[Match]\nMACAddress=52:54:00:00:00:01\nName=eno1\n");
    check_file(&phony, "/etc/systemd/network/b.network",
               "[Match]\nMACAddress=52:54:00:00:00:02\nName=eno2\n[Network]\nDHCP=yes\n");
    phony_fini(&phony);
}

static void test_a_kept_mac_changes_none_of_the_guests_files(void **state)
{
    (void)state;
    struct phony phony;
    struct error err = {0};
    init_one(&phony, "eno1");
    phony_add(&phony, "/etc/systemd/network/a.network",
              "[Match]\nMACAddress=52:54:00:00:00:01\nName=eno1\n[Network]\nDHCP=yes\n");
    interfaces_read(files_memory_files(phony.memory), phony.system, &err);
    plan_fix(&phony);
    assert_int_equal(phony.plan.edit_count, 1);
    assert_non_null(phony_find_edit(&phony, "/etc/systemd/network/10-rehost-eno1.link"));
    phony_fini(&phony);
}

static void test_links_are_told_apart_by_what_they_ask_for(void **state)
{
    (void)state;
    static const char mac[] = "52:54:00:00:00:01";
    assert_true(link_file_matches_mac("[Match]\nPermanentMACAddress=52:54:00:00:00:01\n", mac));
    assert_false(link_file_matches_mac("[Match]\nMACAddress=52:54:00:00:00:02\n", mac));
    assert_false(link_file_matches_mac("[Match]\nMACAddress=52:54:00:00:00:01\nDriver=igb\n", mac));
    assert_false(link_file_matches_mac("[Link]\nMACAddress=52:54:00:00:00:01\n", mac));
    assert_true(link_file_may_rename("[Link]\nNamePolicy=path\n", mac));
    assert_false(link_file_may_rename("[Match]\nPath=pci-*\n[Link]\nName=x\n", mac));
    assert_false(link_file_may_rename("[Match]\nOriginalName=*\n[Link]\nMTUBytes=9000\n", mac));
}

static void test_rules_are_told_apart_by_what_they_ask_for(void **state)
{
    (void)state;
    struct span good = {0}, value;
    AUTO(text) rule = {0};
    udev_rule_add(&rule, "eth0", "52:54:00:00:00:01");
    good = (struct span){rule.data, rule.length};
    assert_true(udev_rule_names(good, "eth0"));
    assert_false(udev_rule_names(good, "eth1"));
    assert_true(udev_rule_matches_mac(good, "52:54:00:00:00:01"));
    assert_false(udev_rule_matches_mac(good, "52:54:00:00:00:02"));
    static const char upper[] = "SUBSYSTEM==\"net\", ATTR{address}==\"52:54:00:00:00:0A\", "
                                "NAME=\"eth0\"";
    assert_false(udev_rule_matches_mac((struct span){upper, strlen(upper)}, "52:54:00:00:00:0a"));
    static const char slot[] = "SUBSYSTEM==\"net\", KERNELS==\"0000:03:00.0\", "
                               "ATTR{address}==\"52:54:00:00:00:01\", NAME=\"eth0\"";
    assert_false(udev_rule_matches_mac((struct span){slot, strlen(slot)}, "52:54:00:00:00:01"));
    static const char comment[] = " # SUBSYSTEM==\"net\", NAME=\"eth0\"";
    assert_false(udev_rule_names((struct span){comment, strlen(comment)}, "eth0"));
    static const char open[] = "NAME=\"eth0";
    assert_false(udev_rule_find((struct span){open, strlen(open)}, "NAME", &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_card_gets_a_link_file),
        cmocka_unit_test(test_a_systemd_before_245_is_not_asked_for_types),
        cmocka_unit_test(test_without_systemd_the_persistent_rule_is_rewritten),
        cmocka_unit_test(test_without_systemd_and_rules_a_rule_is_written),
        cmocka_unit_test(test_a_rule_that_holds_is_enough_also_with_systemd),
        cmocka_unit_test(test_a_rule_by_slot_is_rewritten_and_a_second_one_silenced),
        cmocka_unit_test(test_an_own_link_file_of_the_guest_is_adapted),
        cmocka_unit_test(test_a_link_file_that_holds_is_enough),
        cmocka_unit_test(test_a_link_file_that_comes_first_is_warned_of),
        cmocka_unit_test(test_exchanged_kernel_names_are_warned_of),
        cmocka_unit_test(test_names_that_are_none_never_become_files),
        cmocka_unit_test(test_files_that_match_by_the_old_mac_follow_to_the_new_one),
        cmocka_unit_test(test_a_kept_mac_changes_none_of_the_guests_files),
        cmocka_unit_test(test_links_are_told_apart_by_what_they_ask_for),
        cmocka_unit_test(test_rules_are_told_apart_by_what_they_ask_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
