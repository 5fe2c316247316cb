/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sources that cannot be a machine's disk, or must not be written over.
 */
#include "base/bytes.h"
#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/machine.h"
#include "p2v/sources.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];

static int start(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/rehost-test.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    return folder_remove(AT_FDCWD, folder, NULL);
}

static char *put(const char *name, const void *data, size_t length)
{
    char *path = path_join(folder, name);
    assert_int_equal(io_replace_file(AT_FDCWD, path, data, length, 0644, NULL), 0);
    return path;
}

static int open_one(struct sources *sources, const char *path, const char *format,
                    struct error *err)
{
    const char *formats[] = {format};
    struct option_list paths = {&path, 1};
    struct source_options options = {.formats = {formats, format ? 1 : 0}};
    return sources_open(sources, &paths, &options, NULL, err);
}

static void refuse(const char *path, const char *says)
{
    struct sources sources;
    struct error err = {0};
    assert_int_equal(open_one(&sources, path, NULL, &err), -1);
    assert_int_equal(sources.count, 0);
    if (!strstr(err.text, says) || !strstr(err.text, path))
        fail_msg("'%s' does not say '%s'", err.text, says);
}

static void test_sources_open_refuses_what_is_no_disk(void **state)
{
    (void)state;
    AUTO_FREE char *empty = put("empty", "", 0);
    AUTO_FREE char *byte = put("byte", "x", 1);
    AUTO_FREE char *missing = path_join(folder, "missing");
    refuse(empty, "empty");
    refuse(byte, "sector");
    refuse(missing, "No such file");
    refuse(folder, "");
}

static void set_mbr(uint8_t *disk, unsigned entry, uint8_t type, uint32_t first, uint32_t count)
{
    uint8_t *place = disk + 446 + 16 * (size_t)entry;
    place[4] = type;
    store_le32(place + 8, first);
    store_le32(place + 12, count);
    disk[510] = 0x55;
    disk[511] = 0xaa;
}

static void test_sources_open_sees_an_image_that_lost_its_end(void **state)
{
    (void)state;
    AUTO_FREE uint8_t *disk = calloc(1, 2 * MIB);
    set_mbr(disk, 0, 0x83, 2048, 2048);
    AUTO_FREE char *whole = put("whole", disk, 2 * MIB);
    AUTO_FREE char *cut = put("cut", disk, 2 * MIB - 512);
    struct sources sources;
    assert_int_equal(open_one(&sources, whole, NULL, NULL), 0);
    sources_close(&sources);
    refuse(cut, "cut off");
}

static bool is_cut_off(const uint8_t *data, size_t length, enum partition_table_kind kind)
{
    struct block_memory memory;
    struct partition_table table = {.kind = kind, .sector_size = 512};
    block_memory_init(&memory, data, length);
    return source_is_cut_off(&memory.source, &table, NULL);
}

static void test_source_is_cut_off_believes_a_gpts_own_claim(void **state)
{
    (void)state;
    uint8_t disk[16 * 512] = {0};
    memcpy(disk + 512, "EFI PART", 8);
    store_le64(disk + 512 + 32, 15);
    store_le64(disk + 512 + 48, 10);
    assert_false(is_cut_off(disk, sizeof(disk), PARTITION_TABLE_GPT));
    assert_true(is_cut_off(disk, sizeof(disk) - 512, PARTITION_TABLE_GPT));
    store_le64(disk + 512 + 32, UINT64_MAX); /* overflows when multiplied */
    assert_true(is_cut_off(disk, sizeof(disk), PARTITION_TABLE_GPT));
}

static void test_source_is_cut_off_knows_a_protective_mbr(void **state)
{
    (void)state;
    uint8_t disk[512] = {0};
    set_mbr(disk, 0, 0xee, 1, 4095);
    assert_true(is_cut_off(disk, sizeof(disk), PARTITION_TABLE_NONE));
    set_mbr(disk, 0, 0xee, 1, UINT32_MAX); /* 'all of it', whatever that is */
    assert_false(is_cut_off(disk, sizeof(disk), PARTITION_TABLE_NONE));
    set_mbr(disk, 0, 0x83, 1, 4095); /* no table was seen: this may be a boot sector's code */
    assert_false(is_cut_off(disk, sizeof(disk), PARTITION_TABLE_NONE));
}

static void test_sources_take_the_format_that_is_named(void **state)
{
    (void)state;
    AUTO_FREE uint8_t *disk = calloc(1, MIB);
    memcpy(disk, "QFI\xfb\0\0\0\3", 8);
    AUTO_FREE char *path = put("disk", disk, MIB);
    struct sources sources;
    assert_int_equal(open_one(&sources, path, NULL, NULL), -1); /* not a good qcow2 */
    assert_int_equal(open_one(&sources, path, "raw", NULL), 0);
    assert_string_equal(sources.items[0].format, "raw");
    assert_int_equal(sources.items[0].block->size_bytes, MIB);
    sources_close(&sources);
}

static void test_sources_check_target_keeps_sources_safe(void **state)
{
    (void)state;
    AUTO_FREE uint8_t *disk = calloc(1, MIB);
    AUTO_FREE char *inside_folder = path_join(folder, "web01");
    AUTO_FREE char *elsewhere = path_join(folder, "web02");
    AUTO_FREE char *link = path_join(folder, "link");
    AUTO_FREE char *no_parent = path_join(folder, "no/web01");
    assert_int_equal(mkdir(inside_folder, 0755), 0);
    assert_int_equal(symlink(inside_folder, link), 0);
    AUTO_FREE char *path = put("web01/disk0.raw", disk, MIB);
    AUTO_FREE char *linked = path_join(link, "disk0.raw");
    struct sources sources;
    assert_int_equal(open_one(&sources, path, NULL, NULL), 0);
    assert_int_equal(sources_check_target(&sources, elsewhere, NULL), 0);
    assert_int_equal(sources_check_target(&sources, inside_folder, NULL), -1);
    assert_int_equal(sources_check_target(&sources, path, NULL), -1);
    assert_int_equal(sources_check_target(&sources, no_parent, NULL), -1);
    sources_close(&sources);
    assert_int_equal(open_one(&sources, linked, NULL, NULL), 0); /* the same by another name */
    assert_int_equal(sources_check_target(&sources, inside_folder, NULL), -1);
    sources_close(&sources);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sources_open_refuses_what_is_no_disk),
        TEST(test_sources_open_sees_an_image_that_lost_its_end),
        TEST(test_source_is_cut_off_believes_a_gpts_own_claim),
        TEST(test_source_is_cut_off_knows_a_protective_mbr),
        TEST(test_sources_take_the_format_that_is_named),
        TEST(test_sources_check_target_keeps_sources_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
