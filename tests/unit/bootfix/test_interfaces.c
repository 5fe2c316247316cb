/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Reading the interfaces of a guest's configuration, in each of its languages.
 */
#include "bootfix/interfaces.h"
#include "tests/lib/phony_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* The list as one line: "eth0[192.0.2.1/24 dhcp]52:54:…; eth1[]". */
static void check_interfaces(struct phony *phony, const char *expected)
{
    struct error err = {0};
    AUTO(text) out = {0};
    assert_int_equal(interfaces_read(files_memory_files(phony->memory), phony->system, &err), 0);
    for (size_t i = 0; i < phony->system->interface_count; i++) {
        const struct system_interface *interface = &phony->system->interfaces[i];
        text_addf(&out, "%s%s[", i ? "; " : "", interface->name);
        for (size_t k = 0; k < interface->address_count; k++)
            text_addf(&out, "%s%s", k ? " " : "", interface->addresses[k]);
        text_addf(&out, "]%s", interface->mac ? interface->mac : "");
    }
    assert_string_equal(text_string(&out), expected);
}

static void check_ifupdown(const char *text, const char *expected)
{
    struct phony phony;
    phony_init(&phony);
    phony_add(&phony, "/etc/network/interfaces", text);
    check_interfaces(&phony, expected);
    phony_fini(&phony);
}

static void test_the_phony_debians_have_their_interfaces(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_debian11(&phony);
    check_interfaces(&phony, "enp3s0f0[dhcp]");
    assert_string_equal(phony.system->interfaces[0].config, "/etc/network/interfaces");
    phony_fini(&phony);
    phony_init_debian12(&phony);
    check_interfaces(&phony, "enp3s0f0[192.0.2.10/24]; enp3s0f1[dhcp]");
    phony_fini(&phony);
    phony_init_debian13(&phony);
    check_interfaces(&phony, "enp3s0f0[198.51.100.20/24]");
    phony_fini(&phony);
    phony_init_sysv(&phony);
    check_interfaces(&phony, "eth0[192.0.2.20/24]00:1e:0b:aa:bb:cc");
    phony_fini(&phony);
}

static void test_netmasks_become_prefix_lengths(void **state)
{
    (void)state;
    check_ifupdown("iface eth0 inet static\n address 192.0.2.1\n netmask 255.255.254.0\n",
                   "eth0[192.0.2.1/23]");
    check_ifupdown("iface eth0 inet static\n address 192.0.2.1\n netmask 24\n",
                   "eth0[192.0.2.1/24]");
    check_ifupdown("iface eth0 inet static\n address 192.0.2.1/25\n netmask 255.0.0.0\n",
                   "eth0[192.0.2.1/25]");
    check_ifupdown("iface eth0 inet static\n address 192.0.2.1\n netmask 255.0.255.0\n",
                   "eth0[192.0.2.1]");
    check_ifupdown("iface eth0 inet static\n address 192.0.2.1\n netmask 24\n netmask 25\n",
                   "eth0[192.0.2.1/24]");
    check_ifupdown("iface eth0 inet6 static\n address 2001:db8::1\n netmask 64\n",
                   "eth0[2001:db8::1/64]");
}

static void test_several_stanzas_of_one_interface_are_one(void **state)
{
    (void)state;
    check_ifupdown("iface eth0 inet static\n address 192.0.2.1/24\n"
                   "iface eth0 inet6 static\n address 2001:db8::1/64\n"
                   "iface eth0:1 inet static\n address 192.0.2.2/24\n",
                   "eth0[192.0.2.1/24 2001:db8::1/64 192.0.2.2/24]");
}

static void test_bonds_bridges_and_vlans_give_the_cards_below_them(void **state)
{
    (void)state;
    check_ifupdown("auto bond0\niface bond0 inet static\n address 192.0.2.1/24\n"
                   " bond-slaves eno1 eno2\n"
                   "iface br0 inet dhcp\n bridge_ports eno3\n"
                   "iface lan inet manual\n bridge-ports none\n"
                   "iface eno4.100 inet static\n address 198.51.100.1/24\n"
                   "iface mgmt inet dhcp\n vlan-raw-device eno5\n"
                   "iface tun0 inet manual\niface wlan0 inet dhcp\n",
                   "eno1[]; eno2[]; eno3[]; eno4[]; eno5[]");
}

static void test_comments_and_continued_lines_are_understood(void **state)
{
    (void)state;
    check_ifupdown("# iface eth9 inet dhcp\niface eth0 \\\n  inet \\\n dhcp\n#\n", "eth0[dhcp]");
}

static void test_sources_are_followed_by_name_by_pattern_and_by_folder(void **state)
{
    (void)state;
    struct phony phony;
    phony_init(&phony);
    phony_add(&phony, "/etc/network/interfaces",
              "source interfaces.d/*.cfg\nsource-directory /etc/network/more\n"
              "source /etc/network/one\n");
    phony_add(&phony, "/etc/network/interfaces.d/a.cfg", "iface eth10 inet dhcp\n");
    phony_add(&phony, "/etc/network/interfaces.d/b.bak", "iface eth8 inet dhcp\n");
    phony_add(&phony, "/etc/network/interfaces.d/.c.cfg", "iface eth9 inet dhcp\n");
    phony_add(&phony, "/etc/network/more/eth2", "iface eth2 inet dhcp\n");
    phony_add(&phony, "/etc/network/more/eth7.dpkg-old", "iface eth7 inet dhcp\n");
    phony_add(&phony, "/etc/network/one", "iface eth1 inet dhcp\n");
    check_interfaces(&phony, "eth1[dhcp]; eth2[dhcp]; eth10[dhcp]");
    phony_fini(&phony);
}

static void test_files_that_source_themselves_come_to_an_end(void **state)
{
    (void)state;
    struct phony phony;
    phony_init(&phony);
    phony_add(&phony, "/etc/network/interfaces",
              "source /etc/network/*\nsource /etc/network/*\niface eth0 inet dhcp\n");
    phony_add(&phony, "/etc/network/b", "source /etc/network/*\niface eth1 inet dhcp\n");
    check_interfaces(&phony, "eth0[dhcp]; eth1[dhcp]");
    phony_fini(&phony);
}

static void test_sources_of_sources_are_read_down_to_the_limit(void **state)
{
    (void)state;
    struct phony phony;
    phony_init(&phony);
    phony_add(&phony, "/etc/network/interfaces", "source /etc/network/1\n");
    for (int i = 1; i < 9; i++) {
        AUTO_FREE char *path = text_format("/etc/network/%d", i);
        AUTO_FREE char *text =
            text_format("iface eth%d inet dhcp\nsource /etc/network/%d\n", i, i + 1);
        phony_add(&phony, path, text);
    }
    check_interfaces(&phony, "eth1[dhcp]; eth2[dhcp]; eth3[dhcp]; eth4[dhcp]");
    phony_fini(&phony);
}

static void test_names_and_addresses_that_are_none_are_dropped(void **state)
{
    (void)state;
    check_ifupdown("iface ../../etc inet dhcp\niface eth0;reboot inet dhcp\n"
                   "iface a-name-that-is-too-long inet dhcp\niface eth0 inet static\n"
                   " address $(reboot)\n address 300.0.0.1/24\n address 192.0.2.1/999\n"
                   " address 192.0.2.1/24/24\n",
                   "eth0[]");
}

static void test_more_interfaces_than_the_limit_are_not_read(void **state)
{
    (void)state;
    struct phony phony;
    struct error err = {0};
    AUTO(text) text = {0};
    for (int i = 0; i < 500; i++)
        text_addf(&text, "iface eth%d inet dhcp\nbond-slaves x%d y%d\n", i, i, i);
    phony_init(&phony);
    phony_add(&phony, "/etc/network/interfaces", text_string(&text));
    assert_int_equal(interfaces_read(files_memory_files(phony.memory), phony.system, &err), 0);
    assert_true(phony.system->interface_count <= INTERFACES_MAX);
    phony_fini(&phony);
}

static void test_networkd_names_are_read_and_patterns_are_not(void **state)
{
    (void)state;
    struct phony phony;
    phony_init(&phony);
    phony_add(&phony, "/etc/systemd/network/10-lan.network",
              "[Match]\nName=eno1 eno2\n[Network]\nDHCP=ipv4\nBond=bond0\n"
              "[Address]\nAddress=192.0.2.9/24\n[Address]\nAddress=2001:db8::9/64\n");
    phony_add(&phony, "/etc/systemd/network/20-any.network",
              "[Match]\nName=en* !eth0\n[Network]\nDHCP=yes\n");
    phony_add(&phony, "/etc/systemd/network/30-lag.network",
              "[Match]\nName=lag\n[Network]\nAddress=192.0.2.8/24\n");
    phony_add(&phony, "/etc/systemd/network/lag.netdev", "[NetDev]\nName=lag\nKind=bond\n");
    phony_add(&phony, "/etc/systemd/network/40-mac.network",
              "[Match]\nMACAddress=00:00:5E:00:53:01\nName=eno3\n[Network]\nDHCP=no\n");
    phony_add(&phony, "/etc/systemd/network/10-eno1.link",
              "[Match]\nMACAddress=00:00:5e:00:53:02\n[Link]\nName=eno1\n");
    check_interfaces(&phony, "eno1[dhcp 192.0.2.9/24 2001:db8::9/64]00:00:5e:00:53:02; "
                             "eno2[dhcp 192.0.2.9/24 2001:db8::9/64]; eno3[]00:00:5e:00:53:01");
    phony_fini(&phony);
}

static void test_networkmanager_keyfiles_are_read(void **state)
{
    (void)state;
    struct phony phony;
    phony_init(&phony);
    phony_add(&phony, "/etc/NetworkManager/system-connections/lan.nmconnection",
              "[connection]\nid=lan\ntype=ethernet\ninterface-name=eno1\n\n[ethernet]\n"
              "mac-address=00:00:5E:00:53:03\n\n[ipv4]\naddress1=192.0.2.4/24,192.0.2.1\n"
              "method=manual\n\n[ipv6]\naddress1=2001:db8::4/64\nmethod=manual\n");
    phony_add(&phony, "/etc/NetworkManager/system-connections/auto.nmconnection",
              "[connection]\ntype=802-3-ethernet\ninterface-name=eno2\n[ipv4]\nmethod=auto\n");
    phony_add(&phony, "/etc/NetworkManager/system-connections/bridge.nmconnection",
              "[connection]\ntype=bridge\ninterface-name=lan0\n[ipv4]\nmethod=auto\n");
    phony_add(&phony, "/etc/NetworkManager/system-connections/vlan.nmconnection",
              "[connection]\ntype=vlan\ninterface-name=v5\n[vlan]\nid=5\nparent=eno3\n");
    check_interfaces(&phony, "eno1[192.0.2.4/24 2001:db8::4/64]00:00:5e:00:53:03; eno2[dhcp]; "
                             "eno3[]");
    phony_fini(&phony);
}

static void test_netplan_is_read_by_its_indentation(void **state)
{
    (void)state;
    struct phony phony;
    phony_init(&phony);
    phony_add(&phony, "/etc/netplan/01-netcfg.yaml",
              "# written by the installer\nnetwork:\n  version: 2\n  renderer: networkd\n"
              "  ethernets:\n    eno1:\n      dhcp4: true\n    eno2:\n      match:\n"
              "        macaddress: \"00:00:5E:00:53:04\"\n      addresses:\n"
              "        - 192.0.2.5/24\n        - \"2001:db8::5/64\"\n      nameservers:\n"
              "        addresses:\n        - 192.0.2.3\n    eno3:\n      addresses: [192.0.2.6/24, "
              "'192.0.2.7/24']\n      dhcp4: no\n  bonds:\n    lag:\n      interfaces: [eno1]\n"
              "      addresses: [192.0.2.99/24]\n");
    check_interfaces(&phony, "eno1[dhcp]; eno2[192.0.2.5/24 2001:db8::5/64]00:00:5e:00:53:04; "
                             "eno3[192.0.2.6/24 192.0.2.7/24]");
    phony_fini(&phony);
}

static void test_names_are_valid_only_when_safe_in_files(void **state)
{
    (void)state;
    static const char *const bad[] = {"",       ".",   "..", "a/b",
                                      "eth0\n", "a b", "-x", "0123456789abcdef"};
    assert_true(interface_name_is_valid("enp3s0f0"));
    assert_true(interface_name_is_valid("eth0.100"));
    assert_true(interface_name_is_valid("enx00005e005301"));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(interface_name_is_valid(bad[i]));
}

static void test_macs_are_six_bytes_and_become_lower_case(void **state)
{
    (void)state;
    char mac[18];
    assert_true(interface_parse_mac("52-54-00-AB-CD-EF", 17, mac));
    assert_string_equal(mac, "52:54:00:ab:cd:ef");
    assert_false(interface_parse_mac("52:54:00:ab:cd:e", 16, mac));
    assert_false(interface_parse_mac("52:54:00:ab:cd:eg", 17, mac));
    assert_false(interface_parse_mac("52:54:00:ab:cd:ef:00", 20, mac));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_phony_debians_have_their_interfaces),
        cmocka_unit_test(test_netmasks_become_prefix_lengths),
        cmocka_unit_test(test_several_stanzas_of_one_interface_are_one),
        cmocka_unit_test(test_bonds_bridges_and_vlans_give_the_cards_below_them),
        cmocka_unit_test(test_comments_and_continued_lines_are_understood),
        cmocka_unit_test(test_sources_are_followed_by_name_by_pattern_and_by_folder),
        cmocka_unit_test(test_files_that_source_themselves_come_to_an_end),
        cmocka_unit_test(test_sources_of_sources_are_read_down_to_the_limit),
        cmocka_unit_test(test_names_and_addresses_that_are_none_are_dropped),
        cmocka_unit_test(test_more_interfaces_than_the_limit_are_not_read),
        cmocka_unit_test(test_networkd_names_are_read_and_patterns_are_not),
        cmocka_unit_test(test_networkmanager_keyfiles_are_read),
        cmocka_unit_test(test_netplan_is_read_by_its_indentation),
        cmocka_unit_test(test_names_are_valid_only_when_safe_in_files),
        cmocka_unit_test(test_macs_are_six_bytes_and_become_lower_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
