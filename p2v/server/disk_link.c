/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A disk connection's thread: frames go through the state machine (p2v/server/disk_session.h) into
 * the receiver; the chunks of DATA by way of the writer, so that the next frame is received while
 * they are on their way to the disk.
 */
#include "base/checked.h"
#include "base/clock.h"
#include "p2v/server/disk_link_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How often it is tried again when there is no room. */
#define SPACE_RETRY_MS 2000

/* Who waits for a checkpoint or for the disk keeps the agent patient this often. */
#define KEEP_ALIVE_MS 1000

/* --- figures --- */

/* Under feed_lock. What the agent says of its progress is better: it knows what it will skip. */
static void note_figures(struct disk_link *link)
{
    struct server *server = link->connection->server;
    struct transfer_figures *figures = &link->disk->figures;
    struct receiver_counts counts;
    receiver_get_counts(link->disk->receiver, &counts);
    uint64_t position = disk_session_position(link->machine);
    link->fed_bytes = link->given_bytes + counts.copied_bytes;
    pthread_mutex_lock(&server->lock);
    link->disk->is_passed = false; /* whatever came: the digest is of what was before it */
    figures->sent_bytes = link->given_bytes;
    figures->unreadable_bytes = counts.unreadable_bytes;
    figures->wire_bytes = link_bytes_received(link->connection->link);
    if (!figures->has_status)
        figures->done_bytes = min_u64(position, figures->total_bytes);
    link->transfer->is_row_stale = true;
    pthread_mutex_unlock(&server->lock);
}

void disk_link_note_paused(struct disk_link *link, bool is_paused)
{
    struct server *server = link->connection->server;
    pthread_mutex_lock(&server->lock);
    link->disk->figures.is_paused = is_paused;
    link->transfer->is_row_stale = true;
    pthread_mutex_unlock(&server->lock);
}

void disk_link_fail(struct disk_link *link)
{
    link->has_failed = true;
    atomic_store(&link->connection->stop, true);
    pthread_cond_broadcast(&link->feed_changed);
}

/* --- waiting --- */

/* Whoever waits in the connection's thread calls this again and again. */
static int stay_patient(struct disk_link *link, int64_t *told_ms, struct error *err)
{
    if (atomic_load(&link->connection->stop))
        return error_set(err, ECANCELED, "interrupted");
    if (clock_ms() - *told_ms < KEEP_ALIVE_MS)
        return 0;
    *told_ms = clock_ms();
    int result = link_keep_alive(link->connection->link, err);
    link->connection->is_told |= result != 0;
    return result;
}

/* Under feed_lock. */
static bool is_too_much_pending(const struct disk_link *link)
{
    return link->fed_bytes - link->committed_bytes >= server_window(link->connection->server);
}

/*
 * An agent that keeps to its window never waits here, unless the pool has most of what it offers.
 * Frames that are not read are its own to keep. Chunks are not fed until a checkpoint has made
 * room.
 */
static int wait_for_checkpoint(struct disk_link *link, struct error *err)
{
    int64_t told_ms = clock_ms();
    int result = 0;
    pthread_mutex_lock(&link->feed_lock);
    while (result == 0 && is_too_much_pending(link)) {
        disk_checkpoint_wait(link);
        pthread_mutex_unlock(&link->feed_lock);
        result = stay_patient(link, &told_ms, err);
        pthread_mutex_lock(&link->feed_lock);
    }
    pthread_mutex_unlock(&link->feed_lock);
    return result;
}

/* Until so many writes are left at most. */
static int wait_for_writes(struct disk_link *link, size_t most, struct error *err)
{
    int64_t told_ms = clock_ms();
    while (!disk_writer_wait(link->writer, most, DISK_LINK_SLICE_MS)) {
        if (stay_patient(link, &told_ms, err) != 0)
            return -1;
    }
    return disk_writer_check(link->writer, err);
}

/* --- frames --- */

static int feed_once(struct disk_link *link, const struct link_frame *frame, struct text *out,
                     enum disk_session_event *event, struct error *err)
{
    pthread_mutex_lock(&link->feed_lock);
    if (link->has_failed) {
        pthread_mutex_unlock(&link->feed_lock);
        return error_set(err, EIO, "a checkpoint or a write failed");
    }
    link->frame = frame;
    int result = disk_session_feed(link->machine, frame->type, frame->payload, frame->length, out,
                                   event, err);
    if (!link->is_pending) {
        link->is_pending = true;
        link->sealed_ms = clock_ms();
    }
    note_figures(link);
    if (disk_checkpoint_is_due(link))
        pthread_cond_broadcast(&link->feed_changed);
    pthread_mutex_unlock(&link->feed_lock);
    return result;
}

/* The frame that found no room is given again until it does. */
static int wait_for_space(struct disk_link *link, const struct link_frame *frame, struct text *out,
                          enum disk_session_event *event, struct error *err)
{
    struct connection *connection = link->connection;
    int result;
    if (disk_store_set_paused(link, true, err) != 0) {
        connection->is_told = true;
        return -1;
    }
    do {
        if (!connection_sleep(connection, SPACE_RETRY_MS))
            return error_set(err, ECANCELED, "interrupted");
        if (link_keep_alive(connection->link, err) != 0) {
            connection->is_told = true;
            return -1;
        }
        result = feed_once(link, frame, out, event, err);
    } while (result != 0 && error_is_no_space(err));
    if (result == 0 && disk_store_set_paused(link, false, err) != 0) {
        connection->is_told = true;
        return -1;
    }
    return result;
}

/* The agent broke the rules: it is told. The store failed: it is not used any more. */
static int feed(struct disk_link *link, const struct link_frame *frame, struct text *out,
                enum disk_session_event *event, struct error *err)
{
    int result = feed_once(link, frame, out, event, err);
    if (result != 0 && error_is_no_space(err))
        result = wait_for_space(link, frame, out, event, err);
    if (result != 0 && err->errnum != EPROTO && err->errnum != ECANCELED &&
        !link->connection->is_told) {
        pthread_mutex_lock(&link->feed_lock);
        disk_link_fail(link);
        pthread_mutex_unlock(&link->feed_lock);
        log_warning(&link->transfer->log.log, "disk %s: %s", link->disk->info.name, err->text);
        err->errnum = EIO;
    }
    return result;
}

static int run_checkpoint(void *context, struct error *err)
{
    return disk_checkpoint_make(context, true, err);
}

/* What a pass brought is made safe, waiting for room if need be. */
static int checkpoint_pass(struct disk_link *link, struct error *err)
{
    int result;
    while ((result = connection_run_beside(link->connection, run_checkpoint, link, err)) != 0 &&
           error_is_no_space(err) && connection_sleep(link->connection, SPACE_RETRY_MS))
        continue;
    return result;
}

/* All of the pass is there: on stable storage first, then PASSED. */
static int end_pass(struct disk_link *link, struct error *err)
{
    AUTO(text) out = {0};
    struct server *server = link->connection->server;
    struct disksum digest = {{0}};
    bool is_same, is_last;
    if (wait_for_writes(link, 0, err) != 0 || checkpoint_pass(link, err) != 0)
        return -1;
    pthread_mutex_lock(&link->feed_lock);
    note_figures(link);
    disk_session_passed(link->machine, &out, &is_same, &is_last);
    receiver_digest(link->disk->receiver, &digest);
    link->before_bytes = 0;
    pthread_mutex_unlock(&link->feed_lock);
    pthread_mutex_lock(&server->lock);
    link->disk->is_passed = is_same && is_last;
    link->disk->figures.pass += !link->disk->is_passed;
    memcpy(link->disk->digest, digest.bytes, sizeof(link->disk->digest));
    pthread_mutex_unlock(&server->lock);
    if (!is_same)
        log_warning(&link->transfer->log.log,
                    "disk %s: the digests of a pass differ, or not all of it was offered",
                    link->disk->info.name);
    else
        log_info(&link->transfer->log.log, "disk %s: %s pass is here", link->disk->info.name,
                 is_last ? "the last" : "a");
    return connection_send(link->connection, &out, err);
}

static int take_frame(struct disk_link *link, const struct link_frame *frame, struct error *err)
{
    AUTO(text) out = {0};
    enum disk_session_event event = DISK_SESSION_GOES_ON;
    if (wait_for_checkpoint(link, err) != 0 ||
        (frame->type == WIRE_DATA && wait_for_writes(link, DISK_WRITER_DEPTH - 1, err) != 0) ||
        feed(link, frame, &out, &event, err) != 0 ||
        connection_send(link->connection, &out, err) != 0)
        return -1;
    return event == DISK_SESSION_PASS_ENDED ? end_pass(link, err) : 0;
}

static bool has_failed(struct disk_link *link)
{
    pthread_mutex_lock(&link->feed_lock);
    bool has = link->has_failed;
    pthread_mutex_unlock(&link->feed_lock);
    return has;
}

static int serve(struct disk_link *link, struct error *err)
{
    struct link_frame frame;
    int got, result = 0;
    while (result == 0 &&
           (got = connection_receive(link->connection, &frame, WIRE_SILENCE_MS, err)) > 0)
        result = take_frame(link, &frame, err);
    if (result == 0 && got == 0)
        return error_set(err, 0, "closed by the agent");
    if (err->errnum == ECANCELED && has_failed(link)) /* what was waited for was interrupted */
        return error_set(err, EIO, "a checkpoint or a write failed");
    return -1;
}

/* --- from DISK to the end --- */

static int receive_disk(struct connection *connection, struct wire_disk *message, struct error *err)
{
    struct link_frame frame;
    connection_set_deadline(connection, WIRE_ADMISSION_MS); /* PINGs do not put it off */
    int result = connection_receive(connection, &frame, WIRE_ADMISSION_MS, err);
    connection_set_deadline(connection, 0);
    if (result <= 0)
        return result == 0 ? error_set(err, 0, "closed before DISK") : -1;
    if (frame.type != WIRE_DISK)
        return error_set(err, EPROTO, "%s before DISK", wire_type_name(frame.type));
    if (wire_disk_decode(frame.payload, frame.length, message, err) != 0) {
        err->errnum = EPROTO;
        return -1;
    }
    return 0;
}

static int send_ready(struct connection *connection, struct error *err)
{
    AUTO(text) out = {0};
    struct wire_ready ready = {.checkpoint_bytes = connection->server->checkpoint_bytes};
    wire_ready_encode(&ready, &out);
    return connection_send(connection, &out, err);
}

/* --- beginning and end --- */

static void locks_init(struct disk_link *link)
{
    pthread_mutex_init(&link->pause_lock, NULL);
    pthread_mutex_init(&link->feed_lock, NULL);
    clock_condition_init(&link->feed_changed);
}

static void link_free(struct disk_link *link)
{
    disk_writer_free(link->writer);
    disk_session_free(link->machine);
    pthread_cond_destroy(&link->feed_changed);
    pthread_mutex_destroy(&link->feed_lock);
    pthread_mutex_destroy(&link->pause_lock);
}

static int start_threads(struct disk_link *link, struct error *err)
{
    const struct disk_writer_calls calls = disk_store_writing(link);
    link->writer = disk_writer_start(&calls, SPACE_RETRY_MS, err);
    if (!link->writer)
        return -1;
    int result = connection_start_thread(&link->checkpointer, disk_checkpoint_thread, link);
    return result == 0 ? 0 : error_set(err, result, "start a thread");
}

/* What an earlier connection brought is not pending: whatever it left was made safe at its end. */
static void count_from_here(struct disk_link *link)
{
    struct receiver_counts counts;
    receiver_get_counts(link->disk->receiver, &counts);
    link->given_bytes = counts.stored_bytes;
    link->fed_bytes = counts.stored_bytes + counts.copied_bytes;
    link->sealed_bytes = link->committed_bytes = link->fed_bytes;
}

static int link_start(struct disk_link *link, struct error *err)
{
    const struct disk_store store = disk_store_of(link);
    link->machine = disk_session_new(link->disk->info.size_bytes, &store, err);
    if (!link->machine)
        return -1;
    locks_init(link);
    count_from_here(link);
    if (start_threads(link, err) == 0)
        return 0;
    link_free(link);
    return -1;
}

/* Whatever has arrived is made safe, told or not. */
static void link_end(struct disk_link *link)
{
    struct error err = {0};
    pthread_mutex_lock(&link->feed_lock);
    link->is_ending = true;
    pthread_cond_broadcast(&link->feed_changed);
    pthread_mutex_unlock(&link->feed_lock);
    pthread_join(link->checkpointer, NULL);
    disk_writer_stop(link->writer);
    if (!link->has_failed && disk_checkpoint_make(link, false, &err) != 0)
        log_warning(&link->transfer->log.log, "disk %s: %s", link->disk->info.name, err.text);
    link_free(link);
}

static int run_disk(struct connection *connection, size_t index, bool *is_receiver_good,
                    struct error *err)
{
    struct transfer *transfer = connection->transfer;
    struct disk_link link = {.connection = connection,
                             .transfer = transfer,
                             .disk = &transfer->disks[index],
                             .sealed_ms = clock_ms()};
    if (link_start(&link, err) != 0)
        return -1;
    pthread_mutex_lock(&connection->server->lock);
    link.before_bytes = link.disk->figures.safe_bytes;
    pthread_mutex_unlock(&connection->server->lock);
    int result = send_ready(connection, err);
    if (result == 0)
        result = serve(&link, err);
    log_detail(&transfer->log.log, "disk %s: connection ended: %s", link.disk->info.name,
               err->text);
    /* The checkpointer may be sending to an agent that does not read. */
    if (connection->is_told)
        link_shut(connection->link);
    link_end(&link);
    *is_receiver_good = !link.has_failed;
    return result;
}

int disk_link_run(struct connection *connection, struct error *err)
{
    struct wire_disk message;
    bool is_receiver_good = true;
    if (receive_disk(connection, &message, err) != 0 ||
        transfer_take_disk(connection, &message, err) != 0)
        return -1;
    int result = run_disk(connection, message.disk, &is_receiver_good, err);
    transfer_release_disk(connection, message.disk, is_receiver_good);
    return result;
}
