/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What unreadable ranges of a disk hit, as the report has it.
 */
#include "base/bytes.h"
#include "base/child.h"
#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/damage.h"
#include "p2v/json.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define DISK (16 * MIB)

/* An ext4 on the whole of a disk. */
static uint8_t *make_disk(void)
{
    char path[] = "/tmp/test_damage_XXXXXX";
    struct error err = {0};
    uint8_t *data = malloc(DISK);
    AUTO_CLOSE int fd = mkstemp(path);
    assert_int_equal(ftruncate(fd, DISK), 0);
    const char *const argv[] = {"mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", path, NULL};
    int status =
        child_run(argv, NULL, NULL, NULL, &(struct child_limits){.timeout_ms = 20000}, &err);
    assert_int_equal(io_read_at(fd, data, DISK, 0, NULL), 0);
    unlink(path);
    if (status != 0)
        fail_msg("mke2fs: %d %s", status, err.text);
    return data;
}

static json_t *ranges_json(const struct extents *ranges)
{
    json_t *json = json_array();
    for (size_t i = 0; i < ranges->count; i++)
        json_array_append_new(json, json_object());
    return json;
}

static void test_damage_tells_the_file_system_and_what_was_there(void **state)
{
    (void)state;
    AUTO_FREE uint8_t *data = make_disk();
    struct block_memory memory;
    struct layout layout = {0};
    struct extents ranges = {0};
    block_memory_init(&memory, data, DISK);
    assert_int_equal(layout_read(&memory.source, &layout, NULL, NULL), 0);
    extents_add(&ranges, 8193 * KIB, 512, NULL);
    extents_add(&ranges, DISK - 4096, 4096, NULL);
    AUTO_JSON json = ranges_json(&ranges);
    damage_describe(&memory.source, &layout, &ranges, json);
    const json_t *first = json_array_get(json, 0), *second = json_array_get(json, 1);
    assert_string_equal(json_string_value(json_object_get(first, "type")), "ext4");
    assert_true(json_is_null(json_object_get(first, "partition")));
    assert_string_equal(json_string_value(json_array_get(json_object_get(first, "hits"), 0)),
                        "the superblock of group 1");
    assert_int_equal(json_array_size(json_object_get(second, "hits")), 0);
    extents_fini(&ranges);
    layout_fini(&layout);
}

/* More ranges than are described, on a disk of which nothing is known. */
static void test_damage_of_an_unknown_disk_is_only_listed(void **state)
{
    (void)state;
    AUTO_FREE uint8_t *data = calloc(1, DISK);
    struct block_memory memory;
    struct layout layout = {0};
    struct extents ranges = {0};
    block_memory_init(&memory, data, DISK);
    assert_int_equal(layout_read(&memory.source, &layout, NULL, NULL), 0);
    for (uint64_t i = 0; i < 200; i++)
        extents_add(&ranges, i * 8192, 512, NULL);
    AUTO_JSON json = ranges_json(&ranges);
    damage_describe(&memory.source, &layout, &ranges, json);
    for (size_t i = 0; i < 200; i++)
        assert_int_equal(json_array_size(json_object_get(json_array_get(json, i), "hits")), 0);
    extents_fini(&ranges);
    layout_fini(&layout);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damage_tells_the_file_system_and_what_was_there),
        cmocka_unit_test(test_damage_of_an_unknown_disk_is_only_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
