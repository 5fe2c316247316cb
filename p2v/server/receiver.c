/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What happens to the chunks of a disk being received. The order that makes a crash harmless: a
 * name that is to become untrue is withdrawn from the ledger's file, then the image is changed,
 * then the new name waits in memory until the image was synced. What the ledger does not claim
 * after a crash, receiver_open clears.
 */
#include "p2v/server/receiver.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "p2v/server/receiver_private.h"
#include "p2v/wire/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

size_t receiver_chunk_length(const struct receiver *receiver, uint64_t index)
{
    return (size_t)min_u64(CHUNK_SIZE, receiver->size_bytes - index * CHUNK_SIZE);
}

static uint64_t range_bytes(const struct receiver *receiver, uint64_t first, uint64_t count)
{
    return min_u64((first + count) * CHUNK_SIZE, receiver->size_bytes) - first * CHUNK_SIZE;
}

static int check(const struct receiver *receiver, uint64_t first, uint64_t count, struct error *err)
{
    if (atomic_load(&receiver->has_failed))
        return error_set(err, EIO, "%s: what a failed sync left must be looked at first",
                         receiver->image_name);
    if (count == 0 || !range_is_inside(first, count, receiver->chunk_count))
        return error_set(err, EPROTO, "%s: %llu chunks from %llu on, of %llu", receiver->image_name,
                         (unsigned long long)count, (unsigned long long)first,
                         (unsigned long long)receiver->chunk_count);
    return 0;
}

/* --- counting what the ledger says ------------------------------------------------------------ */

/* What nobody named counts as unreadable does: with it no digest is that of the source. */
static enum chunk_state summand_state(const struct ledger_entry *entry)
{
    if (entry->state == LEDGER_ZERO)
        return CHUNK_ZERO;
    return entry->state == LEDGER_DATA ? CHUNK_DATA : CHUNK_UNREADABLE;
}

void receiver_count(struct receiver *receiver, uint64_t index, const struct ledger_entry *entry)
{
    disksum_add(&receiver->digest, index, summand_state(entry), &entry->name);
    if (entry->state == LEDGER_UNREADABLE)
        atomic_fetch_add(&receiver->unreadable_chunks, 1);
}

void receiver_uncount(struct receiver *receiver, uint64_t index, const struct ledger_entry *entry)
{
    disksum_remove(&receiver->digest, index, summand_state(entry), &entry->name);
    if (entry->state == LEDGER_UNREADABLE)
        atomic_fetch_sub(&receiver->unreadable_chunks, 1);
}

/*
 * Counts what became of chunks that were `before`, whether the change was done or broke off in the
 * middle. Not being able to tell is final.
 */
static void count_change(struct receiver *receiver, uint64_t first, size_t count,
                         const struct ledger_entry *before)
{
    struct ledger_entry now[RECEIVER_BATCH];

    if (ledger_get(receiver->ledger, first, count, now, NULL) < 0) {
        atomic_store(&receiver->has_failed, true);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (memcmp(&before[i], &now[i], sizeof(now[i])) == 0)
            continue;
        receiver_uncount(receiver, first + i, &before[i]);
        receiver_count(receiver, first + i, &now[i]);
    }
}

/* Only for the manifest: where memory for it ends, skipped becomes zero. */
static void note_skipped(struct receiver *receiver, uint64_t first, uint64_t count, bool is_skipped)
{
    uint64_t offset = first * CHUNK_SIZE, length = range_bytes(receiver, first, count);

    if (is_skipped && receiver->skipped.count < RECEIVER_MAX_SKIPPED)
        extents_add(&receiver->skipped, offset, length, NULL);
    else if (receiver->skipped.count &&
             extents_remove(&receiver->skipped, offset, length, NULL) < 0)
        extents_fini(&receiver->skipped);
}

/* --- content -------------------------------------------------------------------------------- */

/* A write that failed may have left anything there. */
static void set_unknown(struct receiver *receiver, uint64_t first, size_t count)
{
    const struct ledger_entry other = {.state = LEDGER_OTHER};

    for (size_t i = 0; i < count; i++) {
        if (ledger_set(receiver->ledger, first + i, &other, NULL) < 0)
            atomic_store(&receiver->has_failed, true);
    }
}

/* What is there now stops being true. */
static int begin_put(struct receiver *receiver, uint64_t first, size_t count,
                     struct ledger_entry *before, struct error *err)
{
    if (ledger_get(receiver->ledger, first, count, before, err) < 0)
        return -1;
    int result = ledger_forget(receiver->ledger, first, count, NULL, err);
    if (result < 0)
        count_change(receiver, first, count, before);
    return result;
}

static int set_names(struct receiver *receiver, uint64_t first, size_t count,
                     const struct chunk_name *names, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct ledger_entry entry = {.state = LEDGER_DATA, .name = names[i]};

        if (ledger_set(receiver->ledger, first + i, &entry, err) < 0)
            return -1;
    }
    return 0;
}

/* The image was written, or that failed with `written`. */
static int end_put(struct receiver *receiver, uint64_t first, size_t count,
                   const struct chunk_name *names, const struct ledger_entry *before, int written,
                   struct error *err)
{
    int result = written;

    if (written < 0)
        set_unknown(receiver, first, count);
    else
        result = set_names(receiver, first, count, names, err);
    count_change(receiver, first, count, before);
    note_skipped(receiver, first, count, false);
    return result;
}

static int check_names(const struct receiver *receiver, uint64_t first, size_t count,
                       const struct chunk_name *names, struct error *err)
{
    if (count > WIRE_MAX_OFFER)
        return error_set(err, EPROTO, "%s: %zu chunks at once", receiver->image_name, count);
    for (size_t i = 0; i < count; i++) {
        if (!ledger_can_hold(&names[i]))
            return error_set(err, EPROTO, "%s: chunk %llu: no content has this name",
                             receiver->image_name, (unsigned long long)(first + i));
    }
    return 0;
}

int receiver_store(struct receiver *receiver, uint64_t first, size_t count,
                   const struct chunk_name *names, const void *data, size_t length,
                   struct error *err)
{
    if (check(receiver, first, count, err) < 0 ||
        check_names(receiver, first, count, names, err) < 0)
        return -1;
    if (length != range_bytes(receiver, first, count))
        return error_set(err, EPROTO, "%s: %zu bytes for %zu chunks", receiver->image_name, length,
                         count);
    struct ledger_entry before[WIRE_MAX_OFFER];

    pthread_mutex_lock(&receiver->lock);
    int result = begin_put(receiver, first, count, before, err);
    pthread_mutex_unlock(&receiver->lock);
    if (result < 0)
        return -1;
    result = image_write(receiver->image, first * CHUNK_SIZE, data, length, err);
    pthread_mutex_lock(&receiver->lock);
    result = end_put(receiver, first, count, names, before, result, err);
    pthread_mutex_unlock(&receiver->lock);
    if (result == 0)
        atomic_fetch_add(&receiver->stored_bytes, length);
    return result;
}

/* --- offers --------------------------------------------------------------------------------- */

/* Neighbours found in the pool, to be written at once. */
struct copies {
    uint8_t *buffer; /* 1 MiB, made when the first is found */
    uint64_t first;
    size_t count, length;
};

static int put_copies(struct receiver *receiver, struct copies *copies,
                      const struct chunk_name *names, struct error *err)
{
    struct ledger_entry before[WIRE_MAX_OFFER];

    if (copies->count == 0)
        return 0;
    if (begin_put(receiver, copies->first, copies->count, before, err) < 0)
        return -1;
    int written = image_write(receiver->image, copies->first * CHUNK_SIZE, copies->buffer,
                              copies->length, err);
    if (end_put(receiver, copies->first, copies->count, names, before, written, err) < 0)
        return -1;
    atomic_fetch_add(&receiver->copied_bytes, copies->length);
    copies->count = copies->length = 0;
    return 0;
}

/* 1: found and taken; 0: nobody has it. `names` are those of the whole offer. */
static int try_copy(struct receiver *receiver, struct copies *copies, uint64_t first, size_t at,
                    const struct chunk_name *names, struct error *err)
{
    size_t length = receiver_chunk_length(receiver, first + at);

    if (copies->count &&
        (copies->first + copies->count != first + at || copies->count == WIRE_MAX_DATA) &&
        put_copies(receiver, copies, names + (copies->first - first), err) < 0)
        return -1;
    if (!copies->buffer)
        copies->buffer = malloc((size_t)WIRE_MAX_DATA * CHUNK_SIZE);
    if (!copies->buffer ||
        !pool_sources_read(receiver, &names[at], copies->buffer + copies->length, length))
        return 0;
    if (copies->count++ == 0)
        copies->first = first + at;
    copies->length += length;
    return 1;
}

static bool is_there(const struct ledger_entry *entry, const struct chunk_name *name)
{
    return entry->state == LEDGER_DATA && memcmp(&entry->name, name, sizeof(*name)) == 0;
}

static int answer(struct receiver *receiver, struct copies *copies, uint64_t first, size_t count,
                  const struct chunk_name *names, uint8_t *wanted, struct error *err)
{
    struct ledger_entry entries[WIRE_MAX_OFFER];
    uint64_t had = 0;

    if (ledger_get(receiver->ledger, first, count, entries, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        int found = is_there(&entries[i], &names[i]);

        if (found)
            had += receiver_chunk_length(receiver, first + i);
        else if (receiver->index)
            found = try_copy(receiver, copies, first, i, names, err);
        if (found < 0)
            return -1;
        if (!found)
            wanted[i / 8] |= (uint8_t)(1u << i % 8);
    }
    if (put_copies(receiver, copies, names + (copies->first - first), err) < 0)
        return -1;
    atomic_fetch_add(&receiver->had_bytes, had);
    return 0;
}

/* One sync for all that will be overwritten, rather than one for each DATA frame. */
static int forget_wanted(struct receiver *receiver, uint64_t first, size_t count,
                         const uint8_t *wanted, struct error *err)
{
    struct ledger_entry before[WIRE_MAX_OFFER];
    int result;

    if (ledger_get(receiver->ledger, first, count, before, err) < 0)
        return -1;
    result = ledger_forget(receiver->ledger, first, count, wanted, err);
    count_change(receiver, first, count, before);
    return result;
}

int receiver_offer(struct receiver *receiver, uint64_t first, size_t count,
                   const struct chunk_name *names, uint8_t *wanted, struct error *err)
{
    struct copies copies = {.first = first};
    int result;

    if (check(receiver, first, count, err) < 0 ||
        check_names(receiver, first, count, names, err) < 0)
        return -1;
    memset(wanted, 0, div_round_up(count, 8));
    pthread_mutex_lock(&receiver->lock);
    result = answer(receiver, &copies, first, count, names, wanted, err);
    free(copies.buffer);
    if (result == 0)
        result = forget_wanted(receiver, first, count, wanted, err);
    note_skipped(receiver, first, count, false);
    if (result == 0)
        receiver_cover(receiver, first, count);
    pthread_mutex_unlock(&receiver->lock);
    return result;
}

/* --- no content ----------------------------------------------------------------------------- */

/* Zeroes where the image may hold anything else, neighbours at once. */
static int zero_image(struct receiver *receiver, uint64_t first, size_t count,
                      const struct ledger_entry *entries, struct error *err)
{
    for (size_t i = 0, end; i < count; i = end) {
        bool has_content = entries[i].state == LEDGER_DATA || entries[i].state == LEDGER_OTHER;

        for (end = i + 1; end < count; end++) {
            if ((entries[end].state == LEDGER_DATA || entries[end].state == LEDGER_OTHER) !=
                has_content)
                break;
        }
        if (has_content && image_write_zeroes(receiver->image, (first + i) * CHUNK_SIZE,
                                              range_bytes(receiver, first + i, end - i), err) < 0)
            return -1;
    }
    return 0;
}

/* At most RECEIVER_BATCH chunks. */
static int clear(struct receiver *receiver, uint64_t first, size_t count, struct error *err)
{
    struct ledger_entry before[RECEIVER_BATCH];
    int result;

    if (ledger_get(receiver->ledger, first, count, before, err) < 0)
        return -1;
    result = ledger_forget(receiver->ledger, first, count, NULL, err);
    if (result == 0)
        result = zero_image(receiver, first, count, before, err);
    if (result == 0)
        result = ledger_set_zero(receiver->ledger, first, count, err);
    count_change(receiver, first, count, before);
    return result;
}

static int clear_all(struct receiver *receiver, uint64_t first, uint64_t count, struct error *err)
{
    uint64_t end = first + count;

    for (;;) {
        size_t part;

        if (ledger_next(receiver->ledger, first, end - first, &first, err) < 0)
            return -1;
        if (first == end)
            return 0;
        part = (size_t)min_u64(end - first, RECEIVER_BATCH);
        if (clear(receiver, first, part, err) < 0)
            return -1;
        first += part;
    }
}

/* What was there is cleared. */
static int set_unreadable(struct receiver *receiver, uint64_t first, uint64_t count,
                          struct error *err)
{
    static const struct ledger_entry before[RECEIVER_BATCH]; /* zero */

    for (uint64_t end = first + count; first < end; first += RECEIVER_BATCH) {
        size_t part = (size_t)min_u64(end - first, RECEIVER_BATCH);
        int result = ledger_set_unreadable(receiver->ledger, first, part, err);

        count_change(receiver, first, part, before);
        if (result < 0)
            return -1;
    }
    return 0;
}

static int run(struct receiver *receiver, uint64_t first, uint64_t count, enum chunk_state state,
               struct error *err)
{
    if (clear_all(receiver, first, count, err) < 0)
        return -1;
    note_skipped(receiver, first, count, state == CHUNK_SKIPPED);
    if (state == CHUNK_UNREADABLE && set_unreadable(receiver, first, count, err) < 0)
        return -1;
    receiver_cover(receiver, first, count);
    return 0;
}

int receiver_run(struct receiver *receiver, uint64_t first, uint64_t count, enum chunk_state state,
                 struct error *err)
{
    if (check(receiver, first, count, err) < 0)
        return -1;
    if (state == CHUNK_DATA)
        return error_set(err, EINVAL, "%s: a run of data", receiver->image_name);
    pthread_mutex_lock(&receiver->lock);
    int result = run(receiver, first, count, state, err);
    pthread_mutex_unlock(&receiver->lock);
    return result;
}

/* --- stable storage --------------------------------------------------------------------------- */

void receiver_seal(struct receiver *receiver)
{
    pthread_mutex_lock(&receiver->commit_lock);
    pthread_mutex_lock(&receiver->lock);
    pool_sources_close(&receiver->sources);
    ledger_seal(receiver->ledger);
    pthread_mutex_unlock(&receiver->lock);
    pthread_mutex_unlock(&receiver->commit_lock);
}

/* The kernel tells of a failed sync once and forgets the data: what the image lacks is unknown. */
static int commit_locked(struct receiver *receiver, struct error *err)
{
    struct error own;

    if (atomic_load(&receiver->has_failed))
        return error_set(err, EIO, "%s: an earlier sync failed", receiver->image_name);
    err = err ? err : &own;
    if (image_flush(receiver->image, err) < 0) {
        atomic_store(&receiver->has_failed, true);
        return -1;
    }
    if (ledger_commit(receiver->ledger, err) == 0)
        return 0;
    if (!error_is_no_space(err))
        atomic_store(&receiver->has_failed, true);
    return -1;
}

int receiver_commit(struct receiver *receiver, struct error *err)
{
    int result;

    pthread_mutex_lock(&receiver->commit_lock);
    result = commit_locked(receiver, err);
    pthread_mutex_unlock(&receiver->commit_lock);
    return result;
}

void receiver_digest(struct receiver *receiver, struct disksum *digest)
{
    pthread_mutex_lock(&receiver->lock);
    *digest = receiver->digest;
    pthread_mutex_unlock(&receiver->lock);
}

void receiver_get_counts(const struct receiver *receiver, struct receiver_counts *counts)
{
    counts->stored_bytes = atomic_load(&receiver->stored_bytes);
    counts->had_bytes = atomic_load(&receiver->had_bytes);
    counts->copied_bytes = atomic_load(&receiver->copied_bytes);
    counts->unreadable_bytes =
        min_u64(atomic_load(&receiver->unreadable_chunks) * CHUNK_SIZE, receiver->size_bytes);
}
