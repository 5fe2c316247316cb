/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A disk connection's thread: frames go through the state machine (p2v/server/disk_session.h) into
 * the receiver. A second thread makes checkpoints meanwhile: what had arrived when one began is on
 * stable storage when it ends, and only then the agent is told SAFE.
 *
 * feed_lock covers transfer and receiver, except receiver_commit, which runs beside the feeding.
 */
#include "base/clock.h"
#include "p2v/server/disk_session.h"
#include "p2v/server/serving.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Something pending is made safe after this, however little it is. */
#define CHECKPOINT_MS 1000

/* How often it is tried again when there is no room. */
#define SPACE_RETRY_MS 2000

/* Who waits for a checkpoint keeps the agent patient this often. */
#define KEEP_ALIVE_MS 1000

struct disk_link {
    struct connection *connection;
    struct transfer *transfer;
    struct transfer_disk *disk;
    struct disk_session *machine; /* the state machine */

    pthread_mutex_t feed_lock;
    pthread_cond_t feed_changed;
    pthread_t checkpointer;
    bool is_ending, is_committing; /* feed_lock, these and what follows */
    bool is_pending;               /* something was fed since the last seal */
    /* Of chunks as they are in the image, however small they came: each is a record in memory until
     * it is committed. */
    uint64_t fed_bytes, sealed_bytes, committed_bytes;
    int64_t sealed_ms;
    uint64_t safe_sequence;
    uint64_t before_bytes; /* safe of this pass, by the connection before */
    bool has_failed;       /* the receiver: not to be used any more */
};

/* --- figures --- */

/* Under feed_lock. What the agent says of its progress is better: it knows what it will skip. */
static void note_figures(struct disk_link *link)
{
    struct server *server = link->connection->server;
    struct transfer_figures *figures = &link->disk->figures;
    struct receiver_counts counts;
    receiver_get_counts(link->disk->receiver, &counts);
    uint64_t position = disk_session_position(link->machine);
    link->fed_bytes = counts.stored_bytes + counts.copied_bytes;
    pthread_mutex_lock(&server->lock);
    link->disk->is_passed = false; /* whatever came: the digest is of what was before it */
    figures->sent_bytes = counts.stored_bytes;
    figures->unreadable_bytes = counts.unreadable_bytes;
    figures->wire_bytes = link_bytes_received(link->connection->link);
    if (!figures->has_status)
        figures->done_bytes = position < figures->total_bytes ? position : figures->total_bytes;
    link->transfer->is_row_stale = true;
    pthread_mutex_unlock(&server->lock);
}

/*
 * Under feed_lock: what may be shown as safe once all of it is. The agent's own figure is ahead by
 * what is on its way, ours begins anew with each connection.
 */
static uint64_t done_now(struct disk_link *link)
{
    uint64_t before = disk_session_is_resumed(link->machine) ? link->before_bytes : 0;
    uint64_t arrived = before + disk_session_position(link->machine);
    struct server *server = link->connection->server;
    pthread_mutex_lock(&server->lock);
    uint64_t done = link->disk->figures.done_bytes;
    pthread_mutex_unlock(&server->lock);
    return done < arrived ? done : arrived;
}

static void note_safe(struct disk_link *link, uint64_t done)
{
    struct server *server = link->connection->server;
    pthread_mutex_lock(&server->lock);
    link->disk->figures.safe_bytes = done;
    link->transfer->is_row_stale = true;
    pthread_mutex_unlock(&server->lock);
}

static void set_paused(struct disk_link *link, bool is_paused)
{
    struct server *server = link->connection->server;
    pthread_mutex_lock(&server->lock);
    link->disk->figures.is_paused = is_paused;
    link->transfer->is_row_stale = true;
    pthread_mutex_unlock(&server->lock);
}

/* --- checkpoints --- */

static int send_safe(struct disk_link *link, uint64_t sequence, struct error *err)
{
    AUTO(text) out = {0};
    struct wire_safe safe = {.sequence = sequence};
    wire_safe_encode(&safe, &out);
    return link_send(link->connection->link, out.data, out.length, err);
}

/*
 * With feed_lock, given up meanwhile; one at a time. The sequence is noted before the receiver is
 * sealed and told after it has committed: SAFE never claims more than is there.
 */
static int checkpoint(struct disk_link *link, bool is_told, struct error *err)
{
    while (link->is_committing)
        pthread_cond_wait(&link->feed_changed, &link->feed_lock);
    if (link->has_failed)
        return error_set(err, EIO, "an earlier checkpoint failed");
    uint64_t sequence = disk_session_complete(link->machine), done = done_now(link);
    receiver_seal(link->disk->receiver);
    link->is_committing = true;
    link->is_pending = false;
    uint64_t sealed_bytes = link->sealed_bytes = link->fed_bytes;
    link->sealed_ms = clock_ms();
    pthread_mutex_unlock(&link->feed_lock);
    int result = receiver_commit(link->disk->receiver, err);
    bool is_committed = result == 0, may_retry = !is_committed && error_is_no_space(err);
    if (is_committed && is_told && sequence > link->safe_sequence) {
        result = send_safe(link, sequence, err);
        link->safe_sequence = sequence;
        note_safe(link, done);
    }
    pthread_mutex_lock(&link->feed_lock);
    link->is_committing = false;
    if (is_committed)
        link->committed_bytes = sealed_bytes;
    link->is_pending |= may_retry;
    link->has_failed |= !is_committed && !may_retry;
    pthread_cond_broadcast(&link->feed_changed);
    return result;
}

static bool is_due(const struct disk_link *link)
{
    return link->is_pending &&
           (link->fed_bytes - link->sealed_bytes >= link->connection->server->checkpoint_bytes ||
            clock_ms() - link->sealed_ms >= CHECKPOINT_MS);
}

static void wait_briefly(struct disk_link *link)
{
    struct timespec until = clock_deadline(CLOCK_MONOTONIC, 100);
    pthread_cond_timedwait(&link->feed_changed, &link->feed_lock, &until);
}

/* A failure ends the connection: its own thread notices, and tells. */
static void *make_checkpoints(void *argument)
{
    struct disk_link *link = argument;
    bool is_paused = false;
    pthread_mutex_lock(&link->feed_lock);
    while (!link->is_ending && !link->has_failed) {
        struct error err = {0};
        if (!is_due(link)) {
            wait_briefly(link);
            continue;
        }
        bool is_done = checkpoint(link, true, &err) == 0;
        if (link->has_failed || (!is_done && !is_paused && error_is_no_space(&err)))
            log_warning(&link->transfer->log.log, "disk %s: %s", link->disk->info.name, err.text);
        if (is_paused != (!is_done && error_is_no_space(&err)))
            set_paused(link, is_paused = !is_paused);
    }
    pthread_mutex_unlock(&link->feed_lock);
    return NULL;
}

static int run_checkpoint(void *context, struct error *err)
{
    struct disk_link *link = context;
    pthread_mutex_lock(&link->feed_lock);
    int result = checkpoint(link, true, err);
    pthread_mutex_unlock(&link->feed_lock);
    return result;
}

/* --- frames --- */

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
    while (result == 0 && !link->has_failed && is_too_much_pending(link)) {
        wait_briefly(link);
        if (atomic_load(&link->connection->stop)) {
            result = error_set(err, ECANCELED, "interrupted");
        } else if (clock_ms() - told_ms >= KEEP_ALIVE_MS) {
            pthread_mutex_unlock(&link->feed_lock);
            result = link_keep_alive(link->connection->link, err);
            link->connection->is_told |= result != 0;
            told_ms = clock_ms();
            pthread_mutex_lock(&link->feed_lock);
        }
    }
    pthread_mutex_unlock(&link->feed_lock);
    return result;
}

static int feed_once(struct disk_link *link, const struct link_frame *frame, struct text *out,
                     enum disk_session_event *event, struct error *err)
{
    pthread_mutex_lock(&link->feed_lock);
    if (link->has_failed) {
        pthread_mutex_unlock(&link->feed_lock);
        return error_set(err, EIO, "a checkpoint failed");
    }
    int result = disk_session_feed(link->machine, frame->type, frame->payload, frame->length, out,
                                   event, err);
    if (!link->is_pending) {
        link->is_pending = true;
        link->sealed_ms = clock_ms();
    }
    note_figures(link);
    if (is_due(link))
        pthread_cond_broadcast(&link->feed_changed);
    pthread_mutex_unlock(&link->feed_lock);
    return result;
}

static int send_pause(struct disk_link *link, struct error *err)
{
    AUTO(text) out = {0};
    struct wire_pause pause = {
        .text = "the server has no space left; it goes on as soon as there is some"};
    set_paused(link, true);
    log_warning(&link->transfer->log.log, "disk %s: paused, no space", link->disk->info.name);
    wire_pause_encode(&pause, &out);
    return connection_send(link->connection, &out, err);
}

static int send_resume(struct disk_link *link, struct error *err)
{
    AUTO(text) out = {0};
    set_paused(link, false);
    log_info(&link->transfer->log.log, "disk %s: goes on", link->disk->info.name);
    wire_empty_encode(WIRE_RESUME, &out);
    return connection_send(link->connection, &out, err);
}

/* The frame that found no room is given again until it does. */
static int wait_for_space(struct disk_link *link, const struct link_frame *frame, struct text *out,
                          enum disk_session_event *event, struct error *err)
{
    struct connection *connection = link->connection;
    int result;
    if (send_pause(link, err) != 0)
        return -1;
    do {
        if (!connection_sleep(connection, SPACE_RETRY_MS))
            return error_set(err, ECANCELED, "interrupted");
        if (link_keep_alive(connection->link, err) != 0) {
            connection->is_told = true;
            return -1;
        }
        result = feed_once(link, frame, out, event, err);
    } while (result != 0 && error_is_no_space(err));
    return result == 0 ? send_resume(link, err) : -1;
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
        link->has_failed = true;
        pthread_mutex_unlock(&link->feed_lock);
        log_warning(&link->transfer->log.log, "disk %s: %s", link->disk->info.name, err->text);
        err->errnum = EIO;
    }
    return result;
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
    if (checkpoint_pass(link, err) != 0)
        return -1;
    pthread_mutex_lock(&link->feed_lock);
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

static int serve(struct disk_link *link, struct error *err)
{
    struct link_frame frame;
    int got;
    while ((got = connection_receive(link->connection, &frame, WIRE_SILENCE_MS, err)) > 0) {
        AUTO(text) out = {0};
        enum disk_session_event event = DISK_SESSION_GOES_ON;
        if (wait_for_checkpoint(link, err) != 0 || feed(link, &frame, &out, &event, err) != 0 ||
            connection_send(link->connection, &out, err) != 0 ||
            (event == DISK_SESSION_PASS_ENDED && end_pass(link, err) != 0))
            return -1;
    }
    return got == 0 ? error_set(err, 0, "closed by the agent") : -1;
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

/* The receiver's calls as the state machine's table wants them. */
static int store_offer(void *context, uint64_t first, size_t count, const struct chunk_name *names,
                       uint8_t *wanted, struct error *err)
{
    return receiver_offer(context, first, count, names, wanted, err);
}

static int store_run(void *context, uint64_t first, uint64_t count, enum chunk_state state,
                     struct error *err)
{
    return receiver_run(context, first, count, state, err);
}

static int store_data(void *context, uint64_t first, size_t count, const struct chunk_name *names,
                      const void *data, size_t length, struct error *err)
{
    return receiver_store(context, first, count, names, data, length, err);
}

static bool store_end_pass(void *context)
{
    return receiver_end_pass(context);
}

static void store_digest(void *context, struct disksum *digest)
{
    receiver_digest(context, digest);
}

static int link_start(struct disk_link *link, struct error *err)
{
    pthread_condattr_t attributes;
    const struct disk_store store = {.offer = store_offer,
                                     .run = store_run,
                                     .store = store_data,
                                     .digest = store_digest,
                                     .end_pass = store_end_pass,
                                     .context = link->disk->receiver};
    link->machine = disk_session_new(link->disk->info.size_bytes, &store, err);
    if (!link->machine)
        return -1;
    pthread_mutex_init(&link->feed_lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&link->feed_changed, &attributes);
    pthread_condattr_destroy(&attributes);
    int result = connection_start_thread(&link->checkpointer, make_checkpoints, link);
    if (result == 0)
        return 0;
    disk_session_free(take_ptr(&link->machine));
    return error_set(err, result, "start a thread");
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
    pthread_mutex_lock(&link->feed_lock);
    if (!link->has_failed && checkpoint(link, false, &err) != 0)
        log_warning(&link->transfer->log.log, "disk %s: %s", link->disk->info.name, err.text);
    pthread_mutex_unlock(&link->feed_lock);
    disk_session_free(link->machine);
    pthread_cond_destroy(&link->feed_changed);
    pthread_mutex_destroy(&link->feed_lock);
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
