/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The server with agents that must not get in, break the rules, or are too many.
 */
#include "base/clock.h"
#include "tests/unit/p2v/server_agent.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>

#define DISK_SIZE ((size_t)8 * CHUNK_SIZE)
#define DAY 86400

static uint8_t content[DISK_SIZE];

/* --- who gets in --- */

static int64_t tomorrow(void *context)
{
    (void)context;
    return (int64_t)time(NULL) + DAY + 1;
}

static void try_token(struct agent *agent, struct stage *stage, const char *token)
{
    bool is_strange;
    agent_init(agent, stage);
    agent->control = agent_hello(agent, WIRE_CONTROL, &is_strange);
    assert_true(is_strange);
    send_token(agent->control, token);
}

/* With the same words, and not at once. */
static void expect_refusal(struct agent *agent, int64_t sent_ms)
{
    struct wire_error error;
    EXPECT(agent->control, WIRE_ERROR, error, &error);
    assert_int_equal(error.code, WIRE_ERROR_NOT_AUTHORISED);
    assert_string_equal(error.text,
                        "not authorised: the token is unknown, used, expired or revoked");
    assert_true(clock_ms() - sent_ms >= 900);
    agent_fini(agent);
}

static void test_wrong_used_and_expired_tokens_are_refused_alike(void **state)
{
    struct stage *stage = *state;
    struct agent agent, refused[3];
    struct wire_admitted admitted;
    char used[WIRE_TOKEN_LENGTH + 1], old[WIRE_TOKEN_LENGTH + 1];
    make_token(stage, &(struct token_options){0}, used);
    make_token(stage, &(struct token_options){0}, old);
    agent_init(&agent, stage);
    agent.control = agent_hello(&agent, WIRE_CONTROL, NULL);
    send_token(agent.control, used);
    EXPECT(agent.control, WIRE_ADMITTED, admitted, &admitted);
    agent_fini(&agent);
    database_set_clock(server_database(stage->server), tomorrow, NULL);
    int64_t sent_ms = clock_ms();
    try_token(&refused[0], stage, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    try_token(&refused[1], stage, used);
    try_token(&refused[2], stage, old);
    for (size_t i = 0; i < ARRAY_LENGTH(refused); i++)
        expect_refusal(&refused[i], sent_ms);
}

static void test_agent_without_a_token_waits_and_is_approved(void **state)
{
    struct stage *stage = *state;
    struct agent agent;
    struct wire_admitted admitted;
    uint8_t identity[TLS_IDENTITY_SIZE];
    char code[AGENT_CODE_SIZE];
    agent_init(&agent, stage);
    tls_identity_hash(agent.identity, identity);
    agent_code(identity, code);
    agent.control = agent_hello(&agent, WIRE_CONTROL, NULL);
    EXPECT(agent.control, WIRE_ADMITTED, admitted, &admitted);
    assert_true(admitted.is_waiting);
    assert_string_equal(admitted.code, code);
    assert_int_equal(agent_approve(server_database(stage->server), code, NULL), 0);
    EXPECT(agent.control, WIRE_ADMITTED, admitted, &admitted);
    assert_false(admitted.is_waiting);
    agent_announce(&agent, "approved", 1, DISK_SIZE);
    agent_fini(&agent);
}

/* The machine's UUID and serial number, and their mark. */
#define MARKED                                                                                     \
    "{\"dmi\": {\"uuid\": \"4C4C4544-0042-3510-8052-B4C04F4B3132\", \"serial\": \"4XK2J5J\"}}"
#define MARK "6ba15fb67e5b2220"

static void announce_marked(struct agent *agent)
{
    struct wire_session session;
    SEND(agent->control, machine,
         {.disk_count = 1,
          .disks = {{DISK_SIZE, 512, DISK_SIZE, "sda", ""}},
          .name = "web01",
          .inventory = MARKED,
          .inventory_length = strlen(MARKED)});
    EXPECT(agent->control, WIRE_SESSION, session, &session);
    assert_string_equal(session.machine, "web01");
}

/* As an agent on a boot medium after a loss of power, without a token. */
static void test_agent_that_lost_its_key_is_suggested_the_machine_that_it_had(void **state)
{
    struct stage *stage = *state;
    struct agent agent, again;
    struct wire_admitted admitted;
    struct wire_welcome welcome;
    char machine[64];
    agent_init(&agent, stage);
    agent_enter(&agent);
    announce_marked(&agent);
    agent_fini(&agent);
    agent_init(&again, stage);
    again.control = agent_knock(&again);
    SEND(again.control, hello,
         {.version = WIRE_VERSION, .role = WIRE_CONTROL, .program = "by hand id=" MARK});
    EXPECT(again.control, WIRE_WELCOME, welcome, &welcome);
    EXPECT(again.control, WIRE_ADMITTED, admitted, &admitted);
    assert_true(admitted.is_waiting);
    struct database *database = server_database(stage->server);
    assert_int_equal(agent_waiting_machine(database, admitted.code, machine, NULL), 0);
    assert_string_equal(machine, "web01");
    assert_int_equal(agent_approve_as(database, admitted.code, machine, NULL), 0);
    EXPECT(again.control, WIRE_ADMITTED, admitted, &admitted);
    announce_marked(&again);
    agent_fini(&again);
}

static void test_disk_connection_needs_a_session_of_its_own_key(void **state)
{
    struct stage *stage = *state;
    struct agent owner, other, stranger;
    agent_init(&owner, stage);
    agent_init(&other, stage);
    agent_init(&stranger, stage);
    agent_enter(&owner);
    agent_announce(&owner, "owner", 1, DISK_SIZE);
    agent_enter(&other);
    struct wire_hello hello = {.version = WIRE_VERSION, .role = WIRE_DISK_DATA, .program = "x"};
    memcpy(hello.session, owner.session, sizeof(hello.session));
    struct agent *intruders[] = {&other, &stranger};
    enum wire_error_code codes[] = {WIRE_ERROR_UNKNOWN_SESSION, WIRE_ERROR_NOT_AUTHORISED};
    for (size_t i = 0; i < 2; i++) {
        struct text out = {0};
        struct link *link = agent_knock(intruders[i]);
        wire_hello_encode(&hello, &out);
        send_text(link, &out);
        expect_error(link, codes[i]);
        link_close(link);
    }
    agent_fini(&owner);
    agent_fini(&other);
    agent_fini(&stranger);
}

static void test_unknown_version_is_told_so(void **state)
{
    struct agent agent;
    agent_init(&agent, *state);
    agent.control = agent_knock(&agent);
    SEND(agent.control, hello, {.version = 2, .program = "from the future"});
    expect_error(agent.control, WIRE_ERROR_VERSION);
    agent_fini(&agent);
}

/* --- who keeps the rules --- */

static void test_frames_at_the_wrong_time_end_the_connection(void **state)
{
    struct stage *stage = *state;
    struct agent agent;
    struct link *link;
    struct wire_ready ready;
    agent_init(&agent, stage);
    agent_enter(&agent);
    SEND(agent.control, finish, {.report = "{}", .report_length = 2});
    expect_error(agent.control, WIRE_ERROR_PROTOCOL);
    agent_hang_up(&agent);

    agent_enter(&agent);
    agent_announce(&agent, "rules", 1, DISK_SIZE);
    SEND(agent.control, status, {.disk = 1, .text = "of a disk that is none"});
    expect_error(agent.control, WIRE_ERROR_PROTOCOL);
    agent_hang_up(&agent);

    agent_enter(&agent);
    agent_announce(&agent, "rules", 1, DISK_SIZE);
    link = agent_hello(&agent, WIRE_DISK_DATA, NULL);
    SEND(link, run, {.sequence = 0, .first = 0, .count = 1, .state = CHUNK_ZERO});
    expect_error(link, WIRE_ERROR_PROTOCOL); /* before DISK */
    link_close(link);
    link = agent_hello(&agent, WIRE_DISK_DATA, NULL);
    SEND(link, disk, {.disk = 1});
    expect_error(link, WIRE_ERROR_PROTOCOL); /* no such disk */
    link_close(link);
    link = agent_hello(&agent, WIRE_DISK_DATA, NULL);
    SEND(link, disk, {.disk = 0});
    EXPECT(link, WIRE_READY, ready, &ready);
    SEND(link, run, {.sequence = 0, .first = 7, .count = 2, .state = CHUNK_ZERO});
    expect_error(link, WIRE_ERROR_PROTOCOL); /* beyond the disk */
    link_close(link);
    SEND(agent.control, finish, {.report = "{}", .report_length = 2});
    expect_error(agent.control, WIRE_ERROR_PROTOCOL); /* before its disk has passed */
    agent_fini(&agent);
}

static void test_agent_that_gives_up_may_say_so_and_come_back(void **state)
{
    struct agent agent;
    struct link_frame frame;
    agent_init(&agent, *state);
    agent_enter(&agent);
    agent_announce(&agent, "tired", 1, DISK_SIZE);
    SEND(agent.control, error, {.code = WIRE_ERROR_INTERNAL, .text = "the disk is gone"});
    assert_true(get(agent.control, &frame) <= 0); /* and is not told off for it */
    agent_hang_up(&agent);
    agent_enter(&agent);
    agent_announce(&agent, "tired", 1, DISK_SIZE);
    agent_fini(&agent);
}

static void test_inventory_that_is_no_object_is_refused(void **state)
{
    static const char *const inventories[] = {"[]", "{", "{\"a\": 1, \"a\": 2}"};
    struct agent agent;
    agent_init(&agent, *state);
    for (size_t i = 0; i < ARRAY_LENGTH(inventories); i++) {
        struct wire_machine machine = {.disk_count = 1,
                                       .disks = {{DISK_SIZE, 512, DISK_SIZE, "sda", ""}},
                                       .inventory = inventories[i],
                                       .inventory_length = strlen(inventories[i])};
        struct text out = {0};
        agent_enter(&agent);
        wire_machine_encode(&machine, &out);
        send_text(agent.control, &out);
        expect_error(agent.control, WIRE_ERROR_PROTOCOL);
        agent_hang_up(&agent);
    }
    agent_fini(&agent);
}

static void test_machine_too_large_for_the_pool_is_refused_at_once(void **state)
{
    struct agent agent;
    uint64_t size = (uint64_t)32 << 40;
    struct wire_machine machine = {.disk_count = 1,
                                   .disks = {{size, 512, size, "sda", ""}},
                                   .name = "huge",
                                   .inventory = "{}",
                                   .inventory_length = 2};
    struct text out = {0};
    struct wire_error error;
    agent_init(&agent, *state);
    agent_enter(&agent);
    wire_machine_encode(&machine, &out);
    send_text(agent.control, &out);
    EXPECT(agent.control, WIRE_ERROR, error, &error);
    assert_int_equal(error.code, WIRE_ERROR_NO_SPACE);
    assert_non_null(strstr(error.text, "TiB needed"));
    agent_hang_up(&agent);
    assert_false(pool_has(*state, "huge.partial"));
    struct machine_row row;
    assert_int_equal(machine_get(server_database(agent.stage->server), "huge", &row, NULL), 0);
    assert_int_equal(row.state, MACHINE_FAILED);
    assert_int_equal(row.exit_code, 6);
    agent_fini(&agent);
}

/* --- more than one of them --- */

static void test_two_machines_of_one_name_stand_side_by_side(void **state)
{
    struct stage *stage = *state;
    struct agent agents[2];
    struct disk_run run = {.disk = 0, .content = content, .size = DISK_SIZE};
    for (int i = 0; i < 2; i++) {
        agent_init(&agents[i], stage);
        agent_enter(&agents[i]);
        agent_announce(&agents[i], "../../web", 1, DISK_SIZE);
    }
    assert_string_equal(agents[0].machine, "web");
    assert_string_equal(agents[1].machine, "web-2");
    for (int i = 0; i < 2; i++) {
        make_disk(content, DISK_SIZE, (unsigned)i);
        send_disk(&agents[i], &run);
        agent_finish(&agents[i]);
        agent_fini(&agents[i]);
    }
    expect_image(stage, "web-2.partial", 0, content, DISK_SIZE);
    make_disk(content, DISK_SIZE, 0);
    expect_image(stage, "web.partial", 0, content, DISK_SIZE);
}

static void test_second_connection_of_a_key_replaces_the_first(void **state)
{
    struct stage *stage = *state;
    struct agent agent, same;
    struct disk_run first = {.disk = 0, .content = content, .size = DISK_SIZE}, second = first;
    make_disk(content, DISK_SIZE, 0);
    agent_init(&agent, stage);
    agent_enter(&agent);
    agent_announce(&agent, "one", 1, DISK_SIZE);
    first.frames_left = 3;
    open_disk(&agent, &first);
    assert_false(offer_disk(&first));
    send_disk(&agent, &second);
    expect_error(first.link, WIRE_ERROR_REPLACED);
    link_close(first.link);

    same = agent; /* the same key */
    agent_enter(&same);
    agent_announce(&same, "one", 1, DISK_SIZE);
    expect_error(agent.control, WIRE_ERROR_REPLACED);
    agent_hang_up(&agent);
    agent_finish(&same);
    agent_fini(&same);
}

static int connect_silently(const struct stage *stage)
{
    struct sockaddr_in where = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)stage->port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&where, sizeof(where)), 0);
    return fd;
}

static void test_real_agent_passes_a_crowd_that_says_nothing(void **state)
{
    struct stage *stage = *state;
    struct agent agent;
    struct disk_run run = {.disk = 0, .content = content, .size = DISK_SIZE};
    int crowd[70];
    char byte;
    make_disk(content, DISK_SIZE, 0);
    for (size_t i = 0; i < ARRAY_LENGTH(crowd); i++)
        crowd[i] = connect_silently(stage);
    agent_init(&agent, stage);
    agent_enter(&agent);
    agent_announce(&agent, "crowd", 1, DISK_SIZE);
    send_disk(&agent, &run);
    agent_finish(&agent);
    /* The first ones have had to go. */
    assert_true(recv(crowd[0], &byte, 1, 0) <= 0);
    for (size_t i = 0; i < ARRAY_LENGTH(crowd); i++)
        close(crowd[i]);
    expect_image(stage, "crowd.partial", 0, content, DISK_SIZE);
    agent_fini(&agent);
}

int main(void)
{
#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, stage_set_up, stage_tear_down)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_wrong_used_and_expired_tokens_are_refused_alike),
        WITH_SERVER(test_agent_without_a_token_waits_and_is_approved),
        WITH_SERVER(test_agent_that_lost_its_key_is_suggested_the_machine_that_it_had),
        WITH_SERVER(test_disk_connection_needs_a_session_of_its_own_key),
        WITH_SERVER(test_unknown_version_is_told_so),
        WITH_SERVER(test_frames_at_the_wrong_time_end_the_connection),
        WITH_SERVER(test_agent_that_gives_up_may_say_so_and_come_back),
        WITH_SERVER(test_inventory_that_is_no_object_is_refused),
        WITH_SERVER(test_machine_too_large_for_the_pool_is_refused_at_once),
        WITH_SERVER(test_two_machines_of_one_name_stand_side_by_side),
        WITH_SERVER(test_second_connection_of_a_key_replaces_the_first),
        WITH_SERVER(test_real_agent_passes_a_crowd_that_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
