/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The server's side of a disk connection as a state machine (docs/wire.md, "A disk connection"):
 * frames in, frames out, no socket and no thread, so that it can be fuzzed. The image is behind a
 * table of calls (the receiver, or a test's).
 */
#ifndef P2V_SERVER_DISK_SESSION_H
#define P2V_SERVER_DISK_SESSION_H

#include "base/error.h"
#include "base/own.h"
#include "base/text.h"
#include "formats/manifest.h"
#include "p2v/wire/disksum.h"
#include "p2v/wire/frame.h"

#include <stdbool.h>
#include <stdint.h>

struct disk_session;

/* As the functions of p2v/server/receiver.h of the same names. */
struct disk_store {
    int (*offer)(void *context, uint64_t first, size_t count, const struct chunk_name *names,
                 uint8_t *wanted, struct error *err);
    int (*run)(void *context, uint64_t first, uint64_t count, enum chunk_state state,
               struct error *err);
    int (*store)(void *context, uint64_t first, size_t count, const struct chunk_name *names,
                 const void *data, size_t length, struct error *err);
    void (*digest)(void *context, struct disksum *digest);
    void *context;
    bool (*end_pass)(void *context); /* NULL: nothing was left out */
};

struct disk_session *disk_session_new(uint64_t size_bytes, const struct disk_store *store,
                                      struct error *err);
void disk_session_free(struct disk_session *session);
OWN_DEFINE_PTR(disk_session, disk_session_free)

enum disk_session_event {
    DISK_SESSION_GOES_ON,
    /* A PASS arrived and all its data: seal, commit, then call disk_session_passed. */
    DISK_SESSION_PASS_ENDED,
};

/*
 * Takes one frame (RUN, OFFER, DATA or PASS; anything else is an error) and appends the answers to
 * `out`. -1: err->errnum EPROTO: the agent broke the rules; ENOSPC or EDQUOT: the store has no
 * room, the frame was not used up, give it again later; anything else: the store failed.
 * Zstandard frames are inflated in here, never to more than the chunk's length.
 */
int disk_session_feed(struct disk_session *session, enum wire_type type, const uint8_t *payload,
                      size_t length, struct text *out, enum disk_session_event *event,
                      struct error *err);

/*
 * The sequence up to which (exclusive) everything has arrived: what may be told SAFE once the store
 * has committed what it holds at this moment.
 */
uint64_t disk_session_complete(const struct disk_session *session);

/* Appends PASSED. is_same tells whether the digests agreed and nothing was left out. */
void disk_session_passed(struct disk_session *session, struct text *out, bool *is_same,
                         bool *is_last);

/* Uncompressed bytes of chunks that are there or were stored in this pass, skipped ones aside. */
uint64_t disk_session_position(const struct disk_session *session);

/* The first RUN or OFFER was not of the disk's beginning: what lies before came earlier. */
bool disk_session_is_resumed(const struct disk_session *session);

#endif
