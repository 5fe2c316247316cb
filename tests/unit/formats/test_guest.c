/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * guest.json: what is written is read back the same, and whatever is wrong with a definition is
 * refused by the name of its field.
 */
#include "formats/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char full[] =
    "{'rehost_guest': 1, 'name': 'web01', 'uuid': '0f7bd2a6-4c1e-8a3f-9b1c-2d3e4f506172',"
    " 'arch': 'x86_64',"
    " 'firmware': {'type': 'uefi', 'secure_boot': true, 'nvram': 'web01.nvram'},"
    " 'cpu': {'sockets': 2, 'cores': 4, 'threads': 2, 'model': 'Skylake-Server-v4'},"
    " 'memory_bytes': 4294967296, 'clock': 'localtime',"
    " 'disks': [{'path': 'disk0.qcow2', 'format': 'qcow2', 'size_bytes': 8589934592,"
    "            'bus': 'virtio-blk', 'serial': 'WD-123', 'boot_order': 1,"
    "            'backing': 'base/disk0.qcow2'},"
    "           {'path': 'disk1.raw', 'format': 'raw', 'size_bytes': 1048576, 'bus': 'sata'}],"
    " 'nics': [{'mac': '52:54:00:12:34:56', 'model': 'virtio', 'name': 'enp3s0f0',"
    "           'network': 'lan', 'addresses': ['192.0.2.10/24', '2001:db8::1/64', 'dhcp']}],"
    " 'console': 'serial', 'os': {'type': 'linux', 'distro': 'debian', 'version': '12'},"
    " 'limits': {'cpu_percent': 150, 'net_bytes_per_second': 125000000,"
    "            'disk_bytes_per_second': 50000000, 'disk_operations_per_second': 500}}";

/* What must be there and nothing else. */
static const char minimal[] =
    "{'rehost_guest': 1, 'name': 'a', 'uuid': '0f7bd2a6-4c1e-8a3f-9b1c-2d3e4f506172',"
    " 'arch': 'x86_64', 'firmware': {'type': 'bios'},"
    " 'cpu': {'sockets': 1, 'cores': 1, 'threads': 1}, 'memory_bytes': 1048576, 'disks': []}";

/* The test's JSON with its single quotes made double; caller frees. */
static char *quoted(const char *json)
{
    char *text = text_copy(json);

    for (char *at = text; *at != 0; at++)
        *at = *at == '\'' ? '"' : *at;
    return text;
}

static struct guest *parsed(const char *json)
{
    AUTO_FREE char *text = quoted(json);
    struct error err = {0};
    struct guest *guest = guest_parse(text, strlen(text), false, &err);

    if (guest == NULL)
        fail_msg("%s", err.text);
    return guest;
}

static void assert_text_refused(const char *text, size_t length, const char *reason)
{
    struct error err = {0};
    AUTO_PTR(guest) guest = guest_parse(text, length, false, &err);

    if (guest != NULL)
        fail_msg("taken, where \"%s\" was expected", reason);
    if (strstr(err.text, reason) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, reason);
}

static void assert_refused(const char *json, const char *reason)
{
    AUTO_FREE char *text = quoted(json);

    assert_text_refused(text, strlen(text), reason);
}

#define KEY_SIZE 64

/* The place that a path like "disks[0].bus" names: its container, and the key or index in it. */
static json_t *container_of(json_t *root, const char *path, char *key)
{
    json_t *json = root;

    while (*path != 0) {
        size_t length = strcspn(path, ".[");

        memcpy(key, path, length);
        key[length] = 0;
        path += length;
        if (*path == 0)
            break;
        json = json_object_get(json, key);
        if (*path == '[') {
            size_t index = strtoul(path + 1, NULL, 10);

            path = strchr(path, ']') + 1;
            if (*path == 0) {
                snprintf(key, KEY_SIZE, "%zu", index);
                break;
            }
            json = json_array_get(json, index);
        }
        path += *path == '.';
    }
    return json;
}

/* The full definition with one value put in place of another, or NULL to take it out. */
static char *changed(const char *path, const char *value)
{
    AUTO_FREE char *text = quoted(full);
    AUTO_FREE char *value_text = value == NULL ? NULL : quoted(value);
    json_t *root = json_loads(text, 0, NULL);
    char key[KEY_SIZE], *result;
    json_t *place = container_of(root, path, key);

    assert_non_null(place);
    if (value == NULL)
        assert_int_equal(json_object_del(place, key), 0);
    else if (json_is_array(place))
        json_array_set_new(place, strtoul(key, NULL, 10),
                           json_loads(value_text, JSON_DECODE_ANY, NULL));
    else
        assert_int_equal(
            json_object_set_new(place, key, json_loads(value_text, JSON_DECODE_ANY, NULL)), 0);
    result = json_dumps(root, 0);
    json_decref(root);
    return result;
}

static void assert_value_refused(const char *path, const char *value, const char *reason)
{
    AUTO_FREE char *text = changed(path, value);
    AUTO_FREE char *expected = text_format("%s: %s", path, reason);

    assert_text_refused(text, strlen(text), expected);
}

static void assert_value_taken(const char *path, const char *value)
{
    AUTO_FREE char *text = changed(path, value);
    struct error err = {0};
    AUTO_PTR(guest) guest = guest_parse(text, strlen(text), false, &err);

    if (guest == NULL)
        fail_msg("%s", err.text);
}

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
