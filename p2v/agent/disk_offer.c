/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What was told about a disk and is not safe yet is kept as a ring of entries, one for a RUN or an
 * OFFER, each with what holds once it is safe: position and digest. A cut is answered by taking
 * those of the last safe entry.
 *
 *      safe | entry entry entry … entry | position
 *             └ oldest          newest ┘
 *
 * The ring is bounded: entries that are done with are joined when it fills. A SAFE in the middle of
 * a joined entry counts for what is before that entry only, which is always right.
 */
#include "p2v/agent/disk_offer.h"

#include "base/checked.h"
#include "base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Entries remembered, and sequences joined into one of them. */
#define MAX_ENTRIES 8192u
#define MAX_JOINED 256u

struct entry {
    uint64_t begin, end; /* sequences [begin, end) */
    uint64_t first;
    uint16_t count;     /* of an OFFER; 0 for a RUN */
    uint16_t missing;   /* wanted and not sent */
    bool is_answered;   /* a RUN always is */
    bool is_repair;     /* of chunk `first` */
    uint64_t sent;      /* bytes of DATA */
    uint64_t position;  /* after it */
    struct disksum sum; /* after it */
};

struct disk_offer {
    uint64_t chunk_count;
    uint64_t sequence; /* the next one */
    uint64_t position;
    struct disksum sum;
    struct extents unreadable; /* in bytes */

    uint64_t safe_sequence, safe_position;
    struct disksum safe_sum;

    uint64_t offered;  /* bytes not answered */
    uint64_t unsafe;   /* bytes sent */
    uint64_t answered; /* offers with a sequence below it are answered */

    struct entry *ring; /* MAX_ENTRIES */
    unsigned head, count;
};

struct disk_offer *disk_offer_new(uint64_t size_bytes, struct error *err)
{
    if (size_bytes == 0 || size_bytes > MANIFEST_MAX_SIZE) {
        error_set(err, ERANGE, "a disk of 0x%" PRIx64 " bytes", size_bytes);
        return NULL;
    }
    struct disk_offer *offer = memory_new(1, sizeof(*offer));
    offer->chunk_count = div_round_up(size_bytes, CHUNK_SIZE);
    offer->ring = memory_new(MAX_ENTRIES, sizeof(*offer->ring));
    return offer;
}

void disk_offer_free(struct disk_offer *offer)
{
    if (!offer)
        return;
    extents_fini(&offer->unreadable);
    free(offer->ring);
    free(offer);
}

void disk_offer_begin_pass(struct disk_offer *offer)
{
    extents_fini(&offer->unreadable);
    offer->position = offer->safe_position = 0;
    offer->sum = offer->safe_sum = (struct disksum){0};
    offer->offered = offer->unsafe = 0;
    offer->answered = offer->sequence;
    offer->head = offer->count = 0;
}

static struct entry *entry_at(const struct disk_offer *offer, unsigned index)
{
    return &offer->ring[(offer->head + index) % MAX_ENTRIES];
}

static bool is_done(const struct entry *entry)
{
    return entry->is_answered && entry->missing == 0;
}

/* Index of the entry that holds the sequence; count when it is newer than all. */
static unsigned find_entry(const struct disk_offer *offer, uint64_t sequence)
{
    unsigned low = 0, high = offer->count;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (entry_at(offer, middle)->end <= sequence)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int disk_offer_reconnect(struct disk_offer *offer, uint64_t *chunk, struct error *err)
{
    for (unsigned i = offer->count; i-- > 0;) {
        const struct entry *entry = entry_at(offer, i);
        if (entry->is_repair &&
            extents_add(&offer->unreadable, entry->first * CHUNK_SIZE, CHUNK_SIZE, err) != 0)
            return -1;
    }
    uint64_t from = offer->safe_position * CHUNK_SIZE;
    uint64_t end = offer->chunk_count * CHUNK_SIZE;
    if (from < end && extents_remove(&offer->unreadable, from, end - from, err) != 0)
        return -1;
    offer->position = offer->safe_position;
    offer->sum = offer->safe_sum;
    offer->sequence = offer->safe_sequence = offer->answered = 0;
    offer->offered = offer->unsafe = 0;
    offer->head = offer->count = 0;
    *chunk = offer->position;
    return 0;
}

/* --- what goes out --- */

static bool can_join(const struct entry *entry, const struct entry *next)
{
    return is_done(entry) && is_done(next) && !entry->is_repair && !next->is_repair &&
           next->end - entry->begin <= MAX_JOINED;
}

static void join_entries(struct disk_offer *offer)
{
    unsigned kept = 0;
    for (unsigned i = 1; i < offer->count; i++) {
        struct entry *last = entry_at(offer, kept), *next = entry_at(offer, i);
        if (can_join(last, next)) {
            last->end = next->end;
            last->sent += next->sent;
            last->position = next->position;
            last->sum = next->sum;
        } else {
            *entry_at(offer, ++kept) = *next;
        }
    }
    if (offer->count)
        offer->count = kept + 1;
}

static bool is_unreadable(const struct disk_offer *offer, uint64_t chunk)
{
    return offer->unreadable.count &&
           extents_touch(&offer->unreadable, chunk * CHUNK_SIZE, CHUNK_SIZE);
}

/* Checks the range, makes room for its entry and takes a repair out of what was told before. */
static int begin_entry(struct disk_offer *offer, uint64_t first, uint64_t count,
                       struct entry *entry, struct error *err)
{
    *entry = (struct entry){.begin = offer->sequence, .end = offer->sequence + 1, .first = first};
    if (count == 0 || !range_is_inside(first, count, offer->chunk_count))
        return error_set(err, ERANGE, "chunks 0x%" PRIx64 " + 0x%" PRIx64, first, count);
    entry->is_repair = first < offer->position && count == 1 && is_unreadable(offer, first);
    if (!entry->is_repair && first != offer->position)
        return error_set(err, EINVAL, "chunk 0x%" PRIx64 " out of turn", first);
    if (offer->count == MAX_ENTRIES)
        join_entries(offer);
    if (offer->count == MAX_ENTRIES)
        return error_set(err, ENOBUFS, "too much is not safe");
    if (!entry->is_repair)
        return 0;
    if (extents_remove(&offer->unreadable, first * CHUNK_SIZE, CHUNK_SIZE, err) != 0)
        return -1;
    disksum_remove(&offer->sum, first, CHUNK_UNREADABLE, NULL);
    return 0;
}

static void end_entry(struct disk_offer *offer, struct entry *entry, uint64_t count)
{
    if (!entry->is_repair)
        offer->position += count;
    entry->position = offer->position;
    entry->sum = offer->sum;
    *entry_at(offer, offer->count++) = *entry;
    offer->sequence++;
}

int disk_offer_run(struct disk_offer *offer, uint64_t first, uint64_t count, enum chunk_state state,
                   uint64_t *sequence, struct error *err)
{
    struct entry entry;
    if (begin_entry(offer, first, count, &entry, err) != 0)
        return -1;
    if (state == CHUNK_UNREADABLE) {
        if (extents_add(&offer->unreadable, first * CHUNK_SIZE, count * CHUNK_SIZE, err) != 0)
            return -1;
        for (uint64_t i = 0; i < count; i++)
            disksum_add(&offer->sum, first + i, state, NULL);
    }
    entry.is_answered = true;
    *sequence = entry.begin;
    end_entry(offer, &entry, count);
    return 0;
}

int disk_offer_names(struct disk_offer *offer, uint64_t first, uint16_t count,
                     const struct chunk_name *names, uint64_t *sequence, struct error *err)
{
    struct entry entry;
    if (count > WIRE_MAX_OFFER)
        return error_set(err, ERANGE, "%u chunks in one offer", count);
    if (begin_entry(offer, first, count, &entry, err) != 0)
        return -1;
    for (uint16_t i = 0; i < count; i++)
        disksum_add(&offer->sum, first + i, CHUNK_DATA, &names[i]);
    entry.count = count;
    offer->offered += (uint64_t)count * CHUNK_SIZE;
    *sequence = entry.begin;
    end_entry(offer, &entry, count);
    return 0;
}

bool disk_offer_may_offer(struct disk_offer *offer, uint16_t count)
{
    if (offer->count == MAX_ENTRIES)
        join_entries(offer);
    return offer->count < MAX_ENTRIES &&
           offer->offered + (uint64_t)count * CHUNK_SIZE <= WIRE_MAX_OFFERED;
}

void disk_offer_sent(struct disk_offer *offer, uint64_t sequence, uint16_t count, uint64_t bytes)
{
    unsigned index = find_entry(offer, sequence);
    if (index == offer->count)
        return;
    struct entry *entry = entry_at(offer, index);
    entry->missing -= count < entry->missing ? count : entry->missing;
    entry->sent += bytes;
    offer->unsafe += bytes;
}

/* --- what comes back --- */

static uint16_t count_bits(const struct wire_want *want)
{
    uint16_t count = 0;
    for (unsigned i = 0; i < want->count; i++)
        count += wire_want_has(want, i);
    return count;
}

/* What is safe and done with is forgotten; the last of it is where to go on from. */
static void drop_safe(struct disk_offer *offer)
{
    while (offer->count > 0) {
        const struct entry *entry = entry_at(offer, 0);
        if (!is_done(entry) || entry->end > offer->safe_sequence)
            return;
        offer->safe_position = entry->position;
        offer->safe_sum = entry->sum;
        offer->unsafe -= entry->sent;
        offer->head = (offer->head + 1) % MAX_ENTRIES;
        offer->count--;
    }
}

int disk_offer_wanted(struct disk_offer *offer, const struct wire_want *want, uint64_t *first,
                      struct error *err)
{
    unsigned index = find_entry(offer, offer->answered);
    while (index < offer->count && entry_at(offer, index)->is_answered)
        index++;
    if (index == offer->count)
        return error_set(err, EPROTO, "WANT %" PRIu64 ": nothing is offered", want->sequence);
    struct entry *entry = entry_at(offer, index);
    if (want->sequence != entry->begin || want->count != entry->count)
        return error_set(err, EPROTO,
                         "WANT %" PRIu64 " for %u chunks, where %" PRIu64 " for %u was due",
                         want->sequence, want->count, entry->begin, entry->count);
    uint16_t missing = count_bits(want);
    if (missing > 0 && entry->begin < offer->safe_sequence)
        return error_set(err, EPROTO, "WANT %" PRIu64 " for what was told safe", want->sequence);
    entry->is_answered = true;
    entry->missing = missing;
    offer->offered -= (uint64_t)entry->count * CHUNK_SIZE;
    offer->answered = entry->end;
    *first = entry->first;
    drop_safe(offer);
    return 0;
}

/* A SAFE may overtake the WANT that asks for nothing: then it counts once that has come. */
int disk_offer_safe(struct disk_offer *offer, const struct wire_safe *safe, struct error *err)
{
    if (safe->sequence < offer->safe_sequence || safe->sequence > offer->sequence)
        return error_set(err, EPROTO, "SAFE %" PRIu64 " after %" PRIu64 ", of %" PRIu64 " told",
                         safe->sequence, offer->safe_sequence, offer->sequence);
    unsigned end = find_entry(offer, safe->sequence);
    for (unsigned i = 0; i < end; i++)
        if (entry_at(offer, i)->missing > 0)
            return error_set(err, EPROTO, "SAFE %" PRIu64 " while %" PRIu64 " is not sent",
                             safe->sequence, entry_at(offer, i)->begin);
    offer->safe_sequence = safe->sequence;
    drop_safe(offer);
    return 0;
}

/* --- what holds now --- */

uint64_t disk_offer_room(const struct disk_offer *offer, uint64_t window_bytes)
{
    return window_bytes > offer->unsafe ? window_bytes - offer->unsafe : 0;
}

uint64_t disk_offer_position(const struct disk_offer *offer)
{
    return offer->position;
}

uint64_t disk_offer_safe_chunk(const struct disk_offer *offer)
{
    return offer->safe_position;
}

bool disk_offer_is_through(const struct disk_offer *offer)
{
    for (unsigned i = offer->count; i-- > 0;)
        if (!is_done(entry_at(offer, i)))
            return false;
    return true;
}

const struct extents *disk_offer_unreadable(const struct disk_offer *offer)
{
    return &offer->unreadable;
}

const struct disksum *disk_offer_digest(const struct disk_offer *offer)
{
    return &offer->sum;
}
