/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For the unit tests of guest.json: a definition with every field, one with what must be there, and
 * changes of single values.
 */
#ifndef TESTS_UNIT_FORMATS_GUEST_FIXTURE_H
#define TESTS_UNIT_FORMATS_GUEST_FIXTURE_H

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
static inline char *quoted(const char *json)
{
    char *text = text_copy(json);

    for (char *at = text; *at != 0; at++)
        *at = *at == '\'' ? '"' : *at;
    return text;
}

static inline struct guest *parsed(const char *json)
{
    AUTO_FREE char *text = quoted(json);
    struct error err = {0};
    struct guest *guest = guest_parse(text, strlen(text), false, &err);

    if (guest == NULL)
        fail_msg("%s", err.text);
    return guest;
}

static inline void assert_text_refused(const char *text, size_t length, const char *reason)
{
    struct error err = {0};
    AUTO_PTR(guest) guest = guest_parse(text, length, false, &err);

    if (guest != NULL)
        fail_msg("taken, where \"%s\" was expected", reason);
    if (strstr(err.text, reason) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, reason);
}

static inline void assert_refused(const char *json, const char *reason)
{
    AUTO_FREE char *text = quoted(json);

    assert_text_refused(text, strlen(text), reason);
}

#define KEY_SIZE 64

/* The place that a path like "disks[0].bus" names: its container, and the key or index in it. */
static inline json_t *container_of(json_t *root, const char *path, char *key)
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
static inline char *changed(const char *path, const char *value)
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

static inline void assert_value_refused(const char *path, const char *value, const char *reason)
{
    AUTO_FREE char *text = changed(path, value);
    AUTO_FREE char *expected = text_format("%s: %s", path, reason);

    assert_text_refused(text, strlen(text), expected);
}

static inline void assert_value_taken(const char *path, const char *value)
{
    AUTO_FREE char *text = changed(path, value);
    struct error err = {0};
    AUTO_PTR(guest) guest = guest_parse(text, strlen(text), false, &err);

    if (guest == NULL)
        fail_msg("%s", err.text);
}

#endif
