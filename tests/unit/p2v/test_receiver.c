/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A disk is received, broken off and taken up; in the end image, manifest and digest say what the
 * source said last, and nothing is believed that was not read.
 */
#include "receiver_fixture.h"

static void test_a_disk_is_received(void **state)
{
    struct fixture *fixture = *state;
    struct receiver_counts counts;

    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    receiver_get_counts(fixture->receiver, &counts);
    assert_int_equal(counts.had_bytes, 0);
    assert_true(counts.stored_bytes > 100 * (uint64_t)CHUNK_SIZE);
    assert_true(counts.unreadable_bytes > 0);
    finish(fixture, 1);
}

static void test_a_raw_disk_is_received_and_keeps_its_holes(void **state)
{
    struct fixture *fixture = *state;
    AUTO_FREE char *path = text_format("%s/disk0.raw", fixture->folder);
    struct stat status;

    fixture->options.format = "raw";
    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    finish(fixture, 1);
    assert_int_equal(stat(path, &status), 0);
    assert_true((uint64_t)status.st_blocks * 512 < DISK_SIZE * 3 / 4);
}

static void test_what_was_committed_is_not_wanted_again(void **state)
{
    struct fixture *fixture = *state;

    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    assert_ok(fixture, commit(fixture));
    close_receiver(fixture);
    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    assert_int_equal(fixture->wanted, 0);
    finish(fixture, 1);
}

static void test_what_was_not_committed_is_wanted_again_and_reads_as_zeroes(void **state)
{
    struct fixture *fixture = *state;

    open_receiver(fixture);
    assert_ok(fixture, offer(fixture, 0, 3));
    close_receiver(fixture);
    open_receiver(fixture);
    memset(&fixture->disk, 0, sizeof(fixture->disk));
    for (unsigned i = 0; i < CHUNKS; i++)
        fixture->disk.empty[i] = CHUNK_ZERO;
    assert_ok(fixture, send_disk(fixture, 4));
    finish(fixture, 1);
}

static void test_a_second_pass_brings_only_what_changed(void **state)
{
    struct fixture *fixture = *state;
    unsigned changed = 0;

    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    assert_ok(fixture, commit(fixture));
    for (unsigned i = 0; i < CHUNKS; i += 13) {
        if (fixture->disk.content[i]) {
            fixture->disk.content[i] += 500000;
            changed++;
        }
    }
    fixture->disk.content[2] = 0; /* freed, and used */
    fixture->disk.empty[2] = CHUNK_SKIPPED;
    fixture->disk.content[299] = 77;
    fixture->disk.empty[299] = CHUNK_SKIPPED;
    assert_ok(fixture, send_disk(fixture, 4));
    assert_in_range(fixture->wanted, changed, changed + 1);
    finish(fixture, 1);
}

static void test_another_disk_starts_anew(void **state)
{
    struct fixture *fixture = *state;

    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    assert_ok(fixture, commit(fixture));
    close_receiver(fixture);
    fixture->disk_id[0]++;
    make_disk(&fixture->disk, 2);
    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    finish(fixture, 1);
}

static void test_an_image_too_broken_to_repair_starts_anew(void **state)
{
    struct fixture *fixture = *state;
    AUTO_FREE char *path = text_format("%s/disk0.qcow2", fixture->folder);

    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    assert_ok(fixture, commit(fixture));
    close_receiver(fixture);
    assert_int_equal(truncate(path, 100), 0);
    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    assert_true(fixture->wanted > 100);
    finish(fixture, 1);
}

static void test_an_image_in_use_is_an_error_and_is_kept(void **state)
{
    struct fixture *fixture = *state;

    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    assert_ok(fixture, commit(fixture));
    assert_null(receiver_open(&fixture->options, &fixture->err));
    assert_int_equal(fixture->err.errnum, EBUSY);
    finish(fixture, 1);
}

static void test_a_clone_is_copied_inside_the_pool(void **state)
{
    struct fixture *fixture = *state;
    struct receiver_counts counts;

    receive_other(fixture, 7);
    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    assert_int_equal(fixture->wanted, 0);
    receiver_get_counts(fixture->receiver, &counts);
    assert_true(counts.copied_bytes > 100 * (uint64_t)CHUNK_SIZE);
    finish(fixture, 1);
}

static void test_a_poisoned_chunk_of_another_machine_is_wanted(void **state)
{
    struct fixture *fixture = *state;
    AUTO_FREE char *path = text_format("%s/other/disk0.qcow2", fixture->pool);
    struct image_open_options options = {.is_writable = true};
    uint8_t poison[CHUNK_SIZE] = {1};
    struct image *image;

    receive_other(fixture, 7);
    image = image_open(path, &options, NULL);
    assert_non_null(image);
    for (unsigned i = 0; i < 14; i++) {
        if (fixture->disk.content[i])
            assert_int_equal(image_write(image, i * CHUNK_SIZE, poison, CHUNK_SIZE, NULL), 0);
    }
    image_close(image);
    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    assert_int_equal(fixture->wanted, 14);
    finish(fixture, 1);
}

static void test_a_machine_that_is_gone_or_locked_does_no_harm(void **state)
{
    struct fixture *fixture = *state;
    AUTO_FREE char *path = text_format("%s/other/disk0.qcow2", fixture->pool);

    receive_other(fixture, 8); /* find_image does not know it */
    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    assert_true(fixture->wanted > 100);
    finish(fixture, 1);
    assert_int_equal(unlink(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_disk_is_received),
        TEST(test_a_raw_disk_is_received_and_keeps_its_holes),
        TEST(test_what_was_committed_is_not_wanted_again),
        TEST(test_what_was_not_committed_is_wanted_again_and_reads_as_zeroes),
        TEST(test_a_second_pass_brings_only_what_changed),
        TEST(test_another_disk_starts_anew),
        TEST(test_an_image_too_broken_to_repair_starts_anew),
        TEST(test_an_image_in_use_is_an_error_and_is_kept),
        TEST(test_a_clone_is_copied_inside_the_pool),
        TEST(test_a_poisoned_chunk_of_another_machine_is_wanted),
        TEST(test_a_machine_that_is_gone_or_locked_does_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
