/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whose a disk of a transfer is: one connection's at a time. Its receiver stays open between two
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
    struct transfer *transfer;
};

/* Another run of the same agent, shortly after the one that was received. */
static int reopen(void *context, struct error *err)
{
    const struct reopening *reopening = context;
    struct transfer *transfer = reopening->transfer;
    struct intake intake = {0};
    if (intake_open(&intake, &reopening->server->pool, transfer->name, false, &transfer->log.log,
                    err) != 0)
        return -1;
    transfer->intake = intake;
    if (!transfer->inventory)
        return 0;
    return intake_set_inventory(&transfer->intake, transfer->inventory, transfer->inventory_length,
                                err);
}

/* Under server.lock, given up meanwhile. */
static int reopen_transfer(struct connection *connection, struct error *err)
{
    struct server *server = connection->server;
    struct transfer *transfer = connection->transfer;
    struct reopening reopening = {server, transfer};
    transfer->state = TRANSFER_OPENING;
    pthread_mutex_unlock(&server->lock);
    int result = connection_run_beside(connection, reopen, &reopening, err);
    if (result != 0 && transfer->intake.folder) {
        intake_close(&transfer->intake);
        transfer->intake = (struct intake){0};
    }
    pthread_mutex_lock(&server->lock);
    transfer->state = result == 0 ? TRANSFER_RECEIVING : TRANSFER_RECEIVED;
    transfer->is_row_stale = true;
    if (result == 0) {
        transfer->has_stage = transfer->has_result = false;
        transfer->is_stage_new = transfer->is_result_new = false;
        transfer->wire_bytes = 0;
        transfer->started_ms = clock_ms();
        transfer->text[0] = '\0';
    }
    for (size_t i = 0; result == 0 && i < transfer->disk_count; i++) {
        transfer->disks[i].is_passed = false;
        transfer->disks[i].figures =
            (struct transfer_figures){.total_bytes = transfer->disks[i].info.used_bytes};
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

int transfer_open_receiver(struct server *server, struct transfer *transfer, size_t index,
                           struct error *err)
{
    struct transfer_disk *disk = &transfer->disks[index];
    uint8_t id[CHUNK_NAME_SIZE];
    AUTO_FREE char *source = text_format("%s of %s", disk->info.name, transfer->name);
    make_disk_id(&disk->info, id);
    struct receiver_options options = {.folder = transfer->intake.folder,
                                       .base_folder = transfer->intake.base,
                                       .disk_index = index,
                                       .format = transfer->intake.base ? "qcow2" : server->format,
                                       .size_bytes = disk->info.size_bytes,
                                       .disk_id = id,
                                       .source = source,
                                       .index = server->index,
                                       .pool = &server->receiver_pool,
                                       .log = &transfer->log.log};
    disk->receiver = receiver_open(&options, err);
    return disk->receiver ? 0 : -1;
}

struct opening {
    struct server *server;
    struct transfer *transfer;
    size_t disk;
};

static int open_receiver(void *context, struct error *err)
{
    const struct opening *opening = context;
    return transfer_open_receiver(opening->server, opening->transfer, opening->disk, err);
}

static int ensure_receiver(struct connection *connection, size_t disk, struct error *err)
{
    struct opening opening = {connection->server, connection->transfer, disk};
    if (connection->transfer->disks[disk].receiver)
        return 0;
    if (connection_run_beside(connection, open_receiver, &opening, err) == 0)
        return 0;
    /* There may be room later, or a lock free: it is not the disk connection's to refuse. */
    bool is_passing = error_is_no_space(err) || err->errnum == EBUSY;
    error_wrap(err, "disk %s", connection->transfer->disks[disk].info.name);
    log_warning(&connection->transfer->log.log, "%s", err->text);
    if (!is_passing) {
        err->errnum = EIO;
        return -1;
    }
    return error_set(err, EBUSY, "the disk cannot be taken now");
}

/* --- taking and releasing --- */

/* Under server.lock: waits until nobody has the disk and the transfer takes disks. */
static int wait_for_disk(struct connection *connection, struct transfer_disk *disk,
                         struct error *err)
{
    struct transfer *transfer = connection->transfer;
    int result = 0;
    while (result == 0 && (transfer->state != TRANSFER_RECEIVING || disk->owner)) {
        if (transfer->state == TRANSFER_FINISHING)
            return error_set(err, EBUSY, "the machine is being put together");
        if (transfer->state == TRANSFER_RECEIVED) {
            result = reopen_transfer(connection, err);
            continue;
        }
        if (disk->owner && disk->owner->wake == WAKE_NONE)
            connection_wake(disk->owner, WAKE_REPLACED);
        result = connection_wait(connection, err);
    }
    return result;
}

int transfer_take_disk(struct connection *connection, const struct wire_disk *message,
                       struct error *err)
{
    struct server *server = connection->server;
    struct transfer *transfer = connection->transfer;
    if (message->disk >= transfer->disk_count)
        return error_set(err, EPROTO, "DISK: disk %u of %zu", message->disk, transfer->disk_count);
    struct transfer_disk *disk = &transfer->disks[message->disk];
    pthread_mutex_lock(&server->lock);
    int result = wait_for_disk(connection, disk, err);
    if (result == 0) {
        disk->owner = connection;
        disk->is_passed = false;
        if (disk->figures.pass != message->pass)
            disk->figures.safe_bytes = 0;
        disk->figures.pass = message->pass;
    }
    pthread_mutex_unlock(&server->lock);
    if (result == 0 && ensure_receiver(connection, message->disk, err) != 0) {
        transfer_release_disk(connection, message->disk, false);
        result = -1;
    }
    return result;
}

void transfer_release_disk(struct connection *connection, size_t index, bool is_receiver_good)
{
    struct server *server = connection->server;
    struct transfer_disk *disk = &connection->transfer->disks[index];
    if (!is_receiver_good)
        receiver_close(take_ptr(&disk->receiver));
    pthread_mutex_lock(&server->lock);
    disk->owner = NULL;
    disk->is_passed &= is_receiver_good;
    disk->figures.is_paused = false;
    connection->transfer->is_row_stale = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}
