/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Links: frames cross whole, and whatever is too large, unknown or from the wrong side is an error
 * that says so. Silence and ends are in test_wire_link_ends.c.
 */
#include "base/clock.h"
#include "tests/lib/link_fixture.h"

#include <poll.h>
#include <stdlib.h>

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
        cmocka_unit_test(test_a_refusal_arrives_as_an_error_frame),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
