/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A small server in the test's own process: the real wire and the real disk session over disks in
 * memory, with faults to be asked for.
 */
#ifndef TESTS_FAKE_SERVER_H
#define TESTS_FAKE_SERVER_H

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"
#include "p2v/server/disk_session.h"
#include "p2v/wire/link.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FAKE_DISKS 2
#define FAKE_THREADS 2048

/* What has arrived of one disk; survives connections as an image would. */
struct fake_store {
    uint64_t size_bytes, chunk_count;
    uint8_t *data, *states; /* enum chunk_state */
    struct chunk_name *names;
    atomic_ullong stored_bytes;
    uint32_t pass;
    unsigned passes;
};

struct fake_server {
    struct tls_identity *identity;
    int listen_fd;
    char port[8];
    struct fake_store disks[FAKE_DISKS];
    size_t disk_count;
    uint8_t session[WIRE_SESSION_SIZE];
    pthread_t acceptor, threads[FAKE_THREADS];
    atomic_uint thread_count;

    /* Faults and settings. */
    uint64_t window_bytes;
    unsigned safe_every; /* frames of a disk */
    atomic_uint frames;  /* that came, on all disk connections */
    unsigned cut_at;     /* the link is shut before that frame is answered; 0: never */
    atomic_uint cuts;    /* that happened */
    unsigned pause_at;   /* PAUSE and RESUME before that frame */
    unsigned forget_at;  /* the session is another one from that frame on, and the link is cut */
    bool forgets_at_end; /* when a pass has ended: a restart between PASSED and FINISH */
    unsigned lies;       /* digests that are wrong, from the first on */
    bool needs_token;
    bool needs_approval;               /* which comes after a moment */
    char token[WIRE_TOKEN_LENGTH + 1]; /* that came */
    enum wire_error_code refuse_disk;  /* instead of READY */

    pthread_mutex_t control_lock;
    struct link *control; /* the last one, while it is open */

    /* Seen. */
    atomic_uint sessions, finishes, controls;
    struct wire_machine machine;
    enum wire_consistency consistency;
    void (*on_frame)(void *context, unsigned frame); /* before it is fed; may be NULL */
    void *context;
};

/* --- a disk in memory --- */

static inline int fake_offer(void *context, uint64_t first, size_t count,
                             const struct chunk_name *names, uint8_t *wanted, struct error *err)
{
    struct fake_store *store = context;
    (void)err;
    for (size_t i = 0; i < count; i++)
        if (store->states[first + i] != CHUNK_DATA ||
            memcmp(&store->names[first + i], &names[i], sizeof(names[i])) != 0)
            wanted[i / 8] |= (uint8_t)(1u << (i % 8));
    return 0;
}

static inline size_t fake_length(const struct fake_store *store, uint64_t chunk)
{
    return (size_t)min_u64(CHUNK_SIZE, store->size_bytes - chunk * CHUNK_SIZE);
}

static inline int fake_run(void *context, uint64_t first, uint64_t count, enum chunk_state state,
                           struct error *err)
{
    struct fake_store *store = context;
    (void)err;
    for (uint64_t i = first; i < first + count; i++) {
        store->states[i] = state;
        memset(store->data + i * CHUNK_SIZE, 0, fake_length(store, i));
    }
    return 0;
}

static inline int fake_put(void *context, uint64_t first, size_t count,
                           const struct chunk_name *names, const void *data, size_t length,
                           struct error *err)
{
    struct fake_store *store = context;
    (void)err;
    memcpy(store->data + first * CHUNK_SIZE, data, length);
    for (size_t i = 0; i < count; i++) {
        store->states[first + i] = CHUNK_DATA;
        store->names[first + i] = names[i];
    }
    store->stored_bytes += length;
    return 0;
}

static inline void fake_digest(void *context, struct disksum *digest)
{
    const struct fake_store *store = context;
    *digest = (struct disksum){0};
    for (uint64_t i = 0; i < store->chunk_count; i++)
        disksum_add(digest, i, store->states[i], &store->names[i]);
}

/* --- connections --- */

struct fake_connection {
    struct fake_server *server;
    struct link *link;
};

static inline void fake_send(struct link *link, struct text *frame)
{
    if (frame->length)
        link_send(link, frame->data, frame->length, NULL);
    frame->length = 0;
}

static inline void fake_safe(struct link *link, uint64_t sequence)
{
    AUTO(text) frame = {0};
    wire_safe_encode(&(struct wire_safe){sequence}, &frame);
    fake_send(link, &frame);
}

static inline void fake_pause(struct link *link)
{
    struct timespec moment = {.tv_nsec = 300000000};
    AUTO(text) frame = {0};
    wire_pause_encode(&(struct wire_pause){"no room"}, &frame);
    fake_send(link, &frame);
    nanosleep(&moment, NULL);
    wire_empty_encode(WIRE_RESUME, &frame);
    fake_send(link, &frame);
}

/* False: the connection is to end. */
static inline bool fake_fault(struct fake_server *server, struct link *link)
{
    unsigned frame = ++server->frames;
    if (server->on_frame)
        server->on_frame(server->context, frame);
    if (frame == server->pause_at)
        fake_pause(link);
    if (frame == server->forget_at)
        server->session[0]++;
    if (frame != server->cut_at && frame != server->forget_at)
        return true;
    server->cuts++;
    return false;
}

static inline void fake_pass_ended(struct fake_server *server, struct fake_store *store,
                                   struct disk_session *session, struct link *link)
{
    AUTO(text) frame = {0};
    bool is_same, is_last;
    fake_safe(link, disk_session_complete(session));
    if (server->lies) {
        server->lies--;
        store->names[0].bytes[0] ^= 1;
    }
    disk_session_passed(session, &frame, &is_same, &is_last);
    store->passes++;
    if (server->forgets_at_end) {
        server->forgets_at_end = false;
        server->session[0]++;
        pthread_mutex_lock(&server->control_lock);
        if (server->control)
            link_shut(server->control);
        pthread_mutex_unlock(&server->control_lock);
    }
    fake_send(link, &frame);
}

static inline void fake_serve_disk(struct fake_server *server, struct link *link, unsigned number)
{
    struct fake_store *store = &server->disks[number];
    struct disk_store calls = {fake_offer, fake_run, fake_put, fake_digest, store, NULL};
    AUTO_PTR(disk_session) session = disk_session_new(store->size_bytes, &calls, NULL);
    AUTO(text) frame = {0};
    struct link_frame in;
    unsigned count = 0;
    while (link_receive(link, &in, WIRE_SILENCE_MS, NULL, NULL) > 0) {
        enum disk_session_event event = DISK_SESSION_GOES_ON;
        struct error err = {0};
        if (!fake_fault(server, link))
            return;
        if (disk_session_feed(session, in.type, in.payload, in.length, &frame, &event, &err) != 0) {
            fprintf(stderr, "fake server: %s\n", err.text);
            link_refuse(link, WIRE_ERROR_PROTOCOL, err.text);
            return;
        }
        fake_send(link, &frame);
        if (event == DISK_SESSION_PASS_ENDED)
            fake_pass_ended(server, store, session, link);
        else if (++count % server->safe_every == 0)
            fake_safe(link, disk_session_complete(session));
    }
}

static inline void fake_disk_connection(struct fake_server *server, struct link *link)
{
    AUTO(text) frame = {0};
    struct link_frame in;
    struct wire_disk disk;
    if (link_receive(link, &in, WIRE_SILENCE_MS, NULL, NULL) <= 0 || in.type != WIRE_DISK ||
        wire_disk_decode(in.payload, in.length, &disk, NULL) != 0)
        return;
    if (server->refuse_disk) {
        link_refuse(link, server->refuse_disk, "as the test wants");
        return;
    }
    server->disks[disk.disk].pass = disk.pass;
    wire_ready_encode(&(struct wire_ready){MIB}, &frame);
    fake_send(link, &frame);
    fake_serve_disk(server, link, disk.disk);
}

static inline void fake_make_session(struct fake_server *server, struct link *link,
                                     const struct link_frame *in)
{
    struct wire_session session = {.machine = "machine"};
    AUTO(text) frame = {0};
    wire_machine_decode(in->payload, in->length, &server->machine, NULL);
    memcpy(session.session, server->session, sizeof(session.session));
    server->sessions++;
    wire_session_encode(&session, &frame);
    fake_send(link, &frame);
}

static inline void fake_finish(struct fake_server *server, struct link *link,
                               const struct link_frame *in)
{
    struct wire_finish finish;
    AUTO(text) frame = {0};
    wire_finish_decode(in->payload, in->length, &finish, NULL);
    server->consistency = finish.consistency;
    server->finishes++;
    wire_stage_text_encode(&(struct wire_stage_text){WIRE_STAGE_RECEIVED, "received"}, &frame);
    wire_result_encode(&(struct wire_result){3, "with warnings"}, &frame);
    fake_send(link, &frame);
}

static inline void fake_approve(struct fake_server *server, struct link *link)
{
    struct timespec moment = {.tv_nsec = 300000000};
    AUTO(text) frame = {0};
    wire_admitted_encode(&(struct wire_admitted){true, "ABCD-EFGH"}, &frame);
    fake_send(link, &frame);
    nanosleep(&moment, NULL);
    server->needs_approval = false;
    wire_admitted_encode(&(struct wire_admitted){0}, &frame);
    fake_send(link, &frame);
}

static inline void fake_control_connection(struct fake_server *server, struct link *link)
{
    struct link_frame in;
    server->controls++;
    if (server->needs_approval)
        fake_approve(server, link);
    while (link_receive(link, &in, WIRE_SILENCE_MS, NULL, NULL) > 0) {
        AUTO(text) frame = {0};
        if (in.type == WIRE_TOKEN) {
            struct wire_token token;
            wire_token_decode(in.payload, in.length, &token, NULL);
            memcpy(server->token, token.token, sizeof(server->token));
            server->needs_token = false;
            wire_admitted_encode(&(struct wire_admitted){0}, &frame);
            fake_send(link, &frame);
        } else if (in.type == WIRE_MACHINE) {
            fake_make_session(server, link, &in);
        } else if (in.type == WIRE_FINISH) {
            fake_finish(server, link, &in);
        }
    }
}

static inline bool fake_welcome(struct fake_server *server, struct link *link,
                                struct wire_hello *hello)
{
    struct wire_welcome welcome = {.version = WIRE_VERSION,
                                   .needs_admission = server->needs_token || server->needs_approval,
                                   .chunk_size = CHUNK_SIZE,
                                   .window_bytes = server->window_bytes};
    AUTO(text) frame = {0};
    struct link_frame in;
    if (link_receive(link, &in, WIRE_SILENCE_MS, NULL, NULL) <= 0 ||
        wire_hello_decode(in.payload, in.length, hello, NULL) != 0)
        return false;
    if (hello->role == WIRE_DISK_DATA &&
        memcmp(hello->session, server->session, sizeof(hello->session)) != 0) {
        link_refuse(link, WIRE_ERROR_UNKNOWN_SESSION, "unknown session");
        return false;
    }
    wire_welcome_encode(&welcome, &frame);
    fake_send(link, &frame);
    link_set_max_payload(link, WIRE_MAX_PAYLOAD);
    return true;
}

static inline void fake_set_control(struct fake_server *server, struct link *link)
{
    pthread_mutex_lock(&server->control_lock);
    server->control = link;
    pthread_mutex_unlock(&server->control_lock);
}

/* Before it is closed: nobody shuts it any more. */
static inline void fake_drop_control(struct fake_server *server, struct link *link)
{
    pthread_mutex_lock(&server->control_lock);
    if (server->control == link)
        server->control = NULL;
    pthread_mutex_unlock(&server->control_lock);
}

static inline void *fake_connection_thread(void *argument)
{
    struct fake_connection *connection = argument;
    struct wire_hello hello;
    if (fake_welcome(connection->server, connection->link, &hello)) {
        if (hello.role == WIRE_CONTROL) {
            fake_set_control(connection->server, connection->link);
            fake_control_connection(connection->server, connection->link);
            fake_drop_control(connection->server, connection->link);
        } else {
            fake_disk_connection(connection->server, connection->link);
        }
    }
    link_shut(connection->link);
    link_close(connection->link);
    free(connection);
    return NULL;
}

static inline void *fake_accept_thread(void *argument)
{
    struct fake_server *server = argument;
    for (;;) {
        int fd = accept(server->listen_fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        struct link *link = link_accept(fd, server->identity, 5000, NULL);
        if (!link || server->thread_count == FAKE_THREADS)
            continue;
        struct fake_connection *connection = memory_new(1, sizeof(*connection));
        *connection = (struct fake_connection){server, link};
        pthread_create(&server->threads[server->thread_count++], NULL, fake_connection_thread,
                       connection);
    }
}

/* --- life --- */

static inline void fake_add_disk(struct fake_server *server, uint64_t size_bytes)
{
    struct fake_store *store = &server->disks[server->disk_count++];
    store->size_bytes = size_bytes;
    store->chunk_count = div_round_up(size_bytes, CHUNK_SIZE);
    store->data = memory_new(size_bytes, 1);
    store->states = memory_new(store->chunk_count, 1);
    store->names = memory_new(store->chunk_count, sizeof(*store->names));
}

static inline void fake_forget_disks(struct fake_server *server)
{
    for (size_t i = 0; i < server->disk_count; i++) {
        memset(server->disks[i].states, 0, server->disks[i].chunk_count);
        memset(server->disks[i].data, 0, server->disks[i].size_bytes);
        server->disks[i].stored_bytes = 0;
    }
}

static inline void fake_server_start(struct fake_server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    memset(server, 0, sizeof(*server));
    server->identity = tls_identity_new(NULL);
    server->window_bytes = 4 * MIB;
    server->safe_every = 2;
    server->session[0] = 1;
    pthread_mutex_init(&server->control_lock, NULL);
    server->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bind(server->listen_fd, (struct sockaddr *)&address, sizeof(address));
    listen(server->listen_fd, 16);
    getsockname(server->listen_fd, (struct sockaddr *)&address, &length);
    snprintf(server->port, sizeof(server->port), "%u", ntohs(address.sin_port));
    pthread_create(&server->acceptor, NULL, fake_accept_thread, server);
}

/* After the agent's connections are closed. */
static inline void fake_server_stop(struct fake_server *server)
{
    shutdown(server->listen_fd, SHUT_RDWR);
    pthread_join(server->acceptor, NULL);
    for (unsigned i = 0; i < server->thread_count; i++)
        pthread_join(server->threads[i], NULL);
    close(server->listen_fd);
    for (size_t i = 0; i < server->disk_count; i++) {
        free(server->disks[i].data);
        free(server->disks[i].states);
        free(server->disks[i].names);
    }
    tls_identity_free(server->identity);
}

#endif
