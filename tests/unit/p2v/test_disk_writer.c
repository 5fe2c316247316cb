/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Writing behind the connection's back: order, no room, failures, the end. The image is a gate that
 * opens for one write at a time.
 */
#include "base/error.h"
#include "p2v/server/disk_writer.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SOON_MS 5000
#define NOT_YET_MS 30

struct image {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned may_write; /* so many more */
    int errnum;         /* of every write */
    uint64_t order[32];
    unsigned done, tried, pauses, resumes, failures;
};

static int write_gated(void *context, const struct disk_write *write, struct error *err)
{
    struct image *image = context;
    int result = 0;

    pthread_mutex_lock(&image->lock);
    while (image->may_write == 0)
        pthread_cond_wait(&image->changed, &image->lock);
    image->tried++;
    pthread_cond_broadcast(&image->changed);
    if (image->errnum) {
        result = error_set(err, image->errnum, "no");
    } else {
        image->may_write--;
        image->order[image->done++] = write->first;
    }
    pthread_mutex_unlock(&image->lock);
    return result;
}

static void note_pause(void *context, bool is_paused)
{
    struct image *image = context;

    pthread_mutex_lock(&image->lock);
    image->pauses += is_paused;
    image->resumes += !is_paused;
    pthread_cond_broadcast(&image->changed);
    pthread_mutex_unlock(&image->lock);
}

static void note_failure(void *context, const struct error *error)
{
    struct image *image = context;

    pthread_mutex_lock(&image->lock);
    image->failures += error->errnum == EIO;
    pthread_mutex_unlock(&image->lock);
}

static struct disk_writer *start(struct image *image)
{
    const struct disk_writer_calls calls = {write_gated, note_pause, note_failure, image};

    pthread_mutex_init(&image->lock, NULL);
    pthread_cond_init(&image->changed, NULL);
    struct disk_writer *writer = disk_writer_start(&calls, 10, NULL);
    assert_non_null(writer);
    return writer;
}

static void end(struct image *image, struct disk_writer *writer)
{
    disk_writer_free(writer);
    pthread_cond_destroy(&image->changed);
    pthread_mutex_destroy(&image->lock);
}

static void set(struct image *image, unsigned may_write, int errnum)
{
    pthread_mutex_lock(&image->lock);
    image->may_write = may_write;
    image->errnum = errnum;
    pthread_cond_broadcast(&image->changed);
    pthread_mutex_unlock(&image->lock);
}

/* Until it was tried so often, or paused. */
static void await(struct image *image, const unsigned *counter, unsigned least)
{
    pthread_mutex_lock(&image->lock);
    while (*counter < least)
        pthread_cond_wait(&image->changed, &image->lock);
    pthread_mutex_unlock(&image->lock);
}

static void push(struct disk_writer *writer, uint64_t first, size_t count, uint64_t sequence)
{
    struct disk_write write = {.sequence = sequence, .first = first, .count = count};

    write.memory = disk_writer_spare(writer);
    write.length = count * CHUNK_SIZE;
    link_memory_make(&write.memory, write.length);
    write.data = write.memory.data;
    disk_writer_push(writer, &write);
}

static void test_writes_are_done_in_order_and_are_told_of_until_then(void **state)
{
    struct image image = {0};
    struct disk_writer *writer = start(&image);
    uint64_t sequence;

    (void)state;
    push(writer, 7, 2, 40);
    push(writer, 3, 1, 41);
    push(writer, 9, 1, 42);
    assert_false(disk_writer_wait(writer, 2, NOT_YET_MS));
    assert_int_equal(disk_writer_left(writer, 50, &sequence), 4 * CHUNK_SIZE);
    assert_int_equal(sequence, 40);
    set(&image, 1, 0);
    assert_true(disk_writer_wait(writer, 2, SOON_MS));
    assert_int_equal(disk_writer_left(writer, 50, &sequence), 2 * CHUNK_SIZE);
    assert_int_equal(sequence, 41);
    set(&image, 2, 0);
    assert_true(disk_writer_wait(writer, 0, SOON_MS));
    assert_int_equal(disk_writer_left(writer, 50, &sequence), 0);
    assert_int_equal(sequence, 50);
    assert_int_equal(disk_writer_check(writer, NULL), 0);
    assert_int_equal(image.order[0], 7);
    assert_int_equal(image.order[1], 3);
    assert_int_equal(image.order[2], 9);
    end(&image, writer);
}

static void test_only_ranges_that_meet_what_waits_are_touched(void **state)
{
    struct image image = {0};
    struct disk_writer *writer = start(&image);

    (void)state;
    push(writer, 10, 4, 0);
    push(writer, 20, 1, 1);
    assert_false(disk_writer_touches(writer, 0, 10));
    assert_true(disk_writer_touches(writer, 0, 11));
    assert_true(disk_writer_touches(writer, 13, 1));
    assert_false(disk_writer_touches(writer, 14, 6));
    assert_true(disk_writer_touches(writer, 0, 1000));
    set(&image, 2, 0);
    assert_true(disk_writer_wait(writer, 0, SOON_MS));
    assert_false(disk_writer_touches(writer, 0, 1000));
    end(&image, writer);
}

static void test_memory_that_was_written_is_used_again(void **state)
{
    struct image image = {.may_write = 1};
    struct disk_writer *writer = start(&image);

    (void)state;
    push(writer, 0, 3, 0);
    assert_true(disk_writer_wait(writer, 0, SOON_MS));
    struct link_memory memory = disk_writer_spare(writer);
    assert_int_equal(memory.size, 3 * CHUNK_SIZE);
    link_memory_fini(&memory);
    memory = disk_writer_spare(writer);
    assert_null(memory.data);
    end(&image, writer);
}

static void test_a_write_without_room_is_tried_until_there_is_some(void **state)
{
    struct image image = {.may_write = 2, .errnum = ENOSPC};
    struct disk_writer *writer = start(&image);

    (void)state;
    push(writer, 1, 1, 0);
    push(writer, 2, 1, 0);
    await(&image, &image.tried, 3);
    assert_true(disk_writer_is_paused(writer));
    assert_int_equal(image.done, 0);
    set(&image, 2, 0);
    assert_true(disk_writer_wait(writer, 0, SOON_MS));
    assert_false(disk_writer_is_paused(writer));
    assert_int_equal(image.order[0], 1);
    assert_int_equal(image.order[1], 2);
    assert_int_equal(image.pauses, 1);
    assert_int_equal(image.resumes, 1);
    end(&image, writer);
}

static void test_what_failed_is_never_taken_for_written(void **state)
{
    struct image image = {.errnum = EIO};
    struct disk_writer *writer = start(&image);
    struct error err = {0};
    uint64_t sequence;

    (void)state;
    push(writer, 1, 1, 30);
    push(writer, 2, 1, 31);
    set(&image, 1, EIO);
    assert_true(disk_writer_wait(writer, 0, SOON_MS));
    assert_int_equal(disk_writer_check(writer, &err), -1);
    assert_int_equal(err.errnum, EIO);
    set(&image, 5, 0);
    push(writer, 3, 1, 32);
    assert_int_equal(disk_writer_left(writer, 33, &sequence), 2 * CHUNK_SIZE);
    assert_int_equal(sequence, 30);
    disk_writer_stop(writer);
    assert_int_equal(image.failures, 1);
    assert_int_equal(image.tried, 1);
    end(&image, writer);
}

static void test_stopping_writes_what_is_left_but_not_what_finds_no_room(void **state)
{
    struct image image = {.may_write = 9};
    struct disk_writer *writer = start(&image);
    uint64_t sequence;

    (void)state;
    push(writer, 1, 1, 0);
    push(writer, 2, 1, 1);
    disk_writer_stop(writer);
    assert_int_equal(image.done, 2);
    end(&image, writer);

    image = (struct image){.may_write = 9, .errnum = ENOSPC};
    writer = start(&image);
    push(writer, 1, 1, 8);
    await(&image, &image.pauses, 1);
    disk_writer_stop(writer);
    disk_writer_left(writer, 9, &sequence);
    assert_int_equal(sequence, 8);
    assert_int_equal(image.done, 0);
    assert_int_equal(image.failures, 0);
    end(&image, writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writes_are_done_in_order_and_are_told_of_until_then),
        cmocka_unit_test(test_only_ranges_that_meet_what_waits_are_touched),
        cmocka_unit_test(test_memory_that_was_written_is_used_again),
        cmocka_unit_test(test_a_write_without_room_is_tried_until_there_is_some),
        cmocka_unit_test(test_what_failed_is_never_taken_for_written),
        cmocka_unit_test(test_stopping_writes_what_is_left_but_not_what_finds_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
