/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * TLS with pinned keys, over real sockets: the pin stops the handshake before anything was said,
 * nobody waits for ever, bytes cross in both directions at once, and a cut is told from an end.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "formats/digest.h"
#include "p2v/wire/tls_internal.h"
#include "tests/lib/wire_fixture.h"
#include "tests/lib/wire_identities.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#define CROWD ((size_t)64 << 20) /* bytes each way in the test of both directions */

static void connect_both(struct tls **client, struct tls **server)
{
    struct accepting accepting;
    struct error err = {0};
    int fds[2];

    tcp_pair(fds);
    accepting_start(&accepting, fds[1], server_identity);
    *client = tls_connect(fds[0], client_identity, pin, 5000, &err);
    *server = accepting_join(&accepting);
    if (!*client || !*server)
        fail_msg("client '%s', server '%s'", err.text, accepting.err.text);
}

/* Without the politeness of tls_close, which waits for the other side. */
static void drop_both(struct tls *client, struct tls *server)
{
    tls_shut(client);
    tls_shut(server);
    tls_close(client);
    tls_close(server);
}

static void test_both_sides_know_the_others_key_and_bytes_cross(void **state)
{
    struct tls *client, *server;
    uint8_t expected[TLS_IDENTITY_SIZE], hash[TLS_IDENTITY_SIZE];

    (void)state;
    connect_both(&client, &server);
    tls_peer_hash(client, hash);
    assert_memory_equal(hash, pin, sizeof(hash));
    tls_peer_hash(server, hash);
    tls_identity_hash(client_identity, expected);
    assert_memory_equal(hash, expected, sizeof(hash));
    assert_int_equal(write_string(client, "token", NULL), 0);
    assert_reads(server, "token");
    assert_int_equal(write_string(server, "welcome", NULL), 0);
    assert_reads(client, "welcome");
    assert_true(tls_bytes_sent(client) > 5 && tls_bytes_received(client) > 7);
    assert_int_equal(tls_bytes_sent(client), tls_bytes_received(server));
    assert_string_equal(SSL_get_version(client->ssl), "TLSv1.3");
    drop_both(client, server);
}

/* The server never sees the client's certificate, let alone a byte of what it would have said. */
static void test_a_wrong_pin_ends_the_handshake_before_anything_is_said(void **state)
{
    struct accepting accepting;
    struct error err = {0};
    uint8_t wrong[TLS_IDENTITY_SIZE];
    char theirs[TLS_PIN_SIZE], pinned[TLS_PIN_SIZE];
    int fds[2];

    (void)state;
    memcpy(wrong, pin, sizeof(wrong));
    wrong[31] ^= 1;
    tls_pin_format(pin, theirs);
    tls_pin_format(wrong, pinned);
    tcp_pair(fds);
    accepting_start(&accepting, fds[1], server_identity);
    assert_null(tls_connect(fds[0], client_identity, wrong, 5000, &err));
    assert_null(accepting_join(&accepting));
    assert_int_equal(err.errnum, TLS_WRONG_PIN);
    assert_non_null(strstr(err.text, theirs));
    assert_non_null(strstr(err.text, pinned));
    assert_non_null(strstr(accepting.err.text, "alert"));
}

/* --- time ------------------------------------------------------------------------------------- */

static void test_a_handshake_that_stalls_ends_in_time(void **state)
{
    struct error err = {0};
    int fds[2];

    (void)state;
    tcp_pair(fds);
    int64_t began_ms = clock_ms();
    assert_null(tls_accept(fds[1], server_identity, 150, &err));
    assert_int_equal(err.errnum, ETIMEDOUT);
    assert_true(clock_ms() - began_ms >= 150 && clock_ms() - began_ms < 3000);
    close(fds[0]);
    tcp_pair(fds);
    assert_null(tls_connect(fds[0], client_identity, pin, 150, &err));
    assert_int_equal(err.errnum, ETIMEDOUT);
    close(fds[1]);
}

/* A ClientHello, one byte every 10 ms, is not a way to stay. */
static void test_a_handshake_in_drips_ends_in_time(void **state)
{
    static const uint8_t hello[64] = {22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3};
    struct accepting accepting;
    int fds[2];

    (void)state;
    tcp_pair(fds);
    int64_t began_ms = clock_ms();
    accepting = (struct accepting){.fd = fds[1], .timeout_ms = 150, .identity = server_identity};
    assert_int_equal(pthread_create(&accepting.thread, NULL, accepting_run, &accepting), 0);
    for (unsigned i = 0; i < sizeof(hello); i++) {
        if (send(fds[0], hello + i, 1, MSG_NOSIGNAL) != 1)
            break;
        poll(NULL, 0, 10);
    }
    assert_null(accepting_join(&accepting));
    assert_int_equal(accepting.err.errnum, ETIMEDOUT);
    assert_true(clock_ms() - began_ms < 3000);
    close(fds[0]);
}

static void test_a_read_that_timed_out_can_be_tried_again(void **state)
{
    struct tls *client, *server;
    struct error err = {0};
    char buffer[8];

    (void)state;
    connect_both(&client, &server);
    assert_int_equal(tls_read(server, buffer, sizeof(buffer), 30, &err), -1);
    assert_int_equal(err.errnum, ETIMEDOUT);
    assert_int_equal(write_string(client, "late", NULL), 0);
    assert_reads(server, "late");
    drop_both(client, server);
}

/* Fills the socket's buffers: the other side does not read. */
static int write_much(struct tls *tls, int timeout_ms, struct error *err)
{
    static uint8_t block[1 << 20];
    struct iovec part = {.iov_base = block, .iov_len = sizeof(block)};
    int status = 0;

    for (unsigned i = 0; i < 32 && status == 0; i++)
        status = tls_write(tls, &part, 1, timeout_ms, err);
    return status;
}

static void test_a_side_that_reads_nothing_and_says_nothing_is_given_up(void **state)
{
    struct tls *client, *server;
    struct error err = {0};

    (void)state;
    connect_both(&client, &server);
    assert_int_equal(write_much(client, 200, &err), -1);
    assert_int_equal(err.errnum, ETIMEDOUT);
    drop_both(client, server);
}

struct slow {
    struct tls *tls;
    bool has_failed;
};

/* Says that it is alive for a while, then reads. */
static void *read_late(void *context)
{
    struct slow *slow = context;
    static uint8_t block[1 << 20];

    for (unsigned i = 0; i < 10; i++) {
        slow->has_failed |= tls_write_at_once(slow->tls, "ping", 4, NULL) != 1;
        poll(NULL, 0, 50);
    }
    while (tls_read(slow->tls, block, sizeof(block), 5000, NULL) > 0)
        ;
    return NULL;
}

static void *listen_to(void *context)
{
    char buffer[64];

    while (tls_read(context, buffer, sizeof(buffer), 5000, NULL) > 0)
        ;
    return NULL;
}

static void test_a_side_that_reads_nothing_but_talks_is_waited_for(void **state)
{
    struct tls *client;
    struct slow slow = {0};
    struct error err = {0};
    pthread_t threads[2];

    (void)state;
    connect_both(&client, &slow.tls);
    pthread_create(&threads[0], NULL, read_late, &slow);
    pthread_create(&threads[1], NULL, listen_to, client);
    if (write_much(client, 200, &err) != 0)
        fail_msg("%s", err.text);
    tls_shut(client);
    pthread_join(threads[1], NULL);
    pthread_join(threads[0], NULL);
    assert_false(slow.has_failed);
    tls_close(client);
    tls_close(slow.tls);
}

/* --- both directions -------------------------------------------------------------------------- */

struct end {
    struct tls *tls;
    uint64_t seed;
    uint8_t written[DIGEST_SIZE], read[DIGEST_SIZE];
    struct error write_err, read_err;
    int write_status;
    size_t got;
};

/* Pieces of all lengths: some many records long, some a few bytes, some empty. */
static void *write_end(void *context)
{
    struct end *end = context;
    uint8_t *block = malloc(1 << 20);
    struct digest digest;
    uint64_t random = end->seed;

    digest_init(&digest);
    for (unsigned i = 0; i < (1 << 20) / 8; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        store_le64(block + (size_t)i * 8, random);
    }
    for (size_t left = CROWD; left > 0 && end->write_status == 0;) {
        struct iovec parts[4];
        for (unsigned i = 0; i < 4; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            size_t length = (random >> 33) % (i % 2 ? 1000 : 300000);
            length = length > left ? left : length;
            parts[i] = (struct iovec){block + (random >> 40) % 700000, length};
            digest_add(&digest, parts[i].iov_base, length);
            left -= length;
        }
        end->write_status = tls_write(end->tls, parts, 4, 5000, &end->write_err);
    }
    digest_finish(&digest, end->written);
    digest_fini(&digest);
    free(block);
    return NULL;
}

static void *read_end(void *context)
{
    struct end *end = context;
    uint8_t *block = malloc(1 << 18);
    struct digest digest;
    long got;

    digest_init(&digest);
    while (end->got < CROWD &&
           (got = tls_read(end->tls, block, 1 + end->got % (1 << 18), 5000, &end->read_err)) > 0) {
        digest_add(&digest, block, (size_t)got);
        end->got += (size_t)got;
    }
    digest_finish(&digest, end->read);
    digest_fini(&digest);
    free(block);
    return NULL;
}

static void test_64_mib_cross_in_both_directions_at_once_over_many_keys(void **state)
{
    struct end ends[2] = {{.seed = 1}, {.seed = 2}};
    pthread_t threads[4];

    (void)state;
    connect_both(&ends[0].tls, &ends[1].tls);
    for (unsigned i = 0; i < 2; i++) {
        ends[i].tls->rekey_records = 300;
        tls_allow_large_reads(ends[i].tls);
        pthread_create(&threads[2 * i], NULL, write_end, &ends[i]);
        pthread_create(&threads[2 * i + 1], NULL, read_end, &ends[i]);
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < 2; i++) {
        if (ends[i].write_status != 0 || ends[i].got != CROWD)
            fail_msg("'%s', '%s'", ends[i].write_err.text, ends[i].read_err.text);
        assert_memory_equal(ends[i].read, ends[1 - i].written, DIGEST_SIZE);
        assert_true(ends[i].tls->keyed_records <= 300); /* of more than 4096 */
        tls_shut(ends[i].tls);
    }
    tls_close(ends[0].tls);
    tls_close(ends[1].tls);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void *close_end(void *tls)
{
    tls_close(tls);
    return NULL;
}

static void test_a_clean_close_is_told_from_a_cut(void **state)
{
    struct tls *client, *server;
    struct error err = {0};
    char buffer[8];
    pthread_t thread;

    (void)state;
    connect_both(&client, &server);
    assert_int_equal(write_string(client, "last", NULL), 0);
    pthread_create(&thread, NULL, close_end, client);
    assert_reads(server, "last");
    assert_int_equal(tls_read(server, buffer, sizeof(buffer), 5000, NULL), 0);
    tls_close(server);
    pthread_join(thread, NULL);

    connect_both(&client, &server);
    assert_int_equal(write_string(client, "last", NULL), 0);
    tls_shut(client);
    assert_reads(server, "last");
    assert_int_equal(tls_read(server, buffer, sizeof(buffer), 5000, &err), -1);
    assert_int_equal(err.errnum, ECONNRESET);
    drop_both(client, server);
}

static void test_a_spoilt_record_is_an_error_that_stays(void **state)
{
    static const uint8_t record[5 + 32] = {23, 3, 3, 0, 32};
    struct tls *client, *server;
    struct error err = {0};
    char buffer[8];

    (void)state;
    connect_both(&client, &server);
    assert_int_equal(write_string(client, "good", NULL), 0);
    assert_int_equal(send(client->fd, record, sizeof(record), MSG_NOSIGNAL), sizeof(record));
    assert_reads(server, "good");
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(tls_read(server, buffer, sizeof(buffer), 5000, &err), -1);
        assert_int_equal(err.errnum, EPROTO);
    }
    drop_both(client, server);
}

static void *shut_soon(void *tls)
{
    poll(NULL, 0, 50);
    tls_shut(tls);
    return NULL;
}

static void test_a_shut_connection_wakes_its_reader_and_its_writer(void **state)
{
    struct tls *client, *server;
    struct error err = {0};
    pthread_t thread;
    char buffer[8];

    (void)state;
    connect_both(&client, &server);
    pthread_create(&thread, NULL, shut_soon, server);
    int64_t began_ms = clock_ms();
    assert_int_equal(tls_read(server, buffer, sizeof(buffer), 5000, &err), -1);
    assert_int_equal(err.errnum, ESHUTDOWN);
    pthread_join(thread, NULL);
    drop_both(client, server);

    connect_both(&client, &server);
    pthread_create(&thread, NULL, shut_soon, client);
    assert_int_equal(write_much(client, 5000, &err), -1);
    assert_int_equal(err.errnum, ESHUTDOWN);
    assert_true(clock_ms() - began_ms < 3000);
    pthread_join(thread, NULL);
    drop_both(client, server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_sides_know_the_others_key_and_bytes_cross),
        cmocka_unit_test(test_a_wrong_pin_ends_the_handshake_before_anything_is_said),
        cmocka_unit_test(test_a_handshake_that_stalls_ends_in_time),
        cmocka_unit_test(test_a_handshake_in_drips_ends_in_time),
        cmocka_unit_test(test_a_read_that_timed_out_can_be_tried_again),
        cmocka_unit_test(test_a_side_that_reads_nothing_and_says_nothing_is_given_up),
        cmocka_unit_test(test_a_side_that_reads_nothing_but_talks_is_waited_for),
        cmocka_unit_test(test_64_mib_cross_in_both_directions_at_once_over_many_keys),
        cmocka_unit_test(test_a_clean_close_is_told_from_a_cut),
        cmocka_unit_test(test_a_spoilt_record_is_an_error_that_stays),
        cmocka_unit_test(test_a_shut_connection_wakes_its_reader_and_its_writer),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
