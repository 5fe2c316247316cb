/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The server's memory: tokens that are used up, agents that wait, machines that keep their names,
 * with several connections at once and after a kill -9.
 */
#include "base/own.h"
#include "base/text.h"
#include "p2v/machine.h"
#include "p2v/server/database.h"
#include "p2v/server/machine_name.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char folder[64];
    struct pool pool;
    struct database *database;
    int64_t now; /* of the injected clock */
};

static int64_t tell_time(void *context)
{
    return *(int64_t *)context;
}

static void reopen(struct place *place)
{
    struct error err = {0};
    database_close(place->database);
    place->database = database_open(&place->pool, POOL_SERVE, &err);
    if (!place->database)
        fail_msg("%s", err.text);
    database_set_clock(place->database, tell_time, &place->now);
}

static int start(void **state)
{
    struct place *place = memory_new(1, sizeof(*place));
    snprintf(place->folder, sizeof(place->folder), "/tmp/rehost-test.XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    assert_int_equal(pool_open(&place->pool, place->folder, POOL_SERVE, NULL), 0);
    place->now = 1000000;
    reopen(place);
    *state = place;
    return 0;
}

static int end(void **state)
{
    struct place *place = *state;
    database_close(place->database);
    pool_fini(&place->pool);
    folder_remove(AT_FDCWD, place->folder, NULL);
    free(place);
    return 0;
}

/* An agent's identity; the first five bytes make the code. */
static const uint8_t *identity_of(unsigned agent)
{
    static uint8_t identities[4][WIRE_IDENTITY_SIZE];
    static unsigned next;
    uint8_t *identity = identities[next++ % 4];
    memset(identity, 0, WIRE_IDENTITY_SIZE);
    identity[0] = (uint8_t)agent;
    identity[1] = (uint8_t)(agent >> 8);
    identity[31] = 1;
    return identity;
}

static void create(struct place *place, const struct token_options *options, char *token, char *id)
{
    struct error err = {0};
    if (token_create(place->database, options, token, id, &err) != 0)
        fail_msg("%s", err.text);
}

static enum admission use(struct place *place, unsigned agent, const char *token)
{
    enum admission admission;
    char reason[32];
    struct error err = {0};
    if (agent_use_token(place->database, identity_of(agent), token, &admission, reason, &err) != 0)
        fail_msg("%s", err.text);
    return admission;
}

/* The admission must be REFUSED; why, for the server's log. */
static void assert_refused(struct place *place, unsigned agent, const char *token, const char *why)
{
    enum admission admission = ADMISSION_GRANTED;
    char reason[32];
    assert_int_equal(
        agent_use_token(place->database, identity_of(agent), token, &admission, reason, NULL), 0);
    assert_int_equal(admission, ADMISSION_REFUSED);
    assert_string_equal(reason, why);
}

static enum admission known(struct place *place, unsigned agent)
{
    enum admission admission;
    assert_int_equal(agent_is_known(place->database, identity_of(agent), &admission, NULL), 0);
    return admission;
}

static uint32_t claim(struct place *place, unsigned agent, const char *wanted, char name[64])
{
    uint32_t number;
    bool is_new;
    struct error err = {0};
    if (machine_claim(place->database, identity_of(agent), wanted, NULL, NULL, &number, name,
                      &is_new, &err) != 0)
        fail_msg("%s", err.text);
    return number;
}

/* --- tokens --- */

static void test_token_lets_one_agent_in_once(void **state)
{
    struct place *place = *state;
    char token[WIRE_TOKEN_LENGTH + 1], id[16];
    create(place, NULL, token, id);
    assert_int_equal(strlen(token), WIRE_TOKEN_LENGTH);
    assert_int_equal(strlen(id), 5);
    assert_int_equal(known(place, 1), ADMISSION_NEEDED);
    assert_int_equal(use(place, 1, token), ADMISSION_GRANTED);
    assert_int_equal(known(place, 1), ADMISSION_GRANTED);
    assert_refused(place, 2, token, "used up");
    assert_int_equal(known(place, 2), ADMISSION_NEEDED);
}

static void test_token_of_a_known_agent_is_not_used_up(void **state)
{
    struct place *place = *state;
    char first[WIRE_TOKEN_LENGTH + 1], second[WIRE_TOKEN_LENGTH + 1], id[16];
    create(place, NULL, first, id);
    create(place, NULL, second, id);
    assert_int_equal(use(place, 1, first), ADMISSION_GRANTED);
    assert_int_equal(use(place, 1, second), ADMISSION_GRANTED);
    assert_int_equal(use(place, 1, "nonsense"), ADMISSION_GRANTED);
    assert_int_equal(use(place, 2, second), ADMISSION_GRANTED);
}

static void test_token_of_several_uses_lets_in_as_many(void **state)
{
    struct place *place = *state;
    char token[WIRE_TOKEN_LENGTH + 1], id[16];
    create(place, &(struct token_options){.uses = 3}, token, id);
    for (unsigned agent = 1; agent <= 3; agent++)
        assert_int_equal(use(place, agent, token), ADMISSION_GRANTED);
    assert_refused(place, 4, token, "used up");
}

static void test_token_ends_after_a_day_or_as_asked(void **state)
{
    struct place *place = *state;
    char day[WIRE_TOKEN_LENGTH + 1], hour[WIRE_TOKEN_LENGTH + 1], id[16];
    create(place, &(struct token_options){.uses = 9}, day, id);
    create(place, &(struct token_options){.uses = 9, .lifetime_seconds = 3600}, hour, id);
    place->now += 3599;
    assert_int_equal(use(place, 1, hour), ADMISSION_GRANTED);
    place->now += 1;
    assert_refused(place, 2, hour, "expired");
    place->now += 86400 - 3600 - 1;
    assert_int_equal(use(place, 2, day), ADMISSION_GRANTED);
    place->now += 1;
    assert_refused(place, 3, day, "expired");
    /* Whom it let in stays. */
    assert_int_equal(known(place, 1), ADMISSION_GRANTED);
}

static void test_token_made_in_the_future_is_judged_by_its_end_only(void **state)
{
    struct place *place = *state;
    char token[WIRE_TOKEN_LENGTH + 1], id[16];
    create(place, NULL, token, id);
    place->now = 0;
    assert_int_equal(use(place, 1, token), ADMISSION_GRANTED);
}

static void test_token_that_was_revoked_lets_nobody_in(void **state)
{
    struct place *place = *state;
    char token[WIRE_TOKEN_LENGTH + 1], id[16];
    struct error err = {0};
    create(place, NULL, token, id);
    id[0] = (char)(id[0] >= 'a' ? id[0] - 'a' + 'A' : id[0]);
    assert_int_equal(token_revoke(place->database, id, &err), 0);
    assert_refused(place, 1, token, "revoked");
    assert_int_equal(token_revoke(place->database, "zzzzz1", &err), -1);
    assert_int_equal(err.errnum, ENOENT);
    assert_int_equal(token_revoke(place->database, "an id of more than sixteen", &err), -1);
    assert_int_equal(err.errnum, ENOENT);
}

static void test_token_can_be_revoked_with_whom_it_let_in(void **state)
{
    struct place *place = *state;
    char stolen[WIRE_TOKEN_LENGTH + 1], good[WIRE_TOKEN_LENGTH + 1], id[16], other[16];
    unsigned agents = 0;
    create(place, &(struct token_options){.uses = 9}, stolen, id);
    create(place, NULL, good, other);
    assert_int_equal(use(place, 1, stolen), ADMISSION_GRANTED);
    assert_int_equal(use(place, 2, stolen), ADMISSION_GRANTED);
    assert_int_equal(use(place, 3, good), ADMISSION_GRANTED);
    assert_int_equal(token_revoke_agents(place->database, id, &agents, NULL), 0);
    assert_int_equal(agents, 2);
    assert_int_equal(known(place, 1), ADMISSION_REFUSED);
    assert_int_equal(known(place, 3), ADMISSION_GRANTED);
    /* Not with another token either: the key is what is not wanted. */
    create(place, NULL, good, other);
    assert_refused(place, 2, good, "the agent's key is revoked");
    assert_int_equal(use(place, 4, good), ADMISSION_GRANTED);
}

static void test_token_that_was_never_made_is_refused(void **state)
{
    struct place *place = *state;
    char token[WIRE_TOKEN_LENGTH + 1], id[16];
    create(place, NULL, token, id);
    assert_refused(place, 1, "AAAAAAAAAAAAAAAAAAAAAAAAAA", "unknown");
    assert_refused(place, 1, "", "malformed");
    assert_refused(place, 1, "' OR 1 = 1; --            ", "malformed");
    token[25] = token[25] == 'A' ? 'E' : 'A';
    assert_refused(place, 1, token, "unknown");
    /* The same 128 bits in another spelling (the last character's unused bits). */
    token[25] = 'B';
    assert_refused(place, 1, token, "malformed");
}

static void test_token_may_be_typed_in_lower_case(void **state)
{
    struct place *place = *state;
    char token[WIRE_TOKEN_LENGTH + 1], id[16];
    create(place, NULL, token, id);
    for (char *character = token; *character; character++)
        *character = (char)(*character >= 'A' && *character <= 'Z' ? *character + 32 : *character);
    assert_int_equal(use(place, 1, token), ADMISSION_GRANTED);
}

static void test_token_options_are_bounded(void **state)
{
    struct place *place = *state;
    char token[WIRE_TOKEN_LENGTH + 1], id[16], note[300];
    struct error err = {0};
    memset(note, 'x', sizeof(note));
    note[299] = '\0';
    assert_int_equal(token_create(place->database,
                                  &(struct token_options){.lifetime_seconds = UINT64_MAX}, token,
                                  id, &err),
                     -1);
    assert_int_equal(
        token_create(place->database, &(struct token_options){.uses = UINT32_MAX}, token, id, &err),
        -1);
    assert_int_equal(
        token_create(place->database, &(struct token_options){.note = note}, token, id, &err), -1);
}

struct listing {
    struct token_row rows[8];
    char notes[8][64];
    size_t count;
};

static void keep_token(void *context, const struct token_row *row)
{
    struct listing *listing = context;
    assert_true(listing->count < 8);
    snprintf(listing->notes[listing->count], 64, "%s", row->note);
    listing->rows[listing->count++] = *row;
}

static void test_token_list_tells_everything_but_the_secret(void **state)
{
    struct place *place = *state;
    char token[WIRE_TOKEN_LENGTH + 1], id[16], other[16];
    struct listing listing = {0};
    create(place, &(struct token_options){.uses = 2, .note = "rack 7"}, token, id);
    assert_int_equal(use(place, 1, token), ADMISSION_GRANTED);
    place->now += 5;
    create(place, NULL, token, other);
    assert_int_equal(token_revoke(place->database, other, NULL), 0);
    assert_int_equal(token_list(place->database, keep_token, &listing, NULL), 0);
    assert_int_equal(listing.count, 2);
    assert_string_equal(listing.rows[0].id, id);
    assert_string_equal(listing.notes[0], "rack 7");
    assert_int_equal(listing.rows[0].uses, 2);
    assert_int_equal(listing.rows[0].used, 1);
    assert_int_equal(listing.rows[0].created, 1000000);
    assert_int_equal(listing.rows[0].expires, 1086400);
    assert_false(listing.rows[0].is_revoked);
    assert_string_equal(listing.rows[1].id, other);
    assert_true(listing.rows[1].is_revoked);
}

static void assert_not_in_file(const struct place *place, const char *name, const char *needle)
{
    AUTO_FREE char *path = text_format("%s/%s/%s", place->folder, POOL_STATE, name);
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    static char data[4 << 20];
    ssize_t length = read(fd, data, sizeof(data));
    assert_true(length > 0 && length < (ssize_t)sizeof(data));
    assert_null(memmem(data, (size_t)length, needle, strlen(needle)));
}

static void test_token_does_not_stand_in_the_files(void **state)
{
    struct place *place = *state;
    char token[WIRE_TOKEN_LENGTH + 1], id[16];
    create(place, NULL, token, id);
    assert_int_equal(use(place, 1, token), ADMISSION_GRANTED);
    assert_not_in_file(place, POOL_DATABASE "-wal", token);
    reopen(place);
    assert_not_in_file(place, POOL_DATABASE, token);
}

static void test_database_is_for_its_owner_only(void **state)
{
    struct place *place = *state;
    char token[WIRE_TOKEN_LENGTH + 1], id[16];
    create(place, NULL, token, id);
    static const char *const names[] = {POOL_DATABASE, POOL_DATABASE "-wal", POOL_DATABASE "-shm"};
    for (size_t i = 0; i < 3; i++) {
        struct stat stat;
        assert_int_equal(fstatat(place->pool.state_fd, names[i], &stat, 0), 0);
        assert_int_equal(stat.st_mode & 0777, 0600);
    }
}

/* --- agents --- */

static void count_waiting(void *context, const char *code, const char *address, int64_t since,
                          const char *machine)
{
    (void)since;
    assert_string_equal(machine, "");
    assert_int_equal(strlen(code), AGENT_CODE_SIZE - 1);
    assert_true(strlen(address) > 0);
    ++*(size_t *)context;
}

static size_t waiting(struct place *place)
{
    size_t count = 0;
    struct machine_visitor visitor = {.waiting = count_waiting, .context = &count};
    assert_int_equal(machine_visit(place->database, &visitor, NULL), 0);
    return count;
}

static void test_agent_that_waits_gets_in_by_its_code(void **state)
{
    struct place *place = *state;
    char code[AGENT_CODE_SIZE];
    struct error err = {0};
    agent_code(identity_of(7), code);
    assert_int_equal(agent_approve(place->database, code, &err), -1);
    assert_int_equal(err.errnum, ENOENT);
    assert_int_equal(agent_wait(place->database, identity_of(7), "10.0.0.7:5000", "", NULL), 0);
    assert_int_equal(agent_wait(place->database, identity_of(8), "10.0.0.8:5000", "", NULL), 0);
    assert_int_equal(waiting(place), 2);
    for (char *character = code; *character; character++)
        *character = (char)(*character >= 'A' && *character <= 'Z' ? *character + 32 : *character);
    memmove(code + 4, code + 5, 5);
    assert_int_equal(agent_approve(place->database, code, NULL), 0);
    assert_int_equal(known(place, 7), ADMISSION_GRANTED);
    assert_int_equal(known(place, 8), ADMISSION_NEEDED);
    assert_int_equal(waiting(place), 1);
    assert_int_equal(agent_approve(place->database, "ABC", &err), -1);
    assert_int_equal(err.errnum, ENOENT);
}

static void test_agent_with_anothers_code_spoils_the_approval(void **state)
{
    struct place *place = *state;
    char code[AGENT_CODE_SIZE];
    struct error err = {0};
    uint8_t other[WIRE_IDENTITY_SIZE];
    memcpy(other, identity_of(7), sizeof(other));
    other[20] = 99;
    agent_code(identity_of(7), code);
    assert_int_equal(agent_wait(place->database, identity_of(7), "10.0.0.7:5000", "", NULL), 0);
    assert_int_equal(agent_wait(place->database, other, "10.6.6.6:5000", "", NULL), 0);
    assert_int_equal(agent_approve(place->database, code, &err), -1);
    assert_int_equal(err.errnum, EEXIST);
    assert_int_equal(known(place, 7), ADMISSION_NEEDED);
    assert_int_equal(agent_stop_waiting(place->database, other, NULL), 0);
    assert_int_equal(agent_approve(place->database, code, NULL), 0);
    assert_int_equal(known(place, 7), ADMISSION_GRANTED);
}

static void test_agents_that_wait_are_bounded(void **state)
{
    struct place *place = *state;
    struct error err = {0};
    for (unsigned agent = 0; agent < 256; agent++)
        assert_int_equal(agent_wait(place->database, identity_of(agent), "10.0.0.1:1", "", &err),
                         0);
    assert_int_equal(agent_wait(place->database, identity_of(256), "10.0.0.1:1", "", &err), -1);
    assert_int_equal(err.errnum, ENOSPC);
    /* One that is in the list may say so again. */
    assert_int_equal(agent_wait(place->database, identity_of(255), "10.0.0.1:2", "", &err), 0);
    assert_int_equal(agent_stop_waiting(place->database, identity_of(0), &err), 0);
    assert_int_equal(agent_wait(place->database, identity_of(256), "10.0.0.1:1", "", &err), 0);
    assert_int_equal(waiting(place), 256);
    reopen(place);
    assert_int_equal(waiting(place), 0);
}

/* --- machines --- */

static void test_machine_keeps_its_name_and_number(void **state)
{
    struct place *place = *state;
    char first[64], second[64], again[64];
    uint32_t number = claim(place, 1, "web01", first);
    assert_string_equal(first, "web01");
    assert_int_not_equal(claim(place, 2, "web01", second), number);
    assert_string_equal(second, "web01-2");
    assert_int_equal(claim(place, 1, "renamed", again), number);
    assert_string_equal(again, "web01");
    reopen(place);
    assert_int_equal(claim(place, 1, "web01", again), number);
    assert_string_equal(again, "web01");
    assert_int_equal(machine_name_of(place->database, number, again, NULL), 0);
    assert_string_equal(again, "web01");
    struct error err = {0};
    assert_int_equal(machine_name_of(place->database, 999, again, &err), -1);
    assert_int_equal(err.errnum, ENOENT);
}

static bool is_taken(void *context, const char *name)
{
    ++*(int *)context;
    return strcmp(name, "web01") == 0 || strcmp(name, "web01-3") == 0;
}

static void test_machine_takes_no_name_of_a_folder_that_is_there(void **state)
{
    struct place *place = *state;
    char name[64];
    uint32_t number;
    bool is_new;
    int asked = 0;
    assert_int_equal(machine_claim(place->database, identity_of(1), "web01", is_taken, &asked,
                                   &number, name, &is_new, NULL),
                     0);
    assert_string_equal(name, "web01-2");
    assert_true(is_new);
    assert_int_equal(machine_claim(place->database, identity_of(2), "web01", is_taken, &asked,
                                   &number, name, &is_new, NULL),
                     0);
    assert_string_equal(name, "web01-4");
    asked = 0;
    assert_int_equal(machine_claim(place->database, identity_of(1), "web01", is_taken, &asked,
                                   &number, name, &is_new, NULL),
                     0);
    assert_false(is_new);
    assert_int_equal(asked, 0);
}

static void test_machine_name_can_be_no_path(void **state)
{
    struct place *place = *state;
    char name[64];
    claim(place, 1, "../../etc/passwd", name);
    assert_string_equal(name, "etc-passwd");
    claim(place, 2, "web01.partial", name);
    assert_string_equal(name, "web01-partial");
    claim(place, 3, ".rehost", name);
    assert_string_equal(name, "rehost");
    claim(place, 4, "", name);
    assert_string_equal(name, "machine");
    /* Where the file system does not know upper case, two names are one folder. */
    claim(place, 5, "Rehost", name);
    assert_string_equal(name, "Rehost-2");
}

static void set_state(struct place *place, uint32_t number, enum machine_state machine_state)
{
    struct machine_row row = {.number = number, .state = machine_state, .seconds_left = -1};
    assert_int_equal(machine_set(place->database, &row, NULL), 0);
}

static void test_machine_row_comes_back_as_set(void **state)
{
    struct place *place = *state;
    char name[64];
    struct machine_row row = {.number = claim(place, 3, "db1", name),
                              .state = MACHINE_RECEIVING,
                              .bytes_per_second = 612000000,
                              .seconds_left = 192,
                              .text = "sda: 2 unreadable ranges",
                              .warnings = 2};
    struct machine_row got;
    place->now = 2000000;
    assert_int_equal(machine_set(place->database, &row, NULL), 0);
    place->now = 2000010;
    assert_int_equal(machine_set(place->database, &row, NULL), 0);
    assert_int_equal(machine_get(place->database, "db1", &got, NULL), 0);
    assert_int_equal(got.number, row.number);
    assert_int_equal(got.state, MACHINE_RECEIVING);
    assert_int_equal(got.since, 2000000);
    assert_int_equal(got.updated, 2000010);
    assert_int_equal(got.bytes_per_second, 612000000);
    assert_int_equal(got.seconds_left, 192);
    assert_string_equal(got.text, "sda: 2 unreadable ranges");
    assert_int_equal(got.warnings, 2);
    assert_string_equal(got.code, "AMAA-AAAA");
    assert_string_equal(got.twin, "");
    row.state = MACHINE_WARNED;
    row.exit_code = 3;
    assert_int_equal(machine_set(place->database, &row, NULL), 0);
    assert_int_equal(machine_get(place->database, "db1", &got, NULL), 0);
    assert_int_equal(got.since, 2000010);
    assert_int_equal(got.exit_code, 3);
    struct error err = {0};
    assert_int_equal(machine_get(place->database, "db2", &got, &err), -1);
    assert_int_equal(err.errnum, ENOENT);
    row.number = 99;
    assert_int_equal(machine_set(place->database, &row, &err), -1);
    assert_int_equal(err.errnum, ENOENT);
}

static void test_machine_disks_come_back_as_set(void **state)
{
    struct place *place = *state;
    char name[64];
    uint32_t number = claim(place, 1, "db1", name);
    struct machine_disk_row disks[2] = {
        {"sda", (uint64_t)931 << 30, 1000, 400, 390, 200, 210, 512, 3},
        {"nvme0n1", UINT64_MAX, 5, 4, 3, 2, 1, 0, 0}};
    struct machine_disk_row got[WIRE_MAX_DISKS];
    size_t count;
    assert_int_equal(machine_set_disks(place->database, number, disks, 2, NULL), 0);
    assert_int_equal(machine_get_disks(place->database, number, got, &count, NULL), 0);
    assert_int_equal(count, 2);
    assert_string_equal(got[0].name, "sda");
    assert_int_equal(got[0].size_bytes, (uint64_t)931 << 30);
    assert_int_equal(got[0].unreadable_bytes, 512);
    assert_int_equal(got[0].wire_bytes, 210);
    assert_int_equal(got[0].pass, 3);
    assert_int_equal(got[1].size_bytes, INT64_MAX);
    assert_int_equal(machine_set_disks(place->database, number, disks, 1, NULL), 0);
    assert_int_equal(machine_get_disks(place->database, number, got, &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_int_equal(machine_set_disks(place->database, 77, disks, 1, NULL), -1);
    assert_int_equal(machine_set_disks(place->database, number, got, 65, NULL), -1);
}

static void add_line(void *context, const struct machine_row *row)
{
    text_addf(context, "%s %s\n", row->name, machine_state_name(row->state));
}

static void add_disk(void *context, const struct machine_disk_row *disk)
{
    text_addf(context, "  %s\n", disk->name);
}

static void test_machine_visit_gives_each_with_its_disks(void **state)
{
    struct place *place = *state;
    char name[64];
    AUTO(text) seen = {0};
    struct machine_disk_row disks[2] = {{.name = "sda"}, {.name = "sdb"}};
    uint32_t web = claim(place, 1, "web", name), db = claim(place, 2, "db", name);
    set_state(place, web, MACHINE_DONE);
    assert_int_equal(machine_set_disks(place->database, web, disks, 2, NULL), 0);
    assert_int_equal(machine_set_disks(place->database, db, disks, 1, NULL), 0);
    struct machine_visitor visitor = {.machine = add_line, .disk = add_disk, .context = &seen};
    assert_int_equal(machine_visit(place->database, &visitor, NULL), 0);
    assert_string_equal(text_string(&seen), "db interrupted\n  sda\nweb done\n  sda\n  sdb\n");
}

static void test_machines_are_interrupted_when_the_server_starts(void **state)
{
    struct place *place = *state;
    static const enum machine_state states[][2] = {{MACHINE_RECEIVING, MACHINE_INTERRUPTED},
                                                   {MACHINE_PAUSED, MACHINE_INTERRUPTED},
                                                   {MACHINE_RECEIVED, MACHINE_RECEIVED},
                                                   {MACHINE_TESTING, MACHINE_RECEIVED},
                                                   {MACHINE_DONE, MACHINE_DONE},
                                                   {MACHINE_FAILED, MACHINE_FAILED}};
    char names[6][64];
    for (unsigned i = 0; i < 6; i++)
        set_state(place, claim(place, i, "m", names[i]), states[i][0]);
    assert_int_equal(machine_interrupt_all(place->database, NULL), 0);
    for (unsigned i = 0; i < 6; i++) {
        struct machine_row row;
        assert_int_equal(machine_get(place->database, names[i], &row, NULL), 0);
        assert_int_equal(row.state, states[i][1]);
    }
}

/* --- a new key for an old machine --- */

static void test_token_made_for_a_machine_hands_it_to_a_new_key(void **state)
{
    struct place *place = *state;
    char first[WIRE_TOKEN_LENGTH + 1], again[WIRE_TOKEN_LENGTH + 1], id[16], name[64];
    struct listing listing = {0};
    struct error err = {0};
    create(place, NULL, first, id);
    assert_int_equal(use(place, 1, first), ADMISSION_GRANTED);
    uint32_t number = claim(place, 1, "web01", name);
    create(place, &(struct token_options){.machine = "web01"}, again, id);
    assert_int_equal(token_list(place->database, keep_token, &listing, NULL), 0);
    assert_int_equal(listing.count, 2);
    assert_int_equal(use(place, 2, again), ADMISSION_GRANTED);
    assert_int_equal(claim(place, 2, "web01", name), number);
    assert_string_equal(name, "web01");
    assert_int_equal(known(place, 1), ADMISSION_REFUSED);
    assert_refused(place, 3, again, "used up");
    assert_int_equal(
        token_create(place->database, &(struct token_options){.machine = "web02"}, again, id, &err),
        -1);
    assert_int_equal(err.errnum, ENOENT);
    assert_int_equal(token_create(place->database,
                                  &(struct token_options){.machine = "web01", .uses = 2}, again, id,
                                  &err),
                     -1);
}

static void test_approval_can_hand_a_machine_to_a_new_key(void **state)
{
    struct place *place = *state;
    char name[64], code[AGENT_CODE_SIZE];
    struct error err = {0};
    uint32_t number = claim(place, 1, "web01", name);
    agent_code(identity_of(2), code);
    assert_int_equal(agent_wait(place->database, identity_of(2), "10.0.0.2:1", "", NULL), 0);
    assert_int_equal(agent_approve_as(place->database, code, "web02", &err), -1);
    assert_int_equal(err.errnum, ENOENT);
    assert_int_equal(known(place, 2), ADMISSION_NEEDED);
    assert_int_equal(agent_approve_as(place->database, code, "web01", &err), 0);
    assert_int_equal(known(place, 2), ADMISSION_GRANTED);
    assert_int_equal(claim(place, 2, "other", name), number);
}

/* --- twins --- */

static void set_ids(struct place *place, uint32_t number, const char *uuid, const char *serial,
                    const char *expected)
{
    char twin[64];
    assert_int_equal(machine_set_ids(place->database, number, uuid, serial, twin, NULL), 0);
    assert_string_equal(twin, expected);
}

/* --- which machine somebody who waits is on --- */

static void keep_machine(void *context, const char *code, const char *address, int64_t since,
                         const char *machine)
{
    (void)code, (void)address, (void)since;
    snprintf(context, 64, "%s", machine);
}

static void expect_suggestion(struct place *place, const char *code, const char *expected)
{
    char name[64], visited[64] = "nobody waits";
    struct machine_visitor visitor = {.waiting = keep_machine, .context = visited};
    assert_int_equal(agent_waiting_machine(place->database, code, name, NULL), 0);
    assert_string_equal(name, expected);
    assert_int_equal(machine_visit(place->database, &visitor, NULL), 0);
    assert_string_equal(visited, expected);
}

static void test_agent_that_waits_is_told_from_a_stranger_by_the_machine_it_is_on(void **state)
{
    struct place *place = *state;
    static const char uuid[] = "4C4C4544-0042-3510-8052-B4C04F4B3132";
    char name[64], code[AGENT_CODE_SIZE], mark[MACHINE_MARK_SIZE], other[MACHINE_MARK_SIZE];
    uint32_t number = claim(place, 1, "web01", name);
    set_ids(place, number, uuid, "B5", "");
    set_ids(place, claim(place, 3, "db1", name), uuid + 1, "", "");
    machine_mark_make("4c4c4544 0042 3510 8052 b4c04f4b3132", "b5", mark);
    machine_mark_make(uuid, "B6", other);
    agent_code(identity_of(2), code);
    assert_int_equal(agent_wait(place->database, identity_of(2), "10.0.0.2:1", mark, NULL), 0);
    expect_suggestion(place, code, "web01");
    set_state(place, number, MACHINE_DONE);
    expect_suggestion(place, code, "");
    set_state(place, number, MACHINE_PAUSED);
    expect_suggestion(place, code, "web01");
    assert_int_equal(agent_wait(place->database, identity_of(2), "10.0.0.2:1", other, NULL), 0);
    expect_suggestion(place, code, "");
    assert_int_equal(agent_wait(place->database, identity_of(2), "10.0.0.2:1", "", NULL), 0);
    expect_suggestion(place, code, "");
    assert_int_equal(agent_waiting_machine(place->database, "nonsense", name, NULL), 0);
    assert_string_equal(name, "");
}

static void test_machine_twins_are_told(void **state)
{
    struct place *place = *state;
    char name[64];
    struct machine_row row;
    uint32_t a = claim(place, 1, "a", name), b = claim(place, 2, "b", name),
             c = claim(place, 3, "c", name), d = claim(place, 4, "A", name);
    assert_string_equal(name, "A-2");
    set_ids(place, a, "4C4C4544-0042-3510-8051-B4C04F4E3358", "B5BQN3X", "A-2");
    set_ids(place, b, "4c4c4544-0042-3510-8051-b4c04f4e3358", "", "a");
    set_ids(place, c, "", " b5bqn3x ", "a");
    set_ids(place, d, "", "", "a");
    set_ids(place, c, "", "other", "");
    assert_int_equal(machine_get(place->database, "b", &row, NULL), 0);
    assert_string_equal(row.twin, "a");
    assert_int_equal(machine_get(place->database, "c", &row, NULL), 0);
    assert_string_equal(row.twin, "");
}

static void test_machine_placeholders_make_no_twins(void **state)
{
    struct place *place = *state;
    char name[64];
    static const char *const ids[][2] = {
        {"00000000-0000-0000-0000-000000000000", "To Be Filled By O.E.M."},
        {"FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "Default string"},
        {"03000200-0400-0500-0006-000700080009", "0123456789"},
        {"Not Settable", "System Serial Number"},
        {"", "None"},
        {"not-present", "............"}};
    uint32_t a = claim(place, 1, "localhost", name), b = claim(place, 2, "localhost", name);
    for (size_t i = 0; i < 6; i++) {
        set_ids(place, a, ids[i][0], ids[i][1], "");
        set_ids(place, b, ids[i][0], ids[i][1], "");
    }
}

/* --- several at once, and after --- */

struct worker {
    struct place *place;
    struct database *database;
    const char *token;
    unsigned first, granted;
};

static void *use_many(void *context)
{
    struct worker *worker = context;
    for (unsigned i = 0; i < 20; i++) {
        uint8_t identity[WIRE_IDENTITY_SIZE] = {(uint8_t)(worker->first + i)};
        enum admission admission;
        char reason[32];
        if (agent_use_token(worker->database, identity, worker->token, &admission, reason, NULL) ==
                0 &&
            admission == ADMISSION_GRANTED)
            worker->granted++;
    }
    return NULL;
}

static void test_token_is_used_exactly_often_by_two_connections(void **state)
{
    struct place *place = *state;
    char token[WIRE_TOKEN_LENGTH + 1], id[16];
    struct error err = {0};
    database_set_clock(place->database, NULL, NULL);
    create(place, &(struct token_options){.uses = 25}, token, id);
    AUTO_PTR(database) other = database_open(&place->pool, POOL_USE, &err);
    assert_non_null(other);
    struct worker workers[4] = {{place, place->database, token, 0, 0},
                                {place, other, token, 50, 0},
                                {place, place->database, token, 100, 0},
                                {place, other, token, 150, 0}};
    pthread_t threads[4];
    unsigned granted = 0;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_many, &workers[i]), 0);
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        granted += workers[i].granted;
    }
    assert_int_equal(granted, 25);
}

static void test_token_made_beside_the_server_works_in_it(void **state)
{
    struct place *place = *state;
    char token[WIRE_TOKEN_LENGTH + 1], id[16];
    AUTO_PTR(database) other = database_open(&place->pool, POOL_USE, NULL);
    assert_non_null(other);
    database_set_clock(other, tell_time, &place->now);
    assert_int_equal(token_create(other, NULL, token, id, NULL), 0);
    assert_int_equal(use(place, 1, token), ADMISSION_GRANTED);
    assert_int_equal(agent_wait(place->database, identity_of(2), "10.0.0.1:1", "", NULL), 0);
    char code[AGENT_CODE_SIZE];
    agent_code(identity_of(2), code);
    assert_int_equal(agent_approve(other, code, NULL), 0);
    assert_int_equal(known(place, 2), ADMISSION_GRANTED);
}

/* In a child: tells each agent that was admitted, without end. */
static void admit_until_killed(struct place *place, const char *token, int told)
{
    place->database = database_open(&place->pool, POOL_USE, NULL);
    for (unsigned agent = 0;; agent++) {
        if (!place->database || use(place, agent, token) != ADMISSION_GRANTED ||
            write(told, &agent, sizeof(agent)) != sizeof(agent))
            _exit(1);
    }
}

static void test_database_keeps_what_was_told_before_a_kill(void **state)
{
    struct place *place = *state;
    char token[WIRE_TOKEN_LENGTH + 1], id[16];
    int told[2];
    unsigned agent = 0, admitted = 0;
    database_set_clock(place->database, NULL, NULL);
    create(place, &(struct token_options){.uses = 10000}, token, id);
    database_close(take_ptr(&place->database));
    assert_int_equal(pipe(told), 0);
    pid_t child = fork();
    if (child == 0)
        admit_until_killed(place, token, told[1]);
    close(told[1]);
    for (int i = 0; i < 20; i++)
        assert_int_equal(read(told[0], &agent, sizeof(agent)), sizeof(agent));
    kill(child, SIGKILL);
    while (read(told[0], &agent, sizeof(agent)) == sizeof(agent))
        ;
    close(told[0]);
    waitpid(child, NULL, 0);
    reopen(place);
    for (unsigned i = 0; i <= agent; i++)
        admitted += known(place, i) == ADMISSION_GRANTED;
    assert_int_equal(admitted, agent + 1);
    /* At most one more: admitted, and killed before it was told. */
    struct listing listing = {0};
    assert_int_equal(token_list(place->database, keep_token, &listing, NULL), 0);
    assert_in_range(listing.rows[0].used, agent + 1, agent + 2);
}

static void set_version(const struct place *place, const char *sql)
{
    sqlite3 *connection;
    AUTO_FREE char *path = text_format("%s/%s/%s", place->folder, POOL_STATE, POOL_DATABASE);
    assert_int_equal(sqlite3_open(path, &connection), SQLITE_OK);
    assert_int_equal(sqlite3_exec(connection, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(connection);
}

static void test_database_of_a_newer_rehost_is_refused_by_number(void **state)
{
    struct place *place = *state;
    struct error err = {0};
    database_close(take_ptr(&place->database));
    set_version(place, "PRAGMA user_version = 7");
    assert_null(database_open(&place->pool, POOL_SERVE, &err));
    assert_non_null(strstr(err.text, "version 7"));
    assert_null(database_open(&place->pool, POOL_USE, &err));
}

/* As it was made before agents said which machine they are. */
static void test_database_of_version_1_goes_on_as_one_of_today(void **state)
{
    struct place *place = *state;
    struct error err = {0};
    char code[AGENT_CODE_SIZE];
    char name[64];
    uint32_t number = claim(place, 3, "web01", name);
    database_close(take_ptr(&place->database));
    set_version(place, "ALTER TABLE waiting DROP COLUMN mark; PRAGMA user_version = 1");
    assert_null(database_open(&place->pool, POOL_USE, &err));
    assert_non_null(strstr(err.text, "restart"));
    for (int i = 0; i < 2; i++) {
        database_close(take_ptr(&place->database));
        place->database = database_open(&place->pool, POOL_SERVE, &err);
        if (!place->database)
            fail_msg("%s", err.text);
    }
    assert_int_equal(claim(place, 3, "web01", name), number);
    assert_int_equal(agent_wait(place->database, identity_of(7), "10.0.0.7:1", "", NULL), 0);
    agent_code(identity_of(7), code);
    assert_int_equal(agent_approve(place->database, code, NULL), 0);
}

static void test_database_file_alone_is_a_database_from_the_start(void **state)
{
    struct place *place = *state;
    char folder[] = "/tmp/rehost-test.XXXXXX";
    struct pool pool;
    struct error err = {0};
    static char data[1 << 20];
    assert_non_null(mkdtemp(folder));
    assert_int_equal(pool_open(&pool, folder, POOL_SERVE, NULL), 0);
    AUTO_CLOSE int from = openat(place->pool.state_fd, POOL_DATABASE, O_RDONLY | O_CLOEXEC);
    AUTO_CLOSE int to =
        openat(pool.state_fd, POOL_DATABASE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ssize_t length = read(from, data, sizeof(data));
    assert_true(length > 0 && write(to, data, (size_t)length) == length);
    struct database *database = database_open(&pool, POOL_USE, &err);
    assert_non_null(database);
    database_close(database);
    pool_fini(&pool);
    folder_remove(AT_FDCWD, folder, NULL);
}

static void test_database_that_is_none_is_refused(void **state)
{
    struct place *place = *state;
    struct error err = {0};
    database_close(take_ptr(&place->database));
    AUTO_CLOSE int fd = openat(place->pool.state_fd, POOL_DATABASE, O_WRONLY | O_TRUNC | O_CLOEXEC);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(write(fd, "not a database at all", 21), 21);
    assert_null(database_open(&place->pool, POOL_SERVE, &err));
    assert_non_null(strstr(err.text, POOL_DATABASE));
}

static void test_database_is_not_made_for_who_only_uses_it(void **state)
{
    struct place *place = *state;
    struct error err = {0};
    database_close(take_ptr(&place->database));
    assert_int_equal(unlinkat(place->pool.state_fd, POOL_DATABASE, 0), 0);
    assert_null(database_open(&place->pool, POOL_USE, &err));
    assert_int_equal(err.errnum, ENOENT);
    assert_int_equal(faccessat(place->pool.state_fd, POOL_DATABASE, F_OK, 0), -1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
    const struct CMUnitTest tests[] = {
        TEST(test_token_lets_one_agent_in_once),
        TEST(test_token_of_a_known_agent_is_not_used_up),
        TEST(test_token_of_several_uses_lets_in_as_many),
        TEST(test_token_ends_after_a_day_or_as_asked),
        TEST(test_token_made_in_the_future_is_judged_by_its_end_only),
        TEST(test_token_that_was_revoked_lets_nobody_in),
        TEST(test_token_can_be_revoked_with_whom_it_let_in),
        TEST(test_token_that_was_never_made_is_refused),
        TEST(test_token_may_be_typed_in_lower_case),
        TEST(test_token_options_are_bounded),
        TEST(test_token_list_tells_everything_but_the_secret),
        TEST(test_token_does_not_stand_in_the_files),
        TEST(test_database_is_for_its_owner_only),
        TEST(test_agent_that_waits_gets_in_by_its_code),
        TEST(test_agent_with_anothers_code_spoils_the_approval),
        TEST(test_agents_that_wait_are_bounded),
        TEST(test_machine_keeps_its_name_and_number),
        TEST(test_machine_takes_no_name_of_a_folder_that_is_there),
        TEST(test_machine_name_can_be_no_path),
        TEST(test_machine_row_comes_back_as_set),
        TEST(test_machine_disks_come_back_as_set),
        TEST(test_machine_visit_gives_each_with_its_disks),
        TEST(test_machines_are_interrupted_when_the_server_starts),
        TEST(test_token_made_for_a_machine_hands_it_to_a_new_key),
        TEST(test_approval_can_hand_a_machine_to_a_new_key),
        TEST(test_agent_that_waits_is_told_from_a_stranger_by_the_machine_it_is_on),
        TEST(test_machine_twins_are_told),
        TEST(test_machine_placeholders_make_no_twins),
        TEST(test_token_is_used_exactly_often_by_two_connections),
        TEST(test_token_made_beside_the_server_works_in_it),
        TEST(test_database_keeps_what_was_told_before_a_kill),
        TEST(test_database_of_a_newer_rehost_is_refused_by_number),
        TEST(test_database_of_version_1_goes_on_as_one_of_today),
        TEST(test_database_file_alone_is_a_database_from_the_start),
        TEST(test_database_that_is_none_is_refused),
        TEST(test_database_is_not_made_for_who_only_uses_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
