/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Files as sources: size, reads, holes, and what is refused.
 */
#include "base/io.h"
#include "disk/device.h"
#include "tests/unit/disk/sparse.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    char path[64];
    int fd;
    struct device *device;
    struct error err;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    snprintf(f->path, sizeof(f->path), "/tmp/test_device_XXXXXX");
    f->fd = mkstemp(f->path);
    *state = f;
    return f->fd < 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    device_close(f->device);
    close(f->fd);
    unlink(f->path);
    free(f);
    return 0;
}

static const struct block_source *open_file(struct fixture *f)
{
    f->device = device_open(f->path, &f->err);
    if (!f->device)
        fail_msg("%s", f->err.text);
    return device_source(f->device);
}

static void test_device_is_as_large_as_its_file_and_reads_it(void **state)
{
    struct fixture *f = *state;
    char text[6] = "";

    assert_int_equal(io_write_at(f->fd, "hello", 5, 1000, NULL), 0);
    const struct block_source *source = open_file(f);
    assert_int_equal(source->size_bytes, 1005);
    assert_int_equal(source->sector_size, 0);
    assert_int_equal(block_source_read(source, 1000, text, 5, &f->err), 0);
    assert_string_equal(text, "hello");
    assert_int_equal(block_source_read(source, 1001, text, 5, &f->err), -1);
}

static void test_device_reports_data_but_not_holes(void **state)
{
    struct fixture *f = *state;
    struct extents data = {0};

    assert_int_equal(ftruncate(f->fd, 64 * MIB), 0);
    assert_int_equal(io_write_at(f->fd, "x", 1, 16 * MIB, NULL), 0);
    assert_int_equal(io_write_at(f->fd, "x", 1, 32 * MIB, NULL), 0);
    const struct block_source *source = open_file(f);
    assert_int_equal(block_source_map(source, 0, 64 * MIB, &data, &f->err), 0);
    assert_true(extents_contain(&data, 16 * MIB, 1));
    assert_true(extents_contain(&data, 32 * MIB, 1));
    assert_true(extents_total(&data) < 4 * MIB);

    extents_fini(&data);
    assert_int_equal(block_source_map(source, 16 * MIB, 16 * MIB, &data, &f->err), 0);
    assert_true(extents_contain(&data, 16 * MIB, 1));
    assert_false(extents_touch(&data, 32 * MIB, 1));
    extents_fini(&data);
}

static void test_device_without_any_data_reports_none(void **state)
{
    struct fixture *f = *state;
    struct extents data = {0};

    assert_int_equal(ftruncate(f->fd, 64 * MIB), 0);
    assert_int_equal(block_source_map(open_file(f), 0, 64 * MIB, &data, &f->err), 0);
    assert_int_equal(data.count, 0);
}

static void test_device_does_not_write(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ftruncate(f->fd, 4096), 0);
    open_file(f);
    char name[64];
    bool is_seen = false;
    for (int fd = 3; fd < 64; fd++) {
        char target[128] = "";

        snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
        if (fd != f->fd && readlink(name, target, sizeof(target) - 1) > 0 &&
            strcmp(target, f->path) == 0) {
            assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
            is_seen = true;
        }
    }
    assert_true(is_seen);
}

static void test_device_refuses_what_is_no_disk(void **state)
{
    struct fixture *f = *state;

    assert_null(device_open("/nonexistent/disk", &f->err));
    assert_non_null(strstr(f->err.text, "/nonexistent/disk: No such file or directory"));
    assert_null(device_open("/tmp", &f->err));
    assert_non_null(strstr(f->err.text, "/tmp"));
    assert_null(device_open("/dev/null", &f->err));
    assert_non_null(strstr(f->err.text, "/dev/null"));
    unlink(f->path);
    assert_int_equal(mkfifo(f->path, 0600), 0);
    assert_null(device_open(f->path, &f->err));
    assert_non_null(strstr(f->err.text, f->path));
    device_close(NULL);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_device_is_as_large_as_its_file_and_reads_it),
        CASE(test_device_reports_data_but_not_holes),
        CASE(test_device_without_any_data_reports_none),
        CASE(test_device_does_not_write),
        CASE(test_device_refuses_what_is_no_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
