/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Frames over a TLS connection, PING and PONG included (docs/wire.md, "Frames", "Silence, cuts,
 * ends"). Addresses: address.c.
 */
#include "base/checked.h"
#include "base/clock.h"
#include "base/text.h"
#include "p2v/wire/link_internal.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* Beyond the frame that is awaited, for what comes behind it; its rest is moved to the front. */
#define READ_AHEAD 16384u
#define EARLY_BUFFER 1024u

#define STOP_SLICE_MS 250 /* how soon a flag is seen */
#define IDLE_SLICE_MS 1000
#define REFUSE_MS 1000 /* for another thread's frame to be out of the way */
#define LAST_WORDS_MS 1000

static struct link *link_new(struct tls *tls, bool is_server, const char *address)
{
    struct link *link = memory_new(1, sizeof(*link));

    link->tls = tls;
    link->is_server = is_server;
    memcpy(link->address, address, sizeof(link->address));
    pthread_mutex_init(&link->send_lock, NULL);
    link->sent_ms = clock_ms();
    link_memory_make(&link->buffer.memory, EARLY_BUFFER);
    link_set_max_payload(link, is_server ? WIRE_MAX_EARLY_PAYLOAD : WIRE_MAX_PAYLOAD);
    return link;
}

struct link *link_accept(int fd, struct tls_identity *identity, int timeout_ms, struct error *err)
{
    char address[ADDRESS_TEXT_SIZE] = "";

    address_of_peer(fd, address);
    struct tls *tls = tls_accept(fd, identity, timeout_ms, err);
    return tls ? link_new(tls, true, address) : NULL;
}

static struct link *connect_one(const struct addrinfo *where, struct tls_identity *identity,
                                const uint8_t pin[TLS_IDENTITY_SIZE], int timeout_ms,
                                struct error *err)
{
    int64_t began_ms = clock_ms();
    char address[ADDRESS_TEXT_SIZE] = "";
    int fd = address_connect(where, timeout_ms, err);

    if (fd < 0)
        return NULL;
    address_of_peer(fd, address);
    int64_t left_ms = timeout_ms - (clock_ms() - began_ms);
    struct tls *tls = tls_connect(fd, identity, pin, left_ms > 0 ? (int)left_ms : 0, err);
    return tls ? link_new(tls, false, address) : NULL;
}

/* A wrong key ends it: it is not for us to look for another machine that has the right one. */
struct link *link_connect(const struct link_address *address, struct tls_identity *identity,
                          const uint8_t pin[TLS_IDENTITY_SIZE], int timeout_ms, struct error *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct error local = {0};
    struct addrinfo *list = NULL;
    struct link *link = NULL;
    int status = getaddrinfo(address->host, address->port, &hints, &list);

    if (status != 0) {
        error_set(err, status == EAI_SYSTEM ? errno : 0, "%s: %s", address->host,
                  gai_strerror(status));
        return NULL;
    }
    for (struct addrinfo *at = list; at && !link && local.errnum != TLS_WRONG_PIN; at = at->ai_next)
        link = connect_one(at, identity, pin, timeout_ms, &local);
    freeaddrinfo(list);
    if (!link) {
        error_wrap(&local, "%s port %s", address->host, address->port);
        if (err)
            *err = local;
    }
    return link;
}

void link_peer_hash(const struct link *link, uint8_t hash[TLS_IDENTITY_SIZE])
{
    tls_peer_hash(link->tls, hash);
}

const char *link_peer_address(const struct link *link)
{
    return link->address;
}

void link_set_max_payload(struct link *link, uint32_t bytes)
{
    link->max_payload = bytes;
    if (bytes > WIRE_MAX_EARLY_PAYLOAD)
        tls_allow_large_reads(link->tls);
}

uint64_t link_bytes_sent(const struct link *link)
{
    return tls_bytes_sent(link->tls);
}

uint64_t link_bytes_received(const struct link *link)
{
    return tls_bytes_received(link->tls);
}

int64_t link_silent_ms(const struct link *link)
{
    return clock_ms() - tls_heard_ms(link->tls);
}

/* --- sending ---------------------------------------------------------------------------------- */

/* With the lock. Part of a frame may have gone. */
static int end_sending(struct link *link)
{
    link->unsendable_ms = clock_ms();
    tls_end_writing(link->tls);
    return -1;
}

/* With the lock. What finds no room now stays due: there is enough on its way already. */
static int send_due(struct link *link, struct error *err)
{
    struct wire_header header = {.type = link->owes_pong ? WIRE_PONG : WIRE_PING};
    uint8_t frame[WIRE_HEADER_SIZE];
    int64_t now_ms = clock_ms();
    bool is_due = link->owes_pong || now_ms - link->sent_ms >= WIRE_PING_MS;

    wire_header_encode(&header, frame);
    int status = tls_write_at_once(link->tls, frame, is_due ? sizeof(frame) : 0, err);
    if (status != 1 || !is_due)
        return status;
    link->sent_ms = now_ms;
    if (header.type == WIRE_PONG)
        link->owes_pong = false;
    return 1;
}

static int send_parts_locked(struct link *link, const struct iovec *parts, size_t count,
                             struct error *err)
{
    if (tls_write(link->tls, parts, count, WIRE_SILENCE_MS, err) != 0)
        return end_sending(link);
    link->sent_ms = clock_ms();
    return link->owes_pong && send_due(link, err) < 0 ? end_sending(link) : 0;
}

int link_send_parts(struct link *link, const struct iovec *parts, size_t count, struct error *err)
{
    pthread_mutex_lock(&link->send_lock);
    int status = link->unsendable_ms ? error_set(err, EPIPE, "the connection was cut")
                                     : send_parts_locked(link, parts, count, err);
    pthread_mutex_unlock(&link->send_lock);
    return status;
}

int link_send(struct link *link, const void *frames, size_t length, struct error *err)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)frames, .iov_len = length};

    return link_send_parts(link, &part, 1, err);
}

/* Whoever holds the lock is sending: then nothing is due, or is sent after it. */
int link_keep_alive(struct link *link, struct error *err)
{
    int status = 0;

    if (pthread_mutex_trylock(&link->send_lock) != 0)
        return 0;
    if (link->unsendable_ms)
        status = error_set(err, EPIPE, "the connection was cut");
    else if (send_due(link, err) < 0)
        status = end_sending(link);
    pthread_mutex_unlock(&link->send_lock);
    return status;
}

static bool lock_within(pthread_mutex_t *lock, int timeout_ms)
{
    int64_t deadline_ms = clock_ms() + timeout_ms;

    while (pthread_mutex_trylock(lock) != 0) {
        if (clock_ms() >= deadline_ms)
            return false;
        poll(NULL, 0, 10);
    }
    return true;
}

void link_refuse(struct link *link, enum wire_error_code code, const char *text)
{
    struct wire_error message = {.code = code};
    AUTO(text) frame = {0};

    strncpy(message.text, text, sizeof(message.text) - 1);
    wire_error_encode(&message, &frame);
    if (lock_within(&link->send_lock, REFUSE_MS)) {
        if (!link->unsendable_ms &&
            tls_write_at_once(link->tls, frame.data, frame.length, NULL) == 1)
            tls_finish(link->tls);
        pthread_mutex_unlock(&link->send_lock);
    }
    link_shut(link);
}

/* --- receiving -------------------------------------------------------------------------------- */

static int protocol_error(struct error *err, const struct link *link, const char *problem,
                          const struct wire_header *header)
{
    error_set(err, 0, "%s of %u bytes from the %s: %s", wire_type_name(header->type),
              header->length, link->is_server ? "agent" : "server", problem);
    if (err)
        err->errnum = EPROTO;
    return -1;
}

static size_t bytes_held(const struct link *link)
{
    return link->buffer.end - link->buffer.start;
}

static const uint8_t *frame_start(const struct link *link)
{
    return link->buffer.memory.data + link->buffer.start;
}

/* 1: the next frame's header is there and allowed; 0: not there yet. */
static int peek_header(const struct link *link, struct wire_header *header, struct error *err)
{
    if (bytes_held(link) < WIRE_HEADER_SIZE)
        return 0;
    if (wire_header_decode(frame_start(link), header, err) != 0)
        return -1;
    if (!(link->is_server ? wire_type_is_from_agent(header->type)
                          : wire_type_is_from_server(header->type)))
        return protocol_error(err, link, "not this side's to send", header);
    if (header->length > link->max_payload)
        return protocol_error(err, link, "too large at this time", header);
    return 1;
}

/* 1: a whole frame; 0: what is awaited for it. */
static int take_frame(struct link *link, struct link_frame *frame, struct link_awaited *awaited,
                      struct error *err)
{
    struct wire_header header = {0};
    int status = peek_header(link, &header, err);

    if (status < 0)
        return -1;
    *awaited = (struct link_awaited){WIRE_HEADER_SIZE, LINK_ANY_PLACE};
    if (status > 0)
        *awaited = link_await(&header);
    if (status == 0 || bytes_held(link) < awaited->needed)
        return 0;
    *frame = (struct link_frame){.type = header.type,
                                 .payload = frame_start(link) + WIRE_HEADER_SIZE,
                                 .length = header.length};
    link->buffer.start += awaited->needed;
    return 1;
}

/*
 * One wait for more. 1: there is more, or it is time to look again; 0: the other side closed. No
 * more is asked for than the frame and a little, so that hardly anything is moved to the front.
 */
static int receive_more(struct link *link, const struct link_awaited *awaited, int wait_ms,
                        struct error *err)
{
    struct link_buffer *buffer = &link->buffer;
    size_t ahead = link->max_payload > WIRE_MAX_EARLY_PAYLOAD ? READ_AHEAD : 0;
    struct error local = {0};

    link_buffer_make_room(buffer, awaited, ahead, WIRE_HEADER_SIZE + link->max_payload + ahead);
    size_t room = buffer->memory.size - buffer->end;
    size_t wanted = awaited->needed - bytes_held(link) + READ_AHEAD;
    long got = tls_read(link->tls, buffer->memory.data + buffer->end, min_u64(wanted, room),
                        wait_ms, &local);
    if (got > 0) {
        buffer->end += (size_t)got;
        return 1;
    }
    if (got < 0 && local.errnum == ETIMEDOUT)
        return 1;
    if (got == 0 && bytes_held(link) == 0)
        return 0;
    if (got == 0)
        return error_set(err, EPROTO, "the connection was ended inside of a frame");
    if (err)
        *err = local;
    return -1;
}

/* Milliseconds to wait at most; 0 and less: it has been silent for too long. */
static int64_t silence_left(const struct link *link, int64_t began_ms, int silence_ms)
{
    int64_t heard_ms = tls_heard_ms(link->tls), since_ms = began_ms;

    if (link->max_payload > WIRE_MAX_EARLY_PAYLOAD && heard_ms > since_ms)
        since_ms = heard_ms;
    return since_ms + silence_ms - clock_ms();
}

static int await_more(struct link *link, const struct link_awaited *awaited, int64_t began_ms,
                      int silence_ms, const atomic_bool *stop, struct error *err)
{
    int64_t left_ms = silence_left(link, began_ms, silence_ms);
    int slice_ms = stop ? STOP_SLICE_MS : IDLE_SLICE_MS;

    if (stop && *stop)
        return error_set(err, ECANCELED, "stopped");
    if (left_ms < 0)
        return error_set(err, ETIMEDOUT, "nothing was heard for %d s", silence_ms / 1000);
    if (link_keep_alive(link, err) != 0 && clock_ms() - link->unsendable_ms > LAST_WORDS_MS)
        return -1;
    return receive_more(link, awaited, left_ms < slice_ms ? (int)left_ms : slice_ms, err);
}

int link_receive(struct link *link, struct link_frame *frame, int silence_ms,
                 const atomic_bool *stop, struct error *err)
{
    int64_t began_ms = clock_ms();

    for (;;) {
        struct link_awaited awaited;
        int status = take_frame(link, frame, &awaited, err);
        if (status < 0)
            return -1;
        if (status > 0 && frame->type != WIRE_PING && frame->type != WIRE_PONG)
            return 1;
        if (status > 0) {
            if (frame->type == WIRE_PING)
                link->owes_pong = true;
            continue;
        }
        status = await_more(link, &awaited, began_ms, silence_ms, stop, err);
        if (status <= 0)
            return status;
    }
}

void link_take_memory(struct link *link, struct link_memory *memory)
{
    link_buffer_swap(&link->buffer, memory);
}

void link_shut(struct link *link)
{
    tls_shut(link->tls);
}

void link_close(struct link *link)
{
    if (!link)
        return;
    tls_close(link->tls);
    pthread_mutex_destroy(&link->send_lock);
    link_memory_fini(&link->buffer.memory);
    free(link);
}
