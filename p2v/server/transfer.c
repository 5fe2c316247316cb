/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Transfers: a machine while it is being received. They live in memory only; what they need to go
 * on after a restart is in the machine's folder and in the database.
 */
#include "base/clock.h"
#include "p2v/machine.h"
#include "p2v/server/machine_name.h"
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

static bool is_key_of(const struct transfer *transfer, const struct connection *connection)
{
    return memcmp(transfer->identity, connection->identity, sizeof(transfer->identity)) == 0;
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

/* The connection before it ends first, so that what follows has the key's transfer for itself. */
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

static struct transfer *find_key(const struct connection *connection)
{
    struct transfer *transfer = connection->server->transfers;
    while (transfer && !is_key_of(transfer, connection))
        transfer = transfer->next;
    return transfer;
}

struct transfer *transfer_find_name(struct server *server, const char *name)
{
    struct transfer *transfer = server->transfers;
    while (transfer && strcmp(transfer->name, name) != 0)
        transfer = transfer->next;
    return transfer;
}

static void join(struct connection *connection, struct transfer *transfer)
{
    connection->transfer = transfer;
    transfer->users++;
    transfer->is_interrupted = false;
    transfer->is_row_stale = true;
}

int transfer_join(struct connection *connection, const uint8_t id[WIRE_SESSION_SIZE],
                  struct error *err)
{
    struct server *server = connection->server;
    pthread_mutex_lock(&server->lock);
    struct transfer *transfer = find_key(connection);
    bool is_it =
        transfer && !transfer->is_expelled && memcmp(transfer->id, id, WIRE_SESSION_SIZE) == 0;
    if (is_it)
        join(connection, transfer);
    pthread_mutex_unlock(&server->lock);
    return is_it ? 0 : error_set(err, ESTALE, "no such transfer of this key");
}

void transfer_leave(struct connection *connection)
{
    struct server *server = connection->server;
    pthread_mutex_lock(&server->lock);
    struct transfer *transfer = connection->transfer;
    connection->transfer = NULL;
    connection->holds_identity = false;
    if (transfer) {
        uint64_t sent = connection->link ? link_bytes_sent(connection->link) : 0;
        uint64_t received = connection->link ? link_bytes_received(connection->link) : 0;
        transfer->wire_bytes += sent + received;
        transfer->users--;
        transfer->idle_since_ms = clock_ms();
        transfer->is_row_stale = true;
        if (transfer->control == connection)
            transfer->control = NULL;
    }
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static void remove_transfer(struct server *server, struct transfer *transfer)
{
    struct transfer **place = &server->transfers;
    while (*place != transfer)
        place = &(*place)->next;
    *place = transfer->next;
    pthread_cond_broadcast(&server->changed);
}

/* Not under the lock: closing commits. */
static void transfer_free(struct transfer *transfer)
{
    for (size_t i = 0; i < transfer->disk_count; i++)
        receiver_close(transfer->disks[i].receiver);
    if (transfer->intake.folder)
        intake_close(&transfer->intake);
    machine_log_fini(&transfer->log);
    free(transfer->disks);
    free(transfer->inventory);
    free(transfer);
}

/* --- a transfer's disks --- */

static bool is_any_owned(const struct transfer *transfer)
{
    for (size_t i = 0; i < transfer->disk_count; i++) {
        if (transfer->disks[i].owner)
            return true;
    }
    return false;
}

int transfer_clear_disks(struct connection *connection, struct error *err)
{
    struct transfer *transfer = connection->transfer;
    for (size_t i = 0; i < transfer->disk_count; i++) {
        struct connection *owner = transfer->disks[i].owner;
        if (owner && owner->wake == WAKE_NONE)
            connection_wake(owner, WAKE_ENDED);
    }
    while (is_any_owned(transfer)) {
        if (connection_wait(connection, err) != 0)
            return -1;
    }
    return 0;
}

static bool has_these_disks(const struct transfer *transfer, const struct wire_machine *machine)
{
    if (transfer->disk_count != machine->disk_count)
        return false;
    for (size_t i = 0; i < transfer->disk_count; i++) {
        const struct wire_disk_info *old = &transfer->disks[i].info, *new = &machine->disks[i];
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

/* A boot medium does not know what the system on the disks is called. */
static int claim_name(struct server *server, struct transfer *transfer,
                      const struct wire_machine *machine, const json_t *inventory, bool *is_new,
                      struct error *err)
{
    char hardware[MACHINE_NAME_SIZE];
    const json_t *dmi = json_object_get(inventory, "dmi");
    machine_name_of_hardware(json_text_of(dmi, "product"), json_text_of(dmi, "serial"), hardware);
    const char *hostname = json_text_of(inventory, "hostname");
    const char *wanted = machine->name[0] ? machine->name : hostname[0] ? hostname : hardware;
    return machine_claim(server->database, transfer->identity, wanted, is_taken, server,
                         &transfer->number, transfer->name, is_new, err);
}

/* What the board says of itself, wherever its keys are missing: nothing. */
static void note_ids(struct server *server, struct transfer *transfer, const json_t *inventory)
{
    const json_t *dmi = json_object_get(inventory, "dmi");
    if (machine_set_ids(server->database, transfer->number, json_text_of(dmi, "uuid"),
                        json_text_of(dmi, "serial"), transfer->twin, NULL) == 0 &&
        transfer->twin[0])
        log_warning(&transfer->log.log, "it has the same host name, UUID or serial as %s",
                    transfer->twin);
}

static void set_disks(struct transfer *transfer, const struct wire_machine *machine)
{
    transfer->disk_count = machine->disk_count;
    transfer->disks = memory_new(machine->disk_count, sizeof(*transfer->disks));
    for (size_t i = 0; i < transfer->disk_count; i++) {
        transfer->disks[i].info = machine->disks[i];
        transfer->disks[i].figures.total_bytes = machine->disks[i].used_bytes;
    }
}

static struct transfer *find_number(const struct server *server, uint32_t number)
{
    struct transfer *transfer = server->transfers;
    while (transfer && transfer->number != number)
        transfer = transfer->next;
    return transfer;
}

/* The machine was handed to a new key: who still sends it with the old one ends. */
static void expel_former(struct server *server, uint32_t number)
{
    pthread_mutex_lock(&server->lock);
    struct transfer *former;
    while ((former = find_number(server, number)) != NULL && former->is_expelled)
        pthread_cond_wait(&server->changed, &server->lock); /* by another, who removes it */
    for (struct connection *other = server->connections; former && other; other = other->next) {
        if (other->transfer == former && other->wake == WAKE_NONE)
            connection_wake(other, WAKE_REPLACED);
    }
    if (former)
        former->is_expelled = true;
    while (former && former->users > 0)
        pthread_cond_wait(&server->changed, &server->lock);
    if (former)
        remove_transfer(server, former);
    pthread_mutex_unlock(&server->lock);
    if (former)
        transfer_free(former);
}

/* A machine that never got in is not one that is being received. */
static void note_refusal(struct server *server, const struct transfer *transfer,
                         const struct error *cause)
{
    bool is_full = error_is_no_space(cause);
    struct machine_row row = {.number = transfer->number,
                              .state = MACHINE_FAILED,
                              .exit_code = is_full ? 6 : 1,
                              .seconds_left = -1};
    snprintf(row.text, sizeof(row.text), "%.500s", cause->text);
    pthread_mutex_lock(&server->rows_lock);
    machine_set(server->database, &row, NULL);
    pthread_mutex_unlock(&server->rows_lock);
}

/* A folder made for nothing would be taken for a transfer that was begun. */
static void undo_folder(struct server *server, struct intake *intake)
{
    if (!intake->folder)
        return;
    if (!intake->is_resumed) {
        AUTO_FREE char *name = path_base(intake->folder);
        folder_remove(server->pool.fd, name, NULL);
    }
    intake_close(intake);
    *intake = (struct intake){0};
}

struct opening {
    struct server *server;
    struct transfer *transfer;
    const struct wire_machine *machine;
    const json_t *inventory;
};

static int open_folder(void *context, struct error *err)
{
    const struct opening *opening = context;
    struct server *server = opening->server;
    struct transfer *transfer = opening->transfer;
    const struct wire_machine *machine = opening->machine;
    const json_t *inventory = opening->inventory;
    bool is_new = false, renewed = false;
    if (claim_name(server, transfer, machine, inventory, &is_new, err) != 0 ||
        is_renewed(server, transfer->number, machine, &renewed, err) != 0)
        return -1;
    expel_former(server, transfer->number);
    machine_log_init(&transfer->log, server->log_folder_fd, transfer->name, server->log);
    if (intake_open(&transfer->intake, &server->pool, transfer->name, renewed, &transfer->log.log,
                    err) != 0 ||
        space_check(server, transfer, err) != 0 ||
        intake_set_inventory(&transfer->intake, machine->inventory, machine->inventory_length,
                             err) != 0) {
        undo_folder(server, &transfer->intake);
        if (is_new)
            note_refusal(server, transfer, err);
        return error_wrap(err, "%s", transfer->name);
    }
    note_ids(server, transfer, inventory);
    return 0;
}

static int transfer_open(struct connection *connection, const struct wire_machine *machine,
                         const json_t *inventory, struct error *err)
{
    struct server *server = connection->server;
    struct transfer *transfer = memory_new(1, sizeof(*transfer));
    memcpy(transfer->identity, connection->identity, sizeof(transfer->identity));
    transfer->state = TRANSFER_RECEIVING;
    transfer->log.fd = -1;
    transfer->started_ms = clock_ms();
    set_disks(transfer, machine);
    struct opening opening = {server, transfer, machine, inventory};
    if (getrandom(transfer->id, sizeof(transfer->id), 0) != sizeof(transfer->id) ||
        connection_run_beside(connection, open_folder, &opening, err) != 0) {
        transfer_free(transfer);
        return own_failure(err);
    }
    log_info(&transfer->log.log, "%s from %s: %zu %s%s",
             transfer->intake.base ? "an update"
                                   : (transfer->intake.is_resumed ? "goes on" : "a new machine"),
             connection->address, transfer->disk_count,
             transfer->disk_count == 1 ? "disk" : "disks",
             transfer->intake.base ? " (over it)" : "");
    pthread_mutex_lock(&server->lock);
    transfer->next = server->transfers;
    server->transfers = transfer;
    transfer->control = connection;
    join(connection, transfer);
    pthread_mutex_unlock(&server->lock);
    transfer_store_row(server, transfer);
    return 0;
}

/* --- MACHINE --- */

/* Under server.lock. The transfer is no use to anybody: its connections end, and it goes. */
static int expel(struct connection *connection, struct transfer *transfer, struct error *err)
{
    struct server *server = connection->server;
    for (struct connection *other = server->connections; other; other = other->next) {
        if (other->transfer == transfer && other->wake == WAKE_NONE)
            connection_wake(other, WAKE_ENDED);
    }
    transfer->is_expelled = true;
    while (transfer->users > 0) {
        if (connection_wait(connection, err) != 0) {
            transfer->is_expelled = false;
            pthread_cond_broadcast(&server->changed);
            return -1;
        }
    }
    remove_transfer(server, transfer);
    return 0;
}

/* The agent is back: it goes on in the transfer that it had. */
static int take_up(struct connection *connection, struct transfer *transfer,
                   const struct wire_machine *machine, struct error *err)
{
    struct server *server = connection->server;
    bool is_received = transfer->state == TRANSFER_RECEIVED;
    transfer->control = connection;
    join(connection, transfer);
    if (is_received) {
        free(transfer->inventory);
        transfer->inventory = memory_new(1, machine->inventory_length + 1);
        memcpy(transfer->inventory, machine->inventory, machine->inventory_length);
        transfer->inventory_length = machine->inventory_length;
    }
    pthread_mutex_unlock(&server->lock);
    log_info(&transfer->log.log, "the agent is back, from %s", connection->address);
    int result = is_received ? 0
                             : intake_set_inventory(&transfer->intake, machine->inventory,
                                                    machine->inventory_length, err);
    pthread_mutex_lock(&server->lock);
    return result == 0 ? 0 : own_failure(err);
}

/* Its folder is being opened, or somebody makes it go: nobody may take it up now. */
static bool is_busy(const struct transfer *transfer)
{
    return transfer->state == TRANSFER_OPENING || transfer->is_expelled;
}

/* 1: taken up; 0: a new one is needed. */
static int take_up_or_expel(struct connection *connection, const struct wire_machine *machine,
                            struct error *err)
{
    struct server *server = connection->server;
    struct transfer *old = NULL;
    int result = 0;
    pthread_mutex_lock(&server->lock);
    while (result == 0 && (old = find_key(connection)) != NULL && is_busy(old))
        result = connection_wait(connection, err);
    if (result == 0 && old && has_these_disks(old, machine))
        result = take_up(connection, old, machine, err) == 0 ? 1 : -1;
    else if (result == 0 && old)
        result = expel(connection, old, err);
    pthread_mutex_unlock(&server->lock);
    if (result == 0 && old)
        transfer_free(old);
    return result;
}

int transfer_claim(struct connection *connection, const struct wire_machine *machine,
                   const json_t *inventory, struct error *err)
{
    if (hold_identity(connection, err) != 0)
        return -1;
    int result = take_up_or_expel(connection, machine, err);
    if (result == 0)
        result = transfer_open(connection, machine, inventory, err);
    return result < 0 ? -1 : 0;
}

/* --- forgetting --- */

static bool may_drop(const struct transfer *transfer, bool is_all)
{
    if (transfer->users > 0 || transfer->is_expelled)
        return false;
    bool is_done = transfer->state == TRANSFER_RECEIVED && transfer->has_result;
    return is_all || is_done || clock_ms() - transfer->idle_since_ms > SERVER_IDLE_MS;
}

static struct transfer *take_droppable(struct server *server, bool is_all)
{
    pthread_mutex_lock(&server->lock);
    struct transfer *transfer = server->transfers;
    while (transfer && !may_drop(transfer, is_all))
        transfer = transfer->next;
    if (transfer)
        remove_transfer(server, transfer);
    pthread_mutex_unlock(&server->lock);
    return transfer;
}

void transfers_drop(struct server *server, bool is_all)
{
    struct transfer *transfer;
    while ((transfer = take_droppable(server, is_all)) != NULL) {
        if (transfer->state != TRANSFER_RECEIVED)
            transfer->is_interrupted = true;
        transfer_store_row(server, transfer);
        transfer_free(transfer);
    }
}
