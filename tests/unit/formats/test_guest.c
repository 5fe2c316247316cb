/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * guest.json: what is written is read back the same, and what is no definition is refused by the
 * name of its field.
 */
#include "tests/unit/formats/guest_fixture.h"

static void test_guest_new_is_valid_as_it_is(void **state)
{
    AUTO_PTR(guest) guest = guest_new("web01");
    struct error err = {0};

    (void)state;
    if (guest_validate(guest, false, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(guest->name, "web01");
    assert_int_equal(guest->cores, 2);
    assert_int_equal(guest->memory_bytes, UINT64_C(2) << 30);
    assert_string_equal(guest->console, "both");
}

static void test_guest_free_takes_null(void **state)
{
    (void)state;
    guest_free(NULL);
}

static void test_guest_parse_reads_every_field(void **state)
{
    AUTO_PTR(guest) guest = parsed(full);

    (void)state;
    assert_string_equal(guest->name, "web01");
    assert_int_equal(guest->firmware, GUEST_FIRMWARE_UEFI);
    assert_true(guest->secure_boot);
    assert_string_equal(guest->nvram, "web01.nvram");
    assert_int_equal(guest->sockets, 2);
    assert_int_equal(guest->cores, 4);
    assert_int_equal(guest->threads, 2);
    assert_string_equal(guest->cpu_model, "Skylake-Server-v4");
    assert_int_equal(guest->memory_bytes, UINT64_C(4) << 30);
    assert_int_equal(guest->clock, GUEST_CLOCK_LOCALTIME);
    assert_int_equal(guest->disk_count, 2);
    assert_string_equal(guest->disks[0].path, "disk0.qcow2");
    assert_string_equal(guest->disks[0].backing, "base/disk0.qcow2");
    assert_string_equal(guest->disks[0].serial, "WD-123");
    assert_int_equal(guest->disks[0].boot_order, 1);
    assert_int_equal(guest->disks[1].bus, GUEST_BUS_SATA);
    assert_int_equal(guest->disks[1].size_bytes, 1048576);
    assert_int_equal(guest->nic_count, 1);
    assert_string_equal(guest->nics[0].name, "enp3s0f0");
    assert_int_equal(guest->nics[0].address_count, 3);
    assert_string_equal(guest->nics[0].addresses[1], "2001:db8::1/64");
    assert_string_equal(guest->console, "serial");
    assert_string_equal(guest->os_distro, "debian");
    assert_int_equal(guest->limits.cpu_percent, 150);
    assert_int_equal(guest->limits.disk_operations_per_second, 500);
}

static void test_guest_parse_fills_in_what_may_be_absent(void **state)
{
    AUTO_PTR(guest) guest = parsed(minimal);

    (void)state;
    assert_string_equal(guest->console, "both");
    assert_string_equal(guest->os_type, "unknown");
    assert_int_equal(guest->clock, GUEST_CLOCK_UTC);
    assert_int_equal(guest->nic_count, 0);
    assert_null(guest->cpu_model);
}

static void test_guest_parse_makes_mac_and_uuid_lower_case(void **state)
{
    AUTO_FREE char *text = changed("nics[0].mac", "'52:54:00:AB:CD:EF'");
    AUTO_PTR(guest) guest = parsed(text);

    (void)state;
    assert_string_equal(guest->nics[0].mac, "52:54:00:ab:cd:ef");
}

static void test_guest_format_of_what_was_parsed_is_stable(void **state)
{
    AUTO_PTR(guest) first = parsed(full);
    AUTO_FREE char *text = guest_format(first, NULL);
    AUTO_PTR(guest) second = guest_parse(text, strlen(text), false, NULL);
    AUTO_FREE char *again = guest_format(second, NULL);
    AUTO_FREE char *source = quoted(full);
    json_t *a = json_loads(source, 0, NULL), *b = json_loads(text, 0, NULL);

    (void)state;
    assert_string_equal(text, again);
    assert_true(json_equal(a, b)); /* nothing lost, nothing added */
    assert_int_equal(text[strlen(text) - 1], '\n');
    assert_non_null(strstr(text, "\n  \"name\": \"web01\",\n"));
    json_decref(a);
    json_decref(b);
}

static void test_guest_format_leaves_out_what_says_nothing(void **state)
{
    AUTO_PTR(guest) guest = parsed(minimal);
    AUTO_FREE char *text = guest_format(guest, NULL);

    (void)state;
    assert_null(strstr(text, "limits"));
    assert_null(strstr(text, "nics"));
    assert_null(strstr(text, "secure_boot"));
    assert_non_null(strstr(text, "\"disks\": []"));
}

static void test_guest_format_refuses_an_invalid_guest(void **state)
{
    AUTO_PTR(guest) guest = guest_new("web01");
    struct error err = {0};

    (void)state;
    guest->cores = 0;
    assert_null(guest_format(guest, &err));
    assert_non_null(strstr(err.text, "cpu.cores"));
}

static void test_guest_write_and_read_go_through_a_file(void **state)
{
    char folder[] = "/tmp/test-guest-XXXXXX";
    AUTO_PTR(guest) guest = parsed(full);

    (void)state;
    assert_non_null(mkdtemp(folder));
    AUTO_CLOSE int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(guest_write(guest, fd, "guest.json", NULL), 0);
    AUTO_PTR(guest) copy = guest_read(fd, "guest.json", false, NULL);
    assert_non_null(copy);
    assert_string_equal(copy->disks[0].path, "disk0.qcow2");
    struct error err = {0};
    assert_null(guest_read(fd, "other.json", false, &err));
    assert_int_equal(err.errnum, ENOENT);
    unlinkat(fd, "guest.json", 0);
    rmdir(folder);
}

static void test_guest_parse_refuses_what_is_no_definition(void **state)
{
    AUTO_FREE char *deep = memory_new(1, 100001);
    AUTO_FREE char *large = memory_new(1, GUEST_MAX_FILE + 1);

    (void)state;
    assert_refused("", "line");
    assert_refused("{", "line 1 column 1");
    assert_refused("[]", "not a guest definition");
    assert_refused("{}", "not a guest definition");
    assert_refused("{'rehost_guest': 1, 'rehost_guest': 1}", "duplicate");
    assert_refused("{'rehost_guest': '1'}", "rehost_guest: must be 1");
    assert_text_refused("{\"rehost_guest\":1,\"name\":\"a\\u0000b\"}", 39, "line 1");
    assert_text_refused("\"\xff\"", 3, "line 1");
    memset(deep, '[', 100000);
    assert_text_refused(deep, 100000, "line 1");
    memset(large, ' ', GUEST_MAX_FILE + 1);
    assert_text_refused(large, GUEST_MAX_FILE + 1, "at most");
}

static void test_guest_parse_refuses_a_newer_version_for_its_version(void **state)
{
    (void)state;
    assert_refused("{'rehost_guest': 2, 'wonders': true}", "version 2");
}

static void test_guest_parse_names_an_unknown_field_with_its_place(void **state)
{
    (void)state;
    assert_value_refused("wonders", "1", "unknown field");
    assert_value_refused("disks[0].foo", "1", "unknown field");
    assert_value_refused("nics[0].foo", "{}", "unknown field");
    assert_value_refused("firmware.foo", "null", "unknown field");
    assert_value_refused("limits.foo", "1", "unknown field");
}

static void test_guest_parse_names_a_missing_field_with_its_place(void **state)
{
    static const char *const required[] = {
        "name",
        "uuid",
        "arch",
        "firmware",
        "firmware.type",
        "cpu",
        "cpu.cores",
        "cpu.sockets",
        "cpu.threads",
        "memory_bytes",
        "disks",
        "disks[1].path",
        "disks[0].format",
        "disks[0].size_bytes",
        "disks[1].bus",
        "nics[0].mac",
        "nics[0].model",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++)
        assert_value_refused(required[i], NULL, "missing");
}

static void test_guest_parse_refuses_a_value_of_the_wrong_type(void **state)
{
    (void)state;
    assert_value_refused("name", "1", "must be a string");
    assert_value_refused("uuid", "null", "must be a string");
    assert_value_refused("memory_bytes", "'1'", "must be a whole number");
    assert_value_refused("memory_bytes", "1.5", "must be a whole number");
    assert_value_refused("cpu.cores", "-1", "-1: out of range");
    assert_value_refused("cpu.cores", "4294967296", "4294967296: out of range");
    assert_value_refused("firmware.secure_boot", "1", "must be true or false");
    assert_value_refused("firmware", "[]", "must be an object");
    assert_value_refused("disks", "{}", "must be an array");
    assert_value_refused("nics[0].addresses", "'dhcp'", "must be an array");
    assert_value_refused("clock", "1", "must be a string");
}

static void test_guest_parse_lists_the_choices_of_a_bad_one(void **state)
{
    (void)state;
    assert_value_refused("disks[0].bus", "'nvme'",
                         "\"nvme\": must be one of virtio-blk, virtio-scsi, sata, ide");
    assert_value_refused("disks[0].format", "'vmdk'", "\"vmdk\": must be one of qcow2, raw");
    assert_value_refused("nics[0].model", "'ne2k'", "\"ne2k\": must be one of virtio, e1000");
    assert_value_refused("firmware.type", "'coreboot'", "\"coreboot\": must be one of bios, uefi");
    assert_value_refused("clock", "'mars'", "\"mars\": must be one of utc, localtime");
    assert_value_refused("console", "'tty'", "\"tty\": must be one of serial, vga, both");
    assert_value_refused("os.type", "'vms'", "\"vms\": must be one of linux, windows");
    assert_value_refused("arch", "'s390x'", "\"s390x\": must be x86_64");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guest_new_is_valid_as_it_is),
        cmocka_unit_test(test_guest_free_takes_null),
        cmocka_unit_test(test_guest_parse_reads_every_field),
        cmocka_unit_test(test_guest_parse_fills_in_what_may_be_absent),
        cmocka_unit_test(test_guest_parse_makes_mac_and_uuid_lower_case),
        cmocka_unit_test(test_guest_format_of_what_was_parsed_is_stable),
        cmocka_unit_test(test_guest_format_leaves_out_what_says_nothing),
        cmocka_unit_test(test_guest_format_refuses_an_invalid_guest),
        cmocka_unit_test(test_guest_write_and_read_go_through_a_file),
        cmocka_unit_test(test_guest_parse_refuses_what_is_no_definition),
        cmocka_unit_test(test_guest_parse_refuses_a_newer_version_for_its_version),
        cmocka_unit_test(test_guest_parse_names_an_unknown_field_with_its_place),
        cmocka_unit_test(test_guest_parse_names_a_missing_field_with_its_place),
        cmocka_unit_test(test_guest_parse_refuses_a_value_of_the_wrong_type),
        cmocka_unit_test(test_guest_parse_lists_the_choices_of_a_bad_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
