/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The server's database: tokens, and who is let in by them.
 */
#include "tests/unit/p2v/database_place.h"

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
