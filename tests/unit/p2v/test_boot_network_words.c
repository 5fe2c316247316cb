/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The words of the boot medium's network: what the command line may say, what a DHCP server may
 * say, and what is refused. What is done with them is in test_boot_network.c.
 */
#include "base/bytes.h"
#include "base/text.h"
#include "p2v/boot/network_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* --- rehost.net= --- */

static struct boot_net_entry parsed(const char *value)
{
    struct boot_net_entry entry;
    struct error err = {0};
    if (boot_network_parse(value, &entry, &err) != 0)
        fail_msg("%s: %s", value, err.text);
    return entry;
}

static void check_refused(const char *value, const char *words)
{
    struct boot_net_entry entry;
    struct error err = {0};
    if (boot_network_parse(value, &entry, &err) == 0)
        fail_msg("taken: %s", value);
    if (!strstr(err.text, words))
        fail_msg("%s: %s", value, err.text);
}

static void test_dhcp_on_a_link(void **state)
{
    (void)state;
    struct boot_net_entry entry = parsed("eno1,dhcp");
    assert_string_equal(entry.link, "eno1");
    assert_true(entry.is_dhcp);
    assert_int_equal(entry.vlan + entry.member_count, 0);
}

static void test_static_by_name_or_mac(void **state)
{
    (void)state;
    struct boot_net_entry entry = parsed("eno1,192.0.2.5/24,gw=192.0.2.1,dns=192.0.2.53,dns=::1:5");
    assert_false(entry.is_dhcp);
    assert_string_equal(entry.address, "192.0.2.5/24");
    assert_string_equal(entry.gateway, "192.0.2.1");
    assert_string_equal(entry.dns[0], "192.0.2.53");
    assert_string_equal(entry.dns[1], "::1:5");
    assert_string_equal(entry.dns[2], "");
    entry = parsed("52:54:00:AB:cd:ef,2001:db8::5/64,gw=2001:db8::1");
    assert_string_equal(entry.link, "");
    assert_string_equal(entry.mac, "52:54:00:ab:cd:ef");
    assert_string_equal(entry.address, "2001:db8::5/64");
}

static void test_a_link_need_not_be_named(void **state)
{
    (void)state;
    struct boot_net_entry entry = parsed("192.0.2.5/24,gw=192.0.2.1");
    assert_string_equal(entry.link, "");
    assert_string_equal(entry.mac, "");
    assert_true(parsed("dhcp").is_dhcp);
}

static void test_vlans_stand_behind_a_dot(void **state)
{
    (void)state;
    struct boot_net_entry entry = parsed("eno1.42,dhcp");
    assert_string_equal(entry.link, "eno1");
    assert_int_equal(entry.vlan, 42);
    entry = parsed("52:54:00:ab:cd:ef.7,dhcp");
    assert_string_equal(entry.mac, "52:54:00:ab:cd:ef");
    assert_int_equal(entry.vlan, 7);
    check_refused("eno1.0,dhcp", "VLAN");
    check_refused("eno1.4095,dhcp", "VLAN");
    check_refused("eno1.000001,dhcp", "VLAN");
}

static void test_bonds_have_members_and_a_mode(void **state)
{
    (void)state;
    struct boot_net_entry entry = parsed("bond0:eno1+eno2:802.3ad,dhcp");
    assert_string_equal(entry.link, "bond0");
    assert_int_equal(entry.member_count, 2);
    assert_string_equal(entry.members[0], "eno1");
    assert_string_equal(entry.members[1], "eno2");
    assert_string_equal(entry.bond_mode, "802.3ad");
    entry = parsed("bond0.42:52:54:00:00:00:01+52:54:00:00:00:02:active-backup,192.0.2.5/24");
    assert_int_equal(entry.vlan, 42);
    assert_string_equal(entry.members[1], "52:54:00:00:00:02");
    assert_string_equal(entry.bond_mode, "active-backup");
    assert_string_equal(parsed("bond0:eno1+eno2,dhcp").bond_mode, "");
    check_refused("bond0:eno1+eno2:fastest,dhcp", "mode");
    check_refused("bond0:+eno2,dhcp", "not an interface");
    check_refused("bond0:,dhcp", "not an interface");
    check_refused("bond0:a+b+c+d+e+f+g+h+i,dhcp", "more than 8");
}

static void test_what_cannot_be_is_refused_by_name(void **state)
{
    (void)state;
    check_refused("", "neither an interface nor a MAC");
    check_refused("eno1", "neither dhcp nor ADDRESS/PREFIX");
    check_refused("eno1,", "no ADDRESS/PREFIX");
    check_refused("eno1,192.0.2.5", "no ADDRESS/PREFIX");
    check_refused("eno1,192.0.2.5/33", "no ADDRESS/PREFIX");
    check_refused("eno1,192.0.2.5/0", "no ADDRESS/PREFIX");
    check_refused("eno1,224.0.0.1/24", "no ADDRESS/PREFIX");
    check_refused("eno1,127.0.0.1/8", "no ADDRESS/PREFIX");
    check_refused("eno1,dhcp,192.0.2.5/24", "there is one address");
    check_refused("eno1,192.0.2.5/24,gw=192.0.3.1", "the gateway 192.0.3.1 is not in 192.0.2.0/24");
    check_refused("eno1,192.0.2.5/24,gw=2001:db8::1", "is not in");
    check_refused("eno1,192.0.2.5/24,gw=here", "gw='here'");
    check_refused("eno1,dhcp,gw=192.0.2.1", "gw= with dhcp");
    check_refused("eno1,dhcp,dns=one", "dns='one'");
    check_refused("eno1,dhcp,dns=1.1.1.1,dns=1.1.1.2,dns=1.1.1.3,dns=1.1.1.4", "more than 3");
    check_refused("an-interface-too-long,dhcp", "neither an interface");
    check_refused("-h,dhcp", "neither an interface");
    check_refused("eno1;reboot,dhcp", "neither an interface");
    check_refused("../../etc,dhcp", "neither an interface");
    assert_string_equal(parsed("eno1,192.0.2.5/32,gw=192.0.3.1").gateway, "192.0.3.1");
}

/* --- ip= --- */

static struct boot_net_entry parsed_ip(const char *value)
{
    struct boot_net_entry entry;
    struct error err = {0};
    if (boot_network_parse_ip(value, &entry, &err) != 0)
        fail_msg("%s: %s", value, err.text);
    return entry;
}

static void test_ip_of_one_word_is_dhcp_everywhere(void **state)
{
    (void)state;
    static const char *const words[] = {"dhcp", "on", "any", "both", "off", "none", ":::::", ""};
    for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
        struct boot_net_entry entry = parsed_ip(words[i]);
        assert_true(entry.is_dhcp);
        assert_string_equal(entry.link, "");
    }
}

static void test_ip_of_the_kernel(void **state)
{
    (void)state;
    struct boot_net_entry entry =
        parsed_ip("192.0.2.5:192.0.2.9:192.0.2.1:255.255.255.0:web:eth0:off:192.0.2.53:192.0.2.54");
    assert_string_equal(entry.link, "eth0");
    assert_string_equal(entry.address, "192.0.2.5/24");
    assert_string_equal(entry.gateway, "192.0.2.1");
    assert_string_equal(entry.dns[0], "192.0.2.53");
    assert_string_equal(entry.dns[1], "192.0.2.54");
    assert_false(entry.is_dhcp);
    entry = parsed_ip(":::::eth1:dhcp");
    assert_string_equal(entry.link, "eth1");
    assert_true(entry.is_dhcp);
    assert_string_equal(parsed_ip("192.168.7.5::::::").address, "192.168.7.5/24");
    assert_string_equal(parsed_ip("10.1.2.3").address, "10.1.2.3/8");
    assert_string_equal(parsed_ip("192.0.2.5:::28").address, "192.0.2.5/28");
}

static void test_ip_as_dracut_has_it(void **state)
{
    (void)state;
    struct boot_net_entry entry = parsed_ip("eno1:dhcp");
    assert_string_equal(entry.link, "eno1");
    assert_true(entry.is_dhcp);
}

static void test_ip_that_cannot_be_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "192.0.2.5::192.0.3.1:255.255.255.0",
        "192.0.2.5:::255.0.255.0",
        "300.0.2.5",
        "192.0.2.5:::99",
        ":::::eth0:perhaps",
        ":::::/dev/eth0:dhcp",
        "[2001:db8::5]::::eth0",
        "1.2.3.4:::::::::::::",
        "192.0.2.5::gateway",
        ":::::eth0:dhcp:dns",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        struct boot_net_entry entry;
        struct error err = {0};
        if (boot_network_parse_ip(bad[i], &entry, &err) != -1)
            fail_msg("taken: %s", bad[i]);
        assert_true(err.text[0] != '\0');
    }
}

/* --- plans --- */

static void test_a_plan_is_made_of_both_parameters(void **state)
{
    (void)state;
    struct boot_settings settings;
    struct boot_net_plan plan;
    struct error err = {0};
    assert_int_equal(boot_settings_parse("rehost.net=eno1,dhcp ip=:::::eth1:dhcp "
                                         "rehost.server=[2001:db8::7]:7000",
                                         &settings, &err),
                     0);
    assert_int_equal(boot_network_plan(&settings, &plan, &err), 0);
    assert_int_equal(plan.count, 2);
    assert_string_equal(plan.entries[0].link, "eno1");
    assert_string_equal(plan.entries[1].link, "eth1");
    assert_string_equal(plan.server, "2001:db8::7");
    boot_settings_fini(&settings);
}

static void test_ip_dhcp_is_what_is_done_anyway(void **state)
{
    (void)state;
    struct boot_settings settings;
    struct boot_net_plan plan;
    assert_int_equal(boot_settings_parse("ip=dhcp", &settings, NULL), 0);
    assert_int_equal(boot_network_plan(&settings, &plan, NULL), 0);
    assert_int_equal(plan.count, 0);
    boot_settings_fini(&settings);
}

static void test_a_bad_plan_names_its_parameter(void **state)
{
    (void)state;
    struct boot_settings settings;
    struct boot_net_plan plan;
    struct error err = {0};
    assert_int_equal(boot_settings_parse("rehost.net=eno1", &settings, NULL), 0);
    assert_int_equal(boot_network_plan(&settings, &plan, &err), -1);
    assert_true(text_starts_with(err.text, "rehost.net: "));
    boot_settings_fini(&settings);
}

/* --- addresses --- */

static void test_networks_are_counted_in_bits(void **state)
{
    (void)state;
    char network[64];
    assert_true(network_contains("192.0.2.5/24", "192.0.2.255"));
    assert_false(network_contains("192.0.2.5/24", "192.0.3.1"));
    assert_true(network_contains("192.0.2.129/25", "192.0.2.200"));
    assert_false(network_contains("192.0.2.129/25", "192.0.2.1"));
    assert_true(network_contains("2001:db8::5/64", "2001:db8::ffff:1"));
    assert_false(network_contains("2001:db8::5/64", "192.0.2.1"));
    network_of("192.0.2.201/26", network, sizeof(network));
    assert_string_equal(network, "192.0.2.192/26");
    assert_int_equal(network_mask_bits("255.255.255.255"), 32);
    assert_int_equal(network_mask_bits("255.255.240.0"), 20);
    assert_int_equal(network_mask_bits("128.0.0.0"), 1);
    assert_int_equal(network_mask_bits("0.0.0.0"), -1);
    assert_int_equal(network_mask_bits("255.0.255.0"), -1);
    assert_int_equal(network_mask_bits("24"), -1);
}

/* --- leases --- */

static void test_a_lease_is_an_address_with_its_network(void **state)
{
    (void)state;
    struct network_lease lease;
    assert_true(network_lease_parse("ip=192.0.2.17\nmask=24\nsubnet=255.255.255.0\n"
                                    "router=192.0.2.1 192.0.2.2\ndns=192.0.2.53 192.0.2.54\n",
                                    &lease));
    assert_string_equal(lease.address, "192.0.2.17/24");
    assert_string_equal(lease.gateway, "192.0.2.1");
    assert_string_equal(lease.dns[0], "192.0.2.53");
    assert_string_equal(lease.dns[1], "192.0.2.54");
    assert_string_equal(lease.dns[2], "");
    assert_true(network_lease_parse("ip=192.0.2.17\nsubnet=255.255.240.0\n", &lease));
    assert_string_equal(lease.address, "192.0.2.17/20");
    assert_string_equal(lease.gateway, "");
}

static void test_a_lease_that_is_none_gives_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "ip=\nmask=24\n",
        "ip=127.0.0.1\nmask=8\n",
        "ip=255.255.255.255\nmask=24\n",
        "ip=2001:db8::5\nmask=64\n",
        "ip=192.0.2.17;reboot\nmask=24\n",
        "ip=192.0.2.17\nmask=33\n",
        "router=192.0.2.1\n",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        struct network_lease lease, nothing = {0};
        if (network_lease_parse(bad[i], &lease))
            fail_msg("taken: %s", bad[i]);
        assert_memory_equal(&lease, &nothing, sizeof(lease));
    }
}

static void test_words_of_a_lease_that_are_no_addresses_are_left_out(void **state)
{
    (void)state;
    struct network_lease lease;
    assert_true(network_lease_parse(
        "ip=192.0.2.17\nmask=24\nrouter=`reboot`\ndns=-h $(x) 192.0.2.53 0.0.0.0\n", &lease));
    assert_string_equal(lease.gateway, "");
    assert_string_equal(lease.dns[0], "192.0.2.53");
    assert_string_equal(lease.dns[1], "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dhcp_on_a_link),
        cmocka_unit_test(test_static_by_name_or_mac),
        cmocka_unit_test(test_a_link_need_not_be_named),
        cmocka_unit_test(test_vlans_stand_behind_a_dot),
        cmocka_unit_test(test_bonds_have_members_and_a_mode),
        cmocka_unit_test(test_what_cannot_be_is_refused_by_name),
        cmocka_unit_test(test_ip_of_one_word_is_dhcp_everywhere),
        cmocka_unit_test(test_ip_of_the_kernel),
        cmocka_unit_test(test_ip_as_dracut_has_it),
        cmocka_unit_test(test_ip_that_cannot_be_is_refused),
        cmocka_unit_test(test_a_plan_is_made_of_both_parameters),
        cmocka_unit_test(test_ip_dhcp_is_what_is_done_anyway),
        cmocka_unit_test(test_a_bad_plan_names_its_parameter),
        cmocka_unit_test(test_networks_are_counted_in_bits),
        cmocka_unit_test(test_a_lease_is_an_address_with_its_network),
        cmocka_unit_test(test_a_lease_that_is_none_gives_nothing),
        cmocka_unit_test(test_words_of_a_lease_that_are_no_addresses_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
