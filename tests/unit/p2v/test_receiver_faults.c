/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A receiver without space, fed with lies, killed at any moment, or with a huge disk.
 */
#include "receiver_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define CRASHES 30
#define HUGE_SIZE ((uint64_t)2 << 40) /* a byte for each chunk would be 32 MiB */

static void test_no_space_loses_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct rlimit limit, full;
    int result;

    open_receiver(fixture);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, SIG_IGN);
    full = limit;
    full.rlim_cur = 4 * MIB;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
    result = send_disk(fixture, 4);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(result, -1);
    assert_int_equal(fixture->err.errnum, EFBIG); /* what this limit gives instead of ENOSPC */
    assert_ok(fixture, commit(fixture));
    assert_ok(fixture, send_disk(fixture, 4));
    finish(fixture, 1);
}

static void test_a_name_that_is_a_reserved_record_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct chunk_name name = {{0}};
    uint8_t wanted;

    open_receiver(fixture);
    assert_int_equal(receiver_offer(fixture->receiver, 0, 1, &name, &wanted, &fixture->err), -1);
    assert_int_equal(fixture->err.errnum, EPROTO);
    memset(&name, 0xff, sizeof(name) - 1);
    name.bytes[31] = 2;
    assert_int_equal(receiver_offer(fixture->receiver, 0, 1, &name, &wanted, &fixture->err), -1);
    assert_int_equal(fixture->err.errnum, EPROTO);
}

static void test_chunks_outside_of_the_disk_are_refused(void **state)
{
    struct fixture *fixture = *state;
    struct chunk_name names[2] = {{{1}}, {{2}}};
    uint8_t wanted, data[2 * CHUNK_SIZE] = {0};

    open_receiver(fixture);
    assert_int_equal(receiver_offer(fixture->receiver, CHUNKS - 1, 2, names, &wanted, NULL), -1);
    assert_int_equal(receiver_run(fixture->receiver, 0, CHUNKS + 1, CHUNK_ZERO, NULL), -1);
    assert_int_equal(receiver_run(fixture->receiver, UINT64_MAX, 2, CHUNK_ZERO, NULL), -1);
    assert_int_equal(
        receiver_store(fixture->receiver, CHUNKS - 1, 1, names, data, CHUNK_SIZE, NULL), -1);
    assert_int_equal(receiver_store(fixture->receiver, 3, 2, names, data, sizeof(data) - 1, NULL),
                     -1);
}

static void test_what_was_withdrawn_agrees_with_no_digest(void **state)
{
    struct fixture *fixture = *state;
    struct disksum nothing = {0}, digest;
    struct chunk_name name;
    uint8_t wanted;

    open_receiver(fixture);
    assert_ok(fixture, offer(fixture, 0, 1));
    assert_ok(fixture, commit(fixture));
    name_content(0, 12345, &name);
    assert_ok(fixture, receiver_offer(fixture->receiver, 0, 1, &name, &wanted, &fixture->err));
    assert_int_equal(wanted, 1); /* and is never sent */
    receiver_digest(fixture->receiver, &digest);
    assert_false(disksum_is_equal(&digest, &nothing));
    assert_int_equal(receiver_finish(fixture->receiver, 1, &fixture->err), -1);
    assert_non_null(strstr(fixture->err.text, "never received"));
}

struct committer {
    struct fixture *fixture;
    pthread_t thread;
};

static void *run_commit(void *argument)
{
    struct committer *committer = argument;

    receiver_commit(committer->fixture->receiver, NULL);
    return NULL;
}

/* Passes over a disk that changes, commits in another thread, until killed. */
static void receive_until_killed(struct fixture *fixture, unsigned seed)
{
    struct committer committer = {.fixture = fixture};

    open_receiver(fixture);
    for (unsigned pass = 0;; pass++) {
        receiver_seal(fixture->receiver);
        pthread_create(&committer.thread, NULL, run_commit, &committer);
        make_disk(&fixture->disk, 1 + (seed + pass) % 4);
        if (send_disk(fixture, 1000) != 0)
            _exit(1);
        pthread_join(committer.thread, NULL);
    }
}

static void test_a_kill_at_any_moment_costs_nothing_but_time(void **state)
{
    struct fixture *fixture = *state;

    fixture->options.index = NULL;
    srandom(1);
    for (unsigned crash = 0; crash < CRASHES; crash++) {
        pid_t child = fork();
        int status;

        if (child == 0)
            receive_until_killed(fixture, crash);
        usleep((useconds_t)(random() % 20000));
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        if (crash % 3)
            continue;
        make_disk(&fixture->disk, 1 + crash % 4);
        open_receiver(fixture);
        assert_ok(fixture, send_disk(fixture, 6));
        finish(fixture, 1);
    }
}

static long peak_kib(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static void test_a_huge_disk_with_hardly_anything_on_it_costs_hardly_any_memory(void **state)
{
    struct fixture *fixture = *state;
    uint64_t chunks = HUGE_SIZE / CHUNK_SIZE;
    long before_kib = peak_kib();

    fixture->options.size_bytes = HUGE_SIZE;
    open_receiver(fixture);
    assert_ok(fixture, receiver_run(fixture->receiver, 0, chunks, CHUNK_ZERO, &fixture->err));
    assert_ok(fixture,
              receiver_run(fixture->receiver, chunks / 2, 1000, CHUNK_SKIPPED, &fixture->err));
    for (uint64_t chunk = 7; chunk < chunks; chunk += MANIFEST_BLOCK_CHUNKS)
        assert_ok(fixture,
                  receiver_run(fixture->receiver, chunk, 1, CHUNK_UNREADABLE, &fixture->err));
    assert_ok(fixture, receiver_finish(fixture->receiver, 1, &fixture->err));
    assert_true(peak_kib() - before_kib < (long)(HUGE_SIZE / CHUNK_SIZE / 2 >> 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_huge_disk_with_hardly_anything_on_it_costs_hardly_any_memory),
        TEST(test_no_space_loses_nothing),
        TEST(test_a_name_that_is_a_reserved_record_is_refused),
        TEST(test_chunks_outside_of_the_disk_are_refused),
        TEST(test_what_was_withdrawn_agrees_with_no_digest),
        TEST(test_a_kill_at_any_moment_costs_nothing_but_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
