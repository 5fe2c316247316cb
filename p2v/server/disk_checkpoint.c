/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Checkpoints of a disk connection, in a thread of their own: what had been written when one began
 * is on stable storage when it ends, and only then the agent is told SAFE.
 */
#include "base/checked.h"
#include "base/clock.h"
#include "p2v/server/disk_link_private.h"

#include <errno.h>

/* Something pending is made safe after this, however little it is. */
#define CHECKPOINT_MS 1000

/*
 * Under feed_lock: what may be shown as safe once all of it is. The agent's own figure is ahead by
 * what is on its way, ours begins anew with each connection.
 */
static uint64_t done_now(struct disk_link *link, uint64_t unwritten_bytes)
{
    uint64_t before = disk_session_is_resumed(link->machine) ? link->before_bytes : 0;
    uint64_t arrived = before + disk_session_position(link->machine) - unwritten_bytes;
    struct server *server = link->connection->server;
    pthread_mutex_lock(&server->lock);
    uint64_t done = link->disk->figures.done_bytes;
    pthread_mutex_unlock(&server->lock);
    return min_u64(done, arrived);
}

static void note_safe(struct disk_link *link, uint64_t done)
{
    struct server *server = link->connection->server;
    pthread_mutex_lock(&server->lock);
    link->disk->figures.safe_bytes = done;
    link->transfer->is_row_stale = true;
    pthread_mutex_unlock(&server->lock);
}

static int send_safe(struct disk_link *link, uint64_t sequence, struct error *err)
{
    AUTO(text) out = {0};
    struct wire_safe safe = {.sequence = sequence};
    wire_safe_encode(&safe, &out);
    return link_send(link->connection->link, out.data, out.length, err);
}

/*
 * With feed_lock, given up meanwhile; one at a time. The sequence is noted before the receiver is
 * sealed and told after it has committed, and is not beyond what still waits to be written: SAFE
 * never claims more than is there.
 */
static int checkpoint(struct disk_link *link, bool is_told, struct error *err)
{
    while (link->is_committing)
        pthread_cond_wait(&link->feed_changed, &link->feed_lock);
    if (link->has_failed)
        return error_set(err, EIO, "an earlier checkpoint failed");
    uint64_t sequence,
        left = disk_writer_left(link->writer, disk_session_complete(link->machine), &sequence),
        done = done_now(link, left);
    receiver_seal(link->disk->receiver);
    link->is_committing = true;
    link->is_pending = left > 0;
    uint64_t sealed_bytes = link->sealed_bytes = link->fed_bytes - left;
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
    if (!is_committed && !may_retry)
        disk_link_fail(link);
    pthread_cond_broadcast(&link->feed_changed);
    return result;
}

bool disk_checkpoint_is_due(const struct disk_link *link)
{
    return link->is_pending &&
           (link->fed_bytes - link->sealed_bytes >= link->connection->server->checkpoint_bytes ||
            clock_ms() - link->sealed_ms >= CHECKPOINT_MS);
}

void disk_checkpoint_wait(struct disk_link *link)
{
    struct timespec until = clock_deadline(100);
    pthread_cond_timedwait(&link->feed_changed, &link->feed_lock, &until);
}

void *disk_checkpoint_thread(void *argument)
{
    struct disk_link *link = argument;
    bool is_paused = false;
    pthread_mutex_lock(&link->feed_lock);
    while (!link->is_ending && !link->has_failed) {
        struct error err = {0};
        if (!disk_checkpoint_is_due(link)) {
            disk_checkpoint_wait(link);
            continue;
        }
        bool is_done = checkpoint(link, true, &err) == 0;
        if (link->has_failed || (!is_done && !is_paused && error_is_no_space(&err)))
            log_warning(&link->transfer->log.log, "disk %s: %s", link->disk->info.name, err.text);
        if (is_paused != (!is_done && error_is_no_space(&err)))
            disk_link_note_paused(link, is_paused = !is_paused);
    }
    pthread_mutex_unlock(&link->feed_lock);
    return NULL;
}

int disk_checkpoint_make(struct disk_link *link, bool is_told, struct error *err)
{
    pthread_mutex_lock(&link->feed_lock);
    int result = checkpoint(link, is_told, err);
    pthread_mutex_unlock(&link->feed_lock);
    return result;
}
