/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A connection and its thread, from the socket to the goodbye. Who ends a connection from outside
 * wakes it and leaves the last words to its own thread; one that does not listen is shut.
 */
#include "base/clock.h"
#include "p2v/server/control.h"
#include "p2v/server/serving.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Keys that wait for an approval, each with a connection. */
#define CONNECTION_MAX_WAITING 256

/* Of one address: a stranger with many keys leaves places for others. */
#define CONNECTION_MAX_WAITING_PER_ADDRESS 16

/* A wrong key or token learns it after this, whatever was wrong. */
#define CONNECTION_REFUSAL_MS 1000

/* --- ending it from outside --- */

void connection_kill(struct connection *connection)
{
    if (connection->fd >= 0)
        shutdown(connection->fd, SHUT_RDWR);
    if (connection->wake == WAKE_NONE)
        connection->wake = WAKE_ENDED;
    atomic_store(&connection->stop, true);
    pthread_cond_broadcast(&connection->server->changed);
}

void connection_wake(struct connection *connection, enum connection_wake why)
{
    connection->wake = why;
    int64_t deadline_ms = clock_ms() + SERVER_GOODBYE_MS;
    if (why != WAKE_APPROVED &&
        (connection->deadline_ms == 0 || connection->deadline_ms > deadline_ms))
        connection->deadline_ms = deadline_ms;
    atomic_store(&connection->stop, true);
    if (!connection->link) /* it shakes hands, and would not notice */
        connection_kill(connection);
    pthread_cond_broadcast(&connection->server->changed);
}

void connection_tell(struct connection *connection)
{
    connection->has_news = true;
    atomic_store(&connection->stop, true);
}

static void remove_connection(struct server *server, struct connection *connection)
{
    struct connection **place = &server->connections;
    while (*place != connection)
        place = &(*place)->next;
    *place = connection->next;
}

/* Under server.lock. */
static struct connection *find_over(const struct server *server)
{
    struct connection *connection = server->connections;
    while (connection && !connection->is_over)
        connection = connection->next;
    return connection;
}

void connections_join(struct server *server)
{
    struct connection *over;
    pthread_mutex_lock(&server->lock);
    while ((over = find_over(server)) != NULL) {
        remove_connection(server, over);
        pthread_mutex_unlock(&server->lock);
        pthread_join(over->thread, NULL);
        free(over);
        pthread_mutex_lock(&server->lock);
    }
    pthread_mutex_unlock(&server->lock);
}

/* --- what its thread uses --- */

/* The agent gives up, and says why. */
static int take_error(const struct link_frame *frame, struct error *err)
{
    struct wire_error error;
    if (wire_error_decode(frame->payload, frame->length, &error, err) != 0)
        return -1;
    error_set(err, 0, "the agent says: %s", error.text);
    err->errnum = ECONNABORTED;
    return -1;
}

int connection_receive(struct connection *connection, struct link_frame *frame, int silence_ms,
                       struct error *err)
{
    struct error cause = {0};
    int result = link_receive(connection->link, frame, silence_ms, &connection->stop, &cause);
    if (result > 0 && frame->type != WIRE_ERROR)
        return result;
    if (result > 0)
        result = take_error(frame, &cause);
    if (result < 0 && cause.errnum == 0)
        cause.errnum = EPROTO; /* a header that breaks the rules */
    /* A cut and a closed connection cannot be answered, a broken frame can. */
    if (result == 0 || (cause.errnum != ECANCELED && cause.errnum != EPROTO))
        connection->is_told = true;
    if (err)
        *err = cause;
    return result;
}

int connection_send(struct connection *connection, const struct text *frames, struct error *err)
{
    if (frames->length == 0)
        return 0;
    if (link_send(connection->link, frames->data, frames->length, err) == 0)
        return 0;
    connection->is_told = true;
    return -1;
}

int connection_wait(struct connection *connection, struct error *err)
{
    struct server *server = connection->server;
    struct timespec until = clock_deadline(1000);
    pthread_cond_timedwait(&server->changed, &server->lock, &until);
    if (connection->wake != WAKE_NONE) /* `stop` may be news only */
        return error_set(err, ECANCELED, "interrupted");
    pthread_mutex_unlock(&server->lock);
    int result = link_keep_alive(connection->link, err);
    pthread_mutex_lock(&server->lock);
    if (result != 0)
        connection->is_told = true;
    return result;
}

bool connection_sleep(struct connection *connection, int milliseconds)
{
    struct server *server = connection->server;
    struct timespec until = clock_deadline(milliseconds);
    pthread_mutex_lock(&server->lock);
    while (connection->wake == WAKE_NONE &&
           pthread_cond_timedwait(&server->changed, &server->lock, &until) != ETIMEDOUT)
        continue;
    bool is_woken = connection->wake != WAKE_NONE;
    pthread_mutex_unlock(&server->lock);
    return !is_woken;
}

struct beside {
    struct server *server;
    int (*call)(void *context, struct error *err);
    void *context;
    struct error err;
    int result;
    bool is_done; /* server.lock */
};

static void *run_beside(void *argument)
{
    struct beside *beside = argument;
    struct server *server = beside->server;
    beside->result = beside->call(beside->context, &beside->err);
    pthread_mutex_lock(&server->lock);
    beside->is_done = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

int connection_start_thread(pthread_t *thread, void *(*call)(void *), void *argument)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, SERVER_STACK_SIZE);
    int result = pthread_create(thread, &attributes, call, argument);
    pthread_attr_destroy(&attributes);
    return result;
}

int connection_run_beside(struct connection *connection, int (*call)(void *context, struct error *),
                          void *context, struct error *err)
{
    struct server *server = connection->server;
    struct beside beside = {.server = server, .call = call, .context = context};
    pthread_t thread;
    int result = connection_start_thread(&thread, run_beside, &beside);
    if (result != 0)
        return error_set(err, result, "start a thread");
    pthread_mutex_lock(&server->lock);
    while (!beside.is_done) {
        struct timespec until = clock_deadline(1000);
        if (pthread_cond_timedwait(&server->changed, &server->lock, &until) != ETIMEDOUT)
            continue;
        pthread_mutex_unlock(&server->lock);
        link_keep_alive(connection->link, NULL); /* a cut is noticed later, in its time */
        pthread_mutex_lock(&server->lock);
    }
    pthread_mutex_unlock(&server->lock);
    pthread_join(thread, NULL);
    if (err)
        *err = beside.err;
    return beside.result;
}

/* --- the door --- */

void connection_set_deadline(struct connection *connection, int milliseconds)
{
    pthread_mutex_lock(&connection->server->lock);
    if (connection->wake == WAKE_NONE)
        connection->deadline_ms = milliseconds ? clock_ms() + milliseconds : 0;
    pthread_mutex_unlock(&connection->server->lock);
}

/* Under server.lock: those of the same key that are in already. */
static size_t count_admitted(const struct connection *connection)
{
    size_t count = 0;
    for (struct connection *other = connection->server->connections; other; other = other->next)
        count += other->is_admitted &&
                 memcmp(other->identity, connection->identity, sizeof(other->identity)) == 0;
    return count;
}

int connection_admit(struct connection *connection, struct error *err)
{
    struct server *server = connection->server;
    bool is_full;
    pthread_mutex_lock(&server->lock);
    is_full = server->admitted_count >= SERVER_MAX_CONNECTIONS ||
              count_admitted(connection) >= SERVER_MAX_OF_KEY;
    if (!is_full) {
        gate_leave(&server->gate, connection);
        server->admitted_count++;
        connection->is_admitted = true;
        connection->is_waiting = false;
        connection->deadline_ms = 0;
    }
    pthread_mutex_unlock(&server->lock);
    if (is_full)
        return error_set(err, EBUSY, "too many connections");
    link_set_max_payload(connection->link, WIRE_MAX_PAYLOAD);
    return 0;
}

/* Of several connections with one key only the last waits. */
int connection_set_waiting(struct connection *connection, struct error *err)
{
    struct server *server = connection->server;
    size_t count = 0, here = 0;
    pthread_mutex_lock(&server->lock);
    for (struct connection *other = server->connections; other; other = other->next) {
        if (!other->is_waiting)
            continue;
        if (memcmp(other->identity, connection->identity, sizeof(other->identity)) == 0) {
            connection_wake(other, WAKE_REPLACED);
            continue;
        }
        count++;
        here += gate_address_is_same(&other->from, &connection->from);
    }
    bool is_full = count >= CONNECTION_MAX_WAITING || here >= CONNECTION_MAX_WAITING_PER_ADDRESS;
    if (!is_full) {
        gate_leave(&server->gate, connection);
        connection->is_waiting = true;
        connection->deadline_ms = 0;
    }
    pthread_mutex_unlock(&server->lock);
    return is_full ? error_set(err, EBUSY, "too many agents wait for an approval") : 0;
}

static int receive_hello(struct connection *connection, struct wire_hello *hello, struct error *err)
{
    struct link_frame frame;
    int result = connection_receive(connection, &frame, WIRE_ADMISSION_MS, err);
    if (result <= 0)
        return result == 0 ? error_set(err, 0, "closed before HELLO") : -1;
    if (frame.type != WIRE_HELLO)
        return error_set(err, EPROTO, "%s before HELLO", wire_type_name(frame.type));
    if (wire_hello_decode(frame.payload, frame.length, hello, err) != 0) {
        err->errnum = EPROTO;
        return -1;
    }
    if (hello->version == WIRE_VERSION)
        return 0;
    connection->is_told = true;
    link_refuse(connection->link, WIRE_ERROR_VERSION, "this server speaks version 1");
    return error_set(err, EPROTO, "HELLO: version %u", hello->version);
}

static int send_welcome(struct connection *connection, bool needs_admission, struct error *err)
{
    AUTO(text) out = {0};
    struct wire_welcome welcome = {.version = WIRE_VERSION,
                                   .needs_admission = needs_admission,
                                   .chunk_size = CHUNK_SIZE,
                                   .window_bytes = server_window(connection->server),
                                   .time_seconds = (uint64_t)time(NULL)};
    wire_welcome_encode(&welcome, &out);
    return connection_send(connection, &out, err);
}

static int serve(struct connection *connection, struct error *err)
{
    struct wire_hello hello;
    enum admission admission;
    if (receive_hello(connection, &hello, err) != 0 ||
        agent_is_known(connection->server->database, connection->identity, &admission, err) != 0)
        return -1;
    machine_mark_find(hello.program, connection->mark);
    bool is_known = admission == ADMISSION_GRANTED;
    bool is_disk = hello.role == WIRE_DISK_DATA;
    if (admission == ADMISSION_REFUSED || (is_disk && !is_known))
        return error_set(err, EACCES, "the key is %s", is_disk ? "not admitted" : "refused");
    if (is_known && connection_admit(connection, err) != 0)
        return -1;
    if (is_disk && transfer_join(connection, hello.session, err) != 0)
        return -1;
    if (send_welcome(connection, !is_known, err) != 0)
        return -1;
    return is_disk ? disk_link_run(connection, err) : control_link_run(connection, is_known, err);
}

/* --- the thread --- */

static void tell_wake(struct connection *connection)
{
    pthread_mutex_lock(&connection->server->lock);
    enum connection_wake wake = connection->wake;
    pthread_mutex_unlock(&connection->server->lock);
    if (wake == WAKE_REPLACED)
        link_refuse(connection->link, WIRE_ERROR_REPLACED,
                    "replaced by another connection of the same key");
    else if (wake == WAKE_SHUTTING_DOWN)
        link_refuse(connection->link, WIRE_ERROR_SHUTTING_DOWN, "the server is shutting down");
}

static void say_goodbye(struct connection *connection, const struct error *err)
{
    char text[WIRE_MAX_TEXT + 1];
    if (connection->is_told)
        return;
    if (err->errnum == ECANCELED) {
        tell_wake(connection);
        return;
    }
    enum wire_error_code code = control_refusal(err, text);
    if (code == WIRE_ERROR_NOT_AUTHORISED)
        connection_sleep(connection, CONNECTION_REFUSAL_MS);
    link_refuse(connection->link, code, text);
}

static void leave(struct connection *connection)
{
    struct server *server = connection->server;
    struct link *link = connection->link;
    transfer_leave(connection);
    pthread_mutex_lock(&server->lock);
    gate_leave(&server->gate, connection);
    server->admitted_count -= connection->is_admitted;
    connection->is_admitted = connection->is_waiting = false;
    connection->link = NULL;
    pthread_mutex_unlock(&server->lock);
    link_close(link);
    pthread_mutex_lock(&server->lock);
    close(take_fd(&connection->fd));
    connection->is_over = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

struct start {
    struct connection *connection;
    int fd; /* the socket itself */
};

static struct link *shake_hands(struct connection *connection, int fd, struct error *err)
{
    struct server *server = connection->server;
    struct link *link = link_accept(fd, server->identity, WIRE_HANDSHAKE_MS, err);
    if (!link)
        return NULL;
    link_peer_hash(link, connection->identity);
    snprintf(connection->address, sizeof(connection->address), "%s", link_peer_address(link));
    pthread_mutex_lock(&server->lock);
    connection->link = link;
    connection->deadline_ms = clock_ms() + WIRE_ADMISSION_MS;
    pthread_mutex_unlock(&server->lock);
    return link;
}

static void *run(void *argument)
{
    struct start *start = argument;
    struct connection *connection = start->connection;
    struct error err = {0};
    int fd = start->fd;
    free(start);
    if (!shake_hands(connection, fd, &err)) {
        log_detail(connection->server->log, "a connection failed: %s", err.text);
    } else if (serve(connection, &err) != 0) {
        log_detail(connection->server->log, "%s: %s", connection->address, err.text);
        say_goodbye(connection, &err);
    }
    leave(connection);
    return NULL;
}

/* A socket for which there is no thread is closed, and the agent comes again. */
static void give_up(struct connection *connection, struct start *start)
{
    struct server *server = connection->server;
    pthread_mutex_lock(&server->lock);
    gate_leave(&server->gate, connection);
    remove_connection(server, connection);
    pthread_mutex_unlock(&server->lock);
    close(start->fd);
    close(connection->fd);
    free(connection);
    free(start);
}

void connection_start(struct server *server, int fd, const struct gate_address *from)
{
    int duplicate = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (duplicate < 0) {
        close(fd);
        return;
    }
    struct connection *connection = memory_new(1, sizeof(*connection));
    struct start *start = memory_new(1, sizeof(*start));
    *start = (struct start){connection, fd};
    *connection = (struct connection){.server = server, .fd = duplicate, .from = *from};
    pthread_mutex_lock(&server->lock);
    gate_enter(&server->gate, connection, from, clock_ms());
    connection->next = server->connections;
    server->connections = connection;
    /* Under the lock: whoever finds it over finds its thread's number too. */
    int result = connection_start_thread(&connection->thread, run, start);
    pthread_mutex_unlock(&server->lock);
    if (result != 0)
        give_up(connection, start);
}
