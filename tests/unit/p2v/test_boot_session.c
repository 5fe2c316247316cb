/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The boot medium's session from the kernel command line to what PID 1 does next: with a terminal
 * and somebody at it, a machine in a folder, and a network and a server that are played here.
 */
#include "base/bytes.h"
#include "base/io.h"
#include "base/own.h"
#include "p2v/boot/session_private.h"
#include "p2v/cli.h"
#include "tests/unit/p2v/boot_terminal.h"
#include "tests/unit/p2v/fake_root.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define PIN "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define TOKEN "ABCDEFGHIJKLMNOPQRSTUVWXYA"
#define KNOWN "quiet rehost.server=conv:7443 rehost.pin=" PIN " rehost.token=" TOKEN

/* --- what is played --- */

static struct {
    atomic_int sends;
    int failures, failure_code, failure_errnum; /* so many sends fail at first */
    int code;                                   /* of those that work */
    bool is_endless;                            /* until it is stopped */
    char token[64], name[64], path[128], network[64], pin[TLS_PIN_SIZE];
    uint64_t memory_bytes;
    unsigned vcpus;
    size_t disks;
    bool is_key_from_token;

    atomic_bool is_network_up, stop;
    char changed[200]; /* "eno1 192.0.2.5/24" of the plan that the form asked for */
    int asked;
} play;

static void remember(const struct send_options *options, const struct option_list *operands)
{
    snprintf(play.token, sizeof(play.token), "%s", options->token ? options->token : "");
    snprintf(play.name, sizeof(play.name), "%s", options->name ? options->name : "");
    snprintf(play.pin, sizeof(play.pin), "%s", options->pin);
    snprintf(play.path, sizeof(play.path), "%s", operands->items[0]);
    play.disks = operands->count;
    play.memory_bytes = options->wishes->memory_bytes;
    play.vcpus = options->wishes->vcpus;
    play.is_key_from_token = options->is_key_from_token;
    if (options->wishes->network_count)
        snprintf(play.network, sizeof(play.network), "%s", options->wishes->networks[0]);
}

static void tell_result(const struct send_watch *watch, int code)
{
    struct sender_result *result = calloc(1, sizeof(*result));
    snprintf(result->machine, sizeof(result->machine), "web01");
    snprintf(result->text, sizeof(result->text), "converted, booted");
    result->has_result = true;
    result->exit_code = code;
    assert_int_equal(extents_add(&result->disks[0].unreadable, 512, 512, NULL), 0);
    assert_int_equal(extents_add(&result->disks[0].unreadable, 4096, 512, NULL), 0);
    watch->result(watch->context, result, code);
    extents_fini(&result->disks[0].unreadable);
    free(result);
}

static int play_send(struct console *console, const struct send_options *options,
                     const struct option_list *operands, struct error *err)
{
    static const char *const names[] = {"sda"};
    const struct send_watch *watch = options->watch;
    struct sender_progress progress = {.phase = SENDER_SENDING,
                                       .total_bytes = 100 * MIB,
                                       .done_bytes = 50 * MIB,
                                       .safe_bytes = 40 * MIB};
    assert_null(console);
    remember(options, operands);
    watch->disks(watch->context, names, 1);
    watch->progress(watch->context, 0, &progress);
    watch->progress(watch->context, 7, &progress); /* there is no such disk */
    watch->message(watch->context, LOG_LEVEL_WARNING, "sda: a sector cannot be read");
    int count = atomic_fetch_add(&play.sends, 1) + 1;
    while (play.is_endless && !atomic_load(options->stop))
        usleep(10000);
    if (play.is_endless)
        return error_set(err, ECANCELED, "stopped");
    if (count <= play.failures)
        return error_set(err, play.failure_errnum, "conv:7443: send"), play.failure_code;
    watch->stage(watch->context, "web01", WIRE_STAGE_RECEIVED, "");
    tell_result(watch, play.code);
    return play.code;
}

static int play_ask_pin(const struct link_address *address, int timeout_ms,
                        uint8_t pin[TLS_IDENTITY_SIZE], struct error *err)
{
    (void)timeout_ms;
    play.asked++;
    if (strcmp(address->host, "nowhere") == 0)
        return error_set(err, ECONNREFUSED, "connect to nowhere");
    return tls_pin_parse(PIN, pin, err);
}

static struct boot_network *play_network_start(const struct boot_net_plan *plan, const char *root,
                                               struct log *log, struct error *err)
{
    (void)plan, (void)root, (void)log, (void)err;
    return (struct boot_network *)&play;
}

static void play_network_state(struct boot_network *network, struct boot_network_state *state)
{
    (void)network;
    *state = (struct boot_network_state){.count = 1, .is_up = atomic_load(&play.is_network_up)};
    snprintf(state->links[0].name, sizeof(state->links[0].name), "eno1");
    snprintf(state->problem, sizeof(state->problem), "%s",
             state->is_up ? "no default route: only here" : "eno1: no cable: plug one in");
}

static int play_network_change(struct boot_network *network, const struct boot_net_plan *plan,
                               struct error *err)
{
    (void)network, (void)err;
    snprintf(play.changed, sizeof(play.changed), "%s %s", plan->entries[0].link,
             plan->entries[0].address);
    return 0;
}

static void play_network_stop(struct boot_network *network)
{
    (void)network;
}

/* --- the machine, the terminal and the session in its thread --- */

struct stage {
    struct fake_machine *machine;
    struct boot_terminal *terminal;
    struct session_parts parts;
    const char *consoles[1];
    struct session *session;
    const char *log; /* where its log goes; NULL: nowhere */
    enum session_step end;
    pthread_t thread;
    bool is_running;
};

static void add_disk(struct stage *stage)
{
    static const uint8_t empty[1 << 16];
    fake_disk(stage->machine, "sda", "8:0", "pci0/ata1/host0/target0:0:0/0:0:0:0");
    fake_bytes(stage->machine, "dev/sda", empty, sizeof(empty));
}

static int open_stage(void **state)
{
    struct stage *stage = calloc(1, sizeof(*stage));
    memset(&play, 0, sizeof(play));
    play.is_network_up = true;
    play.failure_code = -1;
    if (fake_machine_new((void **)&stage->machine) != 0)
        return -1;
    add_disk(stage);
    stage->terminal = boot_terminal_open();
    stage->consoles[0] = stage->terminal->path;
    stage->parts = (struct session_parts){.root = stage->machine->root,
                                          .send = play_send,
                                          .ask_pin = play_ask_pin,
                                          .network_start = play_network_start,
                                          .network_state = play_network_state,
                                          .network_change = play_network_change,
                                          .network_stop = play_network_stop,
                                          .consoles = stage->consoles,
                                          .console_count = 1,
                                          .stop = &play.stop,
                                          .tick_ms = 5,
                                          .network_ms = 1000,
                                          .again_ms = 50,
                                          .stay_s = 60};
    *state = stage;
    return 0;
}

static enum session_step finish(struct stage *stage)
{
    if (stage->is_running)
        pthread_join(stage->thread, NULL);
    stage->is_running = false;
    return stage->end;
}

static int close_stage(void **state)
{
    struct stage *stage = *state;
    atomic_store(&play.stop, true);
    finish(stage);
    if (stage->session) {
        session_log_fini(&stage->session->log);
        free(stage->session);
    }
    boot_terminal_close(stage->terminal);
    void *machine = stage->machine;
    free(stage);
    return fake_machine_free(&machine);
}

static void *run(void *context)
{
    struct stage *stage = context;
    stage->end = session_run(stage->session);
    return NULL;
}

static void start(struct stage *stage, const char *command_line)
{
    stage->parts.command_line = command_line;
    stage->session = calloc(1, sizeof(*stage->session));
    stage->session->parts = &stage->parts;
    session_log_init(&stage->session->log);
    if (stage->log)
        session_log_open(&stage->session->log, stage->log, O_CREAT);
    assert_int_equal(pthread_create(&stage->thread, NULL, run, stage), 0);
    stage->is_running = true;
}

static void await_sends(int count)
{
    for (int i = 0; i < 500 && atomic_load(&play.sends) < count; i++)
        usleep(10000);
    assert_int_equal(atomic_load(&play.sends), count);
}

/* --- without a hand --- */

static void test_session_sends_by_itself_and_powers_off(void **state)
{
    struct stage *stage = *state;
    play.code = CLI_WARNINGS;
    start(stage, KNOWN " rehost.name=web01 rehost.memory=2G rehost.vcpus=3 rehost.networks=wired");
    assert_int_equal(finish(stage), SESSION_POWER_OFF);
    assert_int_equal(atomic_load(&play.sends), 1);
    assert_string_equal(play.token, TOKEN);
    assert_string_equal(play.name, "web01");
    assert_string_equal(play.path, "/dev/sda");
    assert_string_equal(play.network, "wired");
    assert_int_equal(play.memory_bytes, 2 * GIB);
    assert_int_equal(play.vcpus, 3);
    assert_true(play.is_key_from_token);
    assert_int_equal(play.asked, 0);
}

static void test_session_tells_once_how_long_it_took_to_be_connected(void **state)
{
    struct stage *stage = *state;
    struct error err = {0};
    size_t length;
    double seconds;
    AUTO_FREE char *path = text_format("%s/log", stage->machine->root);
    AUTO_FREE char *log = NULL;
    stage->log = path;
    start(stage, KNOWN " rehost.then=wait");
    boot_terminal_await(stage->terminal, "This machine has been copied.");
    atomic_store(&play.stop, true);
    finish(stage);
    assert_int_equal(io_read_file(AT_FDCWD, path, 65536, &log, &length, &err), 0);
    const char *line = strstr(log, " connected ");
    assert_non_null(line);
    assert_int_equal(sscanf(line, " connected %lf s after the kernel was started", &seconds), 1);
    assert_true(seconds > 0);
    assert_null(strstr(line + 1, " connected "));
}

static void test_session_says_what_could_not_be_read_of_what_was_copied(void **state)
{
    struct stage *stage = *state;
    play.code = CLI_WARNINGS;
    start(stage, KNOWN " rehost.then=wait");
    boot_terminal_await(stage->terminal, "This machine has been copied.");
    boot_terminal_await(stage->terminal,
                        "web01: converted, booted, with 2 unreadable ranges (1.0 KiB)");
    boot_terminal_await(stage->terminal, "! sda: a sector cannot be read");
    atomic_store(&play.stop, true);
    assert_int_equal(finish(stage), SESSION_POWER_OFF);
}

static void test_session_restarts_when_that_was_asked_for(void **state)
{
    struct stage *stage = *state;
    start(stage, KNOWN " rehost.then=reboot");
    assert_int_equal(finish(stage), SESSION_RESTART);
}

static void test_session_tries_again_what_may_pass(void **state)
{
    struct stage *stage = *state;
    play.failures = 2;
    play.failure_errnum = ETIMEDOUT;
    start(stage, KNOWN);
    assert_int_equal(finish(stage), SESSION_POWER_OFF);
    assert_int_equal(atomic_load(&play.sends), 3);
}

static void test_session_asks_for_an_approval_when_its_token_is_refused(void **state)
{
    struct stage *stage = *state;
    play.failures = 1;
    play.failure_errnum = EACCES;
    play.failure_code = CLI_NOT_AUTHORISED;
    start(stage, KNOWN);
    assert_int_equal(finish(stage), SESSION_POWER_OFF);
    assert_int_equal(atomic_load(&play.sends), 2);
    assert_string_equal(play.token, "");
}

static void test_session_never_powers_off_a_machine_whose_copy_failed(void **state)
{
    struct stage *stage = *state;
    play.failures = 100;
    play.failure_errnum = TLS_WRONG_PIN;
    play.failure_code = CLI_NOT_AUTHORISED;
    start(stage, KNOWN);
    boot_terminal_await(stage->terminal, "It did not work.");
    boot_terminal_await(stage->terminal, "conv:7443: send: Key was rejected");
    usleep(100000);
    assert_int_equal(atomic_load(&play.sends), 1);
    atomic_store(&play.stop, true); /* PID 1 does */
    finish(stage);
}

static void test_session_does_not_power_off_after_a_failed_boot_test(void **state)
{
    struct stage *stage = *state;
    play.code = CLI_TEST_FAILED;
    start(stage, KNOWN);
    boot_terminal_await(stage->terminal, "It did not work.");
    boot_terminal_await(stage->terminal, "This machine waits, and stays as it is.");
    assert_int_equal(atomic_load(&play.sends), 1);
    atomic_store(&play.stop, true);
    finish(stage);
}

static void test_session_waits_for_a_network_however_long(void **state)
{
    struct stage *stage = *state;
    atomic_store(&play.is_network_up, false);
    start(stage, KNOWN);
    boot_terminal_await(stage->terminal, "eno1: no cable: plug one in");
    assert_int_equal(atomic_load(&play.sends), 0);
    atomic_store(&play.is_network_up, true);
    assert_int_equal(finish(stage), SESSION_POWER_OFF);
    assert_int_equal(atomic_load(&play.sends), 1);
}

static void test_session_waits_for_a_disk_that_comes_late(void **state)
{
    struct stage *stage = *state;
    start(stage, KNOWN " rehost.disks=sdb");
    boot_terminal_await(stage->terminal, "'sdb' is not there; there is: sda");
    fake_bytes(stage->machine, "dev/sdb", "x", 1);
    fake_disk(stage->machine, "sdb", "8:16", "pci0/ata2/host1/target1:0:0/1:0:0:0");
    assert_int_equal(finish(stage), SESSION_POWER_OFF);
    assert_string_equal(play.path, "/dev/sdb");
    assert_int_equal(play.disks, 1);
}

static void test_session_takes_a_disk_that_shows_up_while_it_waits_for_the_network(void **state)
{
    struct stage *stage = *state;
    atomic_store(&play.is_network_up, false);
    start(stage, KNOWN);
    boot_terminal_await(stage->terminal, "Waiting for the network.");
    fake_bytes(stage->machine, "dev/sdb", "x", 1);
    fake_disk(stage->machine, "sdb", "8:16", "pci0/ata2/host1/target1:0:0/1:0:0:0");
    atomic_store(&play.is_network_up, true);
    assert_int_equal(finish(stage), SESSION_POWER_OFF);
    assert_int_equal(play.disks, 2);
}

static void test_session_without_any_screen_goes_on(void **state)
{
    struct stage *stage = *state;
    stage->consoles[0] = "/nonexistent";
    start(stage, KNOWN);
    assert_int_equal(finish(stage), SESSION_POWER_OFF);
    assert_int_equal(atomic_load(&play.sends), 1);
}

/* --- with somebody at it --- */

#define DOWN "\x1b[B"
#define RIGHT "\x1b[C"

static void test_session_asks_for_everything_that_it_was_not_told(void **state)
{
    struct stage *stage = *state;
    stage->parts.attended_goodbye_s = 60;
    start(stage, "quiet");
    boot_terminal_await(stage->terminal, "Where is this machine to be copied to?");
    boot_terminal_type(stage->terminal, "conv" DOWN "web01" DOWN TOKEN DOWN DOWN "\r");
    boot_terminal_await(stage->terminal, "Is it your server?");
    boot_terminal_await(stage->terminal, "ccdd");
    assert_int_equal(atomic_load(&play.sends), 0);
    boot_terminal_type(stage->terminal, RIGHT "\r");
    boot_terminal_await(stage->terminal, "those that are ticked are copied");
    assert_int_equal(atomic_load(&play.sends), 0);
    boot_terminal_type(stage->terminal, "\r");
    boot_terminal_await(stage->terminal, "Press any key to stop that.");
    boot_terminal_type(stage->terminal, "x");
    boot_terminal_await(stage->terminal, "It may be powered off at any time.");
    boot_terminal_type(stage->terminal, "\ry");
    assert_int_equal(finish(stage), SESSION_POWER_OFF);
    assert_string_equal(play.token, TOKEN);
    assert_string_equal(play.name, "web01");
    assert_string_equal(play.pin, PIN);
}

static void test_session_sends_nothing_to_a_server_whose_key_was_refused(void **state)
{
    struct stage *stage = *state;
    start(stage, "rehost.server=conv");
    boot_terminal_await(stage->terminal, "Where is this machine to be copied to?");
    boot_terminal_type(stage->terminal, DOWN DOWN DOWN DOWN "\r");
    boot_terminal_await(stage->terminal, "Is it your server?");
    size_t before = boot_terminal_count(stage->terminal, "Where is this machine");
    boot_terminal_type(stage->terminal, "\r");
    for (int i = 0; i < 300 && boot_terminal_count(stage->terminal, "Where is this") == before; i++)
        usleep(10000);
    assert_int_equal(boot_terminal_count(stage->terminal, "Where is this"), before + 1);
    assert_int_equal(atomic_load(&play.sends), 0);
    atomic_store(&play.stop, true);
    finish(stage);
}

static void test_session_comes_back_to_the_form_when_no_server_answers(void **state)
{
    struct stage *stage = *state;
    start(stage, "rehost.server=nowhere");
    boot_terminal_await(stage->terminal, "Where is this machine to be copied to?");
    boot_terminal_type(stage->terminal, DOWN DOWN DOWN DOWN "\r");
    boot_terminal_await(stage->terminal, "connect to nowhere: Connection refused");
    atomic_store(&play.stop, true);
    finish(stage);
}

static void test_session_shows_a_parameter_that_cannot_be_and_asks(void **state)
{
    struct stage *stage = *state;
    start(stage, KNOWN " rehost.then=explode");
    boot_terminal_await(stage->terminal, "rehost.then");
    boot_terminal_await(stage->terminal, "Go on");
    assert_int_equal(atomic_load(&play.sends), 0);
    atomic_store(&play.stop, true);
    finish(stage);
}

static void test_session_confirms_when_that_was_asked_for(void **state)
{
    struct stage *stage = *state;
    stage->parts.attended_goodbye_s = 0;
    start(stage, KNOWN " rehost.confirm");
    boot_terminal_await(stage->terminal, "those that are ticked are copied");
    assert_int_equal(atomic_load(&play.sends), 0);
    boot_terminal_type(stage->terminal, "\r");
    assert_int_equal(finish(stage), SESSION_POWER_OFF);
    assert_int_equal(play.asked, 0);
    assert_int_equal(atomic_load(&play.sends), 1);
}

static void test_session_sets_the_network_up_as_the_form_says(void **state)
{
    struct stage *stage = *state;
    start(stage, "");
    boot_terminal_await(stage->terminal, "Where is this machine to be copied to?");
    boot_terminal_type(stage->terminal, "conv" DOWN DOWN DOWN RIGHT DOWN "eno1" DOWN
                                        "192.0.2.5/24" DOWN DOWN DOWN "\r");
    boot_terminal_await(stage->terminal, "Is it your server?");
    atomic_store(&play.stop, true);
    finish(stage);
    assert_string_equal(play.changed, "eno1 192.0.2.5/24");
}

static void test_session_stops_sending_when_it_is_powered_off(void **state)
{
    struct stage *stage = *state;
    play.is_endless = true;
    start(stage, KNOWN);
    await_sends(1);
    boot_terminal_await(stage->terminal, "safe to  40 %");
    usleep(50000);
    assert_false(boot_terminal_has_since(stage->terminal, "Copying to", "no default route"));
    atomic_store(&play.is_network_up, false);
    boot_terminal_await(stage->terminal, "eno1: no cable: plug one in");
    boot_terminal_type(stage->terminal, "\r");
    boot_terminal_await(stage->terminal, "The copy is not complete.");
    boot_terminal_type(stage->terminal, "y");
    assert_int_equal(finish(stage), SESSION_POWER_OFF);
    assert_int_equal(atomic_load(&play.sends), 1);
}

/* --- judging --- */

static void test_session_judges_which_failures_may_pass(void **state)
{
    (void)state;
    static const struct {
        int code, errnum;
        bool may_pass;
    } cases[] = {
        {-1, ETIMEDOUT, true},          {CLI_NO_SPACE, ENOSPC, true}, {CLI_FAILED, EIO, true},
        {CLI_NOT_AUTHORISED, 0, false}, {-1, EACCES, false},          {-1, TLS_WRONG_PIN, false},
        {CLI_USAGE, 0, false},          {-1, EBUSY, false},           {-1, EPROTO, false},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct session_outcome outcome = {0};
        struct error err = {.errnum = cases[i].errnum, .text = "why"};
        session_judge(cases[i].code, &err, NULL, &outcome);
        assert_false(outcome.is_good);
        assert_int_equal(outcome.may_pass, cases[i].may_pass);
        assert_string_equal(outcome.text, "why");
    }
}

int main(void)
{
    alarm(60); /* a session that never ends */
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_stage, close_stage)
    const struct CMUnitTest tests[] = {
        TEST(test_session_sends_by_itself_and_powers_off),
        TEST(test_session_tells_once_how_long_it_took_to_be_connected),
        TEST(test_session_says_what_could_not_be_read_of_what_was_copied),
        TEST(test_session_restarts_when_that_was_asked_for),
        TEST(test_session_tries_again_what_may_pass),
        TEST(test_session_asks_for_an_approval_when_its_token_is_refused),
        TEST(test_session_never_powers_off_a_machine_whose_copy_failed),
        TEST(test_session_does_not_power_off_after_a_failed_boot_test),
        TEST(test_session_waits_for_a_network_however_long),
        TEST(test_session_waits_for_a_disk_that_comes_late),
        TEST(test_session_takes_a_disk_that_shows_up_while_it_waits_for_the_network),
        TEST(test_session_without_any_screen_goes_on),
        TEST(test_session_asks_for_everything_that_it_was_not_told),
        TEST(test_session_sends_nothing_to_a_server_whose_key_was_refused),
        TEST(test_session_comes_back_to_the_form_when_no_server_answers),
        TEST(test_session_shows_a_parameter_that_cannot_be_and_asks),
        TEST(test_session_confirms_when_that_was_asked_for),
        TEST(test_session_sets_the_network_up_as_the_form_says),
        TEST(test_session_stops_sending_when_it_is_powered_off),
        cmocka_unit_test(test_session_judges_which_failures_may_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
