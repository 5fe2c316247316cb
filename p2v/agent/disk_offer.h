/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The agent's side of a disk connection as a state machine (docs/wire.md): which offers are out,
 * which chunks are wanted, what is safe, from where to go on after a cut. No socket, no thread, no
 * disk, so that it can be fuzzed. The pipeline calls it under its lock.
 *
 * A pass goes over the disk once, in order; after that, chunks that were offered as unreadable may
 * be offered again, one at a time and in any order ('repairs').
 */
#ifndef P2V_AGENT_DISK_OFFER_H
#define P2V_AGENT_DISK_OFFER_H

#include "base/error.h"
#include "base/extents.h"
#include "base/own.h"
#include "formats/manifest.h"
#include "p2v/wire/disksum.h"
#include "p2v/wire/frame.h"

#include <stdbool.h>
#include <stdint.h>

struct disk_offer;

struct disk_offer *disk_offer_new(uint64_t size_bytes, struct error *err);
void disk_offer_free(struct disk_offer *offer);
OWN_DEFINE_PTR(disk_offer, disk_offer_free)

/* A new pass: everything is to be offered again, the digest is that of nothing. */
void disk_offer_begin_pass(struct disk_offer *offer);

/*
 * A new connection: sequences begin at 0, nothing is out. Gives the chunk to go on from (what was
 * told safe, in this pass) and resets the digest and the unreadable chunks to what they were there.
 */
int disk_offer_reconnect(struct disk_offer *offer, uint64_t *chunk, struct error *err);

/*
 * Chunks [first, first + count) go out as a RUN or an OFFER; gives the sequence. `first` is the
 * pass's position, or the one chunk is a repair.
 */
int disk_offer_run(struct disk_offer *offer, uint64_t first, uint64_t count, enum chunk_state state,
                   uint64_t *sequence, struct error *err);
int disk_offer_names(struct disk_offer *offer, uint64_t first, uint16_t count,
                     const struct chunk_name *names, uint64_t *sequence, struct error *err);

/* Whether `count` more chunks fit into WIRE_MAX_OFFERED and into what is remembered. */
bool disk_offer_may_offer(struct disk_offer *offer, uint16_t count);

/* -1 (EPROTO): not the WANT that was due. Gives the first chunk of the offer that it answers. */
int disk_offer_wanted(struct disk_offer *offer, const struct wire_want *want, uint64_t *first,
                      struct error *err);

/* -1 (EPROTO): a SAFE that goes backwards or beyond what was answered and sent. */
int disk_offer_safe(struct disk_offer *offer, const struct wire_safe *safe, struct error *err);

/* `count` wanted chunks of that offer, of together so many bytes, go out as DATA. */
void disk_offer_sent(struct disk_offer *offer, uint64_t sequence, uint16_t count, uint64_t bytes);

/* How many bytes of chunks may be sent before the next SAFE. */
uint64_t disk_offer_room(const struct disk_offer *offer, uint64_t window_bytes);

/* The first chunk that was not offered in this pass, and the one below which all is safe. */
uint64_t disk_offer_position(const struct disk_offer *offer);
uint64_t disk_offer_safe_chunk(const struct disk_offer *offer);

/* Every offer was answered and all that was wanted is sent. */
bool disk_offer_is_through(const struct disk_offer *offer);

/* Chunks that stand as unreadable, as ranges of the disk in bytes (whole chunks). Borrowed. */
const struct extents *disk_offer_unreadable(const struct disk_offer *offer);

const struct disksum *disk_offer_digest(const struct disk_offer *offer);

#endif
