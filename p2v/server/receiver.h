/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One disk being received: its image, its ledger, and the answer to 'do you have this chunk?'. No
 * network and no protocol: the session (p2v/server/disk_session.h) calls it. Used by one thread,
 * except as said; a second may be in receiver_store, for chunks that no other call is about until
 * that has returned.
 *
 * A chunk is there when the ledger says that this machine's image holds that name at that place
 * (the agent's word for its own disk), or when some machine of the pool holds it: then its content
 * is read and hashed here before it is copied.
 */
#ifndef P2V_SERVER_RECEIVER_H
#define P2V_SERVER_RECEIVER_H

#include "base/error.h"
#include "base/extents.h"
#include "base/log.h"
#include "base/own.h"
#include "formats/manifest.h"
#include "p2v/server/chunk_index.h"
#include "p2v/wire/disksum.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct receiver;

/*
 * Gives a path to a complete image of the pool and its format for a place of the index; false when
 * there is none (any more). Thread-safe.
 */
struct receiver_pool {
    bool (*find_image)(void *context, uint32_t machine, uint16_t disk, char *path, size_t size);
    void *context;
};

struct receiver_options {
    const char *folder;      /* the folder being received into */
    const char *base_folder; /* NULL; or the complete machine that this updates: its disk is the
                              * backing file, its manifest says what is there already */
    size_t disk_index;
    const char *format; /* "qcow2" or "raw"; an update is always qcow2 */
    uint64_t size_bytes;
    const uint8_t *disk_id;    /* 32 bytes */
    const char *source;        /* what is received, for the manifest: "sda of web01" */
    struct chunk_index *index; /* NULL: no deduplication */
    const struct receiver_pool *pool;
    struct log *log;
};

/*
 * Opens what an earlier run left in the folder (repairing the image first), or starts anew when
 * there is nothing or it belongs to another disk.
 */
struct receiver *receiver_open(const struct receiver_options *options, struct error *err);
void receiver_close(struct receiver *receiver);
OWN_DEFINE_PTR(receiver, receiver_close)

/*
 * The source has these names at [first, first + count), count at most WIRE_MAX_OFFER. Sets bit i of
 * `wanted` (zeroed here) for each chunk that has to be sent; the others are recorded.
 */
int receiver_offer(struct receiver *receiver, uint64_t first, size_t count,
                   const struct chunk_name *names, uint8_t *wanted, struct error *err);

/* The source has no content there (state is not CHUNK_DATA): the image reads as zeroes after. */
int receiver_run(struct receiver *receiver, uint64_t first, uint64_t count, enum chunk_state state,
                 struct error *err);

/*
 * A chunk of that name has arrived; `length` is the chunk's. The name is believed. Consecutive
 * chunks of one frame come in one call: `data` is contiguous. errnum ENOSPC (or EDQUOT): nothing is
 * lost, call again when there is room.
 */
int receiver_store(struct receiver *receiver, uint64_t first, size_t count,
                   const struct chunk_name *names, const void *data, size_t length,
                   struct error *err);

/*
 * Everything recorded until receiver_seal was called is on stable storage after receiver_commit,
 * which another thread may run while this one goes on.
 */
void receiver_seal(struct receiver *receiver);
int receiver_commit(struct receiver *receiver, struct error *err);

/*
 * The source has gone over the disk once. False when it left part of it out, as far as that is
 * known (nothing is of a pass that began before the receiver was opened).
 */
bool receiver_end_pass(struct receiver *receiver);

/* The digest over what is recorded now. */
void receiver_digest(struct receiver *receiver, struct disksum *digest);

/*
 * After the last pass: image and ledger to stable storage, then diskN.manifest written from them.
 * The names enter the index for machine number `machine`. The receiver is to be closed then.
 */
int receiver_finish(struct receiver *receiver, uint32_t machine, struct error *err);

struct receiver_counts {
    uint64_t stored_bytes;     /* arrived and written */
    uint64_t had_bytes;        /* was there already */
    uint64_t copied_bytes;     /* came from another machine of the pool */
    uint64_t unreadable_bytes; /* now, as chunks */
};
/* From any thread. */
void receiver_get_counts(const struct receiver *receiver, struct receiver_counts *counts);

#endif
