/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The server with agents that keep the rules: whole machines, resumes, restarts.
 */
#include "tests/unit/p2v/server_agent.h"

#include <signal.h>
#include <sys/wait.h>

#define DISK_SIZE ((size_t)40 * CHUNK_SIZE - 1536)

static uint8_t content[DISK_SIZE];

static void test_server_receives_a_machine_of_two_disks(void **state)
{
    struct stage *stage = *state;
    struct agent agent;
    struct disk_run first = {.disk = 0, .content = content, .size = DISK_SIZE}, second = first;
    AUTO_FREE uint8_t *other = malloc(DISK_SIZE);
    make_disk(content, DISK_SIZE, 0);
    make_disk(other, DISK_SIZE, 5);
    second.disk = 1;
    second.content = other;
    agent_init(&agent, stage);
    agent_enter(&agent);
    agent_announce(&agent, "", 2, DISK_SIZE);
    assert_string_equal(agent.machine, "web01");
    send_disk(&agent, &first);
    send_disk(&agent, &second);
    agent_finish(&agent);
    expect_image(stage, "web01.partial", 0, content, DISK_SIZE);
    expect_image(stage, "web01.partial", 1, other, DISK_SIZE);
    assert_true(pool_has(stage, "web01.partial/received.json"));
    assert_true(pool_has(stage, "web01.partial/inventory.json"));
    assert_true(pool_has(stage, "web01.partial/disk1.manifest"));
    agent_fini(&agent);
}

/* Cut behind each frame in turn: what was told safe is not sent again. */
static void test_server_goes_on_after_a_cut_behind_each_frame(void **state)
{
    struct stage *stage = *state;
    struct agent agent;
    struct disk_run run = {.disk = 0, .content = content, .size = DISK_SIZE};
    bool is_done = false;
    make_disk(content, DISK_SIZE, 0);
    agent_init(&agent, stage);
    agent_enter(&agent);
    agent_announce(&agent, "cut", 1, DISK_SIZE);
    for (int frames = 0; !is_done; frames += 3) {
        run.frames_left = frames;
        open_disk(&agent, &run);
        is_done = offer_disk(&run);
        if (is_done)
            end_pass(&run);
        else
            link_shut(run.link);
        link_close(take_ptr(&run.link));
    }
    /* 40 chunks, 26 with content: a frame that was cut off costs one chunk again at most. */
    assert_true(run.sent_chunks >= 26 && run.sent_chunks <= 26 + 20);
    agent_finish(&agent);
    expect_image(stage, "cut.partial", 0, content, DISK_SIZE);
    agent_fini(&agent);
}

static void test_agent_that_lost_its_control_connection_keeps_its_session(void **state)
{
    struct stage *stage = *state;
    struct agent agent;
    uint8_t before[WIRE_SESSION_SIZE];
    struct disk_run run = {.disk = 0, .content = content, .size = DISK_SIZE};
    make_disk(content, DISK_SIZE, 0);
    agent_init(&agent, stage);
    agent_enter(&agent);
    agent_announce(&agent, "again", 1, DISK_SIZE);
    memcpy(before, agent.session, sizeof(before));
    send_disk(&agent, &run);
    link_shut(agent.control);
    agent_hang_up(&agent);
    agent_enter(&agent); /* its key lets it in */
    agent_announce(&agent, "other", 1, DISK_SIZE);
    assert_string_equal(agent.machine, "again");
    assert_memory_equal(agent.session, before, sizeof(before));
    agent_finish(&agent);
    agent_fini(&agent);
}

/* The database's row of the machine. */
static void expect_state(struct stage *stage, const char *name, enum machine_state state)
{
    struct machine_row row;
    for (int i = 0; i < 50; i++) {
        assert_int_equal(machine_get(server_database(stage->server), name, &row, NULL), 0);
        if (row.state == state)
            return;
        usleep(100000);
    }
    fail_msg("%s is %s", name, machine_state_name(row.state));
}

static void test_restarted_server_goes_on_where_it_was(void **state)
{
    struct stage *stage = *state;
    struct agent agent;
    struct disk_run run = {.disk = 0, .content = content, .size = DISK_SIZE, .frames_left = 30};
    make_disk(content, DISK_SIZE, 0);
    agent_init(&agent, stage);
    agent_enter(&agent);
    agent_announce(&agent, "restarted", 1, DISK_SIZE);
    open_disk(&agent, &run);
    assert_false(offer_disk(&run));
    size_t sent = run.sent_chunks;
    stage_stop(stage);
    expect_error(agent.control, WIRE_ERROR_SHUTTING_DOWN);
    agent_hang_up(&agent);
    link_close(take_ptr(&run.link));

    stage_start(stage);
    expect_state(stage, "restarted", MACHINE_INTERRUPTED);
    agent_enter(&agent);
    agent_announce(&agent, "restarted", 1, DISK_SIZE);
    send_disk(&agent, &run);
    /* What had arrived was committed: nothing but what was on its way comes twice. */
    assert_int_equal(sent, 15);
    assert_true(run.sent_chunks <= 26 + 1);
    agent_finish(&agent);
    expect_image(stage, "restarted.partial", 0, content, DISK_SIZE);
    agent_fini(&agent);
}

static void test_what_the_job_says_reaches_agent_and_database(void **state)
{
    struct stage *stage = *state;
    struct agent agent;
    struct wire_stage_text said;
    struct wire_result result;
    struct disk_run run = {.disk = 0, .content = content, .size = DISK_SIZE};
    make_disk(content, DISK_SIZE, 0);
    agent_init(&agent, stage);
    agent_enter(&agent);
    agent_announce(&agent, "job", 1, DISK_SIZE);
    expect_state(stage, "job", MACHINE_RECEIVING);
    send_disk(&agent, &run);
    agent_finish(&agent);
    expect_state(stage, "job", MACHINE_RECEIVED);
    server_job_stage(stage->server, "job", WIRE_STAGE_FIXING, "looking");
    EXPECT(agent.control, WIRE_STAGE, stage_text, &said);
    assert_int_equal(said.stage, WIRE_STAGE_FIXING);
    assert_string_equal(said.text, "looking");
    expect_state(stage, "job", MACHINE_FIXING);
    server_job_result(stage->server, "job", 3, "one thing was skipped");
    EXPECT(agent.control, WIRE_RESULT, result, &result);
    assert_int_equal(result.exit_code, 3);
    assert_string_equal(result.text, "one thing was skipped");
    expect_state(stage, "job", MACHINE_WARNED);
    assert_int_equal(stage->job_count, 1);
    assert_string_equal(stage->jobs[0], "job");
    agent_fini(&agent);
}

static void test_agent_cut_off_before_the_stage_may_finish_again(void **state)
{
    struct stage *stage = *state;
    struct agent agent;
    struct wire_result result;
    struct disk_run run = {.disk = 0, .content = content, .size = DISK_SIZE};
    make_disk(content, DISK_SIZE, 0);
    agent_init(&agent, stage);
    agent_enter(&agent);
    agent_announce(&agent, "twice", 1, DISK_SIZE);
    send_disk(&agent, &run);
    agent_finish(&agent);
    agent_hang_up(&agent);
    agent_enter(&agent);
    agent_announce(&agent, "twice", 1, DISK_SIZE);
    server_job_result(stage->server, "twice", 0, "fine");
    EXPECT(agent.control, WIRE_RESULT, result, &result);
    agent_finish(&agent);
    EXPECT(agent.control, WIRE_RESULT, result, &result);
    assert_int_equal(result.exit_code, 0);
    assert_int_equal(stage->job_count, 1);
    agent_fini(&agent);
}

static void test_second_run_right_behind_the_first_sends_what_has_changed(void **state)
{
    struct stage *stage = *state;
    struct agent agent;
    struct disk_run run = {.disk = 0, .content = content, .size = DISK_SIZE};
    make_disk(content, DISK_SIZE, 0);
    agent_init(&agent, stage);
    agent_enter(&agent);
    agent_announce(&agent, "more", 1, DISK_SIZE);
    send_disk(&agent, &run);
    agent_finish(&agent);
    agent_hang_up(&agent);
    size_t first = run.sent_chunks;
    make_disk(content, DISK_SIZE, 77); /* chunks 1, 8, 22, 29 */
    agent_enter(&agent);
    agent_announce(&agent, "more", 1, DISK_SIZE);
    send_disk(&agent, &run);
    agent_finish(&agent);
    assert_int_equal(first, 26);
    assert_int_equal(run.sent_chunks - first, 4);
    expect_image(stage, "more.partial", 0, content, DISK_SIZE);
    agent_fini(&agent);
}

static void test_machine_handed_to_a_new_key_goes_on_with_it(void **state)
{
    struct stage *stage = *state;
    struct agent agent, reborn;
    struct wire_admitted admitted;
    char token[WIRE_TOKEN_LENGTH + 1];
    struct disk_run run = {.disk = 0, .content = content, .size = DISK_SIZE};
    make_disk(content, DISK_SIZE, 0);
    agent_init(&agent, stage);
    agent_enter(&agent);
    agent_announce(&agent, "reborn", 1, DISK_SIZE);
    run.frames_left = 30;
    open_disk(&agent, &run);
    assert_false(offer_disk(&run));
    size_t sent = run.sent_chunks;
    make_token(stage, &(struct token_options){.machine = "reborn"}, token);
    agent_init(&reborn, stage);
    reborn.control = agent_hello(&reborn, WIRE_CONTROL, NULL);
    send_token(reborn.control, token);
    EXPECT(reborn.control, WIRE_ADMITTED, admitted, &admitted);
    agent_announce(&reborn, "", 1, DISK_SIZE);
    assert_string_equal(reborn.machine, "reborn");
    expect_error(agent.control, WIRE_ERROR_REPLACED);
    link_close(take_ptr(&run.link));
    send_disk(&reborn, &run);
    assert_true(sent > 10 && run.sent_chunks <= 26 + 1);
    agent_finish(&reborn);
    expect_image(stage, "reborn.partial", 0, content, DISK_SIZE);
    agent_fini(&agent);
    agent_fini(&reborn);
}

/* --- kill -9 --- */

struct birth {
    unsigned port;
    char pin[TLS_PIN_SIZE], token[WIRE_TOKEN_LENGTH + 1];
};

static int ignore_job(void *context, const char *machine, struct error *err)
{
    (void)context;
    (void)machine;
    (void)err;
    return 0;
}

static void be_a_server(const struct stage *stage, int fd)
{
    struct birth birth;
    char id[16];
    struct server_options options = {.pool = stage->folder,
                                     .listen = "127.0.0.1:0",
                                     .checkpoint_bytes = 1 << 20,
                                     .add_job = ignore_job};
    struct server *server = server_start(&options, NULL);
    if (!server)
        _exit(1);
    birth.port = server_port(server);
    server_pin(server, birth.pin);
    if (token_create(server_database(server), &(struct token_options){0}, birth.token, id, NULL) !=
            0 ||
        write(fd, &birth, sizeof(birth)) != sizeof(birth))
        _exit(1);
    pause();
}

static pid_t start_process(struct stage *stage, struct birth *birth)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        be_a_server(stage, fds[1]);
        _exit(1);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], birth, sizeof(*birth)), sizeof(*birth));
    close(fds[0]);
    stage->port = birth->port;
    memcpy(stage->pin, birth->pin, sizeof(birth->pin));
    return pid;
}

static void stop_process(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_killed_server_loses_nothing_that_it_called_safe(void **state)
{
    struct stage *stage = *state;
    struct agent agent;
    struct birth birth;
    struct wire_admitted admitted;
    struct disk_run run = {.disk = 0, .content = content, .size = DISK_SIZE};
    bool is_strange, is_done = false;
    make_disk(content, DISK_SIZE, 0);
    agent_init(&agent, stage);
    for (int frames = 2; !is_done; frames += 5) {
        pid_t pid = start_process(stage, &birth);
        agent.control = agent_hello(&agent, WIRE_CONTROL, &is_strange);
        assert_int_equal(is_strange, frames == 2);
        if (is_strange) {
            send_token(agent.control, birth.token);
            EXPECT(agent.control, WIRE_ADMITTED, admitted, &admitted);
        }
        agent_announce(&agent, "killed", 1, DISK_SIZE);
        run.frames_left = frames;
        open_disk(&agent, &run);
        is_done = offer_disk(&run);
        if (is_done) {
            end_pass(&run);
            agent_finish(&agent);
        }
        stop_process(pid);
        link_close(take_ptr(&run.link));
        agent_hang_up(&agent);
    }
    expect_image(stage, "killed.partial", 0, content, DISK_SIZE);
    assert_true(pool_has(stage, "killed.partial/received.json"));
    agent_fini(&agent);
}

int main(void)
{
#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, stage_set_up, stage_tear_down)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_server_receives_a_machine_of_two_disks),
        WITH_SERVER(test_server_goes_on_after_a_cut_behind_each_frame),
        WITH_SERVER(test_agent_that_lost_its_control_connection_keeps_its_session),
        WITH_SERVER(test_restarted_server_goes_on_where_it_was),
        WITH_SERVER(test_what_the_job_says_reaches_agent_and_database),
        WITH_SERVER(test_agent_cut_off_before_the_stage_may_finish_again),
        WITH_SERVER(test_second_run_right_behind_the_first_sends_what_has_changed),
        WITH_SERVER(test_machine_handed_to_a_new_key_goes_on_with_it),
        cmocka_unit_test_setup_teardown(test_killed_server_loses_nothing_that_it_called_safe,
                                        stage_make_folder, stage_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
