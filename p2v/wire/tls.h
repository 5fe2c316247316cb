/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * TLS 1.3 with keys instead of authorities: each side has a key in a self-signed certificate. The
 * agent knows the server's key by its pin and stops inside the handshake when it is another; the
 * server asks for the agent's key and knows it by its identity. Dates and names are not looked at.
 * RFC 8446; ALPN RFC 7301.
 */
#ifndef P2V_WIRE_TLS_H
#define P2V_WIRE_TLS_H

#include "base/error.h"
#include "base/own.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS_IDENTITY_SIZE 32 /* SHA-256 of the DER SubjectPublicKeyInfo */
#define TLS_PIN_SIZE (7 + 64 + 1)

/* A private key (Ed25519) and its self-signed certificate. */
struct tls_identity;

struct tls_identity *tls_identity_new(struct error *err);

/* Of a secret that is the private key itself (RFC 8032, 5.1.5): the same one, the same identity. */
#define TLS_SEED_SIZE 32
struct tls_identity *tls_identity_of_seed(const uint8_t seed[TLS_SEED_SIZE], struct error *err);

/*
 * Reads the key from a PEM file of mode 0600, or makes and writes it (aside, fsync, rename) when
 * there is none. A file that others may read, or that is no key, is an error.
 */
struct tls_identity *tls_identity_load(int folder_fd, const char *name, struct error *err);
void tls_identity_free(struct tls_identity *identity);
OWN_DEFINE_PTR(tls_identity, tls_identity_free)

void tls_identity_hash(const struct tls_identity *identity, uint8_t hash[TLS_IDENTITY_SIZE]);

/* "sha256:" and 64 lower-case hexadecimal digits. */
void tls_pin_format(const uint8_t hash[TLS_IDENTITY_SIZE], char pin[TLS_PIN_SIZE]);
int tls_pin_parse(const char *pin, uint8_t hash[TLS_IDENTITY_SIZE], struct error *err);

/* A connection. One thread may read while another writes (tls_write, _at_once, _finish). */
struct tls;

/* errnum of the error when the server's key is not the pinned one: nothing was sent to it. */
#define TLS_WRONG_PIN EKEYREJECTED

/*
 * Does the handshake on a connected socket, which is taken, even on failure. -1 in the deadline
 * sense: the whole handshake within timeout_ms. The context (SSL_CTX) is kept in the identity.
 */
struct tls *tls_connect(int fd, struct tls_identity *identity, const uint8_t pin[TLS_IDENTITY_SIZE],
                        int timeout_ms, struct error *err);
struct tls *tls_accept(int fd, struct tls_identity *identity, int timeout_ms, struct error *err);

/* The other side's key. */
void tls_peer_hash(const struct tls *tls, uint8_t hash[TLS_IDENTITY_SIZE]);

/*
 * Reads 1 to `size` bytes; 0: the other side closed cleanly (close_notify), which a cut is not.
 * Waits at most timeout_ms (ETIMEDOUT, after which it may be called again).
 */
long tls_read(struct tls *tls, void *buffer, size_t size, int timeout_ms, struct error *err);

/*
 * Writes all of it. ETIMEDOUT when the socket took nothing for timeout_ms and nothing came from the
 * other side meanwhile either; the connection is of no use after any error.
 */
struct iovec;
int tls_write(struct tls *tls, const struct iovec *parts, size_t count, int timeout_ms,
              struct error *err);

/*
 * As much of a small message as the socket takes now; the rest goes before the next one. Never
 * waits. 1: taken; 0: not, too much is on its way already. Length 0 sends only what was left.
 */
int tls_write_at_once(struct tls *tls, const void *data, size_t length, struct error *err);

/* The reader's buffer may be a large one from now on. */
void tls_allow_large_reads(struct tls *tls);

/* On the socket, since the connection began; clock_ms when something came last. Any thread. */
uint64_t tls_bytes_sent(const struct tls *tls);
uint64_t tls_bytes_received(const struct tls *tls);
int64_t tls_heard_ms(const struct tls *tls);

/*
 * The writer's last words: close_notify, then waits up to half a second for the other side to end,
 * so that what was written is not lost with the connection. Nothing can be read or written after.
 */
void tls_finish(struct tls *tls);

/* Nothing is written any more: what has come from the other side can still be read. Any thread. */
void tls_end_writing(struct tls *tls);

/* Ends both directions at once; from any thread: a reader or writer that waits returns. */
void tls_shut(struct tls *tls);

/* tls_finish when the connection still works, and close. */
void tls_close(struct tls *tls);
OWN_DEFINE_PTR(tls, tls_close)

#endif
