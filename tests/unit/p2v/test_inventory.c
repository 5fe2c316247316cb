/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The inventory of a machine that is a folder, and the kernel's replies about its network.
 */
#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/inventory.h"
#include "p2v/agent/inventory_net.h"
#include "p2v/json.h"
#include "p2v/wire/frame.h"
#include "tests/unit/p2v/fake_root.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *text_at(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));
    return text ? text : "(none)";
}

static json_int_t number_at(const json_t *json, const char *key)
{
    assert_true(json_is_integer(json_object_get(json, key)));
    return json_integer_value(json_object_get(json, key));
}

static json_t *make(const struct fake_machine *machine)
{
    struct inventory_options options = {.root = machine->root, .is_this_machine = true};
    return inventory_new(&options);
}

static void fake_cpu(const struct fake_machine *machine, int cpu, int package, int core)
{
    char path[128], text[16];
    const char *folder = "sys/devices/system/cpu/cpu";
    fake_format(path, sizeof(path), "%s%d/topology/physical_package_id", folder, cpu);
    fake_format(text, sizeof(text), "%d\n", package);
    fake_file(machine, path, text);
    fake_format(path, sizeof(path), "%s%d/topology/core_id", folder, cpu);
    fake_format(text, sizeof(text), "%d\n", core);
    fake_file(machine, path, text);
}

static void test_inventory_counts_sockets_cores_and_threads(void **state)
{
    const struct fake_machine *machine = *state;
    for (int cpu = 0; cpu < 16; cpu++) /* two sockets of four cores of two threads */
        fake_cpu(machine, cpu, cpu / 4 % 2, cpu % 4);
    fake_file(machine, "sys/devices/system/cpu/cpufreq/boost", "1\n");
    fake_file(machine, "proc/cpuinfo",
              "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) E5\n"
              "processor\t: 1\nmodel name\t: other\n");
    AUTO_JSON json = make(machine);
    const json_t *cpu = json_object_get(json, "cpu");
    assert_int_equal(number_at(cpu, "sockets"), 2);
    assert_int_equal(number_at(cpu, "cores"), 4);
    assert_int_equal(number_at(cpu, "threads"), 2);
    assert_int_equal(number_at(cpu, "count"), 16);
    assert_string_equal(text_at(cpu, "model"), "Intel(R) Xeon(R) E5");
    assert_string_equal(text_at(cpu, "vendor"), "GenuineIntel");
}

static void test_inventory_without_topology_counts_processors(void **state)
{
    const struct fake_machine *machine = *state;
    fake_file(machine, "proc/cpuinfo", "processor\t: 0\nprocessor\t: 1\nprocessor\t: 2\n");
    AUTO_JSON json = make(machine);
    const json_t *cpu = json_object_get(json, "cpu");
    assert_int_equal(number_at(cpu, "sockets"), 1);
    assert_int_equal(number_at(cpu, "cores"), 3);
    assert_int_equal(number_at(cpu, "threads"), 1);
}

static void test_inventory_tells_installed_memory_where_the_kernel_does(void **state)
{
    const struct fake_machine *machine = *state;
    fake_file(machine, "proc/meminfo", "MemTotal:        4018564 kB\nMemFree: 1 kB\n");
    AUTO_JSON without = make(machine);
    assert_int_equal(number_at(without, "memory_bytes"), 4018564LL * 1024);
    fake_file(machine, "sys/devices/system/memory/block_size_bytes", "80000000\n");
    fake_file(machine, "sys/devices/system/memory/memory0/state", "online\n");
    fake_file(machine, "sys/devices/system/memory/memory1/state", "online\n");
    fake_file(machine, "sys/devices/system/memory/memory2/state", "offline\n");
    AUTO_JSON with = make(machine);
    assert_int_equal(number_at(with, "memory_bytes"), 4LL << 30);
    assert_int_equal(number_at(with, "memory_usable_bytes"), 4018564LL * 1024);
}

static void test_inventory_knows_bios_from_uefi_and_secure_boot(void **state)
{
    const struct fake_machine *machine = *state;
    AUTO_JSON bios = make(machine);
    assert_string_equal(text_at(json_object_get(bios, "firmware"), "type"), "bios");
    fake_file(machine, "sys/firmware/efi/fw_platform_size", "64\n");
    AUTO_JSON uefi = make(machine);
    const json_t *firmware = json_object_get(uefi, "firmware");
    assert_string_equal(text_at(firmware, "type"), "uefi");
    assert_true(json_is_null(json_object_get(firmware, "secure_boot")));
    fake_bytes(machine, "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
               "\6\0\0\0\1", 5);
    AUTO_JSON secure = make(machine);
    assert_true(json_is_true(json_object_get(json_object_get(secure, "firmware"), "secure_boot")));
}

static void test_inventory_tells_identity_clock_and_tpm(void **state)
{
    const struct fake_machine *machine = *state;
    fake_file(machine, "sys/class/dmi/id/sys_vendor", "Dell Inc.\n");
    fake_file(machine, "sys/class/dmi/id/product_uuid", "4c4c4544-0042-3510\n");
    fake_file(machine, "sys/class/dmi/id/product_serial", "B5\033[31m\n");
    fake_file(machine, "sys/class/tpm/tpm0/tpm_version_major", "2\n");
    fake_file(machine, "etc/hostname", "web01\n");
    fake_file(machine, "etc/adjtime", "0.0 0 0.0\n0\nLOCAL\n");
    fake_link(machine, "etc/localtime", "/usr/share/zoneinfo/Europe/Zurich");
    AUTO_JSON json = make(machine);
    const json_t *dmi = json_object_get(json, "dmi");
    assert_string_equal(text_at(dmi, "vendor"), "Dell Inc.");
    assert_string_equal(text_at(dmi, "uuid"), "4c4c4544-0042-3510");
    assert_string_equal(text_at(dmi, "serial"), "B5\\x1b[31m");
    assert_true(json_is_null(json_object_get(dmi, "product")));
    assert_string_equal(text_at(json_object_get(json, "tpm"), "version"), "2");
    assert_string_equal(text_at(json, "hostname"), "web01");
    assert_string_equal(text_at(json, "clock"), "localtime");
    assert_string_equal(text_at(json, "time_zone"), "Europe/Zurich");
    assert_string_equal(text_at(json, "medium"), "running");
    assert_string_equal(text_at(json, "made_from"), "machine");
}

static void test_inventory_on_a_boot_medium_leaves_out_what_is_the_mediums(void **state)
{
    const struct fake_machine *machine = *state;
    fake_file(machine, "etc/hostname", "rehost\n");
    fake_file(machine, "proc/cmdline", "quiet rehost.server=10.0.0.5\n");
    AUTO_JSON json = make(machine);
    assert_string_equal(text_at(json, "medium"), "boot");
    assert_true(json_is_null(json_object_get(json, "hostname")));
}

static void test_inventory_on_a_boot_medium_without_parameters_knows_it_by_its_mark(void **state)
{
    const struct fake_machine *machine = *state;
    fake_file(machine, "etc/hostname", "rehost\n");
    fake_file(machine, "etc/adjtime", "0.0 0 0.0\n0\nLOCAL\n");
    fake_file(machine, "proc/cmdline", "quiet\n");
    fake_file(machine, "run/rehost/medium", "");
    AUTO_JSON json = make(machine);
    assert_string_equal(text_at(json, "medium"), "boot");
    assert_true(json_is_null(json_object_get(json, "hostname")));
    assert_true(json_is_null(json_object_get(json, "clock")));
}

static void test_inventory_of_images_tells_nothing_of_this_machine(void **state)
{
    const struct fake_machine *machine = *state;
    struct inventory_options options = {.root = machine->root};
    fake_file(machine, "etc/hostname", "desk\n");
    AUTO_JSON json = inventory_new(&options);
    assert_string_equal(text_at(json, "made_from"), "disks");
    assert_null(json_object_get(json, "hostname"));
    assert_null(json_object_get(json, "cpu"));
    assert_int_equal(json_array_size(json_object_get(json, "nics")), 0);
}

/* --- what the kernel says of the network --- */

struct reply {
    _Alignas(8) uint8_t bytes[2048];
    size_t length, message;
};

static void begin(struct reply *reply, unsigned type, const void *body, size_t size)
{
    struct nlmsghdr head = {.nlmsg_type = (uint16_t)type};
    reply->message = reply->length;
    memcpy(reply->bytes + reply->length, &head, sizeof(head));
    memcpy(reply->bytes + reply->length + sizeof(head), body, size);
    reply->length += sizeof(head) + NLMSG_ALIGN(size);
}

static void add(struct reply *reply, unsigned type, const void *value, size_t size)
{
    struct rtattr head = {(uint16_t)(sizeof(head) + size), (uint16_t)type};
    memcpy(reply->bytes + reply->length, &head, sizeof(head));
    if (size)
        memcpy(reply->bytes + reply->length + sizeof(head), value, size);
    reply->length += RTA_ALIGN(sizeof(head) + size);
}

static void end(struct reply *reply)
{
    uint32_t length = (uint32_t)(reply->length - reply->message);
    memcpy(reply->bytes + reply->message, &length, sizeof(length));
}

static void add_link(struct reply *reply, int index, const char *name, const uint8_t mac[6])
{
    struct ifinfomsg info = {.ifi_index = index, .ifi_flags = IFF_UP};
    begin(reply, RTM_NEWLINK, &info, sizeof(info));
    add(reply, IFLA_IFNAME, name, strlen(name) + 1);
    add(reply, IFLA_ADDRESS, mac, 6);
}

static void add_kind(struct reply *reply, const char *kind, const struct reply *data)
{
    struct reply info = {0};
    add(&info, IFLA_INFO_KIND, kind, strlen(kind) + 1);
    if (data)
        add(&info, IFLA_INFO_DATA, data->bytes, data->length);
    add(reply, IFLA_LINKINFO, info.bytes, info.length);
}

static void add_address(struct reply *reply, int index, const char *text, uint32_t flags)
{
    uint8_t bytes[4];
    struct ifaddrmsg info = {
        .ifa_family = AF_INET, .ifa_prefixlen = 24, .ifa_index = (unsigned)index};
    assert_int_equal(inet_pton(AF_INET, text, bytes), 1);
    begin(reply, RTM_NEWADDR, &info, sizeof(info));
    add(reply, IFA_ADDRESS, bytes, 4);
    add(reply, IFA_LOCAL, bytes, 4);
    add(reply, IFA_FLAGS, &flags, 4);
    end(reply);
}

static const uint8_t mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
static const uint8_t bond_mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x57};

/* bond0 of eth0, VLAN 10 on it with an address. */
static void make_bonded(struct reply *reply)
{
    uint32_t two = 2;
    uint16_t ten = 10;
    struct reply vlan = {0};
    add_link(reply, 1, "eth0", bond_mac);
    add(reply, 54, mac, 6); /* IFLA_PERM_ADDRESS */
    add(reply, IFLA_MASTER, &two, 4);
    end(reply);
    add_link(reply, 2, "bond0", bond_mac);
    add_kind(reply, "bond", NULL);
    end(reply);
    add_link(reply, 3, "bond0.10", bond_mac);
    add(reply, IFLA_LINK, &two, 4);
    add(&vlan, IFLA_VLAN_ID, &ten, 2);
    add_kind(reply, "vlan", &vlan);
    end(reply);
    add_address(reply, 3, "192.0.2.10", IFA_F_PERMANENT);
    add_address(reply, 2, "198.51.100.7", 0);
}

static void test_inventory_network_sorts_hardware_bonds_and_vlans(void **state)
{
    const struct fake_machine *machine = *state;
    struct reply reply = {0};
    AUTO(net) net = {0};
    AUTO_JSON json = json_object();
    fake_folder(machine, "sys/devices/pci0/0000:02:00.0");
    fake_link(machine, "sys/class/net/eth0/device", "/sys/devices/pci0/0000:02:00.0");
    fake_folder(machine, "sys/bus/pci/drivers/tg3");
    fake_link(machine, "sys/devices/pci0/0000:02:00.0/driver", "/sys/bus/pci/drivers/tg3");
    fake_file(machine, "sys/class/net/bond0/bonding/mode", "802.3ad 4\n");
    make_bonded(&reply);
    net_decode(&net, reply.bytes, reply.length);
    net_render(&net, machine->root, json);
    const json_t *nic = json_array_get(json_object_get(json, "nics"), 0);
    const json_t *bond = json_array_get(json_object_get(json, "bonds"), 0);
    const json_t *vlan = json_array_get(json_object_get(json, "vlans"), 0);
    assert_int_equal(json_array_size(json_object_get(json, "nics")), 1);
    assert_string_equal(text_at(nic, "name"), "eth0");
    assert_string_equal(text_at(nic, "mac"), "52:54:00:12:34:56");
    assert_string_equal(text_at(nic, "mac_origin"), "permanent");
    assert_string_equal(text_at(nic, "current_mac"), "52:54:00:12:34:57");
    assert_string_equal(text_at(nic, "driver"), "tg3");
    assert_string_equal(text_at(nic, "address"), "0000:02:00.0");
    assert_string_equal(text_at(nic, "master"), "bond0");
    assert_string_equal(text_at(bond, "mode"), "802.3ad");
    assert_string_equal(json_string_value(json_array_get(json_object_get(bond, "members"), 0)),
                        "eth0");
    assert_string_equal(json_string_value(json_array_get(json_object_get(bond, "addresses"), 0)),
                        "dhcp");
    assert_int_equal(number_at(vlan, "id"), 10);
    assert_string_equal(text_at(vlan, "link"), "bond0");
    assert_string_equal(json_string_value(json_array_get(json_object_get(vlan, "addresses"), 0)),
                        "192.0.2.10/24");
}

static void test_inventory_network_tells_routes_people_made(void **state)
{
    (void)state;
    struct reply reply = {0};
    AUTO(net) net = {0};
    struct rtmsg route = {.rtm_family = AF_INET,
                          .rtm_table = RT_TABLE_MAIN,
                          .rtm_type = RTN_UNICAST,
                          .rtm_protocol = RTPROT_STATIC,
                          .rtm_dst_len = 0};
    const uint8_t gateway[4] = {192, 0, 2, 1};
    begin(&reply, RTM_NEWROUTE, &route, sizeof(route));
    add(&reply, RTA_GATEWAY, gateway, 4);
    end(&reply);
    route.rtm_protocol = RTPROT_KERNEL;
    begin(&reply, RTM_NEWROUTE, &route, sizeof(route));
    end(&reply);
    net_decode(&net, reply.bytes, reply.length);
    assert_int_equal(net.route_count, 1);
    assert_string_equal(net.routes[0].destination, "default");
    assert_string_equal(net.routes[0].gateway, "192.0.2.1");
}

/* Whatever is cut off or lies about its length is left out; nothing is read beyond the end. */
static void test_inventory_network_survives_lying_lengths(void **state)
{
    (void)state;
    struct reply whole = {0};
    make_bonded(&whole);
    for (size_t length = 0; length < whole.length; length++) {
        uint8_t *cut = malloc(length + 1);
        memcpy(cut, whole.bytes, length);
        AUTO(net) net = {0};
        net_decode(&net, cut, length);
        assert_true(net.link_count <= 3);
        free(cut);
    }
    for (size_t at = 0; at + 2 <= whole.length; at += 2) {
        struct reply wrong = whole;
        memset(wrong.bytes + at, 0xff, 2);
        AUTO(net) net = {0};
        net_decode(&net, wrong.bytes, wrong.length);
        assert_true(net.link_count <= 3);
    }
}

static void test_inventory_network_reads_this_machines(void **state)
{
    (void)state;
    struct error err = {0};
    AUTO(net) net = {0};
    bool has_loopback = false;
    assert_int_equal(net_read(&net, &err), 0);
    for (size_t i = 0; i < net.link_count; i++)
        has_loopback |= net.links[i].is_loopback && strcmp(net.links[i].name, "lo") == 0;
    assert_true(has_loopback);
}

static void test_inventory_too_large_is_cut_where_it_hurts_least(void **state)
{
    (void)state;
    AUTO_JSON json = json_object();
    json_t *routes = json_array();
    for (int i = 0; i < 30000; i++)
        json_array_append_new(routes, json_string("this is a rather long route, as routes go"));
    json_object_set_new(json, "routes", routes);
    json_set_text(json, "hostname", "web01");
    AUTO_FREE char *text = inventory_format(json, NULL);
    assert_true(strlen(text) <= WIRE_MAX_INVENTORY);
    assert_non_null(strstr(text, "\"hostname\":\"web01\""));
    assert_non_null(strstr(text, "\"routes\":[]"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_machine_new, fake_machine_free)
    const struct CMUnitTest tests[] = {
        TEST(test_inventory_counts_sockets_cores_and_threads),
        TEST(test_inventory_without_topology_counts_processors),
        TEST(test_inventory_tells_installed_memory_where_the_kernel_does),
        TEST(test_inventory_knows_bios_from_uefi_and_secure_boot),
        TEST(test_inventory_tells_identity_clock_and_tpm),
        TEST(test_inventory_on_a_boot_medium_leaves_out_what_is_the_mediums),
        TEST(test_inventory_on_a_boot_medium_without_parameters_knows_it_by_its_mark),
        TEST(test_inventory_of_images_tells_nothing_of_this_machine),
        TEST(test_inventory_network_sorts_hardware_bonds_and_vlans),
        TEST(test_inventory_network_tells_routes_people_made),
        TEST(test_inventory_network_survives_lying_lengths),
        TEST(test_inventory_network_reads_this_machines),
        TEST(test_inventory_too_large_is_cut_where_it_hurts_least),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
