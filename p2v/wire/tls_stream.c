/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The bytes of a TLS connection: many records for each system call, in both directions at once.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/text.h"
#include "p2v/wire/tls_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define COPY_STEP 2048u
#define WAIT_SLICE_MS 1000 /* a wait looks this often at what else could end it */

/* --- what OpenSSL reads from and writes to; called with the lock held --------------------------
 */

/* From the socket into OpenSSL's own buffer: what is large is copied no more often than it must. */
static int bio_read(BIO *bio, char *to, size_t length, size_t *done)
{
    struct tls *tls = BIO_get_data(bio);
    ssize_t got;

    BIO_clear_retry_flags(bio);
    *done = 0;
    do {
        got = recv(tls->fd, to, length, MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got > 0) {
        *done = (size_t)got;
        tls->bytes_received += (uint64_t)got;
        tls->heard_ms = clock_ms();
        return 1;
    }
    if (got == 0)
        tls->is_at_end = true;
    else if (errno != EAGAIN)
        tls->receive_errno = errno;
    BIO_set_retry_read(bio); /* whoever would wait for more looks at these first */
    return 0;
}

/*
 * memcpy, a little at a time: with more than a few KiB it takes to `rep movsb`, which moves them to
 * an odd place at a third of the speed (AMD Zen 4, glibc 2.36).
 */
static void copy_record(uint8_t *to, const uint8_t *from, size_t length)
{
    for (size_t part; length > 0; to += part, from += part, length -= part) {
        part = length < COPY_STEP ? length : COPY_STEP;
        memcpy(to, from, part);
    }
}

static int bio_write(BIO *bio, const char *from, size_t length, size_t *done)
{
    struct tls *tls = BIO_get_data(bio);
    struct tls_buffer *out = &tls->out;

    BIO_clear_retry_flags(bio);
    if (out->start == out->end)
        out->start = out->end = 0;
    *done = 0;
    if (length > out->size - out->end) {
        BIO_set_retry_write(bio);
        return 0;
    }
    copy_record(out->data + out->end, (const uint8_t *)from, length);
    out->end += length;
    *done = length;
    return 1;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static pthread_once_t method_once = PTHREAD_ONCE_INIT;
static BIO_METHOD *method;

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "buffers");
    if (!method)
        return;
    BIO_meth_set_read_ex(method, bio_read);
    BIO_meth_set_write_ex(method, bio_write);
    BIO_meth_set_ctrl(method, bio_control);
    BIO_meth_set_create(method, bio_create);
}

const BIO_METHOD *tls_bio_method(void)
{
    pthread_once(&method_once, make_method);
    return method;
}

/* --- between the buffers and the socket; called without the lock ------------------------------ */

static int check_usable(struct tls *tls, struct error *err)
{
    return tls->is_shut ? error_set(err, ESHUTDOWN, "the connection was ended here") : 0;
}

/* The socket failed for good. */
static int fail(struct tls *tls, int errnum, struct error *err)
{
    tls->has_failed = true;
    if (check_usable(tls, err) != 0)
        return -1;
    return error_set(err, errnum, "the connection was cut");
}

int tls_await(struct tls *tls, int64_t deadline_ms, struct error *err)
{
    for (;;) {
        if (tls->is_at_end)
            return check_usable(tls, err);
        if (tls->receive_errno)
            return fail(tls, tls->receive_errno, err);
        int64_t left_ms = deadline_ms - clock_ms();
        if (left_ms <= 0)
            return error_set(err, ETIMEDOUT, "nothing came");
        struct pollfd event = {.fd = tls->fd, .events = POLLIN};
        if (poll(&event, 1, left_ms < WAIT_SLICE_MS ? (int)left_ms : WAIT_SLICE_MS) > 0)
            return 1;
    }
}

/* What the socket takes at once. 1: all of it went; 0: it is full. */
static int send_some(struct tls *tls, bool *moved, struct error *err)
{
    for (;;) {
        pthread_mutex_lock(&tls->lock);
        const uint8_t *data = tls->out.data + tls->out.start;
        size_t length = tls->out.end - tls->out.start;
        pthread_mutex_unlock(&tls->lock);
        if (length == 0)
            return 1;
        ssize_t sent = send(tls->fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return errno == EAGAIN ? 0 : fail(tls, errno, err);
        *moved = true;
        tls->bytes_sent += (uint64_t)sent;
        pthread_mutex_lock(&tls->lock);
        tls->out.start += (size_t)sent;
        pthread_mutex_unlock(&tls->lock);
    }
}

/*
 * The other side is given up when it took nothing for the time-out and said nothing either: one
 * that has told us to wait (PAUSE) still sends PINGs.
 */
int tls_drain(struct tls *tls, int timeout_ms, struct error *err)
{
    int64_t progress_ms = clock_ms();

    for (;;) {
        bool moved = false;
        int status = send_some(tls, &moved, err);
        if (status != 0)
            return status < 0 ? -1 : 0;
        int64_t now_ms = clock_ms(), heard_ms = tls->heard_ms;
        if (moved)
            progress_ms = now_ms;
        int64_t since_ms = heard_ms > progress_ms ? heard_ms : progress_ms;
        int64_t left_ms = since_ms + timeout_ms - now_ms;
        if (left_ms <= 0)
            return error_set(err, ETIMEDOUT, "the other side reads nothing");
        struct pollfd event = {.fd = tls->fd, .events = POLLOUT};
        poll(&event, 1, left_ms < WAIT_SLICE_MS ? (int)left_ms : WAIT_SLICE_MS);
    }
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Remembers why nothing more will ever be read. */
static void end_reading(struct tls *tls, const char *what, int errnum)
{
    tls->has_failed = true;
    tls->has_read_error = true;
    tls_error_set(&tls->read_error, errnum, what);
}

/* Opens records that are there already, until the buffer is full. 0: more must come; -1: closed. */
static int open_records(struct tls *tls, uint8_t *buffer, size_t size, size_t *got)
{
    ERR_clear_error();
    while (*got < size) {
        size_t length = 0;
        if (SSL_read_ex(tls->ssl, buffer + *got, size - *got, &length)) {
            *got += length;
            continue;
        }
        switch (SSL_get_error(tls->ssl, 0)) {
        case SSL_ERROR_WANT_READ:
            return 0;
        case SSL_ERROR_ZERO_RETURN:
            return -1;
        default:
            end_reading(tls, "TLS", EPROTO);
            return 0;
        }
    }
    return 0;
}

long tls_read(struct tls *tls, void *buffer, size_t size, int timeout_ms, struct error *err)
{
    int64_t deadline_ms = clock_ms() + timeout_ms;
    bool is_late = false;

    for (;;) {
        size_t got = 0;
        if (check_usable(tls, err) != 0)
            return -1;
        bool has_ended = false;
        if (!tls->has_read_error) {
            pthread_mutex_lock(&tls->lock);
            has_ended = open_records(tls, buffer, size, &got) != 0;
            pthread_mutex_unlock(&tls->lock);
        }
        if (got > 0 || has_ended)
            return (long)got;
        if (tls->has_read_error) {
            if (err)
                *err = tls->read_error;
            return -1;
        }
        if (is_late)
            return error_set(err, ETIMEDOUT, "nothing came but TLS's own messages");
        int status = tls_await(tls, deadline_ms, err);
        is_late = clock_ms() > deadline_ms; /* however much comes: it may be nothing of use */
        if (status < 0)
            return -1;
        if (status == 0)
            return fail(tls, ECONNRESET, err);
    }
}

/* --- writing ---------------------------------------------------------------------------------- */

/* What is still to be written, from several pieces of memory. */
struct source {
    const struct iovec *parts;
    size_t count, offset; /* within parts[0] */
    size_t left;
};

static struct source source_of(const struct iovec *parts, size_t count)
{
    struct source source = {.parts = parts, .count = count};

    for (size_t i = 0; i < count; i++)
        source.left += parts[i].iov_len;
    return source;
}

static size_t source_part(struct source *source, const uint8_t **data)
{
    while (source->count && source->offset == source->parts->iov_len) {
        source->parts++;
        source->count--;
        source->offset = 0;
    }
    if (source->count == 0)
        return 0;
    *data = (const uint8_t *)source->parts->iov_base + source->offset;
    return source->parts->iov_len - source->offset;
}

static void source_skip(struct source *source, size_t length)
{
    source->offset += length;
    source->left -= length;
}

/*
 * The next record's content: in its place when there is enough of it, else gathered in `stage`.
 * What is large begins with a record of its own, so that the other side finds it as it lies here.
 */
static size_t source_next(struct source *source, uint8_t stage[TLS_RECORD_SIZE],
                          const uint8_t **data)
{
    size_t length = source_part(source, data), staged = 0;

    if (length >= TLS_RECORD_SIZE / 2 || length == source->left) {
        length = length < TLS_RECORD_SIZE ? length : TLS_RECORD_SIZE;
        source_skip(source, length);
        return length;
    }
    while (staged < TLS_RECORD_SIZE && (length = source_part(source, data)) > 0 &&
           (staged == 0 || length < TLS_RECORD_SIZE)) {
        if (length > TLS_RECORD_SIZE - staged)
            length = TLS_RECORD_SIZE - staged;
        memcpy(stage + staged, *data, length);
        staged += length;
        source_skip(source, length);
    }
    *data = stage;
    return staged;
}

static int seal_record(struct tls *tls, const uint8_t *data, size_t length, struct error *err)
{
    size_t written = 0;

    ERR_clear_error();
    if (++tls->keyed_records > tls->rekey_records) {
        tls->keyed_records = 1;
        if (!SSL_key_update(tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED))
            return tls_error_set(err, EPROTO, "TLS key update");
    }
    if (!SSL_write_ex(tls->ssl, data, length, &written) || written != length)
        return tls_error_set(err, EPROTO, "TLS");
    return 0;
}

/* For the next record, of content of which so many bytes are left. */
static bool has_room(const struct tls_buffer *out, size_t left)
{
    size_t used = out->start == out->end ? 0 : out->end;
    size_t content = left < TLS_RECORD_SIZE ? left : TLS_RECORD_SIZE;

    return out->size - used >= content + TLS_RECORD_EXTRA;
}

/* Makes records until everything is in them or there is no room for more. */
static int seal_some(struct tls *tls, struct source *source, struct error *err)
{
    uint8_t stage[TLS_RECORD_SIZE];
    int status = 0;

    pthread_mutex_lock(&tls->lock);
    while (status == 0 && source->left > 0 && has_room(&tls->out, source->left)) {
        const uint8_t *data = NULL;
        size_t length = source_next(source, stage, &data);
        status = seal_record(tls, data, length, err);
    }
    pthread_mutex_unlock(&tls->lock);
    if (status != 0)
        tls->has_failed = true;
    return status;
}

static void grow_out(struct tls *tls)
{
    pthread_mutex_lock(&tls->lock);
    tls->out.data = memory_grow(tls->out.data, 1, TLS_BUFFER_LARGE);
    tls->out.size = TLS_BUFFER_LARGE;
    pthread_mutex_unlock(&tls->lock);
}

int tls_write(struct tls *tls, const struct iovec *parts, size_t count, int timeout_ms,
              struct error *err)
{
    struct source source = source_of(parts, count);

    if (source.left + TLS_RECORD_EXTRA > tls->out.size && tls->out.size < TLS_BUFFER_LARGE)
        grow_out(tls);
    while (source.left > 0) {
        if (check_usable(tls, err) != 0 || seal_some(tls, &source, err) != 0 ||
            tls_drain(tls, timeout_ms, err) != 0)
            return -1;
    }
    return 0;
}

int tls_write_at_once(struct tls *tls, const void *data, size_t length, struct error *err)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = length};
    struct source source = source_of(&part, 1);
    bool moved = false;

    if (check_usable(tls, err) != 0 || send_some(tls, &moved, err) < 0)
        return -1;
    pthread_mutex_lock(&tls->lock);
    bool is_taken = has_room(&tls->out, length);
    pthread_mutex_unlock(&tls->lock);
    if (is_taken && length > 0 &&
        (seal_some(tls, &source, err) != 0 || send_some(tls, &moved, err) < 0))
        return -1;
    return is_taken;
}
