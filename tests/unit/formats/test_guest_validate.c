/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * guest.json: values that cannot be are refused by the name of their field; and MACs and UUIDs that
 * are made.
 */
#include "tests/unit/formats/guest_fixture.h"

static void test_guest_parse_refuses_numbers_out_of_range(void **state)
{
    (void)state;
    assert_value_refused("cpu.cores", "0", "0: must be 1 to 512");
    assert_value_refused("cpu.threads", "513", "513: must be 1 to 512");
    assert_value_refused("memory_bytes", "0", "0: must be a multiple");
    assert_value_refused("memory_bytes", "1048577", "1048577: must be a multiple");
    assert_value_refused("memory_bytes", "17592187092992", "17592187092992: must be");
    assert_value_refused("disks[0].size_bytes", "1000", "1000: must be a multiple of 512");
    assert_value_refused("disks[0].size_bytes", "1152921504606846976", "1152921504606846976");
    assert_value_refused("disks[0].boot_order", "65", "65: must be 0 to 64");
    assert_value_refused("limits.cpu_percent", "409601", "409601: must be");
    assert_value_refused("limits.net_bytes_per_second", "1099511627777", "1099511627777");
    assert_value_taken("disks[0].size_bytes", "70368744177664");
}

static void test_guest_parse_refuses_more_cpus_than_any_machine_has(void **state)
{
    AUTO_PTR(guest) guest = guest_new("a");
    struct error err = {0};

    (void)state;
    guest->sockets = guest->cores = guest->threads = 512;
    assert_int_equal(guest_validate(guest, false, &err), -1);
    assert_non_null(strstr(err.text, "cpu: 134217728 CPUs"));
}

static void test_guest_parse_refuses_names_that_are_no_names(void **state)
{
    (void)state;
    assert_value_refused("name", "''", "\"\": must be 1 to 63");
    assert_value_refused("name", "'a b'", "\"a b\": must be");
    assert_value_refused("name", "'../x'", "\"../x\": must be");
    assert_value_refused("name", "'-x'", "\"-x\": must be");
    assert_value_refused("name", "'a,b'", "\"a,b\": must be");
    assert_value_refused("uuid", "'web01'", "\"web01\": must be");
    assert_value_refused("uuid", "'0f7bd2a6-4c1e-8a3f-9b1c-2d3e4f5061722'", "");
    assert_value_refused("uuid", "'00000000-0000-0000-0000-000000000000'", "");
    assert_value_refused("cpu.model", "'host,+vmx'", "\"host,+vmx\": must be");
}

static void test_guest_parse_keeps_paths_inside_the_folder(void **state)
{
    static const char *const bad[] = {"'/etc/passwd'", "'../disk'", "'a/../../b'", "'./disk'",
                                      "'a//b'",        "'.'",       "'a/..'"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_value_refused("disks[0].path", bad[i], "");
        assert_value_refused("disks[0].backing", bad[i], "");
        assert_value_refused("firmware.nvram", bad[i], "");
    }
    assert_value_refused("disks[0].path", "'disks/'", "\"disks/\": is a folder");
    assert_value_taken("disks[0].path", "'sub/..disk.img'");
    assert_value_taken("disks[0].path", "'it\\\\u0027s a $(disk), \\\\\\\"1\\\\\\\"'");
}

static void test_guest_parse_takes_outside_paths_when_asked(void **state)
{
    AUTO_FREE char *text = changed("disks[0].path", "'/srv/../disk0.qcow2'");
    struct error err = {0};
    AUTO_PTR(guest) guest = guest_parse(text, strlen(text), true, &err);

    (void)state;
    if (guest == NULL)
        fail_msg("%s", err.text);
    assert_string_equal(guest->disks[0].path, "/srv/../disk0.qcow2");
}

static void test_guest_parse_refuses_control_characters_in_any_text(void **state)
{
    static const char *const texts[] = {"disks[0].path", "disks[0].serial", "disks[0].backing",
                                        "nics[0].name",  "nics[0].network", "os.distro",
                                        "os.version",    "firmware.nvram"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_value_refused(texts[i], "'a\\nb'", "\"a\\x0ab\": has control");
        assert_value_refused(texts[i], "'a\\u007f'", "\"a\\x7f\": has control");
        assert_value_refused(texts[i], "'a\\u0085'", "");
        assert_value_refused(texts[i], "'a\\uffff'", "");
        assert_value_refused(texts[i], "''", "is empty");
    }
}

static void test_guest_parse_refuses_texts_that_are_too_long(void **state)
{
    AUTO_FREE char *name = text_format("'%0256d'", 1);
    AUTO_FREE char *path = text_format("'%01025d'", 1);
    AUTO_FREE char *serial = text_format("'%065d'", 1);

    (void)state;
    assert_value_refused("nics[0].name", name, "256 bytes: at most 255");
    assert_value_refused("disks[0].path", path, "1025 bytes: at most 1024");
    assert_value_refused("disks[0].serial", serial, "65 bytes: at most 64");
}

static void test_guest_parse_refuses_bad_macs(void **state)
{
    static const char *const bad[] = {"''",
                                      "'52:54:00:12:34'",
                                      "'52-54-00-12-34-56'",
                                      "'52:54:00:12:34:5g'",
                                      "'53:54:00:12:34:56'",
                                      "'ff:ff:ff:ff:ff:ff'",
                                      "'00:00:00:00:00:00'",
                                      "'52:54:00:12:34:56:78'"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_value_refused("nics[0].mac", bad[i], "");
}

static void test_guest_parse_refuses_bad_addresses(void **state)
{
    static const char *const bad[] = {
        "'192.0.2.1'",  "'192.0.2.1/33'", "'192.0.2.256/24'", "'2001:db8::/129'", "'host/24'",
        "'192.0.2.1/'", "'192.0.2.1/-1'", "'192.0.2.1/24 '",  "'DHCP'",           "''"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        AUTO_FREE char *list = text_format("['dhcp', %s]", bad[i]);
        AUTO_FREE char *text = changed("nics[0].addresses", list);

        assert_text_refused(text, strlen(text), "nics[0].addresses[1]: ");
    }
    assert_value_taken("nics[0].addresses", "['auto', '::1/128', '10.0.0.1/8']");
}

static void test_guest_parse_refuses_what_is_there_twice(void **state)
{
    (void)state;
    assert_value_refused("disks[1].path", "'disk0.qcow2'", "\"disk0.qcow2\": is disks[0]'s too");
    assert_value_refused("disks[1].path", "'base/disk0.qcow2'", "");
    assert_value_refused("disks[1].path", "'web01.nvram'", "\"web01.nvram\": is used twice");
    assert_value_refused("disks[0].path", "'base/disk0.qcow2'", "");
    assert_value_refused("disks[1].boot_order", "1", "1: is disks[0]'s too");
    AUTO_FREE char *text =
        changed("disks[1]", "{'path': 'b.qcow2', 'format': 'qcow2', 'size_bytes': 512,"
                            " 'bus': 'sata', 'backing': 'disk0.qcow2'}");
    assert_text_refused(text, strlen(text), "backing: \"disk0.qcow2\": is the path of disks[0]");
    assert_refused("{'rehost_guest': 1, 'name': 'a',"
                   " 'uuid': '0f7bd2a6-4c1e-8a3f-9b1c-2d3e4f506172', 'arch': 'x86_64',"
                   " 'firmware': {'type': 'bios'}, 'cpu': {'sockets': 1, 'cores': 1, 'threads': 1},"
                   " 'memory_bytes': 1048576, 'disks': [],"
                   " 'nics': [{'mac': '52:54:00:12:34:56', 'model': 'virtio'},"
                   "          {'mac': '52:54:00:12:34:56', 'model': 'e1000'}]}",
                   "nics[1].mac: 52:54:00:12:34:56: is nics[0]'s too");
}

static void test_guest_parse_refuses_what_does_not_go_together(void **state)
{
    (void)state;
    assert_value_refused("disks[1].backing", "'x.raw'", "a raw image has none");
    AUTO_FREE char *text = changed("firmware.type", "'bios'");
    assert_text_refused(text, strlen(text), "firmware.secure_boot: needs firmware.type");
}

static void test_guest_parse_refuses_too_many_items(void **state)
{
    AUTO(text) list = {0};

    (void)state;
    text_add(&list, "['dhcp'");
    for (int i = 0; i < GUEST_MAX_ADDRESSES; i++)
        text_add(&list, ", 'dhcp'");
    text_add(&list, "]");
    assert_value_refused("nics[0].addresses", text_string(&list), "33 items: at most 32");
    text_fini(&list);
    text_add(&list, "[1");
    for (int i = 0; i < GUEST_MAX_DISKS; i++)
        text_add(&list, ", 1");
    text_add(&list, "]");
    assert_value_refused("disks", text_string(&list), "65 items: at most 64");
}

static void test_guest_validate_refuses_a_fifth_ide_disk(void **state)
{
    AUTO_PTR(guest) guest = guest_new("a");
    struct error err = {0};

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(guest_validate(guest, false, &err), 0);
        guest->disks[i] = (struct guest_disk){.path = text_format("d%zu", i),
                                              .format = text_copy("raw"),
                                              .size_bytes = 512,
                                              .bus = GUEST_BUS_IDE};
        guest->disk_count = i + 1;
    }
    assert_int_equal(guest_validate(guest, false, &err), -1);
    assert_non_null(strstr(err.text, "bus \"ide\": at most 4"));
}

static void test_guest_validate_catches_invalid_utf8_built_in_memory(void **state)
{
    AUTO_PTR(guest) guest = guest_new("a");
    struct error err = {0};

    (void)state;
    guest->os_distro = text_copy("deb\xff");
    assert_int_equal(guest_validate(guest, false, &err), -1);
    assert_non_null(strstr(err.text, "os.distro: "));
    assert_int_equal(guest_validate(guest, false, NULL), -1);
}

static void test_guest_make_mac_is_stable_valid_and_differs_by_interface(void **state)
{
    char first[18], again[18], other[18], shifted[18];

    (void)state;
    guest_make_mac("machine", "eth0", first);
    guest_make_mac("machine", "eth0", again);
    guest_make_mac("machine", "eth1", other);
    guest_make_mac("machinee", "th0", shifted);
    assert_string_equal(first, again);
    assert_string_not_equal(first, other);
    assert_string_not_equal(first, shifted);
    assert_true(guest_mac_is_valid(first));
    assert_int_equal(strtoul(first, NULL, 16) & 3, 2); /* local, unicast */
}

static void test_guest_mac_is_valid_knows_multicast(void **state)
{
    (void)state;
    assert_true(guest_mac_is_valid("52:54:00:AB:cd:ef"));
    assert_true(guest_mac_is_valid("0a:00:00:00:00:01"));
    assert_false(guest_mac_is_valid("0b:00:00:00:00:01"));
    assert_false(guest_mac_is_valid("01:00:5e:00:00:01"));
}

static void test_guest_make_uuid_is_stable_and_of_version_8(void **state)
{
    char first[37], again[37], other[37];

    (void)state;
    guest_make_uuid("web01", first);
    guest_make_uuid("web01", again);
    guest_make_uuid("web02", other);
    assert_string_equal(first, again);
    assert_string_not_equal(first, other);
    assert_int_equal(strlen(first), 36);
    assert_int_equal(first[14], '8');
    assert_non_null(strchr("89ab", first[19]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guest_parse_refuses_numbers_out_of_range),
        cmocka_unit_test(test_guest_parse_refuses_more_cpus_than_any_machine_has),
        cmocka_unit_test(test_guest_parse_refuses_names_that_are_no_names),
        cmocka_unit_test(test_guest_parse_keeps_paths_inside_the_folder),
        cmocka_unit_test(test_guest_parse_takes_outside_paths_when_asked),
        cmocka_unit_test(test_guest_parse_refuses_control_characters_in_any_text),
        cmocka_unit_test(test_guest_parse_refuses_texts_that_are_too_long),
        cmocka_unit_test(test_guest_parse_refuses_bad_macs),
        cmocka_unit_test(test_guest_parse_refuses_bad_addresses),
        cmocka_unit_test(test_guest_parse_refuses_what_is_there_twice),
        cmocka_unit_test(test_guest_parse_refuses_what_does_not_go_together),
        cmocka_unit_test(test_guest_parse_refuses_too_many_items),
        cmocka_unit_test(test_guest_validate_refuses_a_fifth_ide_disk),
        cmocka_unit_test(test_guest_validate_catches_invalid_utf8_built_in_memory),
        cmocka_unit_test(test_guest_make_mac_is_stable_valid_and_differs_by_interface),
        cmocka_unit_test(test_guest_mac_is_valid_knows_multicast),
        cmocka_unit_test(test_guest_make_uuid_is_stable_and_of_version_8),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
