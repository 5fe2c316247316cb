/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Writing past the page cache gives the same file as writing through it, whatever the place, the
 * length and the memory that it comes from.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "formats/direct.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define FILE_SIZE ((size_t)4 << 20)

static int new_file(void)
{
    char path[] = "/var/tmp/rehost-test-XXXXXX"; /* on a disk: tmpfs may have no O_DIRECT */
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    return fd;
}

static uint8_t *noise(size_t length)
{
    uint8_t *bytes = malloc(length);
    uint64_t value = 88172645463325252u;
    assert_non_null(bytes);
    for (size_t i = 0; i < length; i++) {
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
        bytes[i] = (uint8_t)value;
    }
    return bytes;
}

static void test_direct_writes_give_the_file_that_buffered_ones_do(void **state)
{
    static const struct {
        uint64_t offset;
        size_t length, skew; /* of the memory */
    } writes[] = {
        {0, 65536, 0},
        {65536, 65536, 28},
        {131072, 3 << 20, 13},
        {4096, 4096, 1},
        {8192, 5000, 0},
        {12345, 678, 0},
        {65536 + 512, 4096, 3},
        {0, 1, 0},
        {(4 << 20) - 100, 100, 7},
        {(4 << 20) - 8192, 8192, 0},
    };
    (void)state;
    AUTO_CLOSE int fd = new_file();
    AUTO_FREE uint8_t *from = noise(FILE_SIZE + 64);
    AUTO_FREE uint8_t *wanted = calloc(1, FILE_SIZE);
    AUTO_FREE uint8_t *got = calloc(1, FILE_SIZE);
    struct direct_file file;
    assert_int_equal(ftruncate(fd, (off_t)FILE_SIZE), 0);
    direct_open(&file, fd);
    for (size_t i = 0; i < ARRAY_LENGTH(writes); i++) {
        const uint8_t *data = from + writes[i].skew;
        assert_int_equal(direct_write(&file, data, writes[i].length, writes[i].offset, NULL), 0);
        memcpy(wanted + writes[i].offset, data, writes[i].length);
        assert_int_equal(pread(fd, got, FILE_SIZE, 0), FILE_SIZE);
        assert_memory_equal(got, wanted, FILE_SIZE);
    }
    direct_close(&file);
}

static void test_direct_write_that_fails_is_an_error(void **state)
{
    (void)state;
    static const uint8_t data[8192];
    struct error err = {0};
    FILE *file = fopen("/dev/null", "r");
    assert_non_null(file);
    struct direct_file direct = {.fd = fileno(file), .buffered_fd = fileno(file)};
    direct.fd = dup(direct.fd);
    assert_int_equal(direct_write(&direct, data, sizeof(data), 0, &err), -1);
    assert_int_not_equal(err.errnum, 0);
    direct_close(&direct);
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_direct_writes_give_the_file_that_buffered_ones_do),
        cmocka_unit_test(test_direct_write_that_fails_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
