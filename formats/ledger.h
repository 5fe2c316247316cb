/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The ledger: what an image that is still being received holds, chunk by chunk, in a file beside it
 * (docs/manifest.md, "The ledger"). It is the manifest's working copy: of fixed layout, so that a
 * chunk is recorded by writing 32 bytes and a disk of any size needs no memory for its names.
 *
 *     header, 4096 bytes | 32 bytes for chunk 0 | 32 bytes for chunk 1 | …        (sparse)
 *
 * A record is the chunk's name; all zeroes: nothing is claimed; two reserved values: unreadable,
 * and 'other' (the image holds something that no source has named). A name that is set stays in
 * memory until ledger_commit, which the caller calls after the image's data is on stable storage,
 * and one that is about to become untrue is withdrawn from the file before: the file never claims a
 * content that could still be lost. Where it says zero or unreadable the image is to read as
 * zeroes: after a crash whoever opens both again makes it so.
 */
#ifndef FORMATS_LEDGER_H
#define FORMATS_LEDGER_H

#include "base/error.h"
#include "base/own.h"
#include "formats/manifest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ledger;

enum ledger_state { LEDGER_ZERO, LEDGER_DATA, LEDGER_UNREADABLE, LEDGER_OTHER };

struct ledger_entry {
    enum ledger_state state;
    struct chunk_name name; /* zeroes unless LEDGER_DATA */
};

/*
 * Opens the ledger, or makes one in which everything is zero. `disk_id` is kept in the header: what
 * the disk is (size, serial, name) as the caller hashes it. A ledger of another disk or size, or a
 * damaged header: error with errnum ESTALE, and the caller starts anew.
 */
struct ledger *ledger_open(int folder_fd, const char *name, uint64_t size_bytes,
                           const uint8_t disk_id[32], struct error *err);
void ledger_close(struct ledger *ledger); /* what was not committed is dropped */
OWN_DEFINE_PTR(ledger, ledger_close)

uint64_t ledger_chunk_count(const struct ledger *ledger);

/* What was set last, committed or not. */
int ledger_get(struct ledger *ledger, uint64_t first, size_t count, struct ledger_entry *entries,
               struct error *err);

/*
 * Sets chunks. One thread sets and gets; another may be in ledger_commit. Zero and unreadable are
 * in the file when the call returns, on stable storage if a name stood there: call before the image
 * is changed. Setting `count` chunks to zero costs what was recorded there, not `count` (holes are
 * left alone). A name that is a reserved value: EINVAL.
 */
int ledger_set(struct ledger *ledger, uint64_t index, const struct ledger_entry *entry,
               struct error *err);
int ledger_set_zero(struct ledger *ledger, uint64_t first, uint64_t count, struct error *err);
int ledger_set_unreadable(struct ledger *ledger, uint64_t first, uint64_t count, struct error *err);

/* Can stand in a record as a content's name (SHA-256 gives no other). */
bool ledger_can_hold(const struct chunk_name *name);

/*
 * Withdraws names, before the image is changed there: if any chunk of the range has one, all of
 * them that are not zero are LEDGER_OTHER after, on stable storage. Costs next to nothing when none
 * has. With `which` only chunks i whose bit i % 8 of byte i / 8 is set.
 */
int ledger_forget(struct ledger *ledger, uint64_t first, uint64_t count, const uint8_t *which,
                  struct error *err);

/*
 * Ranges of [first, first + count) that hold anything but LEDGER_ZERO: finds the next chunk at or
 * behind `first` that is not zero; `first + count` when there is none.
 */
int ledger_next(struct ledger *ledger, uint64_t first, uint64_t count, uint64_t *index,
                struct error *err);

/* Chunks that were set and are not committed. */
size_t ledger_pending(const struct ledger *ledger);

/*
 * Two steps, so that setting may go on while the image is being synced: ledger_seal marks what has
 * been set until now; after syncing the image, ledger_commit writes what was sealed and syncs it,
 * and what else was written. What a failed commit could not write stays sealed. Sealing again
 * before the commit adds to what the next commit writes: the caller seals, syncs and commits in
 * this order.
 */
void ledger_seal(struct ledger *ledger);
int ledger_commit(struct ledger *ledger, struct error *err);

/* For each chunk that is not zero, in order. `visit` returns -1 to end with an error. */
int ledger_visit(struct ledger *ledger,
                 int (*visit)(void *context, uint64_t index, const struct ledger_entry *entry,
                              struct error *err),
                 void *context, struct error *err);

#endif
