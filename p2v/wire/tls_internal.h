/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What tls_identity.c, tls.c and tls_stream.c share; nobody else's.
 *
 *     writer ──SSL_write──► out ──send──► socket ──recv──► OpenSSL's buffer ──SSL_read──► reader
 *
 * OpenSSL's object is no thread's own, so it is held (lock) while records are made, or taken from
 * the socket and opened, which takes microseconds, and never while a socket is waited for.
 */
#ifndef P2V_WIRE_TLS_INTERNAL_H
#define P2V_WIRE_TLS_INTERNAL_H

#include "p2v/wire/tls.h"

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

#define TLS_RECORD_SIZE 16384u /* of content, at most: RFC 8446, 5.1 */
#define TLS_RECORD_EXTRA 512u  /* for all that may go with it, a change of keys included */

/* Buffers begin small, for the handshake; the large ones hold what one system call moves, and stay
 * in a core's cache. */
#define TLS_BUFFER_SMALL (4u << 10)
#define TLS_BUFFER_LARGE (128u << 10)

/* Well within the 2^24.5 that RFC 8446, 5.5 allows a key with AES-GCM; 64 GiB of full ones. */
#define TLS_REKEY_RECORDS ((uint64_t)1 << 22)

#define TLS_MAX_CERTIFICATES (16u << 10) /* bytes of certificates taken from the other side */

struct tls_identity {
    EVP_PKEY *key;
    X509 *certificate;
    SSL_CTX *client, *server;
    uint8_t hash[TLS_IDENTITY_SIZE];
};

/* Bytes on their way; [start, end) is filled. */
struct tls_buffer {
    uint8_t *data;
    size_t start, end, size;
};

struct tls {
    int fd; /* non-blocking */
    SSL *ssl;
    pthread_mutex_t lock; /* guards ssl and the buffer's marks */

    /* The reader's: what the socket said last, when it gave nothing. */
    bool is_at_end;
    int receive_errno;

    /* Sent by the writer without the lock; what was sent stays in place until then. */
    struct tls_buffer out;
    uint64_t rekey_records, keyed_records; /* a new key after so many; made under this one */

    const uint8_t *pin; /* what the server's key must be; during the client's handshake */
    bool is_wrong_pin;
    uint8_t peer_hash[TLS_IDENTITY_SIZE];

    atomic_bool is_shut, has_failed;
    bool has_read_error;
    struct error read_error; /* told again by every later read */

    _Atomic uint64_t bytes_sent, bytes_received; /* on the socket */
    _Atomic int64_t heard_ms;                    /* clock_ms when something came last */
};

/* OpenSSL's own words for what went wrong last in this thread; clears them. */
int tls_error_set(struct error *err, int errnum, const char *what);

/* SHA-256 of the certificate's SubjectPublicKeyInfo. */
int tls_key_hash(const X509 *certificate, uint8_t hash[TLS_IDENTITY_SIZE]);

/* The method by which OpenSSL reads from the socket and writes to `out`; NULL without memory. */
const BIO_METHOD *tls_bio_method(void);

/*
 * Waits until the deadline (clock_ms) for the socket to have more after OpenSSL found nothing in
 * it: 1; 0 at the end of the stream.
 */
int tls_await(struct tls *tls, int64_t deadline_ms, struct error *err);

/* Sends what is in `out`. ETIMEDOUT leaves everything as it is. */
int tls_drain(struct tls *tls, int timeout_ms, struct error *err);

#endif
