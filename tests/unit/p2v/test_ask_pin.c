/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Asking a server for its pin: it is the one that the server prints, it lets a connection in, and
 * whoever asks is nobody to the server.
 */
#include "base/clock.h"
#include "p2v/wire/ask_pin.h"
#include "tests/lib/wire_fixture.h"
#include "tests/unit/p2v/server_agent.h"

static struct link_address address_of(unsigned port)
{
    struct link_address address = {.host = "127.0.0.1"};
    snprintf(address.port, sizeof(address.port), "%u", port);
    return address;
}

static void test_asked_pin_is_what_the_server_prints_and_lets_a_connection_in(void **state)
{
    struct stage *stage = *state;
    struct link_address address = address_of(stage->port);
    struct error err = {0};
    uint8_t asked[TLS_IDENTITY_SIZE], printed[TLS_IDENTITY_SIZE];
    assert_int_equal(tls_pin_parse(stage->pin, printed, NULL), 0);
    if (ask_pin(&address, AGENT_WAIT_MS, asked, &err) != 0)
        fail_msg("%s", err.text);
    assert_memory_equal(asked, printed, sizeof(asked));
    AUTO_PTR(tls_identity) identity = tls_identity_new(NULL);
    AUTO_PTR(link) link = link_connect(&address, identity, asked, AGENT_WAIT_MS, &err);
    if (!link)
        fail_msg("%s", err.text);
}

static void count_machine(void *context, const struct machine_row *row)
{
    (void)row;
    ++*(unsigned *)context;
}

static void count_waiting(void *context, const char *code, const char *address, int64_t since,
                          const char *machine)
{
    (void)code, (void)address, (void)since, (void)machine;
    ++*(unsigned *)context;
}

/* More often than one address may stand before the door at once: each has left when it returns. */
static void test_asking_for_a_pin_leaves_nothing_at_the_server(void **state)
{
    struct stage *stage = *state;
    struct link_address address = address_of(stage->port);
    uint8_t pin[TLS_IDENTITY_SIZE];
    unsigned count = 0;
    for (int i = 0; i < 20; i++) {
        int64_t began_ms = clock_ms();
        assert_int_equal(ask_pin(&address, AGENT_WAIT_MS, pin, NULL), 0);
        assert_true(clock_ms() - began_ms < 1000);
    }
    const struct machine_visitor visitor = {
        .machine = count_machine, .waiting = count_waiting, .context = &count};
    assert_int_equal(machine_visit(server_database(stage->server), &visitor, NULL), 0);
    assert_int_equal(count, 0);
}

/* --- what is no server of ours --- */

static void *answer_as_a_web_server(void *context)
{
    static const char words[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    int fd = accept(*(int *)context, NULL, NULL);
    assert_int_equal(send(fd, words, sizeof(words) - 1, MSG_NOSIGNAL), sizeof(words) - 1);
    close(fd);
    return NULL;
}

static void test_asking_what_is_no_server_of_ours_is_an_error(void **state)
{
    struct error err = {0};
    uint8_t pin[TLS_IDENTITY_SIZE];
    uint16_t port;
    pthread_t thread;
    (void)state;
    int fd = listen_anywhere(&port);
    struct link_address address = address_of(port);
    assert_int_equal(pthread_create(&thread, NULL, answer_as_a_web_server, &fd), 0);
    assert_int_equal(ask_pin(&address, AGENT_WAIT_MS, pin, &err), -1);
    pthread_join(thread, NULL);
    assert_non_null(strstr(err.text, "127.0.0.1 port"));

    /* It listens, and never answers. */
    int64_t began_ms = clock_ms();
    assert_int_equal(ask_pin(&address, 200, pin, &err), -1);
    assert_int_equal(err.errnum, ETIMEDOUT);
    assert_true(clock_ms() - began_ms < 2000);

    close(fd);
    assert_int_equal(ask_pin(&address, AGENT_WAIT_MS, pin, &err), -1);
    assert_int_equal(err.errnum, ECONNREFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_asked_pin_is_what_the_server_prints_and_lets_a_connection_in, stage_set_up,
            stage_tear_down),
        cmocka_unit_test_setup_teardown(test_asking_for_a_pin_leaves_nothing_at_the_server,
                                        stage_set_up, stage_tear_down),
        cmocka_unit_test(test_asking_what_is_no_server_of_ours_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
