/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The boot medium's network: what is said to a person, and, with an `ip` and an `udhcpc` that only
 * write down how they were called, what is set up. The real ones are in
 * tests/integration/boot-network.sh; the words that are understood in test_boot_network_words.c.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/own.h"
#include "base/text.h"
#include "fake_root.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/boot/network_private.h"
#include "tests/lib/wire_fixture.h"

/* --- leases --- */

static void set_lease_variables(void)
{
    setenv("interface", "eno1", 1);
    setenv("ip", "192.0.2.17", 1);
    setenv("mask", "24", 1);
    setenv("router", "192.0.2.1", 1);
    setenv("dns", "192.0.2.53\n192.0.2.54", 1);
}

static void test_the_call_of_udhcpc_writes_its_lease_and_takes_it_away(void **state)
{
    struct fake_machine *machine = *state;
    AUTO_FREE char *called = text_format("%s/" NETWORK_LEASE_NAME, machine->root);
    AUTO_FREE char *path = network_lease_path(machine->root, "eno1");
    char bound[] = "bound", deconfig[] = "deconfig", other[] = "rehost-agent";
    char *argv[] = {called, bound, NULL}, *gone[] = {called, deconfig, NULL};
    char *person[] = {other, bound, NULL};
    assert_true(boot_network_is_lease_call(2, argv));
    assert_false(boot_network_is_lease_call(2, person));
    set_lease_variables();
    assert_int_equal(boot_network_write_lease(argv), 0);
    AUTO_FREE char *text = inventory_text("", "%s", path);
    assert_string_equal(text,
                        "ip=192.0.2.17\nmask=24\nrouter=192.0.2.1"); /* no DNS with a newline */
    assert_int_equal(boot_network_write_lease(gone), 0);
    assert_false(inventory_has("", "%s", path));
    setenv("interface", "../../etc/passwd", 1);
    assert_int_not_equal(boot_network_write_lease(argv), 0);
}

/* --- connections --- */

static void test_connections_of_an_address_that_is_gone_end_at_once(void **state)
{
    (void)state;
    uint16_t port;
    char byte;
    int listener = listen_anywhere(&port), mine = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = loopback(port);
    assert_int_equal(connect(mine, (struct sockaddr *)&address, sizeof(address)), 0);
    network_cut_connections("192.0.2.17/24");
    assert_int_equal(recv(mine, &byte, 1, MSG_DONTWAIT), -1);
    network_cut_connections("127.0.0.1/8");
    assert_int_equal(recv(mine, &byte, 1, 0), 0);
    int other = accept(listener, NULL, NULL); /* it listens still */
    assert_true(other >= 0);
    close(other);
    close(mine);
    close(listener);
}

/* --- what is said --- */

#define LONG_AGO (-1000 * NETWORK_PATIENCE_SECONDS)

static void check_said(const struct boot_net_plan *plan, const struct network_port *ports,
                       size_t count, struct boot_network_state *state, const char *expected)
{
    network_explain(plan, ports, count, 0, state);
    assert_string_equal(state->problem, expected);
}

static void test_no_card_and_no_cable_are_told(void **state)
{
    (void)state;
    struct boot_net_plan plan = {0};
    struct boot_network_state said = {0};
    struct network_port ports[] = {
        {.name = "eno1", .is_used = true, .is_up = true, .up_ms = LONG_AGO},
        {.name = "eno2", .is_used = true, .is_up = true, .up_ms = LONG_AGO}};
    check_said(&plan, ports, 0, &said, "no network card that this system has a driver for");
    said = (struct boot_network_state){.count = 2, .links = {{.name = "eno1"}, {.name = "eno2"}}};
    check_said(&plan, ports, 1, &said, "no cable in eno1");
    check_said(&plan, ports, 2, &said, "no cable in any of eno1, eno2");
    ports[1].up_ms = -1000; /* a link takes its time */
    check_said(&plan, ports, 2, &said, "");
    ports[1] = (struct network_port){.name = "eno2", .is_used = true, .has_carrier = true};
    check_said(&plan, ports, 2, &said, "");
}

static void test_a_link_that_is_not_there_is_told(void **state)
{
    (void)state;
    struct boot_net_plan plan = {.count = 1, .entries = {{.link = "eth0", .is_dhcp = true}}};
    struct boot_network_state said = {.count = 1, .links = {{.name = "eno1"}}};
    check_said(&plan, NULL, 0, &said,
               "there is no link eth0 as rehost.net= names it; there is eno1");
}

static void test_silence_of_a_dhcp_server_is_told_with_what_to_do(void **state)
{
    (void)state;
    struct boot_net_plan plan = {0};
    struct boot_network_state said = {.count = 1, .links = {{.name = "eno1"}}};
    struct network_port port = {.name = "eno1",
                                .is_used = true,
                                .has_carrier = true,
                                .is_configured = true,
                                .entry.is_dhcp = true,
                                .asking_ms = LONG_AGO + 1000};
    check_said(&plan, &port, 1, &said, "");
    port.asking_ms = LONG_AGO;
    check_said(&plan, &port, 1, &said,
               "eno1: no DHCP server answered for 30 s; "
               "set rehost.net=eno1,ADDRESS/PREFIX,gw=GATEWAY");
}

static void test_a_missing_route_is_a_problem_only_for_servers_elsewhere(void **state)
{
    (void)state;
    struct boot_net_plan plan = {.server = "198.51.100.7"};
    struct boot_network_state said = {
        .count = 1, .is_up = true, .links = {{.name = "eno1", .address = "192.0.2.17/24"}}};
    struct network_port port = {.name = "eno1"};
    check_said(&plan, &port, 1, &said, "no default route: 198.51.100.7 is not in 192.0.2.0/24");
    snprintf(plan.server, sizeof(plan.server), "192.0.2.7");
    check_said(&plan, &port, 1, &said, "");
    said.has_route = true;
    snprintf(plan.server, sizeof(plan.server), "198.51.100.7");
    check_said(&plan, &port, 1, &said, "");
    snprintf(plan.server, sizeof(plan.server), "conv");
    check_said(&plan, &port, 1, &said,
               "no DNS server to look conv up: name the server by its address");
    snprintf(port.address.dns[0], sizeof(port.address.dns[0]), "192.0.2.53");
    check_said(&plan, &port, 1, &said, "");
}

static void test_the_kernels_own_addresses_and_routes_are_seen(void **state)
{
    struct fake_machine *machine = *state;
    struct boot_network_state said = {.count = 1, .links = {{.name = "eno1"}}};
    fake_file(machine, "proc/net/if_inet6",
              "20010db8000000005054000000000002 02 40 00 00     eno1\n");
    network_read_kernel(machine->root, &said);
    assert_string_equal(said.links[0].address, ""); /* no cable */
    said.links[0].has_carrier = true;
    fake_file(machine, "proc/net/if_inet6",
              "00000000000000000000000000000001 01 80 10 80       lo\n"
              "fe800000000000005054000000000001 02 40 20 80     eno1\n"
              "20010db8000000005054000000000001 02 40 00 40     eno1\n"
              "20010db8000000005054000000000002 02 40 00 00     eno1\n");
    network_read_kernel(machine->root, &said);
    assert_string_equal(said.links[0].address, "2001:db8::5054:0:0:2/64");
    assert_false(said.has_route);
    fake_file(machine, "proc/net/route",
              "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n"
              "eno1\t000200C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n");
    network_read_kernel(machine->root, &said);
    assert_false(said.has_route);
    fake_file(machine, "proc/net/route",
              "eno1\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n");
    network_read_kernel(machine->root, &said);
    assert_true(said.has_route);
}

static void test_a_route_of_ipv6_counts_too(void **state)
{
    struct fake_machine *machine = *state;
    struct boot_network_state said = {0};
    const char *zeroes = "00000000000000000000000000000000";
    AUTO_FREE char *unreachable = text_format(
        "%s 00 %s 00 %s ffffffff 00000001 00000000 00200200       lo\n", zeroes, zeroes, zeroes);
    AUTO_FREE char *real = text_format("%s 00 %s 00 fe800000000000000000000000000001 00000400 "
                                       "00000001 00000000 00450003     eno1\n",
                                       zeroes, zeroes);
    fake_file(machine, "proc/net/ipv6_route", unreachable);
    network_read_kernel(machine->root, &said);
    assert_false(said.has_route);
    fake_file(machine, "proc/net/ipv6_route", real);
    network_read_kernel(machine->root, &said);
    assert_true(said.has_route);
}

#define ARP "IP address       HW type     Flags       HW address            Mask     Device\n"
#define MISSING " 0x1 0x0 00:00:00:00:00:00 * "
#define PRESENT " 0x1 0x2 52:54:00:12:34:56 * "

static void test_a_link_is_silent_when_its_gateway_does_not_answer(void **state)
{
    struct fake_machine *machine = *state;
    struct network_port port = {.name = "eno1", .address.gateway = "192.0.2.1"};
    assert_false(network_port_is_silent(machine->root, &port, ""));
    fake_file(machine, "proc/net/arp", ARP "192.0.2.1" PRESENT "eno1\n192.0.2.2" MISSING "eno1\n");
    assert_false(network_port_is_silent(machine->root, &port, ""));
    fake_file(machine, "proc/net/arp", ARP "192.0.2.1" MISSING "eno2\n");
    assert_false(network_port_is_silent(machine->root, &port, ""));
    fake_file(machine, "proc/net/arp", ARP "192.0.2.1" MISSING "eno1\n192.0.2.2" PRESENT "eno1\n");
    assert_true(network_port_is_silent(machine->root, &port, ""));
    assert_false(network_port_is_silent(machine->root, &port, "192.0.2.2"));
    port.address.gateway[0] = '\0';
    assert_false(network_port_is_silent(machine->root, &port, ""));
    fake_file(machine, "proc/net/arp", ARP "192.0.2.9" MISSING "eno1\n");
    assert_true(network_port_is_silent(machine->root, &port, "192.0.2.9"));
}

/* --- what is set up, as `ip` is called --- */

static void make_tool(const struct fake_machine *machine, const char *name, const char *script)
{
    char path[PATH_MAX], place[PATH_MAX];
    fake_format(place, sizeof(place), "bin/%s", name);
    fake_file(machine, place, script);
    fake_format(path, sizeof(path), "%s/bin/%s", machine->root, name);
    assert_int_equal(chmod(path, 0755), 0);
}

/* Tools that note how they were called; udhcpc then plays a server's answer. */
static void make_tools(const struct fake_machine *machine)
{
    AUTO_FREE char *ip = text_format("#!/bin/sh\necho \"ip $*\" >>%s/calls\n", machine->root);
    AUTO_FREE char *udhcpc = text_format("#!/bin/sh\necho \"udhcpc $*\" >>%s/calls\n"
                                         "printf 'ip=192.0.2.17\\nmask=24\\nrouter=192.0.2.1\\n"
                                         "dns=192.0.2.53\\n' >%s/run/rehost/lease.$3\n"
                                         "exec sleep 100\n",
                                         machine->root, machine->root);
    AUTO_FREE char *path = text_format("%s/bin:%s", machine->root, getenv("PATH"));
    make_tool(machine, "ip", ip);
    make_tool(machine, "udhcpc", udhcpc);
    make_tool(machine, "modprobe", "#!/bin/sh\n");
    setenv("PATH", path, 1);
    fake_folder(machine, "etc");
}

static void make_link(const struct fake_machine *machine, const char *name, const char *mac,
                      bool has_carrier)
{
    char path[PATH_MAX];
    fake_format(path, sizeof(path), "sys/class/net/%s/device", name);
    fake_folder(machine, path);
    fake_format(path, sizeof(path), "sys/class/net/%s/type", name);
    fake_file(machine, path, "1\n");
    fake_format(path, sizeof(path), "sys/class/net/%s/address", name);
    fake_file(machine, path, mac);
    fake_format(path, sizeof(path), "sys/class/net/%s/carrier", name);
    fake_file(machine, path, has_carrier ? "1\n" : "0\n");
}

static void wait_for_call(const struct fake_machine *machine, const char *call)
{
    int64_t end_ms = clock_ms() + 10000;
    for (;;) {
        AUTO_FREE char *calls = inventory_text(machine->root, "/calls");
        if (strstr(calls, call))
            return;
        if (clock_ms() > end_ms)
            fail_msg("no '%s' in:\n%s", call, calls);
        usleep(10000);
    }
}

static struct boot_network *start(const struct fake_machine *machine, const char *line)
{
    struct boot_settings settings;
    struct boot_net_plan plan;
    struct error err = {0};
    assert_int_equal(boot_settings_parse(line, &settings, &err), 0);
    assert_int_equal(boot_network_plan(&settings, &plan, &err), 0);
    boot_settings_fini(&settings);
    struct boot_network *network = boot_network_start(&plan, machine->root, NULL, &err);
    assert_non_null(network);
    return network;
}

static void test_a_link_with_a_cable_asks_and_is_set_up(void **state)
{
    struct fake_machine *machine = *state;
    make_tools(machine);
    make_link(machine, "eno1", "52:54:00:00:00:01\n", true);
    make_link(machine, "eno2", "52:54:00:00:00:02\n", false);
    AUTO_PTR(boot_network) network = start(machine, "");
    wait_for_call(machine, "ip link set dev eno1 up");
    wait_for_call(machine, "ip link set dev eno2 up");
    wait_for_call(machine, "udhcpc -f -i eno1 -s ");
    wait_for_call(machine, "ip -4 address replace 192.0.2.17/24 broadcast + dev eno1 metric 100");
    wait_for_call(machine, "ip -4 route replace default via 192.0.2.1 dev eno1 metric 100");
    struct boot_network_state now;
    for (int i = 0; i < 200; i++, usleep(10000)) {
        boot_network_state(network, &now);
        if (now.is_up)
            break;
    }
    assert_true(now.is_up);
    assert_int_equal(now.count, 2);
    assert_string_equal(now.links[0].state, "192.0.2.17/24 by DHCP");
    assert_string_equal(now.links[1].state, "coming up");
    AUTO_FREE char *servers = inventory_text(machine->root, "/etc/resolv.conf");
    assert_string_equal(servers, "nameserver 192.0.2.53");
}

static void test_a_bond_and_a_vlan_are_made(void **state)
{
    struct fake_machine *machine = *state;
    make_tools(machine);
    make_link(machine, "eno1", "52:54:00:00:00:01\n", true);
    make_link(machine, "eno2", "52:54:00:00:00:02\n", true);
    AUTO_PTR(boot_network)
    network =
        start(machine, "rehost.net=bond0.42:eno1+52:54:00:00:00:02:active-backup,192.0.2.5/24");
    wait_for_call(machine, "ip link add name bond0 type bond mode active-backup miimon 100");
    make_link(machine, "bond0", "52:54:00:00:00:01\n", true);
    wait_for_call(machine, "ip link set dev eno1 master bond0\nip link set dev eno1 up");
    wait_for_call(machine, "ip link set dev eno2 master bond0\nip link set dev eno2 up");
    wait_for_call(machine, "ip link add link bond0 name bond0.42 type vlan id 42");
    make_link(machine, "bond0.42", "52:54:00:00:00:01\n", true);
    wait_for_call(machine, "ip -4 address replace 192.0.2.5/24 broadcast + dev bond0.42");
    struct boot_net_plan none = {0};
    assert_int_equal(boot_network_change(network, &none, NULL), 0);
    wait_for_call(machine, "ip link del dev bond0.42\nip link del dev bond0");
}

static void test_a_link_that_udev_is_not_through_with_is_left_alone(void **state)
{
    struct fake_machine *machine = *state;
    make_tools(machine);
    fake_folder(machine, "run/udev/data");
    make_link(machine, "eth0", "52:54:00:00:00:01\n", true);
    fake_file(machine, "sys/class/net/eth0/ifindex", "2\n");
    make_link(machine, "eno2", "52:54:00:00:00:02\n", true);
    fake_file(machine, "sys/class/net/eno2/ifindex", "3\n");
    fake_file(machine, "run/udev/data/n3", "");
    AUTO_PTR(boot_network) network = start(machine, "");
    assert_non_null(network);
    wait_for_call(machine, "udhcpc -f -i eno2");
    AUTO_FREE char *calls = inventory_text(machine->root, "/calls");
    assert_null(strstr(calls, "eth0"));
}

#define ON_MACHINE(test) cmocka_unit_test_setup_teardown(test, fake_machine_new, fake_machine_free)

int main(int argc, char *argv[])
{
    if (boot_network_is_lease_call(argc, argv))
        return boot_network_write_lease(argv);
    const struct CMUnitTest tests[] = {
        ON_MACHINE(test_the_call_of_udhcpc_writes_its_lease_and_takes_it_away),
        cmocka_unit_test(test_connections_of_an_address_that_is_gone_end_at_once),
        cmocka_unit_test(test_no_card_and_no_cable_are_told),
        cmocka_unit_test(test_a_link_that_is_not_there_is_told),
        cmocka_unit_test(test_silence_of_a_dhcp_server_is_told_with_what_to_do),
        cmocka_unit_test(test_a_missing_route_is_a_problem_only_for_servers_elsewhere),
        ON_MACHINE(test_the_kernels_own_addresses_and_routes_are_seen),
        ON_MACHINE(test_a_route_of_ipv6_counts_too),
        ON_MACHINE(test_a_link_is_silent_when_its_gateway_does_not_answer),
        ON_MACHINE(test_a_link_with_a_cable_asks_and_is_set_up),
        ON_MACHINE(test_a_bond_and_a_vlan_are_made),
        ON_MACHINE(test_a_link_that_udev_is_not_through_with_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
