/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A TLS connection from its handshake to its end. The bytes in between: tls_stream.c.
 */
#include "p2v/wire/tls.h"

#include "base/clock.h"
#include "base/text.h"
#include "p2v/wire/frame.h"
#include "p2v/wire/tls_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLOSE_MS 500 /* for the other side to take the last words */

static void buffer_make(struct tls_buffer *buffer)
{
    buffer->data = memory_new(1, TLS_BUFFER_SMALL);
    buffer->size = TLS_BUFFER_SMALL;
}

static void tls_free(struct tls *tls)
{
    SSL_free(tls->ssl);
    free(tls->out.data);
    pthread_mutex_destroy(&tls->lock);
    own_close(&tls->fd);
    free(tls);
}

static int set_up_socket(int fd, struct error *err)
{
    int flags = fcntl(fd, F_GETFL), one = 1;

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
        return error_set(err, errno, "set up the connection");
    /* what goes together is sent together: nothing must wait for more; other sockets have no need
     */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return 0;
}

static struct tls *tls_new(int fd, SSL_CTX *context, struct error *err)
{
    struct tls *tls = memory_new(1, sizeof(*tls));

    tls->fd = fd;
    tls->rekey_records = TLS_REKEY_RECORDS;
    tls->heard_ms = clock_ms();
    pthread_mutex_init(&tls->lock, NULL);
    buffer_make(&tls->out);
    ERR_clear_error();
    const BIO_METHOD *method = tls_bio_method();
    BIO *bio = method ? BIO_new(method) : NULL;
    tls->ssl = SSL_new(context);
    if (bio && tls->ssl && set_up_socket(fd, err) == 0) {
        BIO_set_data(bio, tls);
        SSL_set_bio(tls->ssl, bio, bio);
        SSL_set_app_data(tls->ssl, tls);
        return tls;
    }
    if (!bio || !tls->ssl)
        tls_error_set(err, ENOMEM, "begin TLS");
    BIO_free(bio);
    tls_free(tls);
    return NULL;
}

static int handshake_error(struct tls *tls, struct error *err)
{
    char theirs[TLS_PIN_SIZE], pinned[TLS_PIN_SIZE];

    if (!tls->is_wrong_pin)
        return tls_error_set(err, EPROTO, "TLS handshake");
    ERR_clear_error();
    tls_pin_format(tls->peer_hash, theirs);
    tls_pin_format(tls->pin, pinned);
    error_set(err, 0, "the server's key is %s, not the pinned %s: nothing was sent to it", theirs,
              pinned);
    if (err)
        err->errnum = TLS_WRONG_PIN;
    return -1;
}

static int milliseconds_left(int64_t deadline_ms)
{
    int64_t left = deadline_ms - clock_ms();

    return left > 0 ? (int)left : 0;
}

/* One turn: 1 when the handshake is done, 0 when it goes on. */
static int handshake_step(struct tls *tls, int64_t deadline_ms, struct error *err)
{
    ERR_clear_error();
    int status = SSL_do_handshake(tls->ssl);
    int reason = SSL_get_error(tls->ssl, status);
    bool goes_on = reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE;

    if (status != 1 && !goes_on) {
        handshake_error(tls, err);
        tls_drain(tls, 0, NULL); /* the alert, if it goes */
        return -1;
    }
    if (tls_drain(tls, milliseconds_left(deadline_ms), err) != 0)
        return -1;
    if (status == 1 || reason == SSL_ERROR_WANT_WRITE)
        return status == 1;
    switch (tls_await(tls, deadline_ms, err)) {
    case 1:
        return 0;
    case 0:
        return error_set(err, ECONNRESET, "the other side ended the connection");
    default:
        return -1;
    }
}

static int check_alpn(struct tls *tls, struct error *err)
{
    const unsigned char *chosen = NULL;
    unsigned length = 0;

    SSL_get0_alpn_selected(tls->ssl, &chosen, &length);
    if (length == strlen(WIRE_ALPN) && memcmp(chosen, WIRE_ALPN, length) == 0)
        return 0;
    error_set(err, 0, "the other side does not speak " WIRE_ALPN);
    if (err)
        err->errnum = EPROTO;
    return -1;
}

static int handshake(struct tls *tls, int timeout_ms, struct error *err)
{
    int64_t deadline_ms = clock_ms() + timeout_ms;
    int step;

    do {
        step = handshake_step(tls, deadline_ms, err);
    } while (step == 0 && milliseconds_left(deadline_ms) > 0);
    if (step == 0)
        error_set(err, ETIMEDOUT, "too late");
    if (step > 0 && check_alpn(tls, err) == 0)
        return 0;
    if (err && err->errnum == ETIMEDOUT)
        error_set(err, ETIMEDOUT, "TLS handshake not done within %d ms", timeout_ms);
    return -1;
}

struct tls *tls_connect(int fd, struct tls_identity *identity, const uint8_t pin[TLS_IDENTITY_SIZE],
                        int timeout_ms, struct error *err)
{
    struct tls *tls = tls_new(fd, identity->client, err);

    if (!tls)
        return NULL;
    tls->pin = pin;
    SSL_set_connect_state(tls->ssl);
    int status = handshake(tls, timeout_ms, err);
    tls->pin = NULL;
    if (status == 0)
        return tls;
    tls_free(tls);
    return NULL;
}

struct tls *tls_accept(int fd, struct tls_identity *identity, int timeout_ms, struct error *err)
{
    struct tls *tls = tls_new(fd, identity->server, err);

    if (!tls)
        return NULL;
    SSL_set_accept_state(tls->ssl);
    if (handshake(tls, timeout_ms, err) == 0)
        return tls;
    tls_free(tls);
    return NULL;
}

void tls_peer_hash(const struct tls *tls, uint8_t hash[TLS_IDENTITY_SIZE])
{
    memcpy(hash, tls->peer_hash, TLS_IDENTITY_SIZE);
}

void tls_allow_large_reads(struct tls *tls)
{
    pthread_mutex_lock(&tls->lock);
    SSL_set_default_read_buffer_len(tls->ssl, TLS_BUFFER_LARGE);
    SSL_set_read_ahead(tls->ssl, 1);
    pthread_mutex_unlock(&tls->lock);
}

uint64_t tls_bytes_sent(const struct tls *tls)
{
    return tls->bytes_sent;
}

uint64_t tls_bytes_received(const struct tls *tls)
{
    return tls->bytes_received;
}

int64_t tls_heard_ms(const struct tls *tls)
{
    return tls->heard_ms;
}

void tls_end_writing(struct tls *tls)
{
    tls->has_failed = true;
    shutdown(tls->fd, SHUT_WR);
}

void tls_shut(struct tls *tls)
{
    tls->is_shut = true;
    shutdown(tls->fd, SHUT_RDWR);
}

/* What is in the socket unread when it is closed makes the kernel throw away our last words too. */
static void await_end(int fd)
{
    int64_t deadline_ms = clock_ms() + CLOSE_MS;
    uint8_t dropped[4096];

    for (int left; (left = milliseconds_left(deadline_ms)) > 0;) {
        struct pollfd event = {.fd = fd, .events = POLLIN};
        if (poll(&event, 1, left) <= 0 || recv(fd, dropped, sizeof(dropped), MSG_DONTWAIT) <= 0)
            return;
    }
}

void tls_finish(struct tls *tls)
{
    if (atomic_exchange(&tls->is_shut, true) || tls->has_failed)
        return;
    pthread_mutex_lock(&tls->lock);
    ERR_clear_error();
    SSL_shutdown(tls->ssl);
    ERR_clear_error();
    pthread_mutex_unlock(&tls->lock);
    if (tls_drain(tls, CLOSE_MS, NULL) == 0 && shutdown(tls->fd, SHUT_WR) == 0)
        await_end(tls->fd);
}

void tls_close(struct tls *tls)
{
    if (!tls)
        return;
    tls_finish(tls);
    tls_free(tls);
}
