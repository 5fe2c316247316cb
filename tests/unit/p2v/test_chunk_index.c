/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The pool's index remembers where contents are, forgets rather than fails, and survives.
 */
#include "base/bytes.h"
#include "p2v/server/chunk_index.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SLOTS 1600u
#define THREADS 4

struct fixture {
    char path[64];
    int folder_fd;
    struct chunk_index *index;
    struct error err;
};

static void open_index(struct fixture *fixture, uint64_t slots)
{
    chunk_index_close(fixture->index);
    fixture->index = chunk_index_open(fixture->folder_fd, "index", slots, &fixture->err);
    if (!fixture->index)
        fail_msg("%s", fixture->err.text);
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    snprintf(fixture->path, sizeof(fixture->path), "/tmp/rehost-index-XXXXXX");
    assert_non_null(mkdtemp(fixture->path));
    fixture->folder_fd = open(fixture->path, O_RDONLY | O_DIRECTORY);
    open_index(fixture, SLOTS);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    chunk_index_close(fixture->index);
    unlinkat(fixture->folder_fd, "index", 0);
    close(fixture->folder_fd);
    assert_int_equal(rmdir(fixture->path), 0);
    free(fixture);
    return 0;
}

static struct chunk_name name_of(uint64_t number)
{
    struct chunk_name name;

    chunk_name_compute(&number, sizeof(number), &name);
    return name;
}

static void add(struct fixture *fixture, uint64_t number, uint64_t chunk)
{
    struct chunk_name name = name_of(number);
    struct chunk_place place = {.machine = 0xfedcba98, .disk = 0x7654, .chunk = chunk};

    chunk_index_add(fixture->index, &name, &place);
}

static bool find(struct fixture *fixture, uint64_t number, uint64_t *chunk)
{
    struct chunk_name name = name_of(number);
    struct chunk_place place;

    if (!chunk_index_find(fixture->index, &name, &place))
        return false;
    assert_int_equal(place.machine, 0xfedcba98);
    assert_int_equal(place.disk, 0x7654);
    *chunk = place.chunk;
    return true;
}

static void test_index_finds_what_was_added_also_later(void **state)
{
    struct fixture *fixture = *state;
    uint64_t chunk;

    for (uint64_t i = 0; i < 500; i++)
        add(fixture, i, i << 37 | i);
    for (unsigned round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < 500; i++) {
            assert_true(find(fixture, i, &chunk));
            assert_int_equal(chunk, i << 37 | i);
        }
        assert_false(find(fixture, 500, &chunk));
        open_index(fixture, SLOTS);
    }
}

static void test_index_takes_the_newest_place(void **state)
{
    struct fixture *fixture = *state;
    uint64_t chunk;

    add(fixture, 1, 10);
    add(fixture, 1, 11);
    assert_true(find(fixture, 1, &chunk));
    assert_int_equal(chunk, 11);
}

static void test_index_forgets_old_names_when_it_is_full(void **state)
{
    struct fixture *fixture = *state;
    unsigned found = 0;
    uint64_t chunk;

    for (uint64_t i = 0; i < 20 * SLOTS; i++) {
        add(fixture, i, i);
        assert_true(find(fixture, i, &chunk)); /* the newest is always there */
    }
    for (uint64_t i = 0; i < 20 * SLOTS; i++)
        found += find(fixture, i, &chunk);
    assert_int_equal(found, SLOTS);
}

static void test_index_of_another_size_or_damaged_is_replaced(void **state)
{
    struct fixture *fixture = *state;
    uint64_t chunk;
    int fd;

    add(fixture, 1, 10);
    open_index(fixture, 2 * SLOTS);
    assert_false(find(fixture, 1, &chunk));
    add(fixture, 1, 10);
    fd = openat(fixture->folder_fd, "index", O_WRONLY);
    assert_int_equal(pwrite(fd, "x", 1, 3), 1);
    close(fd);
    open_index(fixture, 2 * SLOTS);
    assert_false(find(fixture, 1, &chunk));
}

static void test_index_that_cannot_be_read_knows_nothing(void **state)
{
    struct fixture *fixture = *state;
    uint64_t chunk;
    int fd;

    add(fixture, 1, 10);
    fd = openat(fixture->folder_fd, "index", O_WRONLY);
    assert_int_equal(ftruncate(fd, 100), 0);
    close(fd);
    assert_false(find(fixture, 1, &chunk));
    add(fixture, 1, 11); /* beside what else may have been there */
    assert_false(find(fixture, 1, &chunk));
}

/* As a server does that was started anew: what is filled is looked up in the file's map. */
static void test_index_that_is_opened_again_still_adds_beside_what_is_there(void **state)
{
    struct fixture *fixture = *state;
    uint64_t chunk;

    for (uint64_t i = 0; i < 600; i++) {
        if (i % 100 == 0)
            open_index(fixture, 16 * SLOTS);
        add(fixture, i, i);
    }
    for (uint64_t i = 0; i < 600; i++) {
        assert_true(find(fixture, i, &chunk));
        assert_int_equal(chunk, i);
    }
}

static void test_index_holds_no_name_of_zeroes_and_no_chunk_beyond_48_bits(void **state)
{
    struct fixture *fixture = *state;
    struct chunk_name none = {{0}};
    struct chunk_place place = {.machine = 1};
    uint64_t chunk;

    chunk_index_add(fixture->index, &none, &place);
    assert_false(chunk_index_find(fixture->index, &none, &place));
    add(fixture, 1, (uint64_t)1 << 48);
    assert_false(find(fixture, 1, &chunk));
}

static void test_index_of_no_or_too_many_slots_is_refused(void **state)
{
    struct fixture *fixture = *state;

    assert_null(chunk_index_open(fixture->folder_fd, "other", 0, &fixture->err));
    assert_null(chunk_index_open(fixture->folder_fd, "other", UINT64_MAX, &fixture->err));
    assert_int_equal(fixture->err.errnum, EINVAL);
    chunk_index_close(NULL);
}

static void *add_many(void *argument)
{
    for (uint64_t i = 0; i < 200; i++)
        add(argument, i, i);
    return NULL;
}

static void test_index_is_used_by_several_threads(void **state)
{
    struct fixture *fixture = *state;
    pthread_t threads[THREADS];
    uint64_t chunk;

    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, fixture), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (uint64_t i = 0; i < 200; i++)
        assert_true(find(fixture, i, &chunk));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_index_finds_what_was_added_also_later, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_index_takes_the_newest_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_index_forgets_old_names_when_it_is_full, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_index_of_another_size_or_damaged_is_replaced, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_index_that_cannot_be_read_knows_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            test_index_that_is_opened_again_still_adds_beside_what_is_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_index_holds_no_name_of_zeroes_and_no_chunk_beyond_48_bits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_index_of_no_or_too_many_slots_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_index_is_used_by_several_threads, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
