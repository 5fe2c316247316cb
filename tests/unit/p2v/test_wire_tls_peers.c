/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * TLS with other people's programs: which clients and servers are let in, whatever their keys and
 * dates, and which are refused.
 */
#include "base/bytes.h"
#include "p2v/wire/tls_internal.h"
#include "tests/lib/wire_fixture.h"
#include "tests/lib/wire_identities.h"

#include <errno.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdio.h>

static EVP_PKEY *make_key(const char *type)
{
    if (strcmp(type, "RSA") == 0)
        return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    if (strcmp(type, "EC") == 0)
        return EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    return EVP_PKEY_Q_keygen(NULL, NULL, type);
}

/* A context of any kind of key and dates, that looks at nothing of the other side's. */
static SSL_CTX *foreign_context(const char *key_type, const char *from, const char *to,
                                uint8_t hash[TLS_IDENTITY_SIZE])
{
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    EVP_PKEY *key = make_key(key_type);
    X509 *certificate = X509_new();

    assert_true(context && key && certificate);
    ASN1_TIME_set_string(X509_getm_notBefore(certificate), from);
    ASN1_TIME_set_string(X509_getm_notAfter(certificate), to);
    X509_set_version(certificate, X509_VERSION_3);
    X509_set_pubkey(certificate, key);
    const EVP_MD *digest = strcmp(key_type, "ED25519") == 0 ? NULL : EVP_sha256();
    assert_true(X509_sign(certificate, key, digest) > 0);
    assert_int_equal(SSL_CTX_use_certificate(context, certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(context, key), 1);
    assert_int_equal(tls_key_hash(certificate, hash), 0);
    EVP_PKEY_free(key);
    X509_free(certificate);
    return context;
}

static SSL_CTX *foreign_client(void)
{
    uint8_t hash[TLS_IDENTITY_SIZE];
    SSL_CTX *context = foreign_context("ED25519", "20200101000000Z", "20400101000000Z", hash);

    SSL_CTX_set_alpn_protos(context, (const unsigned char *)"\x08rehost/1", 9);
    return context;
}

/* What the server says to a client of this context; "" when it is let in. Frees the context. */
static void accept_foreign(SSL_CTX *context, char *text, size_t size,
                           uint8_t hash[TLS_IDENTITY_SIZE])
{
    struct accepting accepting;
    int fds[2];

    tcp_pair(fds);
    accepting_start(&accepting, fds[1], server_identity);
    SSL *ssl = SSL_new(context);
    SSL_set_fd(ssl, fds[0]);
    bool is_done = SSL_connect(ssl) == 1;
    struct tls *tls = accepting_join(&accepting);
    snprintf(text, size, "%s", accepting.err.text);
    if (tls && is_done) {
        assert_int_equal(SSL_write(ssl, "hello", 5), 5);
        assert_reads(tls, "hello");
        if (hash)
            tls_peer_hash(tls, hash);
    }
    SSL_free(ssl);
    close(fds[0]);
    tls_close(tls);
    SSL_CTX_free(context);
    ERR_clear_error();
}

static void assert_not_accepted(SSL_CTX *context, const char *says)
{
    char text[ERROR_TEXT_SIZE];

    accept_foreign(context, text, sizeof(text), NULL);
    if (!strstr(text, says))
        fail_msg("'%s' does not say %s", text, says);
}

static void test_a_tls_1_2_client_is_refused(void **state)
{
    SSL_CTX *context = foreign_client();

    (void)state;
    SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
    assert_not_accepted(context, "unsupported protocol");
}

static void test_a_client_without_a_certificate_is_refused(void **state)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    (void)state;
    SSL_CTX_set_alpn_protos(context, (const unsigned char *)"\x08rehost/1", 9);
    assert_not_accepted(context, "did not return a certificate");
}

static void test_a_client_without_our_alpn_is_refused(void **state)
{
    SSL_CTX *context = foreign_client();

    (void)state;
    SSL_CTX_set_alpn_protos(context, (const unsigned char *)"\x02h2\x08http/1.1", 12);
    assert_not_accepted(context, "no application protocol");
    context = foreign_client();
    SSL_CTX_set_alpn_protos(context, NULL, 0);
    assert_not_accepted(context, "does not speak rehost/1");
}

static const struct kind {
    const char *key, *from, *to;
} kinds[] = {
    {"ED25519", "20200101000000Z", "20400101000000Z"},
    {"ED25519", "19700101000000Z", "19700102000000Z"}, /* long over */
    {"ED25519", "20900101000000Z", "20910101000000Z"}, /* not yet */
    {"EC", "19700101000000Z", "19700102000000Z"},
    {"RSA", "19700101000000Z", "19700102000000Z"},
};

static void test_clients_of_any_key_and_any_dates_are_let_in_and_known_by_their_key(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++) {
        uint8_t expected[TLS_IDENTITY_SIZE], hash[TLS_IDENTITY_SIZE] = {0};
        char text[ERROR_TEXT_SIZE];
        SSL_CTX *context = foreign_context(kinds[i].key, kinds[i].from, kinds[i].to, expected);
        SSL_CTX_set_alpn_protos(context, (const unsigned char *)"\x08rehost/1", 9);
        accept_foreign(context, text, sizeof(text), hash);
        assert_string_equal(text, "");
        assert_memory_equal(hash, expected, sizeof(hash));
    }
}

struct foreign_server {
    SSL_CTX *context;
    int fd;
    bool is_done;
};

/* OpenSSL's own sockets raise SIGPIPE, which this thread does not take; ours must not raise it. */
static void *serve_foreign(void *argument)
{
    struct foreign_server *server = argument;
    SSL *ssl = SSL_new(server->context);
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    SSL_set_fd(ssl, server->fd);
    server->is_done = SSL_accept(ssl) == 1;
    SSL_free(ssl);
    close(server->fd);
    return NULL;
}

static int choose_anything(SSL *ssl, const unsigned char **out, unsigned char *length,
                           const unsigned char *in, unsigned int in_length, void *context)
{
    (void)ssl;
    (void)in_length;
    (void)context;
    *out = in + 1;
    *length = in[0];
    return SSL_TLSEXT_ERR_OK;
}

/* Connects to a server of this context, which is freed. */
static bool connect_foreign(SSL_CTX *context, const uint8_t hash[TLS_IDENTITY_SIZE],
                            struct error *err)
{
    struct foreign_server server = {.context = context};
    pthread_t thread;
    int fds[2];

    tcp_pair(fds);
    server.fd = fds[1];
    assert_int_equal(pthread_create(&thread, NULL, serve_foreign, &server), 0);
    struct tls *tls = tls_connect(fds[0], client_identity, hash, 5000, err);
    bool is_connected = tls != NULL;
    if (tls)
        tls_shut(tls);
    tls_close(tls);
    pthread_join(thread, NULL);
    SSL_CTX_free(context);
    return is_connected;
}

static void test_a_pinned_server_of_any_key_and_any_dates_is_connected_to(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++) {
        uint8_t hash[TLS_IDENTITY_SIZE];
        struct error err = {0};
        SSL_CTX *context = foreign_context(kinds[i].key, kinds[i].from, kinds[i].to, hash);
        SSL_CTX_set_alpn_select_cb(context, choose_anything, NULL);
        if (!connect_foreign(context, hash, &err))
            fail_msg("%s: %s", kinds[i].key, err.text);
    }
}

static void test_a_tls_1_2_server_and_one_without_alpn_are_refused(void **state)
{
    uint8_t hash[TLS_IDENTITY_SIZE];
    struct error err = {0};
    SSL_CTX *context = foreign_context("EC", kinds[0].from, kinds[0].to, hash);

    (void)state;
    SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_alpn_select_cb(context, choose_anything, NULL);
    assert_false(connect_foreign(context, hash, &err));
    assert_int_equal(err.errnum, EPROTO);
    context = foreign_context("ED25519", kinds[0].from, kinds[0].to, hash);
    assert_false(connect_foreign(context, hash, &err));
    assert_non_null(strstr(err.text, "rehost/1"));
}

static void test_plain_text_is_refused_by_both_sides(void **state)
{
    struct error err = {0};
    int fds[2];

    (void)state;
    tcp_pair(fds);
    assert_int_equal(write(fds[0], "GET / HTTP/1.0\r\n\r\n", 18), 18);
    assert_null(tls_accept(fds[1], server_identity, 5000, &err));
    assert_int_equal(err.errnum, EPROTO);
    close(fds[0]);
    tcp_pair(fds);
    assert_int_equal(write(fds[1], "SSH-2.0-OpenSSH_9.2\r\n", 21), 21);
    assert_null(tls_connect(fds[0], client_identity, pin, 5000, &err));
    assert_int_equal(err.errnum, EPROTO);
    close(fds[1]);
}

static void test_a_handshake_that_is_cut_says_so(void **state)
{
    struct error err = {0};
    int fds[2];

    (void)state;
    tcp_pair(fds);
    close(fds[0]);
    assert_null(tls_accept(fds[1], server_identity, 5000, &err));
    assert_int_equal(err.errnum, ECONNRESET);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_tls_1_2_client_is_refused),
        cmocka_unit_test(test_a_client_without_a_certificate_is_refused),
        cmocka_unit_test(test_a_client_without_our_alpn_is_refused),
        cmocka_unit_test(test_clients_of_any_key_and_any_dates_are_let_in_and_known_by_their_key),
        cmocka_unit_test(test_a_pinned_server_of_any_key_and_any_dates_is_connected_to),
        cmocka_unit_test(test_a_tls_1_2_server_and_one_without_alpn_are_refused),
        cmocka_unit_test(test_plain_text_is_refused_by_both_sides),
        cmocka_unit_test(test_a_handshake_that_is_cut_says_so),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
