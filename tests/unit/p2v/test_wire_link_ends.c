/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The ends of links: PING and PONG are nobody's business, and silence, a close, a cut and a stop
 * are told from each other.
 */
#include "base/clock.h"
#include "tests/lib/link_fixture.h"

#include <poll.h>

/* --- silence ---------------------------------------------------------------------------------- */

static void test_a_ping_is_sent_when_due_and_answered_and_neither_is_seen(void **state)
{
    struct link *ends[2];
    struct link_frame frame;
    struct error err = {0};

    (void)state;
    connect_both(ends);
    uint64_t before = link_bytes_received(ends[0]);
    assert_int_equal(link_receive(ends[0], &frame, 30, NULL, &err), -1);
    assert_int_equal(link_bytes_received(ends[1]), link_bytes_sent(ends[0])); /* not due yet */

    ends[0]->sent_ms -= WIRE_PING_MS;
    uint64_t sent = link_bytes_sent(ends[0]);
    assert_int_equal(link_receive(ends[0], &frame, 30, NULL, &err), -1); /* sends PING */
    assert_int_equal(err.errnum, ETIMEDOUT);
    assert_true(link_bytes_sent(ends[0]) > sent);
    assert_int_equal(link_receive(ends[1], &frame, 30, NULL, &err), -1); /* answers PONG */
    assert_int_equal(err.errnum, ETIMEDOUT);
    assert_int_equal(link_receive(ends[0], &frame, 30, NULL, &err), -1);
    assert_int_equal(err.errnum, ETIMEDOUT);
    assert_true(link_bytes_received(ends[0]) > before);
    drop_both(ends);
}

static void test_a_busy_caller_keeps_the_link_alive_itself(void **state)
{
    struct link *ends[2];

    (void)state;
    connect_both(ends);
    uint64_t sent = link_bytes_sent(ends[1]);
    assert_int_equal(link_keep_alive(ends[1], NULL), 0);
    assert_int_equal(link_bytes_sent(ends[1]), sent);
    ends[1]->sent_ms -= WIRE_PING_MS;
    assert_int_equal(link_keep_alive(ends[1], NULL), 0);
    assert_true(link_bytes_sent(ends[1]) > sent);
    sent = link_bytes_sent(ends[1]);
    assert_int_equal(link_keep_alive(ends[1], NULL), 0); /* once */
    assert_int_equal(link_bytes_sent(ends[1]), sent);
    drop_both(ends);
}

struct pinging {
    struct link *link;
    atomic_bool stop;
};

static void *ping_often(void *context)
{
    struct pinging *pinging = context;
    AUTO(text) frame = {0};

    wire_empty_encode(WIRE_PING, &frame);
    while (!pinging->stop && link_send(pinging->link, frame.data, frame.length, NULL) == 0)
        poll(NULL, 0, 20);
    return NULL;
}

/* Milliseconds until link_receive has had enough of a peer that sends nothing but PINGs. */
static int64_t patience_ms(struct link *link, int silence_ms, const atomic_bool *stop)
{
    struct link_frame frame;
    int64_t began_ms = clock_ms();

    assert_int_equal(link_receive(link, &frame, silence_ms, stop, NULL), -1);
    return clock_ms() - began_ms;
}

static void *stop_soon(void *stop)
{
    poll(NULL, 0, 400);
    *(atomic_bool *)stop = true;
    return NULL;
}

static void test_pings_end_the_silence_but_not_before_admission(void **state)
{
    struct link *ends[2];
    struct pinging pinging = {0};
    pthread_t thread, stopper;
    atomic_bool stop = false;

    (void)state;
    connect_both(ends);
    pinging.link = ends[0];
    pthread_create(&thread, NULL, ping_often, &pinging);
    int64_t early_ms = patience_ms(ends[1], 150, NULL);
    link_set_max_payload(ends[1], WIRE_MAX_PAYLOAD);
    pthread_create(&stopper, NULL, stop_soon, &stop);
    int64_t late_ms = patience_ms(ends[1], 150, &stop); /* until it is told to stop */
    pinging.stop = true;
    pthread_join(thread, NULL);
    pthread_join(stopper, NULL);
    assert_true(early_ms >= 150 && early_ms < 3000);
    assert_true(late_ms >= 390 && late_ms < 3000);
    drop_both(ends);
}

static void test_a_silent_side_is_an_error_and_may_speak_again(void **state)
{
    struct link *ends[2];
    struct link_frame frame;
    struct error err = {0};
    AUTO(text) out = {0};

    (void)state;
    connect_both(ends);
    int64_t began_ms = clock_ms();
    assert_int_equal(link_receive(ends[0], &frame, 300, NULL, &err), -1);
    assert_int_equal(err.errnum, ETIMEDOUT);
    assert_true(clock_ms() - began_ms >= 300 && clock_ms() - began_ms < 3000);
    assert_true(link_silent_ms(ends[0]) >= 300);
    wire_empty_encode(WIRE_RESUME, &out);
    assert_int_equal(link_send(ends[1], out.data, out.length, NULL), 0);
    assert_receives(ends[0], WIRE_RESUME, &frame);
    assert_true(link_silent_ms(ends[0]) < 300);
    drop_both(ends);
}

static void test_a_flag_stops_a_receiver(void **state)
{
    struct link *ends[2];
    struct link_frame frame;
    struct error err = {0};
    atomic_bool stop = false;
    pthread_t thread;

    (void)state;
    connect_both(ends);
    pthread_create(&thread, NULL, stop_soon, &stop);
    int64_t began_ms = clock_ms();
    assert_int_equal(link_receive(ends[0], &frame, 10000, &stop, &err), -1);
    assert_int_equal(err.errnum, ECANCELED);
    assert_true(clock_ms() - began_ms < 3000);
    pthread_join(thread, NULL);
    drop_both(ends);
}

/* --- ends ------------------------------------------------------------------------------------- */

static void *close_link(void *link)
{
    link_close(link);
    return NULL;
}

static void test_a_close_is_the_end_and_within_a_frame_an_error(void **state)
{
    struct link *ends[2];
    struct link_frame frame;
    pthread_t thread;

    (void)state;
    connect_both(ends);
    pthread_create(&thread, NULL, close_link, ends[0]);
    assert_int_equal(link_receive(ends[1], &frame, 2000, NULL, NULL), 0);
    link_close(ends[1]);
    pthread_join(thread, NULL);

    connect_both(ends);
    send_header(ends[0], WIRE_DISK, 6);
    pthread_create(&thread, NULL, close_link, ends[0]);
    assert_refuses(ends[1], EPROTO, "inside of a frame");
    link_close(ends[1]);
    pthread_join(thread, NULL);
}

static void test_a_cut_is_an_error_anywhere(void **state)
{
    struct wire_disk disk = {.disk = 1};
    AUTO(text) out = {0};

    (void)state;
    wire_disk_encode(&disk, &out);
    for (size_t cut = 0; cut <= out.length; cut++) {
        struct link *ends[2];
        struct link_frame frame;
        connect_both(ends);
        if (cut > 0)
            send_raw(ends[0], out.data, cut);
        link_shut(ends[0]);
        if (cut == out.length)
            assert_receives(ends[1], WIRE_DISK, &frame);
        assert_refuses(ends[1], ECONNRESET, "cut");
        drop_both(ends);
    }
}

static void *shut_soon(void *link)
{
    poll(NULL, 0, 50);
    link_shut(link);
    return NULL;
}

static void test_a_shut_link_fails_whoever_uses_it(void **state)
{
    struct link *ends[2];
    struct link_frame frame;
    struct error err = {0};
    pthread_t threads[2];
    AUTO(text) out = {0};

    (void)state;
    connect_both(ends);
    for (unsigned i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, shut_soon, ends[i]);
    assert_int_equal(link_receive(ends[0], &frame, 5000, NULL, &err), -1);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    wire_empty_encode(WIRE_PING, &out);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(link_send(ends[i], out.data, out.length, &err), -1);
        assert_int_equal(err.errnum, ESHUTDOWN);
        assert_int_equal(link_receive(ends[i], &frame, 5000, NULL, &err), -1);
        assert_int_equal(err.errnum, ESHUTDOWN);
    }
    drop_both(ends);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_ping_is_sent_when_due_and_answered_and_neither_is_seen),
        cmocka_unit_test(test_a_busy_caller_keeps_the_link_alive_itself),
        cmocka_unit_test(test_pings_end_the_silence_but_not_before_admission),
        cmocka_unit_test(test_a_silent_side_is_an_error_and_may_speak_again),
        cmocka_unit_test(test_a_flag_stops_a_receiver),
        cmocka_unit_test(test_a_close_is_the_end_and_within_a_frame_an_error),
        cmocka_unit_test(test_a_cut_is_an_error_anywhere),
        cmocka_unit_test(test_a_shut_link_fails_whoever_uses_it),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
