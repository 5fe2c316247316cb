/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Image drivers on a file that fails them: reads, writes and syncs that are short, interrupted, or
 * fail at a chosen moment. This program's own pread, pwrite and fsync stand in for the C
 * library's, so the drivers are tested as they are.
 */
#undef _FORTIFY_SOURCE
#include "tests/contract/image_fixture.h"

#include <sys/syscall.h>

static struct faults {
    bool is_short;    /* transfers a part, and is interrupted every third time */
    long reads_left;  /* then EIO; negative: never */
    long writes_left; /* then ENOSPC */
    long syncs_left;  /* then EIO */
    unsigned long calls;
    char order[4]; /* the last three events: 'w' a write, 'h' one at offset 0, 's' a sync */
} faults;

static void faults_clear(void)
{
    faults = (struct faults){.reads_left = -1, .writes_left = -1, .syncs_left = -1};
}

static void note(char event)
{
    memmove(faults.order, faults.order + 1, 2);
    faults.order[2] = event;
}

/* 0: fail with errnum. */
static bool count_down(long *left, int errnum)
{
    if (*left == 0) {
        errno = errnum;
        return false;
    }
    if (*left > 0)
        --*left;
    return true;
}

static bool is_interrupted(size_t *length)
{
    if (!faults.is_short)
        return false;
    if (++faults.calls % 3 == 0) {
        errno = EINTR;
        return true;
    }
    if (*length > 1)
        *length = *length / 2 + 1;
    return false;
}

ssize_t faulty_pread(int fd, void *buffer, size_t length, off_t offset) __asm__("pread64");
ssize_t faulty_pread(int fd, void *buffer, size_t length, off_t offset)
{
    if (!count_down(&faults.reads_left, EIO) || is_interrupted(&length))
        return -1;
    return syscall(SYS_pread64, fd, buffer, length, offset);
}

ssize_t faulty_pread_chk(int fd, void *buffer, size_t length, off_t offset,
                         size_t size) __asm__("__pread64_chk");
ssize_t faulty_pread_chk(int fd, void *buffer, size_t length, off_t offset, size_t size)
{
    if (length > size)
        abort();
    return faulty_pread(fd, buffer, length, offset);
}

ssize_t faulty_pwrite(int fd, const void *data, size_t length, off_t offset) __asm__("pwrite64");
ssize_t faulty_pwrite(int fd, const void *data, size_t length, off_t offset)
{
    if (!count_down(&faults.writes_left, ENOSPC) || is_interrupted(&length))
        return -1;
    note(offset == 0 ? 'h' : 'w');
    return syscall(SYS_pwrite64, fd, data, length, offset);
}

int faulty_fsync(int fd) __asm__("fsync");
int faulty_fsync(int fd)
{
    if (!count_down(&faults.syncs_left, EIO))
        return -1;
    note('s');
    return (int)syscall(SYS_fsync, fd);
}

static int set_up(void **state)
{
    faults_clear();
    return fixture_set_up(state);
}

static int tear_down(void **state)
{
    faults_clear();
    return fixture_tear_down(state);
}

static void test_short_and_interrupted_transfers_are_finished(void **state)
{
    struct fixture *fixture = *state;

    for_each_writer(driver)
    {
        faults.is_short = true;
        fixture_make(fixture, driver, 40);
        AUTO_PTR(image) image = fixture_open(fixture, driver, true);

        assert_true(faults.calls > 40); /* the faults are really in the way */
        for (unsigned i = 0; i < 40; i++)
            assert_ok(fixture, fixture_scribble(fixture, image));
        fixture_compare(fixture, image);
        faults_clear();
        fixture_compare(fixture, image);
    }
}

/* Makes an image that runs out of space at its n-th write; true when it never did. */
static bool make_until_full(struct fixture *fixture, const struct image_driver *driver, long n)
{
    struct image_create_options options = {.format = driver->name, .size_bytes = MODEL_SIZE};
    struct image *image;
    int result = 0;

    faults_clear();
    fixture_reset(fixture);
    faults.writes_left = n;
    image = image_create(fixture->path, &options, &fixture->err);
    if (!image)
        return false;
    for (unsigned i = 0; i < 12 && result == 0; i++)
        result = fixture_scribble(fixture, image);
    if (result == 0)
        result = image_finish(image, &fixture->err);
    faults_clear();
    /* A caller that goes on as if nothing had happened gets no valid image all the same. */
    if (result < 0 && driver->probe) {
        struct error ignored;

        assert_int_equal(image_finish(image, &ignored), -1);
    }
    image_close(image);
    return result == 0;
}

static void test_a_failed_write_is_reported_and_leaves_no_valid_image(void **state)
{
    struct fixture *fixture = *state;

    for_each_writer(driver)
    {
        long n = 0;

        for (; !make_until_full(fixture, driver, n); n++) {
            assert_int_equal(fixture->err.errnum, ENOSPC);
            assert_non_null(strstr(fixture->err.text, fixture->path));
            assert_true(n < 1000);
            if (driver->probe)
                assert_null(fixture_try_open(fixture, driver, false));
        }
        assert_true(n > 3);
        AUTO_PTR(image) image = fixture_open(fixture, driver, false);
        fixture_compare(fixture, image);
    }
}

static void test_a_failed_sync_is_reported_and_leaves_no_valid_image(void **state)
{
    struct fixture *fixture = *state;

    for_each_writer(driver)
    {
        for (long n = 0;; n++) {
            int result;

            fixture_reset(fixture);
            struct image *image = fixture_create(fixture, driver);

            assert_ok(fixture, fixture_scribble(fixture, image));
            faults.syncs_left = n;
            result = image_finish(image, &fixture->err);
            image_close(image);
            faults_clear();
            if (result == 0) {
                assert_true(n > 0);
                break;
            }
            assert_int_equal(fixture->err.errnum, EIO);
            if (driver->probe)
                assert_null(fixture_try_open(fixture, driver, false));
        }
    }
}

/* What a header names is on stable storage before the header can be, and the header at the end. */
static void test_the_header_is_written_between_two_syncs(void **state)
{
    struct fixture *fixture = *state;

    for_each_writer(driver)
    {
        fixture_make(fixture, driver, 5);
        if (driver->probe)
            assert_string_equal(faults.order, "shs");
        else
            assert_int_equal(faults.order[2], 's');
    }
}

static void test_a_failed_read_is_reported(void **state)
{
    struct fixture *fixture = *state;
    AUTO_FREE uint8_t *buffer = malloc(MODEL_SIZE);

    for_each_writer(driver)
    {
        long n = 0;

        fixture_make(fixture, driver, 12);
        for (;; n++) {
            int result = -1;
            struct image *image;

            faults.reads_left = n;
            fixture->err = (struct error){0};
            image = fixture_try_open(fixture, driver, false);
            if (image)
                result = block_source_read(&image->source, 0, buffer, MODEL_SIZE, &fixture->err);
            faults_clear();
            image_close(image);
            if (result == 0)
                break;
            assert_int_equal(fixture->err.errnum, EIO);
            assert_true(n < 10000);
        }
        assert_true(n > 0);
        assert_memory_equal(buffer, fixture->model, MODEL_SIZE);
    }
}

/* Every byte is the old one or the new one. */
static void compare_with_either(struct fixture *fixture, const struct image *image,
                                const uint8_t *before)
{
    AUTO_FREE uint8_t *now = malloc(MODEL_SIZE);

    assert_ok(fixture, block_source_read(&image->source, 0, now, MODEL_SIZE, &fixture->err));
    for (size_t i = 0; i < MODEL_SIZE; i++) {
        size_t step = min_u64(4096, MODEL_SIZE - i);

        if (memcmp(now + i, before + i, step) == 0) {
            i += step - 1;
            continue;
        }
        if (now[i] != before[i] && now[i] != fixture->model[i])
            fail_msg("byte 0x%zx is 0x%02x, was 0x%02x, should become 0x%02x", i, now[i], before[i],
                     fixture->model[i]);
    }
    memcpy(fixture->model, now, MODEL_SIZE);
}

/* The process dies at the n-th write from here: nothing after it reaches the file. */
static bool scribble_until_dead(struct fixture *fixture, const struct image_driver *driver, long n,
                                const uint8_t *before)
{
    struct image *image = fixture_open(fixture, driver, true);
    int result = 0;

    memcpy(fixture->model, before, MODEL_SIZE);
    srandom((unsigned)n);
    faults.writes_left = n;
    for (unsigned i = 0; i < 4 && result == 0; i++)
        result = fixture_scribble(fixture, image);
    image_close(image);
    faults_clear();
    image = fixture_open(fixture, driver, false);
    compare_with_either(fixture, image, before);
    image_close(image);
    return result == 0;
}

static void test_dying_while_writing_in_place_leaves_old_or_new(void **state)
{
    struct fixture *fixture = *state;
    AUTO_FREE uint8_t *before = malloc(MODEL_SIZE);

    for_each_writer(driver)
    {
        fixture_make(fixture, driver, 6);
        for (long n = 0; n < 24; n++) {
            memcpy(before, fixture->model, MODEL_SIZE);
            scribble_until_dead(fixture, driver, n, before);
        }
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_short_and_interrupted_transfers_are_finished),
        TEST(test_a_failed_write_is_reported_and_leaves_no_valid_image),
        TEST(test_a_failed_sync_is_reported_and_leaves_no_valid_image),
        TEST(test_the_header_is_written_between_two_syncs),
        TEST(test_a_failed_read_is_reported),
        TEST(test_dying_while_writing_in_place_leaves_old_or_new),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
