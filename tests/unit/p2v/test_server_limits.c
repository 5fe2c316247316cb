/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What one agent, admitted or not, can take from the server and from the others: looked at from
 * inside.
 */
#include "base/clock.h"
#include "p2v/server/serving.h"
#include "tests/unit/p2v/server_agent.h"

#include <pthread.h>
#include <sys/socket.h>

#define DISK_SIZE ((size_t)8 * CHUNK_SIZE)

static uint8_t content[DISK_SIZE];

/* --- a disk that is slow to sync, while `is_slow` --- */

static pthread_mutex_t slow_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t slow_changed = PTHREAD_COND_INITIALIZER;
static bool is_slow;

static void set_slow(bool is)
{
    pthread_mutex_lock(&slow_lock);
    is_slow = is;
    pthread_cond_broadcast(&slow_changed);
    pthread_mutex_unlock(&slow_lock);
}

/* Stands before the C library's. */
int fdatasync(int fd)
{
    pthread_mutex_lock(&slow_lock);
    while (is_slow)
        pthread_cond_wait(&slow_changed, &slow_lock);
    pthread_mutex_unlock(&slow_lock);
    return fsync(fd);
}

/* A machine of one disk, received; its agent stays. */
static void receive_machine(struct agent *agent, struct stage *stage, const char *name)
{
    struct disk_run run = {.disk = 0, .content = content, .size = DISK_SIZE};
    make_disk(content, DISK_SIZE, 0);
    agent_init(agent, stage);
    agent_enter(agent);
    agent_announce(agent, name, 1, DISK_SIZE);
    send_disk(agent, &run);
    agent_finish(agent);
}

/* --- a job --- */

#define WORDS 400 /* of a kilobyte: more than the sockets hold */

static void test_agent_that_does_not_read_holds_up_no_job(void **state)
{
    struct stage *stage = *state;
    struct agent agent;
    char words[1001];
    int small = 4096;
    memset(words, 'x', sizeof(words) - 1);
    words[sizeof(words) - 1] = '\0';
    assert_int_equal(setsockopt(stage->server->listen_fd, SOL_SOCKET, SO_SNDBUF, &small, 4), 0);
    receive_machine(&agent, stage, "deaf");
    int64_t began_ms = clock_ms();
    for (int i = 0; i < WORDS; i++)
        server_job_stage(stage->server, "deaf", WIRE_STAGE_FIXING, words);
    server_job_result(stage->server, "deaf", 0, words);
    assert_true(clock_ms() - began_ms < 10000);
    agent_fini(&agent);
}

static void test_agent_hears_what_the_job_said_last(void **state)
{
    struct stage *stage = *state;
    struct agent agent;
    struct wire_stage_text said;
    struct wire_result result;
    receive_machine(&agent, stage, "listening");
    server_job_stage(stage->server, "listening", WIRE_STAGE_FIXING, "one");
    EXPECT(agent.control, WIRE_STAGE, stage_text, &said);
    assert_string_equal(said.text, "one");
    server_job_stage(stage->server, "listening", WIRE_STAGE_TESTING, "two");
    server_job_result(stage->server, "listening", 4, "three");
    EXPECT(agent.control, WIRE_STAGE, stage_text, &said);
    assert_string_equal(said.text, "two");
    EXPECT(agent.control, WIRE_RESULT, result, &result);
    assert_int_equal(result.exit_code, 4);
    agent_fini(&agent);
}

static void test_agent_may_leave_while_the_job_speaks(void **state)
{
    struct stage *stage = *state;
    struct agent agent;
    receive_machine(&agent, stage, "leaving");
    for (int i = 0; i < 40; i++) {
        if (i % 10 == 5) {
            agent_hang_up(&agent);
            agent_enter(&agent);
            agent_announce(&agent, "leaving", 1, DISK_SIZE);
        }
        server_job_stage(stage->server, "leaving", WIRE_STAGE_FIXING, "looking");
    }
    server_job_result(stage->server, "leaving", 0, "fine");
    agent_fini(&agent);
}

/* --- who may join --- */

/* The answer to HELLO is for the caller. */
static struct link *knock_with_disk(struct agent *agent)
{
    struct wire_hello hello = {.version = WIRE_VERSION, .role = WIRE_DISK_DATA, .program = "x"};
    struct text out = {0};
    struct link *link = agent_knock(agent);
    memcpy(hello.session, agent->session, sizeof(hello.session));
    wire_hello_encode(&hello, &out);
    send_text(link, &out);
    return link;
}

static void set_expelled(struct server *server, const char *name, bool is)
{
    pthread_mutex_lock(&server->lock);
    transfer_find_name(server, name)->is_expelled = is;
    pthread_mutex_unlock(&server->lock);
}

static void test_nobody_joins_a_transfer_that_is_made_to_go(void **state)
{
    struct stage *stage = *state;
    struct agent agent;
    agent_init(&agent, stage);
    agent_enter(&agent);
    agent_announce(&agent, "going", 1, DISK_SIZE);
    set_expelled(stage->server, "going", true);
    struct link *link = knock_with_disk(&agent);
    expect_error(link, WIRE_ERROR_UNKNOWN_SESSION);
    link_close(link);
    set_expelled(stage->server, "going", false);
    agent_fini(&agent);
}

/* --- strangers --- */

#define STRANGERS 17 /* one more than may wait from one address */

static void test_no_address_takes_all_places_where_approvals_are_waited_for(void **state)
{
    struct stage *stage = *state;
    struct agent strangers[STRANGERS];
    int waiting = 0, busy = 0;
    for (int i = 0; i < STRANGERS; i++)
        agent_init(&strangers[i], stage);
    for (int i = 0; i < STRANGERS; i++)
        strangers[i].control = agent_hello(&strangers[i], WIRE_CONTROL, NULL);
    for (int i = 0; i < STRANGERS; i++) {
        struct link_frame frame;
        struct wire_error error;
        assert_int_equal(get(strangers[i].control, &frame), 1);
        waiting += frame.type == WIRE_ADMITTED;
        busy += frame.type == WIRE_ERROR &&
                wire_error_decode(frame.payload, frame.length, &error, NULL) == 0 &&
                error.code == WIRE_ERROR_BUSY;
    }
    assert_int_equal(waiting, 16);
    assert_int_equal(busy, 1);
    for (int i = 0; i < STRANGERS; i++)
        agent_fini(&strangers[i]);
}

struct sleeper {
    struct connection connection;
    bool was_woken;
};

static void *sleep_long(void *context)
{
    struct sleeper *sleeper = context;
    sleeper->was_woken = !connection_sleep(&sleeper->connection, 20000);
    return NULL;
}

static void test_killed_connection_does_not_sleep_on(void **state)
{
    struct stage *stage = *state;
    struct sleeper sleeper = {.connection = {.server = stage->server, .fd = -1}};
    pthread_t thread;
    int64_t began_ms = clock_ms();
    assert_int_equal(pthread_create(&thread, NULL, sleep_long, &sleeper), 0);
    usleep(50000);
    pthread_mutex_lock(&stage->server->lock);
    connection_kill(&sleeper.connection);
    pthread_mutex_unlock(&stage->server->lock);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(sleeper.was_woken);
    assert_true(clock_ms() - began_ms < 5000);
}

/* --- admitted, and idle --- */

static int64_t deadline_of_disk_connection(struct server *server)
{
    int64_t deadline_ms = -1;
    pthread_mutex_lock(&server->lock);
    for (struct connection *one = server->connections; one; one = one->next) {
        if (one->is_admitted && !one->holds_identity && !one->is_over)
            deadline_ms = one->deadline_ms;
    }
    pthread_mutex_unlock(&server->lock);
    return deadline_ms;
}

static void test_disk_connection_may_not_idle_before_it_names_its_disk(void **state)
{
    struct stage *stage = *state;
    struct agent agent;
    struct wire_ready ready;
    agent_init(&agent, stage);
    agent_enter(&agent);
    agent_announce(&agent, "idle", 1, DISK_SIZE);
    struct link *link = agent_hello(&agent, WIRE_DISK_DATA, NULL);
    for (int i = 0; i < 100 && deadline_of_disk_connection(stage->server) <= 0; i++)
        usleep(10000);
    int64_t left_ms = deadline_of_disk_connection(stage->server) - clock_ms();
    assert_true(left_ms > 0 && left_ms <= WIRE_ADMISSION_MS);
    SEND(link, disk, {.disk = 0});
    EXPECT(link, WIRE_READY, ready, &ready);
    assert_int_equal(deadline_of_disk_connection(stage->server), 0);
    link_close(link);
    agent_fini(&agent);
}

/* --- what a disk's figures and state say --- */

static void send_zero_run(struct disk_run *run, uint64_t first, uint64_t count)
{
    struct text out = {0};
    struct wire_run zero = {run->sequence++, first, count, CHUNK_ZERO};
    wire_run_encode(&zero, &out);
    send_text(run->link, &out);
}

static void test_disk_that_changes_after_its_last_pass_has_not_passed(void **state)
{
    struct stage *stage = *state;
    struct agent agent;
    struct wire_safe safe;
    struct disk_run run = {.disk = 0, .content = content, .size = DISK_SIZE, .frames_left = -1};
    make_disk(content, DISK_SIZE, 0);
    agent_init(&agent, stage);
    agent_enter(&agent);
    agent_announce(&agent, "changed", 1, DISK_SIZE);
    open_disk(&agent, &run);
    assert_true(offer_disk(&run));
    end_pass(&run);
    send_zero_run(&run, 1, 2);
    EXPECT(run.link, WIRE_SAFE, safe, &safe);
    SEND(agent.control, finish, {.report = "{}", .report_length = 2});
    expect_error(agent.control, WIRE_ERROR_PROTOCOL);
    link_close(run.link);
    agent_fini(&agent);
}

static struct transfer_figures figures_of(struct server *server, const char *name)
{
    pthread_mutex_lock(&server->lock);
    struct transfer_figures figures = transfer_find_name(server, name)->disks[0].figures;
    pthread_mutex_unlock(&server->lock);
    return figures;
}

static void test_received_disk_is_shown_as_done_whatever_the_agent_said(void **state)
{
    struct stage *stage = *state;
    struct agent agent;
    struct machine_row row;
    struct machine_disk_row disks[WIRE_MAX_DISKS];
    size_t count;
    struct disk_run run = {.disk = 0, .content = content, .size = DISK_SIZE};
    make_disk(content, DISK_SIZE, 0);
    agent_init(&agent, stage);
    agent_enter(&agent);
    agent_announce(&agent, "done", 1, DISK_SIZE);
    SEND(agent.control, status, {.disk = 0, .done_bytes = 100, .total_bytes = 3 * CHUNK_SIZE});
    send_disk(&agent, &run);
    agent_finish(&agent);
    SEND(agent.control, status, {.disk = 0, .done_bytes = 100, .total_bytes = 3 * CHUNK_SIZE});
    SEND(agent.control, status, {.disk = WIRE_WHOLE_MACHINE, .text = "bye"});
    server_job_result(stage->server, "done", 0, "fine");
    usleep(1500000); /* the housekeeper's rows */
    assert_int_equal(machine_get(server_database(stage->server), "done", &row, NULL), 0);
    assert_int_equal(row.state, MACHINE_DONE);
    assert_int_equal(
        machine_get_disks(server_database(stage->server), row.number, disks, &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_int_equal(disks[0].total_bytes, 3 * CHUNK_SIZE);
    assert_int_equal(disks[0].done_bytes, disks[0].total_bytes);
    assert_int_equal(disks[0].safe_bytes, disks[0].total_bytes);
    agent_fini(&agent);
}

static void test_no_more_is_shown_as_safe_than_has_arrived(void **state)
{
    struct stage *stage = *state;
    struct agent agent;
    struct wire_safe safe;
    struct disk_run run = {.disk = 0, .content = content, .size = DISK_SIZE, .frames_left = -1};
    agent_init(&agent, stage);
    agent_enter(&agent);
    agent_announce(&agent, "boasting", 1, DISK_SIZE);
    SEND(agent.control, status, {.disk = 0, .done_bytes = DISK_SIZE, .total_bytes = DISK_SIZE});
    for (int i = 0; i < 100 && !figures_of(stage->server, "boasting").has_status; i++)
        usleep(10000);
    open_disk(&agent, &run);
    send_zero_run(&run, 0, 2);
    EXPECT(run.link, WIRE_SAFE, safe, &safe);
    assert_int_equal(safe.sequence, 1);
    usleep(50000); /* SAFE is sent a moment before it is noted */
    assert_int_equal(figures_of(stage->server, "boasting").done_bytes, DISK_SIZE);
    assert_int_equal(figures_of(stage->server, "boasting").safe_bytes, 2 * CHUNK_SIZE);
    link_close(run.link);
    agent_fini(&agent);
}

/* --- all of the disk --- */

/* PASS, with the digest of what was offered. */
static bool is_pass_the_same(struct disk_run *run)
{
    struct wire_pass pass = {.is_last = true};
    struct wire_passed passed;
    struct link_frame frame;
    struct text out = {0};
    memcpy(pass.digest, run->digest.bytes, sizeof(pass.digest));
    wire_pass_encode(&pass, &out);
    send_text(run->link, &out);
    assert_true(get_answer(run, &frame));
    assert_int_equal(wire_passed_decode(frame.payload, frame.length, &passed, NULL), 0);
    return !passed.is_different;
}

static void test_pass_that_left_part_of_the_disk_out_is_not_the_same(void **state)
{
    struct stage *stage = *state;
    struct agent agent;
    struct disk_run run = {.disk = 0, .content = content, .size = DISK_SIZE, .frames_left = -1};
    agent_init(&agent, stage);
    agent_enter(&agent);
    agent_announce(&agent, "partly", 1, DISK_SIZE);
    open_disk(&agent, &run);
    send_zero_run(&run, 0, 3);
    send_zero_run(&run, 4, 4);
    assert_false(is_pass_the_same(&run));
    send_zero_run(&run, 0, 8);
    assert_true(is_pass_the_same(&run));
    assert_true(is_pass_the_same(&run)); /* PASSED may have been lost */
    send_zero_run(&run, 0, 7);
    assert_false(is_pass_the_same(&run));
    link_close(run.link);
    agent_fini(&agent);
}

static void test_pass_over_two_connections_covers_what_both_offered(void **state)
{
    struct stage *stage = *state;
    struct agent agent;
    struct wire_safe safe;
    struct disk_run run = {.disk = 0, .content = content, .size = DISK_SIZE, .frames_left = -1};
    agent_init(&agent, stage);
    agent_enter(&agent);
    agent_announce(&agent, "cut", 1, DISK_SIZE);
    open_disk(&agent, &run);
    send_zero_run(&run, 0, 5);
    EXPECT(run.link, WIRE_SAFE, safe, &safe);
    link_close(run.link);
    open_disk(&agent, &run);
    send_zero_run(&run, 5, 3);
    assert_true(is_pass_the_same(&run));
    link_close(run.link);
    agent_fini(&agent);
}

/* --- the window --- */

#define WINDOW ((uint64_t)4 << 20) /* with the checkpoint of the tests' server */
#define BIG_CHUNKS (3 * WINDOW / CHUNK_SIZE)

/* Offers and sends the chunk without waiting for anything. */
static void push_chunk(struct disk_run *run, uint64_t chunk)
{
    struct wire_offer offer = {.sequence = run->sequence++, .first = chunk, .count = 1};
    struct text out = {0};
    chunk_name_compute(run->content + chunk * CHUNK_SIZE, CHUNK_SIZE, &offer.names[0]);
    disksum_add(&run->digest, chunk, CHUNK_DATA, &offer.names[0]);
    wire_offer_encode(&offer, &out);
    send_text(run->link, &out);
    assert_true(send_chunk(run, offer.sequence, chunk));
}

static void *push_disk(void *context)
{
    struct disk_run *run = context;
    for (uint64_t chunk = 0; chunk < BIG_CHUNKS; chunk++)
        push_chunk(run, chunk);
    return NULL;
}

static void number_chunks(uint8_t *big)
{
    for (uint64_t chunk = 0; chunk < BIG_CHUNKS; chunk++)
        store_le64(big + chunk * CHUNK_SIZE, chunk + 1);
}

static void expect_wants(struct disk_run *run)
{
    struct link_frame frame;
    for (uint64_t chunk = 0; chunk < BIG_CHUNKS; chunk++) {
        assert_true(get_answer(run, &frame));
        assert_string_equal(wire_type_name(frame.type), "WANT");
    }
}

static void test_agent_that_ignores_the_window_waits_for_the_disk(void **state)
{
    struct stage *stage = *state;
    struct agent agent;
    pthread_t pusher;
    AUTO_FREE uint8_t *big = memory_new(BIG_CHUNKS, CHUNK_SIZE);
    struct disk_run run = {
        .disk = 0, .content = big, .size = BIG_CHUNKS * CHUNK_SIZE, .frames_left = -1};
    number_chunks(big);
    agent_init(&agent, stage);
    agent_enter(&agent);
    agent_announce(&agent, "greedy", 1, run.size);
    open_disk(&agent, &run);
    set_slow(true);
    assert_int_equal(pthread_create(&pusher, NULL, push_disk, &run), 0);
    usleep(1500000);
    uint64_t fed_bytes = figures_of(stage->server, "greedy").sent_bytes;
    set_slow(false);
    assert_int_equal(pthread_join(pusher, NULL), 0);
    assert_int_equal(fed_bytes, WINDOW);
    expect_wants(&run);
    end_pass(&run);
    link_close(run.link);
    agent_fini(&agent);
}

int main(void)
{
#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, stage_set_up, stage_tear_down)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_agent_that_does_not_read_holds_up_no_job),
        WITH_SERVER(test_agent_hears_what_the_job_said_last),
        WITH_SERVER(test_agent_may_leave_while_the_job_speaks),
        WITH_SERVER(test_nobody_joins_a_transfer_that_is_made_to_go),
        WITH_SERVER(test_no_address_takes_all_places_where_approvals_are_waited_for),
        WITH_SERVER(test_killed_connection_does_not_sleep_on),
        WITH_SERVER(test_disk_connection_may_not_idle_before_it_names_its_disk),
        WITH_SERVER(test_disk_that_changes_after_its_last_pass_has_not_passed),
        WITH_SERVER(test_received_disk_is_shown_as_done_whatever_the_agent_said),
        WITH_SERVER(test_no_more_is_shown_as_safe_than_has_arrived),
        WITH_SERVER(test_pass_that_left_part_of_the_disk_out_is_not_the_same),
        WITH_SERVER(test_pass_over_two_connections_covers_what_both_offered),
        WITH_SERVER(test_agent_that_ignores_the_window_waits_for_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
