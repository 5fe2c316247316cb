/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A disk connection's insides, shared by disk_link.c, disk_store.c and disk_checkpoint.c only.
 * Three threads:
 *
 *     frames ─► connection's: state machine ─► writer: receiver_store
 *                        └─────────────────────► receiver_offer, receiver_run
 *     checkpointer: receiver_seal, receiver_commit, SAFE
 *
 * feed_lock covers the state machine, the transfer's figures and all calls into the receiver but
 * the writer's and receiver_commit, which run beside the feeding. Lock order: feed_lock, the
 * writer's own; pause_lock, server.lock.
 */
#ifndef P2V_SERVER_DISK_LINK_PRIVATE_H
#define P2V_SERVER_DISK_LINK_PRIVATE_H

#include "p2v/server/disk_session.h"
#include "p2v/server/disk_writer.h"
#include "p2v/server/serving.h"

struct disk_link {
    struct connection *connection;
    struct transfer *transfer;
    struct transfer_disk *disk;
    struct disk_session *machine; /* the state machine */
    struct disk_writer *writer;
    const struct link_frame *frame; /* that is being fed */

    pthread_mutex_t pause_lock;
    unsigned pauses; /* who of feeding and writing is out of room */

    pthread_mutex_t feed_lock;
    pthread_cond_t feed_changed;
    pthread_t checkpointer;
    bool is_ending, is_committing; /* feed_lock, these and what follows */
    bool is_pending;               /* something was fed since the last seal, or is being written */
    /* Of chunks as they are in the image, however small they came: each is a record in memory until
     * it is committed. Given to the writer; that and copied from the pool; of that, written when
     * the last checkpoint began; committed. */
    uint64_t given_bytes, fed_bytes, sealed_bytes, committed_bytes;
    int64_t sealed_ms;
    uint64_t safe_sequence;
    uint64_t before_bytes; /* safe of this pass, by the connection before */
    bool has_failed;       /* the receiver: not to be used any more */
};

/* For the machine's row. */
void disk_link_note_paused(struct disk_link *link, bool is_paused);

/* With feed_lock. The connection's thread notices, whatever it waits for, and tells. */
void disk_link_fail(struct disk_link *link);

/* A wait looks this often at what else could end it. */
#define DISK_LINK_SLICE_MS 100

/* disk_store.c */
struct disk_store disk_store_of(struct disk_link *link);
struct disk_writer_calls disk_store_writing(struct disk_link *link);
int disk_store_set_paused(struct disk_link *link, bool is_paused, struct error *err);

/* disk_checkpoint.c. The first two with feed_lock. */
bool disk_checkpoint_is_due(const struct disk_link *link);
void disk_checkpoint_wait(struct disk_link *link); /* for feed_changed, a tenth of a second */
void *disk_checkpoint_thread(void *argument);

/* By the connection's thread: now, and the agent is told if `is_told`. */
int disk_checkpoint_make(struct disk_link *link, bool is_told, struct error *err);

#endif
