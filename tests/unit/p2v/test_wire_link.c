/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Links: frames cross whole, PING and PONG are nobody's business, and whatever is silent, too
 * large, unknown, from the wrong side or cut is an error that says so.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "p2v/wire/link_internal.h"
#include "tests/lib/wire_fixture.h"
#include "tests/lib/wire_identities.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>

struct serving {
    pthread_t thread;
    int listener;
    struct link *link;
    struct error err;
};

static void *serve(void *context)
{
    struct serving *serving = context;
    int fd = accept(serving->listener, NULL, NULL);

    serving->link = link_accept(fd, server_identity, 5000, &serving->err);
    close(serving->listener);
    return NULL;
}

/* ends[0] is the agent's, ends[1] the server's. */
static void connect_both(struct link *ends[2])
{
    struct link_address address = {.host = "127.0.0.1"};
    struct serving serving = {0};
    struct error err = {0};
    uint16_t port;

    serving.listener = listen_anywhere(&port);
    snprintf(address.port, sizeof(address.port), "%u", port);
    assert_int_equal(pthread_create(&serving.thread, NULL, serve, &serving), 0);
    ends[0] = link_connect(&address, client_identity, pin, 5000, &err);
    pthread_join(serving.thread, NULL);
    ends[1] = serving.link;
    if (!ends[0] || !ends[1])
        fail_msg("agent '%s', server '%s'", err.text, serving.err.text);
}

static void drop_both(struct link *ends[2])
{
    for (unsigned i = 0; i < 2; i++)
        link_shut(ends[i]);
    for (unsigned i = 0; i < 2; i++)
        link_close(ends[i]);
}

/* Anything, past the link's own rules. */
static void send_raw(struct link *link, const void *data, size_t length)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = length};

    assert_int_equal(tls_write(link->tls, &part, 1, 5000, NULL), 0);
}

static void send_header(struct link *link, unsigned type, uint32_t length)
{
    uint8_t header[WIRE_HEADER_SIZE] = {0};

    store_le32(header, length);
    header[4] = (uint8_t)type;
    send_raw(link, header, sizeof(header));
}

static void assert_receives(struct link *link, enum wire_type type, struct link_frame *frame)
{
    struct error err = {0};

    if (link_receive(link, frame, 5000, NULL, &err) != 1)
        fail_msg("no %s: %s", wire_type_name(type), err.text);
    assert_int_equal(frame->type, type);
}

static void assert_refuses(struct link *link, int errnum, const char *says)
{
    struct link_frame frame;
    struct error err = {0};

    assert_int_equal(link_receive(link, &frame, 2000, NULL, &err), -1);
    if (err.errnum != errnum || !strstr(err.text, says))
        fail_msg("'%s' (%d) does not say %s", err.text, err.errnum, says);
}

/* --- connecting ------------------------------------------------------------------------------- */

static void test_a_server_that_is_not_there_is_named(void **state)
{
    struct link_address address = {.host = "127.0.0.1"};
    struct error err = {0};
    uint16_t port;
    int listener = listen_anywhere(&port);

    (void)state;
    close(listener);
    snprintf(address.port, sizeof(address.port), "%u", port);
    assert_null(link_connect(&address, client_identity, pin, 1000, &err));
    assert_int_equal(err.errnum, ECONNREFUSED);
    assert_non_null(strstr(err.text, "127.0.0.1"));
    assert_non_null(strstr(err.text, address.port));
}

static void test_a_server_that_says_nothing_is_given_up_in_time(void **state)
{
    struct link_address address = {.host = "127.0.0.1"};
    struct error err = {0};
    uint16_t port;
    int listener = listen_anywhere(&port);
    int64_t began_ms = clock_ms();

    (void)state;
    snprintf(address.port, sizeof(address.port), "%u", port);
    assert_null(link_connect(&address, client_identity, pin, 150, &err));
    assert_int_equal(err.errnum, ETIMEDOUT);
    assert_true(clock_ms() - began_ms < 3000);
    close(listener);
}

static void test_a_wrong_pin_is_told_as_such(void **state)
{
    struct link_address address = {.host = "127.0.0.1"};
    struct serving serving = {0};
    struct error err = {0};
    uint8_t wrong[TLS_IDENTITY_SIZE] = {1};
    uint16_t port;

    (void)state;
    serving.listener = listen_anywhere(&port);
    snprintf(address.port, sizeof(address.port), "%u", port);
    assert_int_equal(pthread_create(&serving.thread, NULL, serve, &serving), 0);
    assert_null(link_connect(&address, client_identity, wrong, 5000, &err));
    assert_int_equal(err.errnum, TLS_WRONG_PIN);
    pthread_join(serving.thread, NULL);
    assert_null(serving.link);
}

/* --- frames ----------------------------------------------------------------------------------- */

static void test_frames_cross_and_both_sides_know_each_other(void **state)
{
    struct link *ends[2];
    struct link_frame frame;
    struct wire_hello hello = {.version = WIRE_VERSION, .program = "test 1"}, got;
    struct wire_pause pause = {.text = "wait"};
    AUTO(text) out = {0};
    uint8_t hash[TLS_IDENTITY_SIZE];

    (void)state;
    connect_both(ends);
    link_peer_hash(ends[0], hash);
    assert_memory_equal(hash, pin, sizeof(hash));
    assert_int_equal(strncmp(link_peer_address(ends[1]), "127.0.0.1:", 10), 0);
    wire_hello_encode(&hello, &out);
    wire_hello_encode(&hello, &out); /* two frames in one call */
    assert_int_equal(link_send(ends[0], out.data, out.length, NULL), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_receives(ends[1], WIRE_HELLO, &frame);
        assert_int_equal(wire_hello_decode(frame.payload, frame.length, &got, NULL), 0);
        assert_string_equal(got.program, "test 1");
    }
    AUTO(text) answer = {0};
    wire_pause_encode(&pause, &answer);
    wire_empty_encode(WIRE_RESUME, &answer);
    assert_int_equal(link_send(ends[1], answer.data, answer.length, NULL), 0);
    assert_receives(ends[0], WIRE_PAUSE, &frame);
    assert_receives(ends[0], WIRE_RESUME, &frame);
    assert_int_equal(frame.length, 0);
    drop_both(ends);
}

#define DATA_FRAMES 24u

/* DATA of 1 to 16 chunks, with a small frame before each. */
static void *send_data(void *context)
{
    struct link *link = context;
    static uint8_t chunk[CHUNK_SIZE];
    struct wire_data data = {.encoding = WIRE_PLAIN};
    uint8_t head[WIRE_DATA_HEAD_SIZE];
    struct iovec parts[1 + WIRE_MAX_DATA];

    memset(chunk, 0x5a, sizeof(chunk));
    for (unsigned i = 0; i < DATA_FRAMES; i++) {
        struct wire_run run = {.sequence = i, .first = i, .count = 1, .state = CHUNK_ZERO};
        AUTO(text) small = {0};
        wire_run_encode(&run, &small);
        if (link_send(link, small.data, small.length, NULL) != 0)
            return NULL;
        data.sequence = i;
        data.count = (uint16_t)(1 + i % WIRE_MAX_DATA);
        for (unsigned k = 0; k < data.count; k++) {
            data.parts[k].length = k == 0 ? 1 + i * 37 : CHUNK_SIZE;
            parts[1 + k] = (struct iovec){chunk, data.parts[k].length};
        }
        parts[0] = (struct iovec){head, wire_data_encode_head(&data, head)};
        if (link_send_parts(link, parts, 1u + data.count, NULL) != 0)
            return NULL;
    }
    return link;
}

static void check_data(struct link *link, unsigned i)
{
    struct link_frame frame;
    struct wire_run run;
    struct wire_data data;

    assert_receives(link, WIRE_RUN, &frame);
    assert_int_equal(wire_run_decode(frame.payload, frame.length, &run, NULL), 0);
    assert_int_equal(run.sequence, i);
    assert_receives(link, WIRE_DATA, &frame);
    assert_int_equal(wire_data_decode(frame.payload, frame.length, &data, NULL), 0);
    assert_int_equal(data.sequence, i);
    assert_int_equal(data.count, 1 + i % WIRE_MAX_DATA);
    assert_int_equal(data.parts[0].length, 1 + i * 37);
    assert_int_equal(data.parts[0].data[i * 37], 0x5a);
}

static void test_large_and_small_frames_follow_each_other(void **state)
{
    struct link *ends[2];
    pthread_t thread;
    void *result = NULL;

    (void)state;
    connect_both(ends);
    link_set_max_payload(ends[1], WIRE_MAX_PAYLOAD);
    pthread_create(&thread, NULL, send_data, ends[0]);
    for (unsigned i = 0; i < DATA_FRAMES; i++)
        check_data(ends[1], i);
    pthread_join(thread, &result);
    assert_ptr_equal(result, ends[0]);
    assert_int_equal(link_bytes_sent(ends[0]), link_bytes_received(ends[1]));
    drop_both(ends);
}

static void *send_pages(void *context)
{
    static uint8_t chunks[3][CHUNK_SIZE];
    struct wire_data data = {.encoding = WIRE_PLAIN, .count = 3};
    uint8_t head[WIRE_DATA_HEAD_SIZE];

    for (unsigned i = 0; i < 8; i++) {
        struct iovec parts[4];
        data.sequence = i;
        for (unsigned k = 0; k < 3; k++) {
            memset(chunks[k], (int)(i + k), CHUNK_SIZE);
            data.parts[k].length = k < 2 ? CHUNK_SIZE : 512 * (i + 1);
            parts[1 + k] = (struct iovec){chunks[k], data.parts[k].length};
        }
        parts[0] = (struct iovec){head, wire_data_encode_head(&data, head)};
        if (link_send_parts(context, parts, 4, NULL) != 0)
            return NULL;
    }
    return context;
}

static void test_large_frames_begin_at_a_page_and_stay_where_they_are(void **state)
{
    struct link *ends[2];
    struct link_memory kept[8] = {{0}};
    struct wire_data data[8];
    pthread_t thread;
    void *result = NULL;

    (void)state;
    connect_both(ends);
    link_set_max_payload(ends[1], WIRE_MAX_PAYLOAD);
    pthread_create(&thread, NULL, send_pages, ends[0]);
    for (unsigned i = 0; i < 8; i++) {
        struct link_frame frame;
        assert_receives(ends[1], WIRE_DATA, &frame);
        assert_int_equal(wire_data_decode(frame.payload, frame.length, &data[i], NULL), 0);
        link_take_memory(ends[1], &kept[i]);
    }
    pthread_join(thread, &result);
    assert_ptr_equal(result, ends[0]);
    for (unsigned i = 0; i < 8; i++) {
        const uint8_t *content = data[i].parts[0].data;
        assert_int_equal((uintptr_t)content % 4096, 0);
        assert_true(content >= kept[i].data && content < kept[i].data + kept[i].size);
        for (unsigned k = 0; k < 3; k++) {
            assert_ptr_equal(data[i].parts[k].data, content + (size_t)k * CHUNK_SIZE);
            assert_int_equal(data[i].parts[k].data[0], i + k);
            assert_int_equal(data[i].parts[k].data[data[i].parts[k].length - 1], i + k);
        }
        link_memory_fini(&kept[i]);
    }
    drop_both(ends);
}

/* Frames in pieces: a header cut in two, a payload one byte at a time. */
static void test_frames_in_pieces_are_put_together(void **state)
{
    struct link *ends[2];
    struct link_frame frame;
    struct wire_disk disk = {.disk = 5, .pass = 9}, got;
    AUTO(text) out = {0};

    (void)state;
    connect_both(ends);
    wire_disk_encode(&disk, &out);
    for (size_t i = 0; i < out.length; i++) {
        struct error err = {0};
        assert_int_equal(link_receive(ends[1], &frame, 1, NULL, &err), -1);
        assert_int_equal(err.errnum, ETIMEDOUT);
        send_raw(ends[0], out.data + i, 1);
    }
    assert_receives(ends[1], WIRE_DISK, &frame);
    assert_int_equal(wire_disk_decode(frame.payload, frame.length, &got, NULL), 0);
    assert_int_equal(got.disk, 5);
    drop_both(ends);
}

static void test_frames_too_large_before_admission_are_refused_and_taken_after(void **state)
{
    struct link *ends[2];
    struct link_frame frame;
    static const uint8_t payload[WIRE_MAX_EARLY_PAYLOAD + 1];

    (void)state;
    connect_both(ends);
    send_header(ends[0], WIRE_FINISH, WIRE_MAX_EARLY_PAYLOAD);
    send_raw(ends[0], payload, WIRE_MAX_EARLY_PAYLOAD);
    assert_receives(ends[1], WIRE_FINISH, &frame);
    send_header(ends[0], WIRE_FINISH, WIRE_MAX_EARLY_PAYLOAD + 1);
    assert_refuses(ends[1], EPROTO, "FINISH of 129 bytes from the agent: too large");
    link_set_max_payload(ends[1], WIRE_MAX_PAYLOAD);
    send_raw(ends[0], payload, WIRE_MAX_EARLY_PAYLOAD + 1);
    assert_receives(ends[1], WIRE_FINISH, &frame);
    assert_int_equal(frame.length, WIRE_MAX_EARLY_PAYLOAD + 1);
    drop_both(ends);
}

static void test_frames_unknown_from_the_wrong_side_or_of_a_bad_length_are_refused(void **state)
{
    static const struct {
        unsigned from, type, length;
        const char *says;
    } cases[] = {
        {0, 99, 0, "unknown type 99"},
        {0, 0, 0, "unknown type 0"},
        {0, WIRE_SAFE, 12, "SAFE of 12 bytes from the agent"},
        {1, WIRE_TOKEN, 26, "TOKEN of 26 bytes from the server"},
        {1, WIRE_SAFE, 13, "length 13"},
        {0, WIRE_DATA, 0xffffffff, "length 4294967295"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct link *ends[2];
        connect_both(ends);
        send_header(ends[cases[i].from], cases[i].type, cases[i].length);
        assert_refuses(ends[1 - cases[i].from], EPROTO, cases[i].says);
        drop_both(ends);
    }
}

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

static void *send_all_data(void *link)
{
    while (send_data(link))
        ;
    return NULL;
}

/* The other side hears why, even while it sends what nobody reads any more. */
static void test_a_refusal_arrives_as_an_error_frame(void **state)
{
    struct link *ends[2];
    struct link_frame frame;
    struct wire_error error;
    pthread_t thread;

    (void)state;
    connect_both(ends);
    pthread_create(&thread, NULL, send_all_data, ends[0]);
    poll(NULL, 0, 50);
    link_refuse(ends[1], WIRE_ERROR_NO_SPACE, "10 GiB needed, 3 GiB there");
    assert_receives(ends[0], WIRE_ERROR, &frame);
    assert_int_equal(wire_error_decode(frame.payload, frame.length, &error, NULL), 0);
    assert_int_equal(error.code, WIRE_ERROR_NO_SPACE);
    assert_string_equal(error.text, "10 GiB needed, 3 GiB there");
    link_shut(ends[0]);
    pthread_join(thread, NULL);
    drop_both(ends);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_server_that_is_not_there_is_named),
        cmocka_unit_test(test_a_server_that_says_nothing_is_given_up_in_time),
        cmocka_unit_test(test_a_wrong_pin_is_told_as_such),
        cmocka_unit_test(test_frames_cross_and_both_sides_know_each_other),
        cmocka_unit_test(test_large_and_small_frames_follow_each_other),
        cmocka_unit_test(test_large_frames_begin_at_a_page_and_stay_where_they_are),
        cmocka_unit_test(test_frames_in_pieces_are_put_together),
        cmocka_unit_test(test_frames_too_large_before_admission_are_refused_and_taken_after),
        cmocka_unit_test(test_frames_unknown_from_the_wrong_side_or_of_a_bad_length_are_refused),
        cmocka_unit_test(test_a_ping_is_sent_when_due_and_answered_and_neither_is_seen),
        cmocka_unit_test(test_a_busy_caller_keeps_the_link_alive_itself),
        cmocka_unit_test(test_pings_end_the_silence_but_not_before_admission),
        cmocka_unit_test(test_a_silent_side_is_an_error_and_may_speak_again),
        cmocka_unit_test(test_a_flag_stops_a_receiver),
        cmocka_unit_test(test_a_close_is_the_end_and_within_a_frame_an_error),
        cmocka_unit_test(test_a_cut_is_an_error_anywhere),
        cmocka_unit_test(test_a_shut_link_fails_whoever_uses_it),
        cmocka_unit_test(test_a_refusal_arrives_as_an_error_frame),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
