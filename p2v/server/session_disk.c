/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whose a disk of a session is: one connection's at a time. Its receiver stays open between two
 * connections, so that a short cut costs nothing.
 */
#include "base/clock.h"
#include "p2v/machine.h"
#include "p2v/server/serving.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the folder, once more --- */

struct reopening {
    struct server *server;
    struct session *session;
};

/* Another run of the same agent, shortly after the one that was received. */
static int reopen(void *context, struct error *err)
{
    const struct reopening *reopening = context;
    struct session *session = reopening->session;
    struct intake intake = {0};
    if (intake_open(&intake, &reopening->server->pool, session->name, false, &session->log.log,
                    err) != 0)
        return -1;
    session->intake = intake;
    if (!session->inventory)
        return 0;
    return intake_set_inventory(&session->intake, session->inventory, session->inventory_length,
                                err);
}

/* Under server.lock, given up meanwhile. */
static int reopen_session(struct connection *connection, struct error *err)
{
    struct server *server = connection->server;
    struct session *session = connection->session;
    struct reopening reopening = {server, session};
    session->state = SESSION_OPENING;
    pthread_mutex_unlock(&server->lock);
    int result = connection_run_beside(connection, reopen, &reopening, err);
    if (result != 0 && session->intake.folder) {
        intake_close(&session->intake);
        session->intake = (struct intake){0};
    }
    pthread_mutex_lock(&server->lock);
    session->state = result == 0 ? SESSION_RECEIVING : SESSION_RECEIVED;
    session->is_row_stale = true;
    if (result == 0) {
        session->has_stage = session->has_result = false;
        session->wire_bytes = 0;
        session->started_ms = clock_ms();
        session->text[0] = '\0';
    }
    for (size_t i = 0; result == 0 && i < session->disk_count; i++) {
        session->disks[i].is_passed = false;
        session->disks[i].figures =
            (struct session_figures){.total_bytes = session->disks[i].info.used_bytes};
    }
    pthread_cond_broadcast(&server->changed);
    return result == 0 ? 0 : error_set(err, EBUSY, "its former state is being worked on");
}

/* --- the receiver --- */

static void make_disk_id(const struct wire_disk_info *info, uint8_t id[CHUNK_NAME_SIZE])
{
    struct chunk_name name;
    /* The name of a disk may change from boot to boot; its serial does not. */
    AUTO_FREE char *text = text_format("%llu %s %s", (unsigned long long)info->size_bytes,
                                       info->serial[0] ? "serial" : "name",
                                       info->serial[0] ? info->serial : info->name);
    chunk_name_compute(text, strlen(text), &name);
    memcpy(id, name.bytes, CHUNK_NAME_SIZE);
}

struct receiver_opening {
    struct server *server;
    struct session *session;
    size_t disk;
};

static int open_receiver(void *context, struct error *err)
{
    const struct receiver_opening *opening = context;
    struct server *server = opening->server;
    struct session *session = opening->session;
    struct session_disk *disk = &session->disks[opening->disk];
    uint8_t id[CHUNK_NAME_SIZE];
    AUTO_FREE char *source = text_format("%s of %s", disk->info.name, session->name);
    make_disk_id(&disk->info, id);
    struct receiver_options options = {.folder = session->intake.folder,
                                       .base_folder = session->intake.base,
                                       .disk_index = opening->disk,
                                       .format = session->intake.base ? "qcow2" : server->format,
                                       .size_bytes = disk->info.size_bytes,
                                       .disk_id = id,
                                       .source = source,
                                       .index = server->index,
                                       .pool = &server->receiver_pool,
                                       .log = &session->log.log};
    disk->receiver = receiver_open(&options, err);
    return disk->receiver ? 0 : -1;
}

static int ensure_receiver(struct connection *connection, size_t disk, struct error *err)
{
    struct receiver_opening opening = {connection->server, connection->session, disk};
    if (connection->session->disks[disk].receiver)
        return 0;
    if (connection_run_beside(connection, open_receiver, &opening, err) == 0)
        return 0;
    /* There may be room again later, and it is not the disk connection's place to refuse. */
    bool is_full = err->errnum == ENOSPC || err->errnum == EDQUOT;
    error_wrap(err, "disk %s", connection->session->disks[disk].info.name);
    log_warning(&connection->session->log.log, "%s", err->text);
    err->errnum = is_full ? EBUSY : EIO;
    return -1;
}

/* --- taking and releasing --- */

/* Under server.lock: waits until nobody has the disk and the session takes disks. */
static int wait_for_disk(struct connection *connection, struct session_disk *disk,
                         struct error *err)
{
    struct session *session = connection->session;
    int result = 0;
    while (result == 0 && (session->state != SESSION_RECEIVING || disk->owner)) {
        if (session->state == SESSION_FINISHING)
            return error_set(err, EBUSY, "the machine is being put together");
        if (session->state == SESSION_RECEIVED) {
            result = reopen_session(connection, err);
            continue;
        }
        if (disk->owner && disk->owner->wake == WAKE_NONE)
            connection_wake(disk->owner, WAKE_REPLACED);
        result = connection_wait(connection, err);
    }
    return result;
}

int session_take_disk(struct connection *connection, const struct wire_disk *message,
                      struct error *err)
{
    struct server *server = connection->server;
    struct session *session = connection->session;
    if (message->disk >= session->disk_count)
        return error_set(err, EPROTO, "DISK: disk %u of %zu", message->disk, session->disk_count);
    struct session_disk *disk = &session->disks[message->disk];
    pthread_mutex_lock(&server->lock);
    int result = wait_for_disk(connection, disk, err);
    if (result == 0) {
        disk->owner = connection;
        disk->is_passed = false;
        disk->figures.pass = message->pass;
    }
    pthread_mutex_unlock(&server->lock);
    if (result == 0 && ensure_receiver(connection, message->disk, err) != 0) {
        session_release_disk(connection, message->disk, false);
        result = -1;
    }
    return result;
}

void session_release_disk(struct connection *connection, size_t index, bool is_receiver_good)
{
    struct server *server = connection->server;
    struct session_disk *disk = &connection->session->disks[index];
    if (!is_receiver_good)
        receiver_close(take_ptr(&disk->receiver));
    pthread_mutex_lock(&server->lock);
    disk->owner = NULL;
    disk->is_passed &= is_receiver_good;
    disk->figures.is_paused = false;
    connection->session->is_row_stale = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}
