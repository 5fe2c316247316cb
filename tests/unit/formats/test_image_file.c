/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The files of images: their kinds, and the locks that QEMU takes too.
 */
#include "formats/image_driver.h"
#include "tests/unit/formats/qcow2_fixture.h"

static int new_file(struct folder *folder)
{
    int fd = image_file_create(folder->file, false, &folder->err);

    if (fd < 0)
        fail_msg("%s", folder->err.text);
    return fd;
}

/* True when another open file description could lock this byte for itself. */
static bool is_free(const char *path, off_t byte)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    AUTO_CLOSE int fd = open(path, O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_OFD_GETLK, &lock), 0);
    return lock.l_type == F_UNLCK;
}

static void test_image_file_takes_the_lock_bytes_of_qemu(void **state)
{
    struct folder *folder = *state;
    int fd = new_file(folder);

    assert_false(is_free(folder->file, 100)); /* reads */
    assert_false(is_free(folder->file, 101)); /* writes */
    assert_false(is_free(folder->file, 103)); /* resizes */
    assert_false(is_free(folder->file, 201)); /* and lets nobody else write */
    assert_false(is_free(folder->file, 203));
    assert_true(is_free(folder->file, 200)); /* QEMU's readers look here */
    close(fd);
    assert_true(is_free(folder->file, 101));

    fd = image_file_open(folder->file, false, &folder->err);
    assert_true(fd >= 0);
    assert_false(is_free(folder->file, 100));
    assert_true(is_free(folder->file, 101));
    assert_false(is_free(folder->file, 201));
    close(fd);
}

/* A program that writes holds byte 101; one that cannot stand writers holds byte 201. */
static void test_image_file_respects_the_locks_of_others(void **state)
{
    struct folder *folder = *state;
    static const struct {
        off_t byte;
        bool stops_reading, stops_writing;
    } locks[] = {{100, false, false}, {101, true, true},  {103, true, true},
                 {200, true, true},   {201, false, true}, {203, false, true}};

    close(new_file(folder));
    for (size_t i = 0; i < ARRAY_LENGTH(locks); i++) {
        struct flock lock = {
            .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = locks[i].byte, .l_len = 1};
        AUTO_CLOSE int other = open(folder->file, O_RDONLY | O_CLOEXEC);
        AUTO_CLOSE int reader = -1;
        AUTO_CLOSE int writer = -1;

        assert_int_equal(fcntl(other, F_OFD_SETLK, &lock), 0);
        reader = image_file_open(folder->file, false, &folder->err);
        assert_int_equal(reader < 0, locks[i].stops_reading);
        if (reader >= 0)
            close(take_fd(&reader));
        writer = image_file_open(folder->file, true, &folder->err);
        assert_int_equal(writer < 0, locks[i].stops_writing);
        if (writer < 0)
            assert_int_equal(folder->err.errnum, EBUSY);
    }
}

static void test_image_file_refuses_what_is_no_file(void **state)
{
    struct folder *folder = *state;

    assert_int_equal(image_file_open(folder->path, false, &folder->err), -1);
    assert_int_equal(folder->err.errnum, EISDIR);
    assert_int_equal(image_file_open("/dev/null", false, &folder->err), -1);
    assert_int_equal(image_file_open(folder->file, false, &folder->err), -1);
    assert_int_equal(folder->err.errnum, ENOENT);
    assert_int_equal(mkfifo(folder->file, 0600), 0); /* and does not wait for its other end */
    assert_int_equal(image_file_open(folder->file, false, &folder->err), -1);
    assert_non_null(strstr(folder->err.text, "not a regular file"));
}

static void test_image_file_create_takes_nothing_over(void **state)
{
    struct folder *folder = *state;

    assert_int_equal(symlink("elsewhere", folder->file), 0);
    assert_int_equal(image_file_create(folder->file, true, &folder->err), -1);
    unlink(folder->file);
    close(new_file(folder));
    assert_int_equal(image_file_create(folder->file, true, &folder->err), -1);
    assert_int_equal(folder->err.errnum, EEXIST);
}

static void test_image_file_read_padded_fills_behind_the_end(void **state)
{
    struct folder *folder = *state;
    AUTO_CLOSE int fd = new_file(folder);
    char buffer[8];

    assert_int_equal(write(fd, "abc", 3), 3);
    memset(buffer, 'x', 8);
    assert_ok(folder, image_file_read_padded(fd, buffer, 8, 1, &folder->err));
    assert_memory_equal(buffer, "bc\0\0\0\0\0\0", 8);
    memset(buffer, 'x', 8);
    assert_ok(folder, image_file_read_padded(fd, buffer, 8, 1000, &folder->err));
    assert_true(bytes_are_zero(buffer, 8));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_set_up, folder_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_image_file_takes_the_lock_bytes_of_qemu),
        TEST(test_image_file_respects_the_locks_of_others),
        TEST(test_image_file_refuses_what_is_no_file),
        TEST(test_image_file_create_takes_nothing_over),
        TEST(test_image_file_read_padded_fills_behind_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
