/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The ledger says what was set, its file only what was committed, and a withdrawn name is out of
 * the file before the call returns.
 */
#include "base/bytes.h"
#include "base/io.h"
#include "formats/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define CHUNKS 5000u
#define DISK_SIZE (CHUNKS * (uint64_t)CHUNK_SIZE)
#define NAME "disk0.ledger"
#define HEADER 4096u
#define RECORD 32u

struct fixture {
    char path[64];
    int folder_fd;
    struct ledger *ledger;
    struct error err;
};

static const uint8_t disk_id[32] = {1, 2, 3};

/* Instead of the system's: how often, not that it works. */
static unsigned syncs;

int fdatasync(int fildes)
{
    (void)fildes;
    syncs++;
    return 0;
}

#define assert_ok(fixture, call)                                                                   \
    do {                                                                                           \
        if ((call) != 0)                                                                           \
            fail_msg("%s", (fixture)->err.text);                                                   \
    } while (0)

static void open_size(struct fixture *fixture, uint64_t size_bytes)
{
    fixture->ledger = ledger_open(fixture->folder_fd, NAME, size_bytes, disk_id, &fixture->err);
    if (!fixture->ledger)
        fail_msg("%s", fixture->err.text);
}

static void reopen(struct fixture *fixture)
{
    ledger_close(fixture->ledger);
    open_size(fixture, DISK_SIZE);
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    snprintf(fixture->path, sizeof(fixture->path), "%s/rehost-ledger-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(fixture->path));
    fixture->folder_fd = open(fixture->path, O_RDONLY | O_DIRECTORY);
    open_size(fixture, DISK_SIZE);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    ledger_close(fixture->ledger);
    unlinkat(fixture->folder_fd, NAME, 0);
    close(fixture->folder_fd);
    assert_int_equal(rmdir(fixture->path), 0);
    free(fixture);
    return 0;
}

static struct ledger_entry named(uint8_t name)
{
    struct ledger_entry entry = {.state = LEDGER_DATA};

    memset(entry.name.bytes, name, sizeof(entry.name));
    return entry;
}

static void set(struct fixture *fixture, uint64_t index, struct ledger_entry entry)
{
    assert_ok(fixture, ledger_set(fixture->ledger, index, &entry, &fixture->err));
}

static struct ledger_entry get(struct fixture *fixture, uint64_t index)
{
    struct ledger_entry entry;

    assert_ok(fixture, ledger_get(fixture->ledger, index, 1, &entry, &fixture->err));
    return entry;
}

static void commit(struct fixture *fixture)
{
    ledger_seal(fixture->ledger);
    assert_ok(fixture, ledger_commit(fixture->ledger, &fixture->err));
}

/* What a crash now would leave of a chunk. */
static enum ledger_state state_in_file(struct fixture *fixture, uint64_t index)
{
    struct ledger *ledger =
        ledger_open(fixture->folder_fd, NAME, DISK_SIZE, disk_id, &fixture->err);
    struct ledger_entry entry;

    assert_non_null(ledger);
    assert_int_equal(ledger_get(ledger, index, 1, &entry, NULL), 0);
    ledger_close(ledger);
    return entry.state;
}

static void test_ledger_begins_with_zeroes(void **state)
{
    struct fixture *fixture = *state;
    uint64_t index;

    assert_int_equal(ledger_chunk_count(fixture->ledger), CHUNKS);
    assert_int_equal(get(fixture, 0).state, LEDGER_ZERO);
    assert_int_equal(get(fixture, CHUNKS - 1).state, LEDGER_ZERO);
    assert_ok(fixture, ledger_next(fixture->ledger, 0, CHUNKS, &index, &fixture->err));
    assert_int_equal(index, CHUNKS);
}

static void test_ledger_gives_what_was_set_before_and_after_a_commit(void **state)
{
    struct fixture *fixture = *state;
    struct ledger_entry entries[3];

    set(fixture, 700, named(1));
    set(fixture, 701, (struct ledger_entry){.state = LEDGER_UNREADABLE});
    set(fixture, 702, (struct ledger_entry){.state = LEDGER_OTHER});
    for (unsigned round = 0; round < 3; round++) {
        assert_ok(fixture, ledger_get(fixture->ledger, 700, 3, entries, &fixture->err));
        assert_int_equal(entries[0].state, LEDGER_DATA);
        assert_memory_equal(entries[0].name.bytes, named(1).name.bytes, 32);
        assert_int_equal(entries[1].state, LEDGER_UNREADABLE);
        assert_int_equal(entries[2].state, LEDGER_OTHER);
        round == 0 ? commit(fixture) : reopen(fixture);
    }
}

static void test_ledger_forgets_what_was_not_committed(void **state)
{
    struct fixture *fixture = *state;

    set(fixture, 1, named(1));
    commit(fixture);
    set(fixture, 1, named(2));
    set(fixture, 2, named(2));
    assert_int_equal(ledger_pending(fixture->ledger), 2);
    ledger_seal(fixture->ledger);
    assert_int_equal(ledger_pending(fixture->ledger), 0);
    assert_int_equal(get(fixture, 2).state, LEDGER_DATA);
    reopen(fixture);
    assert_memory_equal(get(fixture, 1).name.bytes, named(1).name.bytes, 32);
    assert_int_equal(get(fixture, 2).state, LEDGER_ZERO);
}

static void test_ledger_commits_only_what_was_sealed(void **state)
{
    struct fixture *fixture = *state;

    set(fixture, 1, named(1));
    ledger_seal(fixture->ledger);
    set(fixture, 1, named(2));
    set(fixture, 2, named(2));
    assert_ok(fixture, ledger_commit(fixture->ledger, &fixture->err));
    assert_memory_equal(get(fixture, 1).name.bytes, named(2).name.bytes, 32);
    reopen(fixture);
    assert_memory_equal(get(fixture, 1).name.bytes, named(1).name.bytes, 32);
    assert_int_equal(get(fixture, 2).state, LEDGER_ZERO);
}

static void test_ledger_zero_is_in_the_file_at_once(void **state)
{
    struct fixture *fixture = *state;

    for (unsigned i = 10; i < 20; i++)
        set(fixture, i, named(1));
    commit(fixture);
    set(fixture, 15, named(2)); /* waits */
    set(fixture, 16, named(3));
    ledger_seal(fixture->ledger);
    set(fixture, 17, named(4));
    assert_ok(fixture, ledger_set_zero(fixture->ledger, 12, 6, &fixture->err));
    for (unsigned i = 12; i < 18; i++) {
        assert_int_equal(get(fixture, i).state, LEDGER_ZERO);
        assert_int_equal(state_in_file(fixture, i), LEDGER_ZERO);
    }
    commit(fixture); /* what waited is gone */
    reopen(fixture);
    assert_int_equal(get(fixture, 11).state, LEDGER_DATA);
    assert_int_equal(get(fixture, 15).state, LEDGER_ZERO);
    assert_int_equal(get(fixture, 17).state, LEDGER_ZERO);
    assert_int_equal(get(fixture, 18).state, LEDGER_DATA);
}

static void test_ledger_unreadable_is_in_the_file_at_once(void **state)
{
    struct fixture *fixture = *state;

    set(fixture, 1000, named(1));
    assert_ok(fixture, ledger_set_unreadable(fixture->ledger, 0, 2000, &fixture->err));
    commit(fixture);
    assert_int_equal(state_in_file(fixture, 0), LEDGER_UNREADABLE);
    assert_int_equal(state_in_file(fixture, 1000), LEDGER_UNREADABLE);
    assert_int_equal(state_in_file(fixture, 1999), LEDGER_UNREADABLE);
    assert_int_equal(state_in_file(fixture, 2000), LEDGER_ZERO);
}

static void test_ledger_syncs_what_it_has_to_and_no_more(void **state)
{
    struct fixture *fixture = *state;

    syncs = 0;
    set(fixture, 1, named(1));
    commit(fixture);
    assert_int_equal(syncs, 1);
    commit(fixture); /* nothing is new */
    assert_ok(fixture, ledger_forget(fixture->ledger, 2, 10, NULL, &fixture->err));
    assert_ok(fixture, ledger_set_zero(fixture->ledger, 2, 10, &fixture->err));
    commit(fixture);
    assert_int_equal(syncs, 1);
    assert_ok(fixture, ledger_set_unreadable(fixture->ledger, 2, 10, &fixture->err));
    assert_int_equal(syncs, 1); /* no name ends */
    commit(fixture);
    assert_int_equal(syncs, 2);
    assert_ok(fixture, ledger_forget(fixture->ledger, 0, 12, NULL, &fixture->err));
    assert_int_equal(syncs, 3);
    assert_ok(fixture, ledger_set_zero(fixture->ledger, 0, 12, &fixture->err));
    assert_int_equal(syncs, 3);
    commit(fixture);
    assert_int_equal(syncs, 4);
}

static void test_ledger_forget_withdraws_names_from_the_file(void **state)
{
    struct fixture *fixture = *state;

    set(fixture, 5, named(5));
    set(fixture, 6, named(6));
    set(fixture, 7, (struct ledger_entry){.state = LEDGER_UNREADABLE});
    commit(fixture);
    set(fixture, 8, named(8)); /* claimed by nothing that lasts */
    assert_ok(fixture, ledger_forget(fixture->ledger, 6, 10, NULL, &fixture->err));
    assert_int_equal(state_in_file(fixture, 5), LEDGER_DATA);
    assert_int_equal(state_in_file(fixture, 6), LEDGER_OTHER);
    assert_int_equal(state_in_file(fixture, 7), LEDGER_OTHER);
    assert_int_equal(state_in_file(fixture, 8), LEDGER_ZERO);
    for (unsigned i = 6; i < 9; i++)
        assert_int_equal(get(fixture, i).state, LEDGER_OTHER);
    assert_int_equal(get(fixture, 9).state, LEDGER_ZERO);
}

/* The moment between sealing and committing, when the image is being synced. */
static void test_ledger_forget_reaches_what_is_sealed(void **state)
{
    struct fixture *fixture = *state;

    set(fixture, 5, named(5));
    ledger_seal(fixture->ledger);
    assert_ok(fixture, ledger_forget(fixture->ledger, 5, 1, NULL, &fixture->err));
    assert_ok(fixture, ledger_commit(fixture->ledger, &fixture->err));
    assert_int_equal(state_in_file(fixture, 5), LEDGER_ZERO);
    assert_int_equal(get(fixture, 5).state, LEDGER_OTHER);
}

static void test_ledger_forget_spares_what_is_not_meant(void **state)
{
    struct fixture *fixture = *state;
    const uint8_t which[2] = {1 << 2, 1 << 1}; /* 2 and 9 */

    for (unsigned i = 100; i < 110; i++)
        set(fixture, i, named(1));
    commit(fixture);
    assert_ok(fixture, ledger_forget(fixture->ledger, 100, 10, which, &fixture->err));
    for (unsigned i = 100; i < 110; i++)
        assert_int_equal(get(fixture, i).state, i == 102 || i == 109 ? LEDGER_OTHER : LEDGER_DATA);
}

static void test_ledger_next_finds_what_is_not_zero_wherever_it_is(void **state)
{
    struct fixture *fixture = *state;
    uint64_t index;

    set(fixture, 3000, named(1));
    commit(fixture);
    set(fixture, 2000, named(1));
    ledger_seal(fixture->ledger);
    set(fixture, 1000, named(1));
    assert_ok(fixture, ledger_next(fixture->ledger, 0, CHUNKS, &index, NULL));
    assert_int_equal(index, 1000);
    assert_ok(fixture, ledger_next(fixture->ledger, 1001, CHUNKS - 1001, &index, NULL));
    assert_int_equal(index, 2000);
    assert_ok(fixture, ledger_next(fixture->ledger, 2001, CHUNKS - 2001, &index, NULL));
    assert_int_equal(index, 3000);
    assert_ok(fixture, ledger_next(fixture->ledger, 3001, 1000, &index, NULL));
    assert_int_equal(index, 4001);
}

struct visited {
    uint64_t indexes[8];
    size_t count, most;
};

static int note(void *context, uint64_t index, const struct ledger_entry *entry, struct error *err)
{
    struct visited *visited = context;

    assert_int_not_equal(entry->state, LEDGER_ZERO);
    visited->indexes[visited->count++] = index;
    return visited->count == visited->most ? error_set(err, 0, "enough") : 0;
}

static void test_ledger_visit_goes_through_all_in_order(void **state)
{
    struct fixture *fixture = *state;
    struct visited visited = {.most = 8}, ended = {.most = 2};

    set(fixture, CHUNKS - 1, named(1));
    set(fixture, 4, named(1));
    commit(fixture);
    set(fixture, 2, (struct ledger_entry){.state = LEDGER_OTHER});
    assert_ok(fixture, ledger_visit(fixture->ledger, note, &visited, &fixture->err));
    assert_int_equal(visited.count, 3);
    assert_int_equal(visited.indexes[0], 2);
    assert_int_equal(visited.indexes[1], 4);
    assert_int_equal(visited.indexes[2], CHUNKS - 1);
    assert_int_equal(ledger_visit(fixture->ledger, note, &ended, &fixture->err), -1);
    assert_int_equal(ended.count, 2);
}

static void test_ledger_of_a_huge_disk_costs_nothing_while_it_is_empty(void **state)
{
    struct fixture *fixture = *state;
    uint64_t index, chunks = MANIFEST_MAX_SIZE / CHUNK_SIZE;
    struct stat status;

    ledger_close(fixture->ledger);
    unlinkat(fixture->folder_fd, NAME, 0);
    open_size(fixture, MANIFEST_MAX_SIZE);
    set(fixture, chunks - 1, named(1));
    commit(fixture);
    assert_ok(fixture, ledger_next(fixture->ledger, 0, chunks, &index, &fixture->err));
    assert_int_equal(index, chunks - 1);
    assert_ok(fixture, ledger_set_zero(fixture->ledger, 0, chunks, &fixture->err));
    assert_int_equal(get(fixture, chunks - 1).state, LEDGER_ZERO);
    assert_int_equal(fstatat(fixture->folder_fd, NAME, &status, 0), 0);
    assert_true(status.st_blocks * 512 < (off_t)1 << 20);
}

static void test_ledger_keeps_tens_of_thousands_waiting(void **state)
{
    struct fixture *fixture = *state;

    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < CHUNKS; i++)
            set(fixture, (i * 7919) % CHUNKS, named((uint8_t)(1 + (i + round) % 200)));
        assert_int_equal(ledger_pending(fixture->ledger), CHUNKS);
        if (round < 2)
            ledger_seal(fixture->ledger);
    }
    commit(fixture);
    reopen(fixture);
    for (unsigned i = 0; i < CHUNKS; i++)
        assert_memory_equal(get(fixture, (i * 7919) % CHUNKS).name.bytes,
                            named((uint8_t)(1 + (i + 2) % 200)).name.bytes, 32);
}

static void test_ledger_refuses_names_that_are_reserved(void **state)
{
    struct fixture *fixture = *state;
    struct ledger_entry entry = named(0xff);

    assert_true(ledger_can_hold(&entry.name));
    set(fixture, 0, entry);
    entry.name.bytes[31] = LEDGER_OTHER;
    assert_false(ledger_can_hold(&entry.name));
    assert_int_equal(ledger_set(fixture->ledger, 0, &entry, &fixture->err), -1);
    assert_int_equal(fixture->err.errnum, EINVAL);
    memset(&entry.name, 0, sizeof(entry.name));
    assert_int_equal(ledger_set(fixture->ledger, 0, &entry, &fixture->err), -1);
}

static void test_ledger_refuses_chunks_outside_of_the_disk(void **state)
{
    struct fixture *fixture = *state;
    struct ledger_entry entry = named(1);
    uint64_t index;

    assert_int_equal(ledger_set(fixture->ledger, CHUNKS, &entry, &fixture->err), -1);
    assert_int_equal(fixture->err.errnum, ERANGE);
    assert_int_equal(ledger_get(fixture->ledger, CHUNKS, 1, &entry, NULL), -1);
    assert_int_equal(ledger_set_zero(fixture->ledger, 1, UINT64_MAX, NULL), -1);
    assert_int_equal(ledger_set_unreadable(fixture->ledger, 1, CHUNKS, NULL), -1);
    assert_int_equal(ledger_forget(fixture->ledger, CHUNKS, 1, NULL, NULL), -1);
    assert_int_equal(ledger_next(fixture->ledger, 1, CHUNKS, &index, NULL), -1);
}

static void assert_stale(struct fixture *fixture, uint64_t size_bytes, const uint8_t id[32])
{
    assert_null(ledger_open(fixture->folder_fd, NAME, size_bytes, id, &fixture->err));
    assert_int_equal(fixture->err.errnum, ESTALE);
}

static void test_ledger_of_another_disk_is_stale(void **state)
{
    struct fixture *fixture = *state;
    const uint8_t other[32] = {9};

    assert_stale(fixture, DISK_SIZE, other);
    assert_stale(fixture, DISK_SIZE - 1, disk_id);
    assert_stale(fixture, DISK_SIZE + 1, disk_id);
}

static void test_ledger_with_a_damaged_header_is_stale(void **state)
{
    struct fixture *fixture = *state;
    int fd = openat(fixture->folder_fd, NAME, O_RDWR);
    uint8_t byte;

    for (unsigned at = 0; at < HEADER; at += at < 96 ? 1 : 500) {
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 1;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        assert_stale(fixture, DISK_SIZE, disk_id);
        byte ^= 1;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    assert_int_equal(ftruncate(fd, HEADER + CHUNKS * RECORD - 1), 0);
    assert_stale(fixture, DISK_SIZE, disk_id);
    close(fd);
}

static void test_ledger_file_is_as_documented(void **state)
{
    struct fixture *fixture = *state;
    int fd = openat(fixture->folder_fd, NAME, O_RDONLY);
    uint8_t header[64], record[2 * RECORD];

    set(fixture, 3, named(7));
    assert_ok(fixture, ledger_set_unreadable(fixture->ledger, 4, 1, &fixture->err));
    commit(fixture);
    assert_int_equal(pread(fd, header, sizeof(header), 0), sizeof(header));
    assert_memory_equal(header, "REHOSTLG", 8);
    assert_int_equal(load_le32(header + 8), 1);
    assert_int_equal(load_le64(header + 16), DISK_SIZE);
    assert_int_equal(load_le32(header + 24), CHUNK_SIZE);
    assert_memory_equal(header + 32, disk_id, 32);
    assert_int_equal(pread(fd, record, sizeof(record), HEADER + 3 * RECORD), sizeof(record));
    assert_memory_equal(record, named(7).name.bytes, RECORD);
    assert_memory_equal(record + RECORD, named(0xff).name.bytes, RECORD - 1);
    assert_int_equal(record[2 * RECORD - 1], 2);
    close(fd);
}

static void test_ledger_of_no_disk_is_refused(void **state)
{
    struct fixture *fixture = *state;

    assert_null(ledger_open(fixture->folder_fd, "other", 0, disk_id, &fixture->err));
    assert_null(
        ledger_open(fixture->folder_fd, "other", MANIFEST_MAX_SIZE + 1, disk_id, &fixture->err));
    ledger_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ledger_begins_with_zeroes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ledger_gives_what_was_set_before_and_after_a_commit,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ledger_forgets_what_was_not_committed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_ledger_commits_only_what_was_sealed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_ledger_zero_is_in_the_file_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ledger_unreadable_is_in_the_file_at_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_ledger_syncs_what_it_has_to_and_no_more, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_ledger_forget_withdraws_names_from_the_file, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_ledger_forget_reaches_what_is_sealed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_ledger_forget_spares_what_is_not_meant, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_ledger_next_finds_what_is_not_zero_wherever_it_is,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ledger_visit_goes_through_all_in_order, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_ledger_of_a_huge_disk_costs_nothing_while_it_is_empty,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ledger_keeps_tens_of_thousands_waiting, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_ledger_refuses_names_that_are_reserved, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_ledger_refuses_chunks_outside_of_the_disk, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_ledger_of_another_disk_is_stale, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ledger_with_a_damaged_header_is_stale, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_ledger_file_is_as_documented, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ledger_of_no_disk_is_refused, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
