/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whole reads and writes, files that appear only when complete, sources and slices.
 */
#include "base/io.h"
#include "base/own.h"
#include "base/source.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/rehost-io-XXXXXX";
static int folder_fd;

static int set_up(void **state)
{
    (void)state;
    folder_fd = mkdtemp(folder) ? open(folder, O_RDONLY | O_DIRECTORY) : -1;
    return folder_fd < 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(folder_fd);
    return rmdir(folder);
}

static void assert_content(const char *name, const char *expected)
{
    struct error err = {0};
    AUTO_FREE char *data = NULL;
    size_t length;
    assert_int_equal(io_read_file(folder_fd, name, 1 << 20, &data, &length, &err), 0);
    assert_string_equal(data, expected);
    assert_int_equal(length, strlen(expected));
}

static void test_io_new_file_appears_only_when_committed(void **state)
{
    (void)state;
    struct error err = {0};
    AUTO(new_file) file = {.fd = -1, .folder_fd = -1};
    assert_int_equal(new_file_open(&file, folder_fd, "report.json", 0600, &err), 0);
    assert_int_equal(io_write(file.fd, "new", 3, &err), 0);
    assert_int_equal(faccessat(folder_fd, "report.json", F_OK, 0), -1);
    assert_int_equal(new_file_commit(&file, &err), 0);
    assert_content("report.json", "new");
    assert_int_equal(faccessat(folder_fd, ".report.json.partial", F_OK, 0), -1);
    assert_int_equal(unlinkat(folder_fd, "report.json", 0), 0);
}

static void test_io_new_file_discarded_keeps_the_old_one(void **state)
{
    (void)state;
    struct error err = {0};
    assert_int_equal(io_replace_file(folder_fd, "a", "old", 3, 0644, &err), 0);
    {
        AUTO(new_file) file = {.fd = -1, .folder_fd = -1};
        assert_int_equal(new_file_open(&file, folder_fd, "a", 0644, &err), 0);
        assert_int_equal(io_write(file.fd, "half", 4, &err), 0);
    }
    assert_content("a", "old");
    assert_int_equal(io_replace_file(folder_fd, "a", "newer", 5, 0644, &err), 0);
    assert_content("a", "newer");
    assert_int_equal(unlinkat(folder_fd, "a", 0), 0);
}

static void test_io_replace_file_that_cannot_be_written_keeps_the_old_one(void **state)
{
    (void)state;
    struct error err = {0};
    assert_int_equal(io_replace_file(folder_fd, "a", "old", 3, 0644, &err), 0);
    struct rlimit before, small = {.rlim_cur = 4096, .rlim_max = RLIM_INFINITY};
    getrlimit(RLIMIT_FSIZE, &before);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    static char large[8192];
    int result = io_replace_file(folder_fd, "a", large, sizeof(large), 0644, &err);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(result, -1);
    assert_int_equal(err.errnum, EFBIG);
    assert_content("a", "old");
    assert_int_equal(faccessat(folder_fd, ".a.partial", F_OK, 0), -1);
    assert_int_equal(unlinkat(folder_fd, "a", 0), 0);
}

static void test_io_read_at_refuses_an_early_end(void **state)
{
    (void)state;
    struct error err = {0};
    char buffer[8];
    assert_int_equal(io_replace_file(folder_fd, "short", "12345", 5, 0644, &err), 0);
    AUTO_CLOSE int fd = openat(folder_fd, "short", O_RDONLY);
    assert_int_equal(io_read_at(fd, buffer, 5, 0, &err), 0);
    assert_int_equal(io_read_at(fd, buffer, 5, 1, &err), -1);
    assert_int_equal(err.errnum, EIO);
    assert_non_null(strstr(err.text, "the file ends there"));
    assert_int_equal(io_read_at(fd, buffer, 5, UINT64_MAX - 2, &err), -1);
    assert_int_equal(unlinkat(folder_fd, "short", 0), 0);
}

static void test_io_read_file_has_a_limit(void **state)
{
    (void)state;
    struct error err = {0};
    char *data = NULL;
    size_t length;
    assert_int_equal(io_read_file(AT_FDCWD, "/dev/zero", 1000, &data, &length, &err), -1);
    assert_int_equal(err.errnum, EFBIG);
    assert_int_equal(io_read_file(folder_fd, "absent", 1000, &data, &length, &err), -1);
    assert_int_equal(err.errnum, ENOENT);
}

static void test_io_size_refuses_what_has_none(void **state)
{
    (void)state;
    struct error err = {0};
    uint64_t size;
    AUTO_CLOSE int character = open("/dev/null", O_RDONLY);
    assert_int_equal(io_size(character, &size, &err), -1);
    assert_int_equal(io_size(folder_fd, &size, &err), -1);
}

static void test_source_checks_ranges_and_slices(void **state)
{
    (void)state;
    struct error err = {0};
    char buffer[16];
    struct block_memory memory;
    struct block_slice slice;
    block_memory_init(&memory, "0123456789", 10);
    assert_int_equal(block_source_read(&memory.source, 8, buffer, 3, &err), -1);
    assert_int_equal(err.errnum, ERANGE);
    assert_int_equal(block_slice_init(&slice, &memory.source, 4, 7, &err), -1);
    assert_int_equal(block_slice_init(&slice, &memory.source, 4, 5, &err), 0);
    assert_int_equal(block_source_read(&slice.source, 1, buffer, 4, &err), 0);
    assert_memory_equal(buffer, "5678", 4);
    assert_int_equal(block_source_read(&slice.source, 2, buffer, 4, &err), -1);
    struct extents map = {0};
    assert_int_equal(block_source_map(&slice.source, 1, 3, &map, &err), 0);
    assert_int_equal(map.count, 1);
    assert_int_equal(map.items[0].offset, 1);
    assert_int_equal(map.items[0].length, 3);
    extents_fini(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_io_new_file_appears_only_when_committed),
        cmocka_unit_test(test_io_new_file_discarded_keeps_the_old_one),
        cmocka_unit_test(test_io_replace_file_that_cannot_be_written_keeps_the_old_one),
        cmocka_unit_test(test_io_read_at_refuses_an_early_end),
        cmocka_unit_test(test_io_read_file_has_a_limit),
        cmocka_unit_test(test_io_size_refuses_what_has_none),
        cmocka_unit_test(test_source_checks_ranges_and_slices),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
