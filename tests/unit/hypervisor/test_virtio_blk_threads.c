/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The virtio disk's workers: resets and pauses with requests in flight, limits, interrupts, and
 * several queues on one image.
 */
#include "base/clock.h"
#include "tests/unit/hypervisor/blk_fixture.h"

#include <fcntl.h>

#define NO_OPTIONS ((struct virtio_blk_options){0})
#define IN_FLIGHT 64

static void offer_writes(struct disk_test *test, struct disk_request *requests, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        requests[i] = disk_prepare(test, VIRTIO_BLK_T_OUT, 8 * i, 4096);
        memset(disk_data(test, &requests[i]), 0x80 + (int)i, 4096);
        disk_offer(test, 0, &requests[i]);
    }
    driver_kick(&test->plug, 0);
}

static unsigned count_answered(struct disk_test *test, const struct disk_request *requests,
                               unsigned count)
{
    unsigned answered = 0;

    for (unsigned i = 0; i < count; i++)
        answered += disk_status(test, &requests[i]) != 0xee;
    return answered;
}

static unsigned count_used(struct disk_test *test)
{
    uint32_t head, written;
    unsigned used = 0;

    while (driver_ring_take(&test->rings[0], &head, &written))
        used++;
    return used;
}

static void test_reset_with_64_requests_in_flight_touches_nothing_afterwards(void **state)
{
    struct disk_test *test = *state;
    struct disk_request requests[IN_FLIGHT];
    unsigned answered;

    test->fake->delay_us = 1000;
    disk_start(test, NO_OPTIONS, BLK_FEATURES);
    offer_writes(test, requests, IN_FLIGHT);
    disk_wait(test, 0);
    driver_stop(&test->plug);
    assert_int_equal(test->fake->busy, 0);
    uint8_t *ram = malloc(test->ram.size);
    assert_non_null(ram);
    memcpy(ram, test->ram.bytes, test->ram.size);
    answered = count_answered(test, requests, IN_FLIGHT);
    assert_true(answered >= 1 && answered < IN_FLIGHT);
    usleep(20000);
    assert_memory_equal(ram, test->ram.bytes, test->ram.size);
    assert_int_equal(count_used(test) + 1, answered);
    free(ram);
    /* A driver that starts anew finds a disk that works, and a ring that begins at zero. */
    driver_ring_init(&test->rings[0], &test->ram, 256);
    assert_int_equal(driver_start(&test->plug, test->rings, BLK_FEATURES, &test->err), 0);
    assert_int_equal(disk_ask(test, VIRTIO_BLK_T_IN, 0, 4096), VIRTIO_BLK_S_OK);
}

static void test_reset_gives_up_a_long_request(void **state)
{
    struct disk_test *test = *state;
    struct driver_part parts[18];
    struct disk_request request;
    unsigned reads;

    test->fake->delay_us = 20000;
    disk_start(test, NO_OPTIONS, BLK_FEATURES);
    request = disk_prepare(test, VIRTIO_BLK_T_IN, 0, 3 << 20);
    parts[0] = (struct driver_part){request.header, 16, false};
    for (unsigned i = 0; i < 16; i++) /* apart from each other in memory */
        parts[1 + i] = (struct driver_part){request.data + i * 131072, 65536, true};
    parts[17] = (struct driver_part){request.status, 1, true};
    driver_ring_add(&test->rings[0], parts, 18);
    driver_kick(&test->plug, 0);
    while (test->fake->reads == 0)
        usleep(100);
    driver_stop(&test->plug);
    reads = test->fake->reads;
    assert_true(reads < 16);
    assert_int_equal(disk_status(test, &request), VIRTIO_BLK_S_IOERR);
    usleep(50000);
    assert_int_equal(test->fake->reads, reads);
}

static void test_pause_finishes_what_was_begun_and_keeps_the_kick(void **state)
{
    struct disk_test *test = *state;
    struct disk_request requests[2];

    disk_start(test, NO_OPTIONS, BLK_FEATURES);
    test->device->ops->pause(test->device);
    offer_writes(test, requests, 2);
    usleep(20000);
    assert_int_equal(count_answered(test, requests, 2), 0);
    test->device->ops->resume(test->device);
    disk_wait(test, 0);
    disk_wait(test, 0);
    assert_int_equal(disk_status(test, &requests[1]), VIRTIO_BLK_S_OK);
}

static void test_pause_before_the_driver_and_stop_while_paused_are_fine(void **state)
{
    struct disk_test *test = *state;

    disk_start(test, NO_OPTIONS, BLK_FEATURES);
    driver_stop(&test->plug);
    test->device->ops->pause(test->device);
    test->device->ops->resume(test->device);
    driver_ring_init(&test->rings[0], &test->ram, 256);
    assert_int_equal(driver_start(&test->plug, test->rings, BLK_FEATURES, &test->err), 0);
    test->device->ops->pause(test->device);
    driver_stop(&test->plug);
    test->device->ops->resume(test->device);
    driver_ring_init(&test->rings[0], &test->ram, 256);
    assert_int_equal(driver_start(&test->plug, test->rings, BLK_FEATURES, &test->err), 0);
    assert_int_equal(disk_ask(test, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
}

/* --- limits ---------------------------------------------------------------------------------- */

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* 400 a second with 20 at once: what is above those takes 2.5 ms each. */
static void test_operations_are_limited(void **state)
{
    struct disk_test *test = *state;
    struct disk_request requests[IN_FLIGHT];
    struct throttle throttle;
    double begin, took;

    throttle_init(&throttle, &(struct throttle_rates){.operations_per_second = 400}, now_ns());
    disk_start(test, (struct virtio_blk_options){.throttle = &throttle}, BLK_FEATURES);
    begin = clock_seconds();
    offer_writes(test, requests, IN_FLIGHT);
    for (unsigned i = 0; i < IN_FLIGHT; i++)
        disk_wait(test, 0);
    took = clock_seconds() - begin;
    assert_true(took >= (IN_FLIGHT - 20 - 1) / 400.0);
    assert_true(took < 1);
    driver_unplug(&test->plug);
    test->device = NULL;
    test->fake = fake_new();
    throttle_fini(&throttle);
}

static void test_stop_and_pause_do_not_wait_for_a_limit(void **state)
{
    struct disk_test *test = *state;
    struct disk_request requests[3];
    struct throttle throttle;
    int64_t begin;

    throttle_init(&throttle, &(struct throttle_rates){.bytes_per_second = 100}, now_ns());
    disk_start(test, (struct virtio_blk_options){.throttle = &throttle}, BLK_FEATURES);
    offer_writes(test, requests, 3);
    disk_wait(test, 0); /* the driver hears of the first though more are waiting */
    begin = clock_ms();
    test->device->ops->pause(test->device);
    test->device->ops->resume(test->device);
    driver_stop(&test->plug);
    assert_true(clock_ms() - begin < 1000);
    assert_int_equal(count_answered(test, requests, 3), 1);
    driver_unplug(&test->plug);
    test->device = NULL;
    test->fake = fake_new();
    throttle_fini(&throttle);
}

static void test_limit_that_is_lifted_lets_waiting_requests_go(void **state)
{
    struct disk_test *test = *state;
    struct disk_request requests[3];
    struct throttle throttle;

    throttle_init(&throttle, &(struct throttle_rates){.bytes_per_second = 1}, now_ns());
    disk_start(test, (struct virtio_blk_options){.throttle = &throttle}, BLK_FEATURES);
    offer_writes(test, requests, 3);
    disk_wait(test, 0);
    throttle_set(&throttle, &(struct throttle_rates){0}, now_ns());
    disk_wait(test, 0);
    disk_wait(test, 0);
    driver_unplug(&test->plug);
    test->device = NULL;
    test->fake = fake_new();
    throttle_fini(&throttle);
}

/* --- interrupts ------------------------------------------------------------------------------ */

static void test_driver_hears_of_a_batch_once(void **state)
{
    struct disk_test *test = *state;
    struct disk_request requests[10];

    test->fake->delay_us = 500;
    disk_start(test, NO_OPTIONS, BLK_FEATURES);
    driver_ring_set_used_event(&test->rings[0], 9);
    offer_writes(test, requests, 10);
    for (unsigned i = 0; i < 10; i++)
        disk_wait(test, 0);
    test->device->ops->pause(test->device); /* all interrupts are out then */
    assert_int_equal(test->plug.interrupts[0], 1);
}

static void test_driver_that_polls_is_not_interrupted(void **state)
{
    struct disk_test *test = *state;
    struct disk_request requests[10];

    disk_start(test, NO_OPTIONS, 0);
    driver_ring_set_flags(&test->rings[0], VRING_AVAIL_F_NO_INTERRUPT);
    offer_writes(test, requests, 10);
    for (unsigned i = 0; i < 10; i++)
        disk_wait(test, 0);
    test->device->ops->pause(test->device);
    assert_int_equal(test->plug.interrupts[0], 0);
    test->device->ops->resume(test->device);
    driver_ring_set_flags(&test->rings[0], 0);
    assert_int_equal(disk_ask(test, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
    test->device->ops->pause(test->device);
    assert_int_equal(test->plug.interrupts[0], 1);
}

/* --- several queues on an overlay that is larger than its base ------------------------------- */

#define QUEUES 4
#define BASE_BYTES (300u << 10)
#define ROUNDS 150

static struct image *make_overlay(const char *folder, struct error *err)
{
    char base[128], overlay[128];
    struct image_create_options raw = {.format = "raw", .size_bytes = BASE_BYTES};
    struct image_create_options qcow2 = {.format = "qcow2",
                                         .size_bytes = DISK_BYTES,
                                         .backing_path = "base",
                                         .backing_format = "raw"};
    struct image_open_options options = {
        .format = "qcow2", .is_writable = true, .backing_folder = folder};
    uint8_t bytes[BASE_BYTES];
    struct image *image;

    snprintf(base, sizeof(base), "%s/base", folder);
    snprintf(overlay, sizeof(overlay), "%s/overlay", folder);
    memset(bytes, 0xbb, sizeof(bytes));
    image = image_create(base, &raw, err);
    assert_non_null(image);
    assert_int_equal(image_write(image, 0, bytes, sizeof(bytes), err), 0);
    assert_int_equal(image_finish(image, err), 0);
    image_close(image);
    image = image_create(overlay, &qcow2, err);
    assert_non_null(image);
    assert_int_equal(image_finish(image, err), 0);
    image_close(image);
    image = image_open(overlay, &options, err);
    assert_non_null(image);
    unlink(base);
    unlink(overlay);
    return image;
}

/* Each queue writes sectors of its own residue, so that all meet in every cluster. */
static void write_on_all_queues(struct disk_test *test, uint8_t *model)
{
    struct disk_request requests[QUEUES];
    unsigned seed = 1;

    for (unsigned i = 0; i < QUEUES; i++)
        requests[i] = disk_prepare(test, VIRTIO_BLK_T_OUT, 0, 512);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < QUEUES; i++) {
            uint64_t sector = (uint64_t)rand_r(&seed) % (DISK_SECTORS / QUEUES) * QUEUES + i;
            store_le64(driver_ram_at(&test->ram, requests[i].header) + 8, sector);
            memset(disk_data(test, &requests[i]), rand_r(&seed), 512);
            memcpy(model + sector * 512, disk_data(test, &requests[i]), 512);
            disk_offer(test, i, &requests[i]);
            driver_kick(&test->plug, i);
        }
        for (unsigned i = 0; i < QUEUES; i++) {
            disk_wait(test, i);
            assert_int_equal(disk_status(test, &requests[i]), VIRTIO_BLK_S_OK);
        }
    }
}

static void test_four_queues_write_one_overlay_without_losing_a_sector(void **state)
{
    struct disk_test *test = *state;
    char folder[] = "/tmp/rehost-blk-XXXXXX";
    uint8_t *model = calloc(1, DISK_BYTES);
    struct disk_request request;

    assert_non_null(mkdtemp(folder));
    memset(model, 0xbb, BASE_BYTES);
    struct image *image = make_overlay(folder, &test->err);
    assert_int_equal(rmdir(folder), 0);
    disk_start(test, (struct virtio_blk_options){.image = image, .queues = QUEUES}, BLK_FEATURES);
    write_on_all_queues(test, model);
    request = disk_prepare(test, VIRTIO_BLK_T_IN, 0, DISK_BYTES);
    assert_int_equal(disk_do(test, &request), VIRTIO_BLK_S_OK);
    assert_memory_equal(disk_data(test, &request), model, DISK_BYTES);
    free(model);
    image_close(&test->fake->image);
}

#define DISK_TEST(name) cmocka_unit_test_setup_teardown(name, disk_set_up, disk_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DISK_TEST(test_reset_with_64_requests_in_flight_touches_nothing_afterwards),
        DISK_TEST(test_reset_gives_up_a_long_request),
        DISK_TEST(test_pause_finishes_what_was_begun_and_keeps_the_kick),
        DISK_TEST(test_pause_before_the_driver_and_stop_while_paused_are_fine),
        DISK_TEST(test_operations_are_limited),
        DISK_TEST(test_stop_and_pause_do_not_wait_for_a_limit),
        DISK_TEST(test_limit_that_is_lifted_lets_waiting_requests_go),
        DISK_TEST(test_driver_hears_of_a_batch_once),
        DISK_TEST(test_driver_that_polls_is_not_interrupted),
        DISK_TEST(test_four_queues_write_one_overlay_without_losing_a_sector),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
