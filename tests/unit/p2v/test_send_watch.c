/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sending as the boot medium's screen does it: from a thread of its own, several times in one
 * process, everything told to who watches and nothing printed.
 */
#include "base/clock.h"
#include "p2v/cli.h"
#include "p2v/send.h"
#include "tests/unit/p2v/server_agent.h"

#include <pthread.h>

#define DISK_SIZE ((size_t)16 * CHUNK_SIZE)

/* What was told; the calls come one at a time. */
struct seen {
    char disk[65], machine[64], message[256];
    size_t disks, progresses, stages, messages, results;
    enum sender_phase phase;
    uint64_t safe_bytes;
    bool is_received;
    int exit_code;
    atomic_bool stop;
    bool stops_on_progress;
};

static void see_disks(void *context, const char *const names[], size_t count)
{
    struct seen *seen = context;
    seen->disks += count;
    snprintf(seen->disk, sizeof(seen->disk), "%s", names[0]);
}

static void see_progress(void *context, size_t disk, const struct sender_progress *progress)
{
    struct seen *seen = context;
    assert_int_equal(disk, 0);
    assert_int_equal(seen->disks, 1);
    seen->progresses++;
    seen->phase = progress->phase;
    seen->safe_bytes = progress->safe_bytes;
    if (seen->stops_on_progress)
        atomic_store(&seen->stop, true);
}

static void see_stage(void *context, const char *machine, enum wire_stage stage, const char *text)
{
    struct seen *seen = context;
    assert_int_equal(stage, WIRE_STAGE_RECEIVED);
    assert_non_null(text);
    seen->stages++;
    snprintf(seen->machine, sizeof(seen->machine), "%s", machine);
}

static void see_message(void *context, enum log_level level, const char *line)
{
    struct seen *seen = context;
    if (level != LOG_LEVEL_DETAIL)
        snprintf(seen->message, sizeof(seen->message), "%s", line);
    seen->messages++;
}

static void see_result(void *context, const struct sender_result *result, int exit_code)
{
    struct seen *seen = context;
    seen->results++;
    seen->is_received = result->is_received;
    seen->exit_code = exit_code;
}

/* --- one sending, in a thread --- */

struct sending {
    struct send_options options;
    const char *image;
    struct error err;
    int code;
};

static void *run(void *context)
{
    struct sending *sending = context;
    struct option_list operands = {.items = &sending->image, .count = 1};
    sending->code = send_machine(NULL, &sending->options, &operands, &sending->err);
    return NULL;
}

struct desk {
    struct stage *stage;
    char server[64], image[128], state[128];
};

static void set_up_desk(struct desk *desk, struct stage *stage, unsigned port)
{
    static uint8_t content[DISK_SIZE];
    desk->stage = stage;
    snprintf(desk->server, sizeof(desk->server), "127.0.0.1:%u", port);
    snprintf(desk->image, sizeof(desk->image), "%s/shop.img", stage->folder);
    snprintf(desk->state, sizeof(desk->state), "%s/state", stage->folder);
    make_disk(content, sizeof(content), 1);
    FILE *file = fopen(desk->image, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(content, 1, sizeof(content), file), sizeof(content));
    assert_int_equal(fclose(file), 0);
}

/* The bytes that were printed meanwhile, on stdout and stderr. */
static long send_quietly(const struct desk *desk, const char *token, bool is_key_from_token,
                         struct seen *seen, struct sending *sending)
{
    pthread_t thread;
    const struct send_watch watch = {.disks = see_disks,
                                     .progress = see_progress,
                                     .stage = see_stage,
                                     .message = see_message,
                                     .result = see_result,
                                     .context = seen};
    *sending = (struct sending){.image = desk->image,
                                .options = {.server = desk->server,
                                            .pin = desk->stage->pin,
                                            .token = token,
                                            .state = desk->state,
                                            .is_result_unwanted = true,
                                            .is_json = true,
                                            .is_key_from_token = is_key_from_token,
                                            .watch = &watch,
                                            .stop = &seen->stop}};
    FILE *printed = tmpfile();
    fflush(stdout);
    int saved[2] = {dup(1), dup(2)};
    dup2(fileno(printed), 1);
    dup2(fileno(printed), 2);
    assert_int_equal(pthread_create(&thread, NULL, run, sending), 0);
    pthread_join(thread, NULL);
    fflush(stdout);
    for (int i = 0; i < 2; i++) {
        dup2(saved[i], i + 1);
        close(saved[i]);
    }
    long length = lseek(fileno(printed), 0, SEEK_END);
    fclose(printed);
    return length;
}

/* --- tests --- */

static void test_sending_is_told_to_who_watches_and_nothing_is_printed(void **state)
{
    struct desk desk;
    struct stage *stage = *state;
    set_up_desk(&desk, stage, stage->port);
    for (int i = 0; i < 2; i++) {
        struct seen seen = {.exit_code = -1};
        struct sending sending;
        char token[WIRE_TOKEN_LENGTH + 1];
        make_token(stage, &(struct token_options){0}, token);
        assert_int_equal(send_quietly(&desk, token, true, &seen, &sending), 0);
        if (sending.code != CLI_DONE)
            fail_msg("%d: %s", sending.code, sending.err.text);
        assert_string_equal(seen.disk, "shop.img");
        assert_true(seen.progresses > 0);
        assert_int_equal(seen.phase, SENDER_DISK_DONE);
        assert_true(seen.safe_bytes > 0);
        assert_int_equal(seen.stages, 1);
        assert_string_equal(seen.machine, i == 0 ? "shop" : "shop-2");
        assert_int_equal(seen.results, 1);
        assert_true(seen.is_received);
        assert_int_equal(seen.exit_code, CLI_DONE);
    }
    /* A key that is made of the token is kept nowhere. */
    assert_int_not_equal(access(desk.state, F_OK), 0);
}

static void test_refused_token_is_an_exit_code_and_not_in_any_text(void **state)
{
    static const char token[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    struct desk desk;
    struct stage *stage = *state;
    struct seen seen = {.exit_code = -1};
    struct sending sending;
    set_up_desk(&desk, stage, stage->port);
    assert_int_equal(send_quietly(&desk, token, false, &seen, &sending), 0);
    assert_int_equal(sending.code, CLI_NOT_AUTHORISED);
    assert_int_equal(seen.exit_code, CLI_NOT_AUTHORISED);
    assert_false(seen.is_received);
    assert_non_null(strstr(sending.err.text, "not authorised"));
    assert_null(strstr(sending.err.text, token));
    assert_null(strstr(seen.message, token));

    /* What is no token does not get as far as the server. */
    seen = (struct seen){.exit_code = -1};
    assert_int_equal(send_quietly(&desk, "secret", false, &seen, &sending), 0);
    assert_int_equal(sending.code, CLI_NOT_AUTHORISED);
    assert_int_equal(seen.results, 0);
    assert_null(strstr(sending.err.text, "secret"));
}

static void test_sending_to_a_server_that_is_away_ends_when_it_is_stopped(void **state)
{
    struct desk desk;
    struct stage *stage = *state;
    struct seen seen = {.exit_code = -1, .stops_on_progress = true};
    struct sending sending;
    set_up_desk(&desk, stage, 1);
    int64_t began_ms = clock_ms();
    assert_int_equal(send_quietly(&desk, "ABCDEFGHIJKLMNOPQRSTUVWXYZ", false, &seen, &sending), 0);
    assert_int_equal(sending.code, CLI_FAILED);
    assert_int_equal(sending.err.errnum, ECANCELED);
    assert_int_equal(seen.phase, SENDER_CONNECTING);
    assert_int_equal(seen.results, 1);
    assert_true(clock_ms() - began_ms < 5000);
}

int main(void)
{
#define WITH_SERVER(name) cmocka_unit_test_setup_teardown(name, stage_set_up, stage_tear_down)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_sending_is_told_to_who_watches_and_nothing_is_printed),
        WITH_SERVER(test_refused_token_is_an_exit_code_and_not_in_any_text),
        WITH_SERVER(test_sending_to_a_server_that_is_away_ends_when_it_is_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
