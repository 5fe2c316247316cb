/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A disk of which parts are read from elsewhere, what is put aside, and what the kernel says of a
 * snapshot.
 */
#include "base/bytes.h"
#include "p2v/agent/snapshot_aside.h"
#include "p2v/agent/snapshot_dm.h"
#include "p2v/agent/snapshot_overlay.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define SIZE 4096u

struct fixture {
    uint8_t disk[SIZE], volume[SIZE];
    struct block_memory base, source;
    struct snapshot_overlay *overlay;
};

/* The disk is all 0xdd; byte i of the volume is i / 16. */
static int setup(void **state)
{
    static struct fixture fixture;
    memset(fixture.disk, 0xdd, SIZE);
    for (size_t i = 0; i < SIZE; i++)
        fixture.volume[i] = (uint8_t)(i / 16);
    block_memory_init(&fixture.base, fixture.disk, SIZE);
    block_memory_init(&fixture.source, fixture.volume, SIZE);
    fixture.overlay = snapshot_overlay_new(&fixture.base.source);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    snapshot_overlay_free(fixture->overlay);
    return 0;
}

static void set(struct fixture *fixture, const struct overlay_part *parts, size_t count)
{
    struct error err = {0};
    assert_int_equal(snapshot_overlay_set(fixture->overlay, parts, count, &err), 0);
}

/* Any way of reading gives what a map of it byte by byte does. */
static void assert_reads(const struct fixture *fixture, const uint8_t *expected)
{
    static const size_t lengths[] = {1, 7, 16, 100, 512, 1000, SIZE};
    const struct block_source *block = snapshot_overlay_block(fixture->overlay);
    uint8_t got[SIZE];
    for (size_t i = 0; i < ARRAY_LENGTH(lengths); i++) {
        for (size_t at = 0; at < SIZE; at += lengths[i]) {
            size_t length = lengths[i] < SIZE - at ? lengths[i] : SIZE - at;
            assert_int_equal(block_source_read(block, at, got, length, NULL), 0);
            assert_memory_equal(got, expected + at, length);
        }
    }
}

static void test_without_parts_it_is_the_disk(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(snapshot_overlay_block(fixture->overlay)->size_bytes, SIZE);
    assert_reads(fixture, fixture->disk);
}

static void test_parts_are_read_from_their_sources(void **state)
{
    struct fixture *fixture = *state;
    uint8_t expected[SIZE];
    const struct overlay_part parts[] = {{3000, 96, &fixture->source.source, 0, 0, 1},
                                         {512, 100, &fixture->source.source, 1000, 0, 1},
                                         {612, 50, &fixture->source.source, 7, 0, 1}};
    memcpy(expected, fixture->disk, SIZE);
    memcpy(expected + 3000, fixture->volume, 96);
    memcpy(expected + 512, fixture->volume + 1000, 100);
    memcpy(expected + 612, fixture->volume + 7, 50);
    set(fixture, parts, ARRAY_LENGTH(parts));
    assert_reads(fixture, expected);
    snapshot_overlay_clear(fixture->overlay);
    assert_reads(fixture, fixture->disk);
}

/* Three stripes of 32 bytes, of which the disk has the second: 96 of the volume's 288 bytes. */
static void test_a_striped_part_has_every_so_many_bytes(void **state)
{
    struct fixture *fixture = *state;
    uint8_t expected[SIZE];
    const struct overlay_part part = {200, 96, &fixture->source.source, 100 + 32, 32, 3};
    memcpy(expected, fixture->disk, SIZE);
    for (size_t i = 0; i < 3; i++)
        memcpy(expected + 200 + i * 32, fixture->volume + 100 + 32 + i * 96, 32);
    set(fixture, &part, 1);
    assert_reads(fixture, expected);
}

static void test_parts_that_do_not_fit_are_refused(void **state)
{
    struct fixture *fixture = *state;
    const struct block_source *source = &fixture->source.source;
    const struct overlay_part parts[][2] = {
        {{0, SIZE + 1, source, 0, 0, 1}, {0}},
        {{SIZE - 1, 2, source, 0, 0, 1}, {0}},
        {{0, 100, source, SIZE - 99, 0, 1}, {0}},
        {{0, 100, source, UINT64_MAX, 0, 1}, {0}},
        {{0, 64, source, 0, 0, 2}, {0}},
        {{0, 64, source, 0, 32, 0}, {0}},
        {{0, 2048, source, 32, 32, 2}, {0, 0, NULL, 0, 0, 0}},
        {{0, 100, source, 0, 0, 1}, {99, 100, source, 0, 0, 1}},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(parts); i++) {
        struct error err = {0};
        bool is_fitting = i == 6; /* the last stripe ends with the volume: the others do not */
        size_t count = parts[i][1].source ? 2 : 1;
        int result = snapshot_overlay_set(fixture->overlay, parts[i], count, &err);
        assert_int_equal(result, is_fitting ? 0 : -1);
        snapshot_overlay_clear(fixture->overlay);
    }
}

static int fail_read(const struct block_source *source, uint64_t offset, void *buffer,
                     size_t length, struct error *err)
{
    (void)source, (void)offset, (void)buffer, (void)length;
    return error_set(err, EIO, "read");
}

static void test_a_source_that_fails_is_lost_and_the_disk_is_read(void **state)
{
    struct fixture *fixture = *state;
    static const struct block_source_ops ops = {.read = fail_read};
    const struct block_source broken = {&ops, SIZE, 512};
    const struct overlay_part part = {512, 1024, &broken, 0, 0, 1};
    set(fixture, &part, 1);
    assert_false(snapshot_overlay_is_lost(fixture->overlay));
    assert_reads(fixture, fixture->disk);
    assert_true(snapshot_overlay_is_lost(fixture->overlay));
    set(fixture, NULL, 0);
    assert_false(snapshot_overlay_is_lost(fixture->overlay));
}

static void test_a_medium_that_fails_is_no_lost_snapshot(void **state)
{
    (void)state;
    uint8_t buffer[16];
    struct error err = {0};
    static const struct block_source_ops ops = {.read = fail_read};
    const struct block_source broken = {&ops, SIZE, 512};
    const struct overlay_part part = {512, 1024, &broken, 0, 0, 1};
    AUTO_PTR(snapshot_overlay) overlay = snapshot_overlay_new(&broken);
    assert_int_equal(snapshot_overlay_set(overlay, &part, 1, &err), 0);
    assert_int_equal(
        block_source_read(snapshot_overlay_block(overlay), 600, buffer, sizeof(buffer), &err), -1);
    assert_int_equal(err.errnum, EIO);
    assert_false(snapshot_overlay_is_lost(overlay));
}

/* --- aside --- */

static void test_what_is_put_aside_stays_as_it_was_and_zeroes_cost_nothing(void **state)
{
    (void)state;
    static uint8_t disk[4 * MIB];
    struct block_memory memory;
    struct snapshot_aside aside = {.left_bytes = MIB};
    uint8_t byte;
    memset(disk + MIB + 5, 7, 100);
    block_memory_init(&memory, disk, sizeof(disk));
    assert_int_equal(
        snapshot_aside_add(&aside, 3, &memory.source, MIB / 2, 3 * MIB + MIB / 2, NULL), 1);
    assert_int_equal(aside.count, 4);
    assert_int_equal(aside.left_bytes, 0);
    assert_int_equal(aside.pieces[1]->disk, 3);
    assert_int_equal(aside.pieces[1]->offset, MIB);
    disk[MIB + 5] = 9;
    assert_int_equal(block_source_read(&aside.pieces[1]->memory.source, 5, &byte, 1, NULL), 0);
    assert_int_equal(byte, 7);
    assert_null(aside.pieces[2]->data);
    snapshot_aside_fini(&aside);
}

static void test_more_than_there_is_memory_for_is_not_put_aside(void **state)
{
    (void)state;
    static uint8_t disk[2 * MIB];
    struct block_memory memory;
    struct snapshot_aside aside = {.left_bytes = MIB};
    memset(disk, 7, sizeof(disk));
    block_memory_init(&memory, disk, sizeof(disk));
    assert_int_equal(snapshot_aside_add(&aside, 0, &memory.source, 0, 2 * MIB, NULL), 0);
    snapshot_aside_fini(&aside);
}

/* --- the kernel's word --- */

static void test_a_snapshots_state_is_understood(void **state)
{
    (void)state;
    struct snapshot_dm_state half = snapshot_dm_parse("1024/2048 8");
    assert_true(half.is_valid);
    assert_true(half.used_percent > 49.9 && half.used_percent < 50.1);
    assert_true(snapshot_dm_parse("2048/2048 8").is_valid);
    static const char *const bad[] = {"Invalid", "Overflow", "Merge failed", "Unknown",
                                      "",        "0/0 0",    "9/8 1",        "x/y"};
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        assert_false(snapshot_dm_parse(bad[i]).is_valid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_without_parts_it_is_the_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_parts_are_read_from_their_sources, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_striped_part_has_every_so_many_bytes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_parts_that_do_not_fit_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_source_that_fails_is_lost_and_the_disk_is_read,
                                        setup, teardown),
        cmocka_unit_test(test_a_medium_that_fails_is_no_lost_snapshot),
        cmocka_unit_test(test_what_is_put_aside_stays_as_it_was_and_zeroes_cost_nothing),
        cmocka_unit_test(test_more_than_there_is_memory_for_is_not_put_aside),
        cmocka_unit_test(test_a_snapshots_state_is_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
