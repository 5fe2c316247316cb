/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Disks with sectors that cannot be read: what is given up, what is not, and how often it is asked.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/disk_reader.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECTOR 512u
#define SIZE (8 * MIB)
#define SECTORS (SIZE / SECTOR)
#define CHUNK_SECTORS (CHUNK_SIZE / SECTOR)

struct disk {
    struct block_source source;
    uint8_t *data;
    uint8_t bad[SECTORS];   /* fails so many times; 255: always */
    uint8_t reads[SECTORS]; /* that succeeded */
    unsigned failures;
    int bad_errno;
    struct extents used;
    struct disk_reader reader;
};

static int disk_read(const struct block_source *source, uint64_t offset, void *buffer,
                     size_t length, struct error *err)
{
    struct disk *disk = (struct disk *)(uintptr_t)source;
    bool is_bad = false;
    for (uint64_t i = offset / SECTOR; i * SECTOR < offset + length; i++) {
        is_bad |= disk->bad[i] > 0;
        if (disk->bad[i] > 0 && disk->bad[i] < 255 && length == SECTOR)
            disk->bad[i]--;
    }
    disk->failures += is_bad;
    if (is_bad)
        return error_set(err, disk->bad_errno, "read");
    for (uint64_t i = offset / SECTOR; i * SECTOR < offset + length; i++)
        disk->reads[i]++;
    memcpy(buffer, disk->data + offset, length);
    return 0;
}

static const struct block_source_ops disk_ops = {.read = disk_read};

static struct disk *begin(void)
{
    struct disk *disk = memory_new(1, sizeof(*disk));
    disk->source = (struct block_source){&disk_ops, SIZE, SECTOR};
    disk->data = memory_new(SIZE, 1);
    for (uint64_t i = 0; i < SIZE; i++)
        disk->data[i] = (uint8_t)(i / SECTOR * 31 + i % 251 + 1);
    disk->bad_errno = EIO;
    disk->reader.source = &disk->source;
    disk->reader.used = &disk->used;
    assert_int_equal(extents_add(&disk->used, 0, SIZE, NULL), 0);
    return disk;
}

static void end(struct disk *disk)
{
    extents_fini(&disk->used);
    free(disk->data);
    free(disk);
}

/* The whole disk in both ways, into `buffer`. */
static void read_all(struct disk *disk, uint8_t *buffer, struct extents *bad)
{
    uint16_t failed[SIZE / DISK_UNIT_SIZE];
    struct error err = {0};
    for (uint64_t i = 0; i < SIZE / DISK_UNIT_SIZE; i++) {
        struct extent unit = {i * DISK_UNIT_SIZE, DISK_UNIT_SIZE};
        if (disk_read_unit(&disk->reader, &unit, buffer + unit.offset, &failed[i], &err) != 0)
            fail_msg("%s", err.text);
    }
    for (uint64_t i = 0; i < SIZE / CHUNK_SIZE; i++) {
        struct extent chunk = {i * CHUNK_SIZE, CHUNK_SIZE};
        if ((failed[i / DISK_UNIT_CHUNKS] >> (i % DISK_UNIT_CHUNKS) & 1) &&
            disk_read_patiently(&disk->reader, &chunk, buffer + chunk.offset, bad, &err) != 0)
            fail_msg("%s", err.text);
    }
}

static void test_exactly_the_good_sectors_are_recovered(void **state)
{
    (void)state;
    struct disk *disk = begin();
    AUTO_FREE uint8_t *buffer = memory_new(SIZE, 1);
    struct extents bad = {0};
    uint64_t count = 0;
    for (uint64_t i = 0; i < SECTORS; i++)
        if (i % 997 == 5 || (i > 5000 && i < 5300 && i % 3 == 0) || (i >= 9216 && i < 9344))
            disk->bad[i] = 255;
    read_all(disk, buffer, &bad);
    for (uint64_t i = 0; i < SECTORS; i++) {
        count += disk->bad[i] != 0;
        assert_int_equal(extents_contain(&bad, i * SECTOR, SECTOR), disk->bad[i] != 0);
        if (disk->bad[i])
            memset(disk->data + i * SECTOR, 0, SECTOR);
        else
            assert_in_range(disk->reads[i], 1, 2);
    }
    assert_int_equal(extents_total(&bad), count * SECTOR);
    assert_memory_equal(buffer, disk->data, SIZE);
    extents_fini(&bad);
    end(disk);
}

static void test_a_good_disk_is_read_once(void **state)
{
    (void)state;
    struct disk *disk = begin();
    AUTO_FREE uint8_t *buffer = memory_new(SIZE, 1);
    struct extents bad = {0};
    read_all(disk, buffer, &bad);
    for (uint64_t i = 0; i < SECTORS; i++)
        assert_int_equal(disk->reads[i], 1);
    assert_int_equal(bad.count, 0);
    end(disk);
}

static void test_a_sector_that_can_be_read_the_second_time_is_good(void **state)
{
    (void)state;
    struct disk *disk = begin();
    AUTO_FREE uint8_t *buffer = memory_new(SIZE, 1);
    struct extents bad = {0};
    disk->bad[700] = 1; /* fails once when it is read alone */
    read_all(disk, buffer, &bad);
    assert_int_equal(bad.count, 0);
    assert_memory_equal(buffer, disk->data, SIZE);
    end(disk);
}

static void test_one_bad_sector_costs_few_failing_reads(void **state)
{
    (void)state;
    struct disk *disk = begin();
    AUTO_FREE uint8_t *buffer = memory_new(SIZE, 1);
    struct extents bad = {0};
    disk->bad[700] = 255;
    read_all(disk, buffer, &bad);
    /* Unit, chunk, the whole and the parts of it, halves down to the sector, the second chance. */
    assert_true(disk->failures <= 2 + 2 + 7 + 1);
    extents_fini(&bad);
    end(disk);
}

static void test_what_is_not_used_is_zero_and_its_faults_do_not_count(void **state)
{
    (void)state;
    struct disk *disk = begin();
    AUTO_FREE uint8_t *buffer = memory_new(SIZE, 1);
    struct extents bad = {0};
    disk->bad[700] = 255;
    assert_int_equal(extents_remove(&disk->used, 700 * SECTOR, 4096, NULL), 0);
    read_all(disk, buffer, &bad);
    memset(disk->data + 700 * SECTOR, 0, 4096);
    assert_int_equal(bad.count, 0);
    assert_memory_equal(buffer, disk->data, SIZE);
    end(disk);
}

static int read_unit(struct disk *disk, uint64_t unit, uint8_t *buffer, struct error *err)
{
    struct extent range = {unit * DISK_UNIT_SIZE, DISK_UNIT_SIZE};
    uint16_t failed;
    return disk_read_unit(&disk->reader, &range, buffer, &failed, err);
}

static void test_a_disk_that_is_gone_is_no_disk_of_bad_sectors(void **state)
{
    (void)state;
    struct disk *disk = begin();
    AUTO_FREE uint8_t *buffer = memory_new(DISK_UNIT_SIZE, 1);
    struct error err = {0};
    unsigned units = 0;
    memset(disk->bad, 255, sizeof(disk->bad));
    while (read_unit(disk, units % 8, buffer, &err) == 0)
        assert_true(++units * DISK_UNIT_CHUNKS <= 1024);
    assert_int_equal(err.errnum, EIO);
    assert_non_null(strstr(err.text, "nothing can be read any more"));
    end(disk);
}

static void test_a_large_bad_area_is_no_reason_to_stop(void **state)
{
    (void)state;
    struct disk *disk = begin();
    AUTO_FREE uint8_t *buffer = memory_new(DISK_UNIT_SIZE, 1);
    memset(disk->bad + 8, 255, sizeof(disk->bad) - 8);
    for (unsigned unit = 0; unit < 200; unit++)
        assert_int_equal(read_unit(disk, 1 + unit % 7, buffer, NULL), 0);
    end(disk);
}

static void test_other_errors_end_it_at_once(void **state)
{
    (void)state;
    static const int errnums[] = {ENODEV, ENXIO, EBADF};
    for (size_t i = 0; i < ARRAY_LENGTH(errnums); i++) {
        struct disk *disk = begin();
        AUTO_FREE uint8_t *buffer = memory_new(DISK_UNIT_SIZE, 1);
        struct extent chunk = {0, CHUNK_SIZE};
        struct extents bad = {0};
        struct error err = {0};
        memset(disk->bad, 255, sizeof(disk->bad));
        disk->bad_errno = errnums[i];
        assert_int_equal(read_unit(disk, 0, buffer, &err), -1);
        assert_int_equal(err.errnum, errnums[i]);
        assert_int_equal(disk_read_patiently(&disk->reader, &chunk, buffer, &bad, &err), -1);
        assert_int_equal(err.errnum, errnums[i]);
        end(disk);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exactly_the_good_sectors_are_recovered),
        cmocka_unit_test(test_a_good_disk_is_read_once),
        cmocka_unit_test(test_a_sector_that_can_be_read_the_second_time_is_good),
        cmocka_unit_test(test_one_bad_sector_costs_few_failing_reads),
        cmocka_unit_test(test_what_is_not_used_is_zero_and_its_faults_do_not_count),
        cmocka_unit_test(test_a_disk_that_is_gone_is_no_disk_of_bad_sectors),
        cmocka_unit_test(test_a_large_bad_area_is_no_reason_to_stop),
        cmocka_unit_test(test_other_errors_end_it_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
