/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A connection that carries frames. Any thread may send (whole frames, one after the other); one
 * thread receives. PINGs are sent when nothing else was for a while, and answered, in here: users
 * of a link never see PING and PONG.
 */
#ifndef P2V_WIRE_LINK_H
#define P2V_WIRE_LINK_H

#include "base/error.h"
#include "base/own.h"
#include "p2v/wire/frame.h"
#include "p2v/wire/tls.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct iovec;
struct link;

/* "host:port", "[v6]:port", "host" (WIRE_PORT). */
struct link_address {
    char host[256];
    char port[16];
};
int link_address_parse(const char *text, struct link_address *address, struct error *err);

/* Tries all addresses of the name, at most timeout_ms each. */
struct link *link_connect(const struct link_address *address, struct tls_identity *identity,
                          const uint8_t pin[TLS_IDENTITY_SIZE], int timeout_ms, struct error *err);

/* A socket just accepted; taken, even on failure. */
struct link *link_accept(int fd, struct tls_identity *identity, int timeout_ms, struct error *err);

void link_peer_hash(const struct link *link, uint8_t hash[TLS_IDENTITY_SIZE]);
const char *link_peer_address(const struct link *link); /* "10.0.0.7:51234", borrowed */

/* Largest payload that link_receive takes; starts at WIRE_MAX_EARLY_PAYLOAD on the server's side
 * and at WIRE_MAX_PAYLOAD on the agent's. The buffer grows only as frames need it. */
void link_set_max_payload(struct link *link, uint32_t bytes);

/*
 * One or more whole encoded frames, sent at once. Waits while the other side does not read, as long
 * as something comes from it (PING) or is taken every WIRE_SILENCE_MS. After an error nothing can
 * be sent any more, and what came before the connection ended can be received for about a second:
 * the other side may have said why it hangs up.
 */
int link_send(struct link *link, const void *frames, size_t length, struct error *err);

/* One frame in several pieces of memory. */
int link_send_parts(struct link *link, const struct iovec *parts, size_t count, struct error *err);

struct link_frame {
    enum wire_type type;
    const uint8_t *payload; /* borrowed until the next receive */
    size_t length;
};

/* From the beginning of a page on. {0} is none. */
struct link_memory {
    uint8_t *data;
    size_t size;
};
void link_memory_make(struct link_memory *memory, size_t size); /* larger, without its content */
void link_memory_fini(struct link_memory *memory);

/*
 * After link_receive: hands over the memory in which the frame is, which stays valid for as long as
 * that; in exchange for `memory`, which may be {0}. The chunks of a large plain DATA frame lie at
 * the beginning of a page.
 */
void link_take_memory(struct link *link, struct link_memory *memory);

/*
 * The next frame. 1: there it is; 0: the other side closed cleanly; -1: cut, silent for
 * silence_ms (ETIMEDOUT), a frame from the wrong side, or one that breaks the header's rules
 * (EPROTO). With `stop` not NULL: ECANCELED soon after it becomes true. After ETIMEDOUT and
 * ECANCELED it may be called again, so short times may be used to look at other things between.
 *
 * Anything that comes ends the silence, PINGs too; but while the largest payload is still
 * WIRE_MAX_EARLY_PAYLOAD, silence_ms is the time for the whole call, so that nobody can spin it
 * out.
 */
int link_receive(struct link *link, struct link_frame *frame, int silence_ms,
                 const atomic_bool *stop, struct error *err);

/*
 * Sends the PING or PONG that is due; never waits. link_receive does this itself, at least once a
 * second: only a receiver that does other things for more than WIRE_PING_MS (a full disk, PAUSE)
 * has to call it. From any thread.
 */
int link_keep_alive(struct link *link, struct error *err);

/* Since when nothing has come from the other side, not even a PING. From any thread. */
int64_t link_silent_ms(const struct link *link);

/* ERROR as a frame, best effort and within about two seconds, then link_shut. */
void link_refuse(struct link *link, enum wire_error_code code, const char *text);

/* From any thread: whoever sends or receives gets an error. */
void link_shut(struct link *link);

/* Cleanly when it still works. No other thread may be using it. */
void link_close(struct link *link);
OWN_DEFINE_PTR(link, link_close)

/* Bytes on the socket, both directions, TLS included; for reports. */
uint64_t link_bytes_sent(const struct link *link);
uint64_t link_bytes_received(const struct link *link);

#endif
