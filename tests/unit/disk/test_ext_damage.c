/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What unreadable ranges of an ext4 hit, on a file system made by mke2fs, of which the ranges can
 * really not be read.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/child.h"
#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "disk/damage.h"

#include <errno.h>
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

#define VOLUME (16 * MIB)
#define FILE_SIZE (64 * KIB)

/* A volume in memory with holes that cannot be read. */
struct broken {
    struct block_source source;
    uint8_t *data;
    struct extents bad;
};

static int broken_read(const struct block_source *source, uint64_t offset, void *buffer,
                       size_t length, struct error *err)
{
    const struct broken *broken = (const struct broken *)source;
    if (extents_touch(&broken->bad, offset, length))
        return error_set(err, EIO, "read");
    memcpy(buffer, broken->data + offset, length);
    return 0;
}

static const struct block_source_ops broken_ops = {.read = broken_read};

static void run(const char *const argv[])
{
    struct error err = {0};
    int status =
        child_run(argv, NULL, NULL, NULL, &(struct child_limits){.timeout_ms = 20000}, &err);
    if (status != 0)
        fail_msg("%s: %d %s", argv[0], status, err.text);
}

static void write_file(const char *path, uint8_t fill)
{
    uint8_t data[FILE_SIZE];
    memset(data, fill, sizeof(data));
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(io_write(fd, data, sizeof(data), NULL), 0);
}

/* /etc/first is full of 0xa1, /etc/se\ncond of 0xa2. */
static int setup(void **state)
{
    struct broken *broken = calloc(1, sizeof(*broken));
    char folder[] = "/tmp/test_damage_XXXXXX";
    assert_non_null(mkdtemp(folder));
    AUTO_FREE char *image = text_format("%s/image", folder);
    AUTO_FREE char *tree = text_format("%s/tree", folder);
    AUTO_FREE char *etc = text_format("%s/etc", tree);
    AUTO_FREE char *first = text_format("%s/first", etc);
    AUTO_FREE char *second = text_format("%s/se\ncond", etc);
    assert_int_equal(mkdir(tree, 0700) | mkdir(etc, 0700), 0);
    write_file(first, 0xa1);
    write_file(second, 0xa2);
    const char *const make[] = {"mke2fs", "-q", "-F", "-t",  "ext4", "-b",
                                "1024",   "-d", tree, image, "16M",  NULL};
    run(make);
    broken->data = malloc(VOLUME);
    AUTO_CLOSE int fd = open(image, O_RDONLY | O_CLOEXEC);
    assert_int_equal(io_read_at(fd, broken->data, VOLUME, 0, NULL), 0);
    const char *const clean[] = {"rm", "-rf", folder, NULL};
    run(clean);
    broken->source = (struct block_source){&broken_ops, VOLUME, 512};
    *state = broken;
    return 0;
}

static int teardown(void **state)
{
    struct broken *broken = *state;
    extents_fini(&broken->bad);
    free(broken->data);
    free(broken);
    return 0;
}

static uint64_t find_fill(const struct broken *broken, uint8_t fill)
{
    uint8_t block[1024];
    memset(block, fill, sizeof(block));
    for (uint64_t at = 0; at < VOLUME; at += sizeof(block)) {
        if (memcmp(broken->data + at, block, sizeof(block)) == 0)
            return at;
    }
    fail_msg("no block of 0x%x", fill);
    return 0;
}

static void add_found(void *context, size_t which, const char *text)
{
    text_addf(context, "%zu=%s;", which, text);
}

/* Makes the ranges unreadable and asks what they hit. */
static void find(struct broken *broken, const struct extent *ranges, size_t count,
                 struct text *found)
{
    static const size_t which[] = {0, 1, 2, 3};
    for (size_t i = 0; i < count; i++)
        extents_add(&broken->bad, ranges[i].offset, ranges[i].length, NULL);
    struct damage damage = {ranges, which, count, add_found, found};
    ext_damage_find(&broken->source, &damage);
}

static void test_ext_damage_names_the_files_hit(void **state)
{
    struct broken *broken = *state;
    AUTO(text) found = {0};
    struct extent ranges[2] = {{find_fill(broken, 0xa1) + 512, 512},
                               {find_fill(broken, 0xa2) + 2048, 4096}};
    if (ranges[0].offset > ranges[1].offset) {
        struct extent swap = ranges[0];
        ranges[0] = ranges[1];
        ranges[1] = swap;
    }
    find(broken, ranges, 2, &found);
    assert_non_null(strstr(text_string(&found), "=/etc/first;"));
    assert_non_null(strstr(text_string(&found), "=/etc/se\ncond;"));
    assert_null(strstr(text_string(&found), "inode"));
}

static void test_ext_damage_knows_structures_from_files(void **state)
{
    struct broken *broken = *state;
    AUTO(text) found = {0};
    struct extent range = {8193 * KIB, 512}; /* the backup superblock of group 1 */
    find(broken, &range, 1, &found);
    assert_string_equal(text_string(&found), "0=the superblock of group 1;");
}

static void test_ext_damage_of_free_space_hits_nothing(void **state)
{
    struct broken *broken = *state;
    AUTO(text) found = {0};
    struct extent range = {VOLUME - 4096, 4096};
    find(broken, &range, 1, &found);
    assert_string_equal(text_string(&found), "");
}

/* The superblock itself, or all of it: nothing can be told, and nothing goes wrong. */
static void test_ext_damage_without_a_superblock_tells_nothing(void **state)
{
    struct broken *broken = *state;
    AUTO(text) found = {0};
    struct extent range = {0, VOLUME};
    find(broken, &range, 1, &found);
    assert_string_equal(text_string(&found), "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_ext_damage_names_the_files_hit),
        TEST(test_ext_damage_knows_structures_from_files),
        TEST(test_ext_damage_of_free_space_hits_nothing),
        TEST(test_ext_damage_without_a_superblock_tells_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
