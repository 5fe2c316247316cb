/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The server's database as a file: used by several at once, killed, of other versions, none.
 */
#include "tests/unit/p2v/database_place.h"

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
