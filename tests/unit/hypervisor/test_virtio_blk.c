/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The virtio disk as a driver sees it: what each request does and answers, what a hostile one
 * cannot reach, and what of it the image is asked for.
 */
#include "tests/unit/hypervisor/blk_fixture.h"

#define NO_OPTIONS ((struct virtio_blk_options){0})

static uint64_t config_at(struct disk_test *test, size_t offset, unsigned size)
{
    uint8_t bytes[8] = {0};

    test->device->ops->read_config(test->device, (uint32_t)offset, bytes, size);
    return load_le64(bytes);
}

#define CONFIG(test, field)                                                                        \
    config_at(test, offsetof(struct virtio_blk_config, field),                                     \
              sizeof(((struct virtio_blk_config *)NULL)->field))

/* --- what it says of itself ------------------------------------------------------------------ */

static void test_configuration_tells_capacity_and_limits(void **state)
{
    struct disk_test *test = *state;

    disk_start(test, (struct virtio_blk_options){.queues = 3}, BLK_FEATURES);
    assert_int_equal(CONFIG(test, capacity), DISK_SECTORS);
    assert_int_equal(CONFIG(test, blk_size), 512);
    assert_int_equal(CONFIG(test, seg_max), 254);
    assert_int_equal(CONFIG(test, num_queues), 3);
    assert_int_equal(CONFIG(test, discard_sector_alignment), 128);
    assert_true(test->device->offered >> VIRTIO_BLK_F_MQ & 1);
    assert_false(test->device->offered >> VIRTIO_BLK_F_RO & 1);
    assert_int_equal(config_at(test, 250, 4), 0);
}

static void test_read_only_disk_says_so_and_offers_nothing_that_writes(void **state)
{
    struct disk_test *test = *state;

    disk_start(test, (struct virtio_blk_options){.is_read_only = true}, 0);
    assert_true(test->device->offered >> VIRTIO_BLK_F_RO & 1);
    assert_false(test->device->offered >> VIRTIO_BLK_F_DISCARD & 1);
    assert_false(test->device->offered >> VIRTIO_BLK_F_WRITE_ZEROES & 1);
    assert_int_equal(CONFIG(test, max_discard_sectors), 0);
}

static void test_too_many_queues_are_refused_and_the_image_closed(void **state)
{
    struct disk_test *test = *state;
    atomic_bool is_closed = false;
    struct virtio_blk_options options = {.image = &test->fake->image, .queues = 17};

    test->fake->is_closed = &is_closed;
    assert_null(virtio_blk_new(&options, &test->err));
    assert_int_equal(test->err.errnum, EINVAL);
    assert_true(is_closed);
    test->fake = fake_new();
}

/* --- data ------------------------------------------------------------------------------------ */

static void test_read_gives_the_sectors_and_their_count(void **state)
{
    struct disk_test *test = *state;
    struct disk_request request;

    disk_start(test, NO_OPTIONS, BLK_FEATURES);
    request = disk_prepare(test, VIRTIO_BLK_T_IN, 7, 4096);
    disk_offer(test, 0, &request);
    driver_kick(&test->plug, 0);
    assert_int_equal(disk_wait(test, 0), 4097);
    assert_int_equal(disk_status(test, &request), VIRTIO_BLK_S_OK);
    assert_memory_equal(disk_data(test, &request), test->fake->bytes + 7 * 512, 4096);
}

static void test_write_reaches_the_image_and_stats(void **state)
{
    struct disk_test *test = *state;
    struct disk_request request;
    struct virtio_blk_stats stats;

    disk_start(test, NO_OPTIONS, BLK_FEATURES);
    request = disk_prepare(test, VIRTIO_BLK_T_OUT, DISK_SECTORS - 8, 4096);
    memset(disk_data(test, &request), 0xa5, 4096);
    assert_int_equal(disk_do(test, &request), VIRTIO_BLK_S_OK);
    assert_memory_equal(test->fake->bytes + DISK_BYTES - 4096, disk_data(test, &request), 4096);
    virtio_blk_get_stats(test->device, &stats);
    assert_int_equal(stats.written_bytes, 4096);
    assert_int_equal(stats.write_requests, 1);
    assert_int_equal(stats.errors, 0);
    assert_int_equal(test->fake->flushes, 0);
}

/* Header, sectors and status may be cut anywhere (1.1, 2.6.4: any layout). */
static void test_sectors_may_span_segments_and_share_them_with_the_header(void **state)
{
    struct disk_test *test = *state;
    uint8_t expected[1024];
    uint64_t buffer, status;

    disk_start(test, NO_OPTIONS, BLK_FEATURES);
    buffer = driver_ram_take(&test->ram, 4096, 16);
    status = driver_ram_take(&test->ram, 1, 1);
    for (size_t i = 0; i < sizeof(expected); i++)
        expected[i] = (uint8_t)(i * 7);
    store_le32(driver_ram_at(&test->ram, buffer), VIRTIO_BLK_T_OUT);
    store_le64(driver_ram_at(&test->ram, buffer + 1008), 3); /* the header's second half */
    memcpy(driver_ram_at(&test->ram, buffer + 1016), expected, 100);
    memcpy(driver_ram_at(&test->ram, buffer + 2000), expected + 100, 1);
    memcpy(driver_ram_at(&test->ram, buffer + 3000), expected + 101, 923);
    const struct driver_part parts[] = {
        {buffer, 8, false},          {buffer + 1008, 108, false}, {buffer + 2000, 1, false},
        {buffer + 3000, 923, false}, {status, 1, true},
    };
    driver_ring_add_indirect(&test->rings[0], parts, 5);
    driver_kick(&test->plug, 0);
    assert_int_equal(disk_wait(test, 0), 1);
    assert_int_equal(*driver_ram_at(&test->ram, status), VIRTIO_BLK_S_OK);
    assert_memory_equal(test->fake->bytes + 3 * 512, expected, 1024);
}

static void test_read_may_have_its_status_in_the_last_data_segment(void **state)
{
    struct disk_test *test = *state;
    struct disk_request request;

    disk_start(test, NO_OPTIONS, BLK_FEATURES);
    request = disk_prepare(test, VIRTIO_BLK_T_IN, 0, 1025);
    const struct driver_part parts[] = {
        {request.header, 16, false},
        {request.data, 513, true},
        {request.data + 513, 512, true},
    };
    driver_ring_add(&test->rings[0], parts, 3);
    driver_kick(&test->plug, 0);
    assert_int_equal(disk_wait(test, 0), 1025);
    assert_memory_equal(disk_data(test, &request), test->fake->bytes, 1024);
    assert_int_equal(disk_data(test, &request)[1024], VIRTIO_BLK_S_OK);
    assert_int_equal(test->fake->reads, 1); /* the two lie together */
}

/* --- what is refused ------------------------------------------------------------------------- */

static void test_requests_beyond_the_end_fail_whatever_overflows(void **state)
{
    static const uint64_t sectors[] = {
        DISK_SECTORS,     DISK_SECTORS - 1,        UINT64_MAX,        UINT64_MAX - 1,
        UINT64_MAX / 512, (UINT64_C(1) << 55) - 1, UINT64_C(1) << 55, UINT64_C(1) << 63,
    };
    struct disk_test *test = *state;
    struct virtio_blk_stats stats;

    disk_start(test, NO_OPTIONS, BLK_FEATURES);
    for (size_t i = 0; i < ARRAY_LENGTH(sectors); i++) {
        assert_int_equal(disk_ask(test, VIRTIO_BLK_T_IN, sectors[i], 1024), VIRTIO_BLK_S_IOERR);
        assert_int_equal(disk_ask(test, VIRTIO_BLK_T_OUT, sectors[i], 1024), VIRTIO_BLK_S_IOERR);
    }
    virtio_blk_get_stats(test->device, &stats);
    assert_int_equal(stats.errors, 2 * ARRAY_LENGTH(sectors));
    assert_int_equal(test->fake->reads + test->fake->writes, 0);
    assert_int_equal(test->log.lines, 0); /* its own fault: this host has nothing to say */
}

static void test_data_that_is_no_whole_sectors_fails(void **state)
{
    struct disk_test *test = *state;

    disk_start(test, NO_OPTIONS, BLK_FEATURES);
    assert_int_equal(disk_ask(test, VIRTIO_BLK_T_IN, 0, 511), VIRTIO_BLK_S_IOERR);
    assert_int_equal(disk_ask(test, VIRTIO_BLK_T_OUT, 0, 513), VIRTIO_BLK_S_IOERR);
    assert_int_equal(disk_ask(test, VIRTIO_BLK_T_IN, 0, 0), VIRTIO_BLK_S_OK);
}

static void test_unknown_types_are_unsupported(void **state)
{
    static const uint32_t types[] = {2, 3, 5, 6, 7, 9, 10, 12, 14, 0x80000000, UINT32_MAX};
    struct disk_test *test = *state;

    disk_start(test, NO_OPTIONS, BLK_FEATURES);
    for (size_t i = 0; i < ARRAY_LENGTH(types); i++)
        assert_int_equal(disk_ask(test, types[i], 0, 512), VIRTIO_BLK_S_UNSUPP);
}

/* Cloud Hypervisor's fault: a driver that does not accept RO must not write. */
static void test_read_only_holds_when_the_driver_did_not_accept_it(void **state)
{
    struct disk_test *test = *state;
    uint8_t before[DISK_BYTES / 64];

    memcpy(before, test->fake->bytes, sizeof(before));
    disk_start(test, (struct virtio_blk_options){.is_read_only = true}, BLK_FEATURES);
    assert_int_equal(disk_ask(test, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_IOERR);
    assert_int_equal(disk_ask(test, VIRTIO_BLK_T_DISCARD, 0, 16), VIRTIO_BLK_S_IOERR);
    assert_int_equal(disk_ask(test, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16), VIRTIO_BLK_S_IOERR);
    assert_int_equal(disk_ask(test, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
    assert_int_equal(disk_ask(test, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
    assert_memory_equal(test->fake->bytes, before, sizeof(before));
}

static void test_chain_without_status_breaks_the_queue(void **state)
{
    struct disk_test *test = *state;
    struct disk_request request;

    disk_start(test, NO_OPTIONS, BLK_FEATURES);
    request = disk_prepare(test, VIRTIO_BLK_T_OUT, 0, 512);
    const struct driver_part parts[] = {{request.header, 16, false}, {request.data, 512, false}};
    driver_ring_add(&test->rings[0], parts, 2);
    driver_kick(&test->plug, 0);
    for (int i = 0; i < 20000 && test->plug.resets_needed == 0; i++)
        usleep(100);
    assert_int_equal(test->plug.resets_needed, 1);
    assert_int_equal(test->fake->writes, 0);
    driver_stop(&test->plug);
}

static void test_short_header_breaks_the_queue(void **state)
{
    struct disk_test *test = *state;
    struct disk_request request;

    disk_start(test, NO_OPTIONS, BLK_FEATURES);
    request = disk_prepare(test, VIRTIO_BLK_T_IN, 0, 512);
    const struct driver_part parts[] = {{request.header, 15, false}, {request.data, 513, true}};
    driver_ring_add(&test->rings[0], parts, 2);
    driver_kick(&test->plug, 0);
    for (int i = 0; i < 20000 && test->plug.resets_needed == 0; i++)
        usleep(100);
    assert_int_equal(test->plug.resets_needed, 1);
    /* It works again after a reset. */
    driver_stop(&test->plug);
    driver_ring_init(&test->rings[0], &test->ram, 256);
    assert_int_equal(driver_start(&test->plug, test->rings, BLK_FEATURES, &test->err), 0);
    assert_int_equal(disk_ask(test, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
}

/* --- serial, flush --------------------------------------------------------------------------- */

static void test_serial_is_twenty_bytes_at_most(void **state)
{
    struct disk_test *test = *state;
    struct disk_request request;

    disk_start(test, (struct virtio_blk_options){.serial = "WD-0123456789ABCDEFGHIJ"}, 0);
    request = disk_prepare(test, VIRTIO_BLK_T_GET_ID, 0, 64);
    memset(disk_data(test, &request), 'x', 64);
    assert_int_equal(disk_do(test, &request), VIRTIO_BLK_S_OK);
    assert_memory_equal(disk_data(test, &request), "WD-0123456789ABCDEFGxxxx", 24);
    request = disk_prepare(test, VIRTIO_BLK_T_GET_ID, 0, 4);
    memset(disk_data(test, &request), 'x', 8);
    assert_int_equal(disk_do(test, &request), VIRTIO_BLK_S_OK);
    assert_memory_equal(disk_data(test, &request), "WD-0", 4);
}

static void test_flush_reaches_the_image(void **state)
{
    struct disk_test *test = *state;
    struct virtio_blk_stats stats;

    disk_start(test, NO_OPTIONS, BLK_FEATURES);
    assert_int_equal(disk_ask(test, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
    virtio_blk_get_stats(test->device, &stats);
    assert_int_equal(test->fake->flushes, 1);
    assert_int_equal(stats.flushes, 1);
}

static void test_every_write_is_flushed_without_the_flush_feature(void **state)
{
    struct disk_test *test = *state;

    disk_start(test, NO_OPTIONS, 0);
    assert_int_equal(disk_ask(test, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_OK);
    assert_int_equal(test->fake->flushes, 1);
    assert_int_equal(disk_ask(test, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
    assert_int_equal(test->fake->flushes, 1);
    test->fake->fail_flush = EIO;
    assert_int_equal(disk_ask(test, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_IOERR);
}

static void test_failed_flush_is_not_followed_by_a_good_one(void **state)
{
    struct disk_test *test = *state;

    disk_start(test, NO_OPTIONS, BLK_FEATURES);
    test->fake->fail_flush = EIO;
    assert_int_equal(disk_ask(test, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_IOERR);
    test->fake->fail_flush = 0;
    assert_int_equal(disk_ask(test, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_IOERR);
    assert_int_equal(test->fake->flushes, 0);
}

static void test_full_host_is_an_error_and_one_line(void **state)
{
    struct disk_test *test = *state;

    disk_start(test, NO_OPTIONS, BLK_FEATURES);
    test->fake->fail_write = ENOSPC;
    for (int i = 0; i < 5; i++)
        assert_int_equal(disk_ask(test, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_IOERR);
    assert_int_equal(test->log.lines, 1);
    assert_non_null(strstr(test->log.last, "fake.img"));
    assert_non_null(strstr(test->log.last, "no room"));
    test->fake->fail_write = 0;
    assert_int_equal(disk_ask(test, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_OK);
}

/* --- discard, write zeroes ------------------------------------------------------------------- */

struct range {
    uint64_t sector;
    uint32_t count, flags;
};

static uint8_t ask_ranges(struct disk_test *test, uint32_t type, const struct range *ranges,
                          size_t count)
{
    struct disk_request request = disk_prepare(test, type, 0, (uint32_t)(16 * count));

    for (size_t i = 0; i < count; i++) {
        store_le64(disk_data(test, &request) + 16 * i, ranges[i].sector);
        store_le32(disk_data(test, &request) + 16 * i + 8, ranges[i].count);
        store_le32(disk_data(test, &request) + 16 * i + 12, ranges[i].flags);
    }
    return disk_do(test, &request);
}

static void test_discard_gives_back_whole_clusters_only(void **state)
{
    struct disk_test *test = *state;
    uint8_t first[65536];

    disk_start(test, NO_OPTIONS, BLK_FEATURES);
    memcpy(first, test->fake->bytes, sizeof(first));
    assert_int_equal(ask_ranges(test, VIRTIO_BLK_T_DISCARD, &(struct range){1, 300, 0}, 1),
                     VIRTIO_BLK_S_OK);
    assert_memory_equal(test->fake->bytes, first, sizeof(first));
    assert_true(bytes_are_zero(test->fake->bytes + 65536, 65536));
    assert_int_not_equal(test->fake->bytes[131072 + 1], 0);
    assert_int_equal(ask_ranges(test, VIRTIO_BLK_T_DISCARD, &(struct range){1, 100, 0}, 1),
                     VIRTIO_BLK_S_OK);
    assert_int_equal(test->fake->zeroes, 1);
}

static void test_write_zeroes_unmaps_only_where_it_may(void **state)
{
    struct disk_test *test = *state;
    const struct range ranges[] = {{1, 3, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP}, {9, 200, 0}};

    disk_start(test, NO_OPTIONS, BLK_FEATURES);
    assert_int_equal(ask_ranges(test, VIRTIO_BLK_T_WRITE_ZEROES, ranges, 2), VIRTIO_BLK_S_OK);
    assert_true(bytes_are_zero(test->fake->bytes + 512, 3 * 512));
    assert_int_equal(test->fake->bytes[4 * 512 + 1], 5);
    assert_true(bytes_are_zero(test->fake->bytes + 9 * 512, 200 * 512));
    assert_int_equal(test->fake->zeroes, 1);
    assert_int_equal(test->fake->writes, 2);
}

static void test_ranges_are_all_checked_before_one_is_done(void **state)
{
    const struct range good = {0, 128, 0};
    const struct range bad[] = {
        {DISK_SECTORS, 1, 0},     {DISK_SECTORS - 1, 2, 0},         {UINT64_MAX, 1, 0},
        {UINT64_MAX, 2, 0},       {UINT64_C(1) << 55, 1, 0},        {0, UINT32_MAX, 0},
        {0, DISK_SECTORS + 1, 0}, {UINT64_MAX - 10, UINT32_MAX, 0},
    };
    struct disk_test *test = *state;
    struct range many[17] = {{0, 1, 0}};

    disk_start(test, NO_OPTIONS, BLK_FEATURES);
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        const struct range both[] = {good, bad[i]};
        assert_int_equal(ask_ranges(test, VIRTIO_BLK_T_DISCARD, both, 2), VIRTIO_BLK_S_IOERR);
        assert_int_equal(ask_ranges(test, VIRTIO_BLK_T_WRITE_ZEROES, both, 2), VIRTIO_BLK_S_IOERR);
    }
    assert_int_equal(ask_ranges(test, VIRTIO_BLK_T_DISCARD, many, 17), VIRTIO_BLK_S_IOERR);
    assert_int_equal(disk_ask(test, VIRTIO_BLK_T_DISCARD, 0, 15), VIRTIO_BLK_S_IOERR);
    assert_int_equal(disk_ask(test, VIRTIO_BLK_T_DISCARD, 0, 0), VIRTIO_BLK_S_IOERR);
    assert_int_equal(test->fake->zeroes + test->fake->writes, 0);
}

static void test_flags_that_a_range_cannot_have_are_unsupported(void **state)
{
    struct disk_test *test = *state;

    disk_start(test, NO_OPTIONS, BLK_FEATURES);
    assert_int_equal(ask_ranges(test, VIRTIO_BLK_T_DISCARD, &(struct range){0, 128, 1}, 1),
                     VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(ask_ranges(test, VIRTIO_BLK_T_WRITE_ZEROES, &(struct range){0, 128, 2}, 1),
                     VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(test->fake->zeroes, 0);
}

static void test_discard_that_was_not_negotiated_is_unsupported(void **state)
{
    struct disk_test *test = *state;

    disk_start(test, NO_OPTIONS, UINT64_C(1) << VIRTIO_BLK_F_FLUSH);
    assert_int_equal(ask_ranges(test, VIRTIO_BLK_T_DISCARD, &(struct range){0, 128, 0}, 1),
                     VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(test->fake->zeroes, 0);
}

#define DISK_TEST(name) cmocka_unit_test_setup_teardown(name, disk_set_up, disk_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DISK_TEST(test_configuration_tells_capacity_and_limits),
        DISK_TEST(test_read_only_disk_says_so_and_offers_nothing_that_writes),
        DISK_TEST(test_too_many_queues_are_refused_and_the_image_closed),
        DISK_TEST(test_read_gives_the_sectors_and_their_count),
        DISK_TEST(test_write_reaches_the_image_and_stats),
        DISK_TEST(test_sectors_may_span_segments_and_share_them_with_the_header),
        DISK_TEST(test_read_may_have_its_status_in_the_last_data_segment),
        DISK_TEST(test_requests_beyond_the_end_fail_whatever_overflows),
        DISK_TEST(test_data_that_is_no_whole_sectors_fails),
        DISK_TEST(test_unknown_types_are_unsupported),
        DISK_TEST(test_read_only_holds_when_the_driver_did_not_accept_it),
        DISK_TEST(test_chain_without_status_breaks_the_queue),
        DISK_TEST(test_short_header_breaks_the_queue),
        DISK_TEST(test_serial_is_twenty_bytes_at_most),
        DISK_TEST(test_flush_reaches_the_image),
        DISK_TEST(test_every_write_is_flushed_without_the_flush_feature),
        DISK_TEST(test_failed_flush_is_not_followed_by_a_good_one),
        DISK_TEST(test_full_host_is_an_error_and_one_line),
        DISK_TEST(test_discard_gives_back_whole_clusters_only),
        DISK_TEST(test_write_zeroes_unmaps_only_where_it_may),
        DISK_TEST(test_ranges_are_all_checked_before_one_is_done),
        DISK_TEST(test_flags_that_a_range_cannot_have_are_unsupported),
        DISK_TEST(test_discard_that_was_not_negotiated_is_unsupported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
