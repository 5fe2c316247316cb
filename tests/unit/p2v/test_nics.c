/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Which interfaces a converted machine gets, and with which MACs.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "p2v/nics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static char name0[] = "enp3s0f0", name1[] = "enp3s0f1", loopback[] = "lo", bond[] = "bond0",
            vlan[] = "enp3s0f0.12", mac1[] = "00:00:5E:00:53:C1", address0[] = "192.0.2.10/24",
            address6[] = "2001:db8::10/64", dhcp[] = "dhcp";

static struct system_interface interfaces[] = {
    {.name = loopback},
    {.name = name0, .addresses = {address0}, .address_count = 1},
    {.name = bond, .addresses = {address0}, .address_count = 1},
    {.name = vlan},
    {.name = name1, .mac = mac1, .addresses = {dhcp}, .address_count = 1},
    {.name = name0, .addresses = {address6}, .address_count = 1},
};
static const struct system server = {.interfaces = interfaces,
                                     .interface_count = ARRAY_LENGTH(interfaces)};

static void given(struct nics *nics, const char *first, const char *second)
{
    const char *texts[] = {first, second};
    struct option_list list = {texts, second ? 2 : first ? 1 : 0};
    assert_int_equal(nics_parse(&list, nics, NULL), 0);
}

static void test_nics_choose_takes_hardware_as_the_guest_names_it(void **state)
{
    (void)state;
    AUTO(nics) none = {.count = 0}, nics = {.count = 0};
    nics_choose(&server, &none, "machine", &nics, NULL);
    assert_int_equal(nics.count, 2);
    assert_string_equal(nics.items[0].name, "enp3s0f0");
    assert_int_equal(nics.items[0].origin, NIC_GENERATED);
    assert_int_equal(nics.items[0].address_count, 2); /* two stanzas of one interface */
    assert_string_equal(nics.items[0].addresses[1], "2001:db8::10/64");
    assert_string_equal(nics.items[1].name, "enp3s0f1");
    assert_string_equal(nics.items[1].mac, "00:00:5e:00:53:c1");
    assert_int_equal(nics.items[1].origin, NIC_CONFIGURED);
}

static void test_nics_choose_prefers_the_macs_that_are_given(void **state)
{
    (void)state;
    AUTO(nics) wanted = {.count = 0}, nics = {.count = 0};
    given(&wanted, "enp3s0f1=52:54:00:AA:00:01", "eth7=52:54:00:aa:00:02");
    nics_choose(&server, &wanted, "machine", &nics, NULL);
    assert_int_equal(nics.count, 3);
    assert_string_equal(nics.items[1].mac, "52:54:00:aa:00:01");
    assert_int_equal(nics.items[1].origin, NIC_GIVEN);
    assert_string_equal(nics.items[2].name, "eth7"); /* not in the configuration: added */
}

static void test_nics_generated_macs_are_the_same_on_a_second_run(void **state)
{
    (void)state;
    AUTO(nics)
    none = {.count = 0}, first = {.count = 0}, second = {.count = 0}, other = {.count = 0};
    nics_choose(&server, &none, "machine", &first, NULL);
    nics_choose(&server, &none, "machine", &second, NULL);
    nics_choose(&server, &none, "another", &other, NULL);
    assert_string_equal(first.items[0].mac, second.items[0].mac);
    assert_string_not_equal(first.items[0].mac, other.items[0].mac);
    assert_true(guest_mac_is_valid(first.items[0].mac));
}

static void test_nics_choose_gives_a_machine_without_any_one(void **state)
{
    (void)state;
    AUTO(nics) none = {.count = 0}, nics = {.count = 0};
    struct fix_nic fix[GUEST_MAX_NICS];
    nics_choose(NULL, &none, "machine", &nics, NULL);
    assert_int_equal(nics.count, 1);
    assert_null(nics.items[0].name);
    assert_true(guest_mac_is_valid(nics.items[0].mac));
    assert_int_equal(nics_for_fix(&nics, fix), 0); /* there is no name to pin */
}

static void test_nics_never_share_a_mac(void **state)
{
    (void)state;
    static char twin[] = "eth9";
    struct system_interface twins[] = {{.name = name1, .mac = mac1}, {.name = twin, .mac = mac1}};
    const struct system cloned = {.interfaces = twins, .interface_count = 2};
    AUTO(nics) none = {.count = 0}, nics = {.count = 0};
    nics_choose(&cloned, &none, "machine", &nics, NULL);
    assert_int_equal(nics.count, 2);
    assert_string_not_equal(nics.items[0].mac, nics.items[1].mac);
}

static void refuse(const char *first, const char *second)
{
    const char *texts[] = {first, second};
    struct option_list list = {texts, second ? 2 : 1};
    struct nics nics;
    struct error err = {0};
    assert_int_equal(nics_parse(&list, &nics, &err), -1);
    assert_int_equal(strncmp(err.text, "--nic: ", 7), 0);
    assert_int_equal(nics.count, 0);
}

static void test_nics_parse_refuses_what_cannot_be(void **state)
{
    (void)state;
    refuse("eth0", NULL);
    refuse("=52:54:00:00:00:01", NULL);
    refuse("eth0=", NULL);
    refuse("eth0=52:54:00:00:00", NULL);
    refuse("eth0=01:00:00:00:00:00", NULL); /* a group's */
    refuse("../eth0=52:54:00:00:00:01", NULL);
    refuse("..=52:54:00:00:00:01", NULL);
    refuse("a name=52:54:00:00:00:01", NULL);
    refuse("sixteencharacter=52:54:00:00:00:01", NULL);
    refuse("eth0=52:54:00:00:00:01", "eth0=52:54:00:00:00:02");
    refuse("eth0=52:54:00:00:00:0a", "eth1=52:54:00:00:00:0A");
}

static void test_nic_name_is_physical_knows_what_is_not_hardware(void **state)
{
    (void)state;
    static const char *const physical[] = {"eth0", "eno1", "enp3s0f0", "ens18", "em1", "p1p1"};
    static const char *const others[] = {"lo",    "bond0", "br0",   "eth0.5", "vlan7", "tun0",
                                         "team0", "wg0",   "vmbr0", "veth1",  ""};
    for (size_t i = 0; i < ARRAY_LENGTH(physical); i++)
        assert_true(nic_name_is_physical(physical[i]));
    for (size_t i = 0; i < ARRAY_LENGTH(others); i++)
        assert_false(nic_name_is_physical(others[i]));
}

/* A boot medium saw the hardware under names of its own. */
static void test_nics_choose_takes_the_guests_names_for_what_was_seen(void **state)
{
    (void)state;
    AUTO(nics) seen = {.count = 0}, nics = {.count = 0};
    given(&seen, "eth0=00:00:5e:00:53:c0", "eth1=00:00:5e:00:53:c1");
    seen.is_complete = true;
    nics_choose(&server, &seen, "machine", &nics, NULL);
    assert_int_equal(nics.count, 2);
    assert_string_equal(nics.items[0].name, "enp3s0f0"); /* the only one left on both sides */
    assert_string_equal(nics.items[0].mac, "00:00:5e:00:53:c0");
    assert_string_equal(nics.items[1].name, "enp3s0f1"); /* its MAC is in the configuration */
    assert_string_equal(nics.items[1].mac, "00:00:5e:00:53:c1");
    assert_string_equal(seen.items[0].name, "eth0");
}

static void test_nics_choose_makes_up_no_hardware_when_all_was_seen(void **state)
{
    (void)state;
    AUTO(nics) seen = {.count = 0}, nics = {.count = 0};
    given(&seen, "enp3s0f1=00:00:5e:00:53:c1", NULL);
    seen.is_complete = true;
    nics_choose(&server, &seen, "machine", &nics, NULL);
    assert_int_equal(nics.count, 1);
    assert_string_equal(nics.items[0].name, "enp3s0f1");
    assert_int_equal(nics.items[0].address_count, 1);
}

static void test_nics_choose_does_not_guess_between_several(void **state)
{
    (void)state;
    AUTO(nics) seen = {.count = 0}, nics = {.count = 0};
    given(&seen, "eth0=00:00:5e:00:53:0a", "eth1=00:00:5e:00:53:0b");
    seen.is_complete = true;
    nics_choose(&server, &seen, "machine", &nics, NULL);
    assert_int_equal(nics.count, 2);
    assert_string_equal(nics.items[0].name, "eth0");
    assert_string_equal(nics.items[1].name, "eth1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nics_choose_takes_the_guests_names_for_what_was_seen),
        cmocka_unit_test(test_nics_choose_makes_up_no_hardware_when_all_was_seen),
        cmocka_unit_test(test_nics_choose_does_not_guess_between_several),
        cmocka_unit_test(test_nics_choose_takes_hardware_as_the_guest_names_it),
        cmocka_unit_test(test_nics_choose_prefers_the_macs_that_are_given),
        cmocka_unit_test(test_nics_generated_macs_are_the_same_on_a_second_run),
        cmocka_unit_test(test_nics_choose_gives_a_machine_without_any_one),
        cmocka_unit_test(test_nics_never_share_a_mac),
        cmocka_unit_test(test_nics_parse_refuses_what_cannot_be),
        cmocka_unit_test(test_nic_name_is_physical_knows_what_is_not_hardware),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
