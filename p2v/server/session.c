/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sessions: a machine while it is being received. They live in memory only; what they need to go on
 * after a restart is in the machine's folder and in the database.
 */
#include "base/clock.h"
#include "p2v/machine.h"
#include "p2v/server/serving.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* An error of ours that an agent must not take for one of its own. */
static int own_failure(struct error *err)
{
    if (err && (err->errnum == EACCES || err->errnum == ESTALE || err->errnum == EPROTO))
        err->errnum = EIO;
    return -1;
}

static bool is_key_of(const struct session *session, const struct connection *connection)
{
    return memcmp(session->identity, connection->identity, sizeof(session->identity)) == 0;
}

/* --- one control connection a key --- */

/* Under server.lock. */
static struct connection *find_holder(const struct connection *connection)
{
    for (struct connection *other = connection->server->connections; other; other = other->next) {
        if (other->holds_identity &&
            memcmp(other->identity, connection->identity, sizeof(other->identity)) == 0)
            return other;
    }
    return NULL;
}

/* The connection before it ends first, so that what follows has the key's session for itself. */
static int hold_identity(struct connection *connection, struct error *err)
{
    struct server *server = connection->server;
    struct connection *holder;
    int result = 0;
    pthread_mutex_lock(&server->lock);
    while (result == 0 && (holder = find_holder(connection)) != NULL) {
        if (holder->wake == WAKE_NONE)
            connection_wake(holder, WAKE_REPLACED);
        result = connection_wait(connection, err);
    }
    connection->holds_identity = result == 0;
    pthread_mutex_unlock(&server->lock);
    return result;
}

/* --- finding, joining, leaving; under server.lock unless said --- */

static struct session *find_key(const struct connection *connection)
{
    struct session *session = connection->server->sessions;
    while (session && !is_key_of(session, connection))
        session = session->next;
    return session;
}

struct session *session_find_name(struct server *server, const char *name)
{
    struct session *session = server->sessions;
    while (session && strcmp(session->name, name) != 0)
        session = session->next;
    return session;
}

static void join(struct connection *connection, struct session *session)
{
    connection->session = session;
    session->users++;
    session->is_interrupted = false;
    session->is_row_stale = true;
}

int session_join(struct connection *connection, const uint8_t id[WIRE_SESSION_SIZE],
                 struct error *err)
{
    struct server *server = connection->server;
    pthread_mutex_lock(&server->lock);
    struct session *session = find_key(connection);
    bool is_it = session && memcmp(session->id, id, WIRE_SESSION_SIZE) == 0;
    if (is_it)
        join(connection, session);
    pthread_mutex_unlock(&server->lock);
    return is_it ? 0 : error_set(err, ESTALE, "no such session of this key");
}

void session_leave(struct connection *connection)
{
    struct server *server = connection->server;
    pthread_mutex_lock(&server->lock);
    struct session *session = connection->session;
    connection->session = NULL;
    connection->holds_identity = false;
    if (session) {
        uint64_t sent = connection->link ? link_bytes_sent(connection->link) : 0;
        uint64_t received = connection->link ? link_bytes_received(connection->link) : 0;
        session->wire_bytes += sent + received;
        session->users--;
        session->idle_since_ms = clock_ms();
        session->is_row_stale = true;
        if (session->control == connection)
            session->control = NULL;
    }
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static void remove_session(struct server *server, struct session *session)
{
    struct session **place = &server->sessions;
    while (*place != session)
        place = &(*place)->next;
    *place = session->next;
}

/* Not under the lock: closing commits. */
static void session_free(struct session *session)
{
    for (size_t i = 0; i < session->disk_count; i++)
        receiver_close(session->disks[i].receiver);
    if (session->intake.folder)
        intake_close(&session->intake);
    machine_log_fini(&session->log);
    free(session->disks);
    free(session->inventory);
    free(session);
}

/* --- a session's disks --- */

static bool is_any_owned(const struct session *session)
{
    for (size_t i = 0; i < session->disk_count; i++) {
        if (session->disks[i].owner)
            return true;
    }
    return false;
}

int session_clear_disks(struct connection *connection, struct error *err)
{
    struct session *session = connection->session;
    for (size_t i = 0; i < session->disk_count; i++) {
        struct connection *owner = session->disks[i].owner;
        if (owner && owner->wake == WAKE_NONE)
            connection_wake(owner, WAKE_ENDED);
    }
    while (is_any_owned(session)) {
        if (connection_wait(connection, err) != 0)
            return -1;
    }
    return 0;
}

static bool has_these_disks(const struct session *session, const struct wire_machine *machine)
{
    if (session->disk_count != machine->disk_count)
        return false;
    for (size_t i = 0; i < session->disk_count; i++) {
        const struct wire_disk_info *old = &session->disks[i].info, *new = &machine->disks[i];
        if (old->size_bytes != new->size_bytes || strcmp(old->serial, new->serial) != 0 ||
            strcmp(old->name, new->name) != 0)
            return false;
    }
    return true;
}

/* --- a new one --- */

/* Sizes that differ from last time: what is there already is of no use. */
static int is_renewed(struct server *server, uint32_t number, const struct wire_machine *machine,
                      bool *is, struct error *err)
{
    AUTO_FREE struct machine_disk_row *rows = memory_new(WIRE_MAX_DISKS, sizeof(*rows));
    size_t count = 0;
    if (machine_get_disks(server->database, number, rows, &count, err) != 0)
        return -1;
    *is = count != 0 && count != machine->disk_count;
    for (size_t i = 0; i < count && !*is; i++)
        *is = rows[i].size_bytes != machine->disks[i].size_bytes;
    return 0;
}

/* A folder that the database does not know belongs to somebody else. */
static bool is_taken(void *context, const char *name)
{
    static const char *const suffixes[] = {"", POOL_PARTIAL_SUFFIX, POOL_UPDATE_SUFFIX};
    const struct server *server = context;
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        AUTO_FREE char *folder = text_format("%s%s", name, suffixes[i]);
        if (folder_has(server->pool.fd, folder))
            return true;
    }
    return false;
}

static int claim_name(struct server *server, struct session *session,
                      const struct wire_machine *machine, const json_t *inventory, bool *is_new,
                      struct error *err)
{
    const char *hostname = json_string_value(json_object_get(inventory, "hostname"));
    const char *wanted = machine->name[0] ? machine->name : hostname ? hostname : "";
    return machine_claim(server->database, session->identity, wanted, is_taken, server,
                         &session->number, session->name, is_new, err);
}

/* What the board says of itself, wherever its keys are missing: nothing. */
static void note_ids(struct server *server, struct session *session, const json_t *inventory)
{
    const json_t *dmi = json_object_get(inventory, "dmi");
    const char *uuid = json_string_value(json_object_get(dmi, "system_uuid"));
    const char *serial = json_string_value(json_object_get(dmi, "system_serial"));
    if (machine_set_ids(server->database, session->number, uuid ? uuid : "", serial ? serial : "",
                        session->twin, NULL) == 0 &&
        session->twin[0])
        log_warning(&session->log.log, "it has the same host name, UUID or serial as %s",
                    session->twin);
}

static void set_disks(struct session *session, const struct wire_machine *machine)
{
    session->disk_count = machine->disk_count;
    session->disks = memory_new(machine->disk_count, sizeof(*session->disks));
    for (size_t i = 0; i < session->disk_count; i++) {
        session->disks[i].info = machine->disks[i];
        session->disks[i].figures.total_bytes = machine->disks[i].used_bytes;
    }
}

struct opening {
    struct server *server;
    struct session *session;
    const struct wire_machine *machine;
    const json_t *inventory;
};

static int open_folder(void *context, struct error *err)
{
    const struct opening *opening = context;
    struct server *server = opening->server;
    struct session *session = opening->session;
    const struct wire_machine *machine = opening->machine;
    const json_t *inventory = opening->inventory;
    bool is_new = false, renewed = false;
    if (claim_name(server, session, machine, inventory, &is_new, err) != 0 ||
        is_renewed(server, session->number, machine, &renewed, err) != 0)
        return -1;
    machine_log_init(&session->log, server->log_folder_fd, session->name, server->log);
    if (intake_open(&session->intake, &server->pool, session->name, renewed, &session->log.log,
                    err) != 0 ||
        space_check(server, session, err) != 0 ||
        intake_set_inventory(&session->intake, machine->inventory, machine->inventory_length,
                             err) != 0)
        return error_wrap(err, "%s", session->name);
    note_ids(server, session, inventory);
    return 0;
}

static int session_open(struct connection *connection, const struct wire_machine *machine,
                        const json_t *inventory, struct error *err)
{
    struct server *server = connection->server;
    struct session *session = memory_new(1, sizeof(*session));
    memcpy(session->identity, connection->identity, sizeof(session->identity));
    session->state = SESSION_RECEIVING;
    session->log.fd = -1;
    session->started_ms = clock_ms();
    set_disks(session, machine);
    struct opening opening = {server, session, machine, inventory};
    if (getrandom(session->id, sizeof(session->id), 0) != sizeof(session->id) ||
        connection_run_beside(connection, open_folder, &opening, err) != 0) {
        session_free(session);
        return own_failure(err);
    }
    log_info(&session->log.log, "%s from %s: %zu disks%s",
             session->intake.base ? "an update"
                                  : (session->intake.is_resumed ? "goes on" : "a new machine"),
             connection->address, session->disk_count, session->intake.base ? " (over it)" : "");
    pthread_mutex_lock(&server->lock);
    session->next = server->sessions;
    server->sessions = session;
    session->control = connection;
    join(connection, session);
    pthread_mutex_unlock(&server->lock);
    session_store_row(server, session);
    return 0;
}

/* --- MACHINE --- */

/* Under server.lock. The session is no use to anybody: its connections end, and it goes. */
static int expel(struct connection *connection, struct session *session, struct error *err)
{
    struct server *server = connection->server;
    for (struct connection *other = server->connections; other; other = other->next) {
        if (other->session == session && other->wake == WAKE_NONE)
            connection_wake(other, WAKE_ENDED);
    }
    while (session->users > 0) {
        if (connection_wait(connection, err) != 0)
            return -1;
    }
    remove_session(server, session);
    return 0;
}

/* The agent is back: it goes on in the session that it had. */
static int take_up(struct connection *connection, struct session *session,
                   const struct wire_machine *machine, struct error *err)
{
    struct server *server = connection->server;
    bool is_received = session->state == SESSION_RECEIVED;
    session->control = connection;
    join(connection, session);
    if (is_received) {
        free(session->inventory);
        session->inventory = memory_new(1, machine->inventory_length + 1);
        memcpy(session->inventory, machine->inventory, machine->inventory_length);
        session->inventory_length = machine->inventory_length;
    }
    pthread_mutex_unlock(&server->lock);
    log_info(&session->log.log, "the agent is back, from %s", connection->address);
    int result = is_received ? 0
                             : intake_set_inventory(&session->intake, machine->inventory,
                                                    machine->inventory_length, err);
    pthread_mutex_lock(&server->lock);
    return result == 0 ? 0 : own_failure(err);
}

/* 1: taken up; 0: a new one is needed. */
static int take_up_or_expel(struct connection *connection, const struct wire_machine *machine,
                            struct error *err)
{
    struct server *server = connection->server;
    struct session *old = NULL;
    int result = 0;
    pthread_mutex_lock(&server->lock);
    while (result == 0 && (old = find_key(connection)) != NULL && old->state == SESSION_OPENING)
        result = connection_wait(connection, err);
    if (result == 0 && old && has_these_disks(old, machine))
        result = take_up(connection, old, machine, err) == 0 ? 1 : -1;
    else if (result == 0 && old)
        result = expel(connection, old, err);
    pthread_mutex_unlock(&server->lock);
    if (result == 0 && old)
        session_free(old);
    return result;
}

int session_claim(struct connection *connection, const struct wire_machine *machine,
                  const json_t *inventory, struct error *err)
{
    if (hold_identity(connection, err) != 0)
        return -1;
    int result = take_up_or_expel(connection, machine, err);
    if (result == 0)
        result = session_open(connection, machine, inventory, err);
    return result < 0 ? -1 : 0;
}

/* --- forgetting --- */

static bool may_drop(const struct session *session, bool is_all)
{
    if (session->users > 0)
        return false;
    bool is_done = session->state == SESSION_RECEIVED && session->has_result;
    return is_all || is_done || clock_ms() - session->idle_since_ms > SERVER_IDLE_MS;
}

static struct session *take_droppable(struct server *server, bool is_all)
{
    pthread_mutex_lock(&server->lock);
    struct session *session = server->sessions;
    while (session && !may_drop(session, is_all))
        session = session->next;
    if (session)
        remove_session(server, session);
    pthread_mutex_unlock(&server->lock);
    return session;
}

void sessions_drop(struct server *server, bool is_all)
{
    struct session *session;
    while ((session = take_droppable(server, is_all)) != NULL) {
        if (session->state != SESSION_RECEIVED)
            session->is_interrupted = true;
        session_store_row(server, session);
        session_free(session);
    }
}
