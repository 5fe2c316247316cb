/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The rules of a disk connection. What the agent may send next follows from three things: the
 * number of the next RUN or OFFER, the queue of chunks that were wanted and have not arrived, and
 * whether a PASS waits for them. Nothing of this changes before the store has done its part, so a
 * frame that failed for want of space can be fed again.
 */
#include "p2v/server/disk_session.h"

#include "base/checked.h"
#include "p2v/server/disk_inflate.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 128 MiB wanted and not yet here; one OFFER may pass it before it is refused. */
#define MAX_WANTED 2048u
#define QUEUE_SIZE (MAX_WANTED + WIRE_MAX_OFFER)

struct wanted {
    uint64_t sequence, index;
    struct chunk_name name;
    bool is_replaced; /* by a later OFFER or RUN: its data is not stored any more */
};

struct disk_session {
    uint64_t size_bytes, chunk_count;
    struct disk_store store;
    uint64_t next_sequence;
    struct wanted queue[QUEUE_SIZE]; /* a ring */
    size_t head, count;
    uint64_t last_wanted; /* highest index ever in the queue: later ones replace nothing */
    uint64_t position;
    struct disk_inflate inflate;
    bool has_pass, is_pass_told, is_resumed;
    struct wire_pass pass;
};

__attribute__((format(printf, 2, 3))) static int breach(struct error *err, const char *format, ...)
{
    char text[256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    error_set(err, 0, "%s", text);
    err->errnum = EPROTO;
    return -1;
}

/* A decoder has said what was wrong. */
static int breach_of(struct error *err)
{
    err->errnum = EPROTO;
    return -1;
}

struct disk_session *disk_session_new(uint64_t size_bytes, const struct disk_store *store,
                                      struct error *err)
{
    struct disk_session *session;

    if (size_bytes == 0 || size_bytes > MANIFEST_MAX_SIZE) {
        error_set(err, EINVAL, "a disk of %llu bytes", (unsigned long long)size_bytes);
        return NULL;
    }
    session = calloc(1, sizeof(*session));
    if (!session) {
        error_set(err, ENOMEM, "disk session");
        return NULL;
    }
    session->size_bytes = size_bytes;
    session->chunk_count = div_round_up(size_bytes, CHUNK_SIZE);
    session->store = *store;
    return session;
}

void disk_session_free(struct disk_session *session)
{
    if (!session)
        return;
    disk_inflate_fini(&session->inflate);
    free(session);
}

/* --- the queue ------------------------------------------------------------------------------ */

static struct wanted *queue_at(struct disk_session *session, size_t i)
{
    return &session->queue[(session->head + i) % QUEUE_SIZE];
}

static void queue_add(struct disk_session *session, uint64_t sequence, uint64_t index,
                      const struct chunk_name *name)
{
    *queue_at(session, session->count++) =
        (struct wanted){.sequence = sequence, .index = index, .name = *name};
    session->last_wanted = max_u64(session->last_wanted, index);
}

/* What was wanted there before is not what the source holds any more. */
static void queue_replace(struct disk_session *session, uint64_t first, uint64_t count)
{
    if (first > session->last_wanted)
        return;
    for (size_t i = 0; i < session->count; i++) {
        struct wanted *wanted = queue_at(session, i);

        if (wanted->index >= first && wanted->index - first < count)
            wanted->is_replaced = true;
    }
}

static void queue_remove(struct disk_session *session, size_t count)
{
    session->head = (session->head + count) % QUEUE_SIZE;
    session->count -= count;
}

/* --- RUN, OFFER ----------------------------------------------------------------------------- */

static uint64_t bytes_of(const struct disk_session *session, uint64_t first, uint64_t count)
{
    return min_u64((first + count) * CHUNK_SIZE, session->size_bytes) - first * CHUNK_SIZE;
}

static int check_next(const struct disk_session *session, const char *what, uint64_t sequence,
                      uint64_t first, uint64_t count, struct error *err)
{
    if (session->has_pass)
        return breach(err, "%s after PASS and before PASSED", what);
    if (sequence != session->next_sequence)
        return breach(err, "%s: sequence is %llu, not %llu", what, (unsigned long long)sequence,
                      (unsigned long long)session->next_sequence);
    if (!range_is_inside(first, count, session->chunk_count))
        return breach(err, "%s: %llu chunks from %llu on, of %llu", what, (unsigned long long)count,
                      (unsigned long long)first, (unsigned long long)session->chunk_count);
    return 0;
}

static void note_frame(struct disk_session *session, uint64_t first)
{
    if (session->next_sequence++ == 0)
        session->is_resumed = first > 0;
}

static int feed_run(struct disk_session *session, const uint8_t *payload, size_t length,
                    struct error *err)
{
    struct wire_run run;

    if (wire_run_decode(payload, length, &run, err) < 0)
        return breach_of(err);
    if (check_next(session, "RUN", run.sequence, run.first, run.count, err) < 0 ||
        session->store.run(session->store.context, run.first, run.count, run.state, err) < 0)
        return -1;
    queue_replace(session, run.first, run.count);
    note_frame(session, run.first);
    if (run.state != CHUNK_SKIPPED)
        session->position += bytes_of(session, run.first, run.count);
    return 0;
}

static unsigned count_wanted(const struct wire_want *want)
{
    unsigned count = 0;

    for (unsigned i = 0; i < want->count; i++)
        count += wire_want_has(want, i);
    return count;
}

/* The store has answered: remembers what is to come. */
static void take_offer(struct disk_session *session, const struct wire_offer *offer,
                       const struct wire_want *want)
{
    queue_replace(session, offer->first, offer->count);
    for (unsigned i = 0; i < offer->count; i++) {
        if (wire_want_has(want, i))
            queue_add(session, offer->sequence, offer->first + i, &offer->names[i]);
        else
            session->position += bytes_of(session, offer->first + i, 1);
    }
    note_frame(session, offer->first);
}

static int answer_offer(struct disk_session *session, const struct wire_offer *offer,
                        struct text *out, struct error *err)
{
    struct wire_want want = {.sequence = offer->sequence, .count = offer->count};

    if (check_next(session, "OFFER", offer->sequence, offer->first, offer->count, err) < 0 ||
        session->store.offer(session->store.context, offer->first, offer->count, offer->names,
                             want.bits, err) < 0)
        return -1;
    if (session->count + count_wanted(&want) > MAX_WANTED)
        return breach(err, "OFFER: more than %u chunks are wanted and were not sent", MAX_WANTED);
    take_offer(session, offer, &want);
    wire_want_encode(&want, out);
    return 0;
}

static int feed_offer(struct disk_session *session, const uint8_t *payload, size_t length,
                      struct text *out, struct error *err)
{
    struct wire_offer offer;

    if (wire_offer_decode(payload, length, &offer, err) < 0)
        return breach_of(err);
    return answer_offer(session, &offer, out, err);
}

/* --- DATA ----------------------------------------------------------------------------------- */

/* The chunks must be the next wanted ones. */
static int check_data(struct disk_session *session, const struct wire_data *data, struct error *err)
{
    for (unsigned i = 0; i < data->count; i++) {
        const struct wanted *wanted = queue_at(session, i);

        if (i >= session->count || wanted->sequence != data->sequence ||
            wanted->index != data->first + i)
            return breach(err, "DATA: chunk %llu of sequence %llu is not the next one wanted",
                          (unsigned long long)(data->first + i),
                          (unsigned long long)data->sequence);
    }
    return 0;
}

struct arrived {
    size_t lengths[WIRE_MAX_DATA];
    struct chunk_name names[WIRE_MAX_DATA];
    bool is_replaced[WIRE_MAX_DATA];
};

/* From chunk i of the frame on, all that are stored or all that are not: returns where that ends.
 */
static unsigned end_of_part(const struct arrived *arrived, unsigned i, unsigned count,
                            size_t *length)
{
    bool is_replaced = arrived->is_replaced[i];

    for (*length = 0; i < count && arrived->is_replaced[i] == is_replaced; i++)
        *length += arrived->lengths[i];
    return i;
}

static int store_arrived(struct disk_session *session, const struct wire_data *data,
                         const struct arrived *arrived, const uint8_t *content, struct error *err)
{
    for (unsigned i = 0, end; i < data->count; i = end) {
        size_t length;

        end = end_of_part(arrived, i, data->count, &length);
        if (!arrived->is_replaced[i] &&
            session->store.store(session->store.context, data->first + i, end - i,
                                 arrived->names + i, content, length, err) < 0)
            return -1;
        content += length;
    }
    return 0;
}

static int take_data(struct disk_session *session, const struct wire_data *data, struct error *err)
{
    struct arrived arrived;
    const uint8_t *content;

    if (check_data(session, data, err) < 0)
        return -1;
    for (unsigned i = 0; i < data->count; i++) {
        const struct wanted *wanted = queue_at(session, i);

        arrived.lengths[i] = (size_t)bytes_of(session, wanted->index, 1);
        arrived.names[i] = wanted->name;
        arrived.is_replaced[i] = wanted->is_replaced;
    }
    content = disk_inflate_all(&session->inflate, data, arrived.lengths, err);
    if (!content || store_arrived(session, data, &arrived, content, err) < 0)
        return -1;
    for (unsigned i = 0; i < data->count; i++)
        session->position += arrived.is_replaced[i] ? 0 : arrived.lengths[i];
    queue_remove(session, data->count);
    return 0;
}

static int feed_data(struct disk_session *session, const uint8_t *payload, size_t length,
                     struct error *err)
{
    struct wire_data data;

    if (wire_data_decode(payload, length, &data, err) < 0)
        return breach_of(err);
    return take_data(session, &data, err);
}

/* --- PASS ----------------------------------------------------------------------------------- */

static int feed_pass(struct disk_session *session, const uint8_t *payload, size_t length,
                     struct error *err)
{
    struct wire_pass pass;

    if (wire_pass_decode(payload, length, &pass, err) < 0)
        return breach_of(err);
    if (session->has_pass)
        return breach(err, "PASS after PASS and before PASSED");
    session->pass = pass;
    session->has_pass = true;
    return 0;
}

void disk_session_passed(struct disk_session *session, struct text *out, bool *is_same,
                         bool *is_last)
{
    struct wire_passed passed = {.pass = session->pass.pass};
    struct disksum digest = {0}, theirs;

    memcpy(theirs.bytes, session->pass.digest, sizeof(theirs.bytes));
    session->store.digest(session->store.context, &digest);
    memcpy(passed.digest, digest.bytes, sizeof(passed.digest));
    bool is_all = !session->store.end_pass || session->store.end_pass(session->store.context);
    passed.is_different = !is_all || !disksum_is_equal(&digest, &theirs);
    wire_passed_encode(&passed, out);
    *is_same = !passed.is_different;
    *is_last = session->pass.is_last;
    session->has_pass = session->is_pass_told = false;
    session->position = 0;
}

/* --- all of them ---------------------------------------------------------------------------- */

static int feed(struct disk_session *session, enum wire_type type, const uint8_t *payload,
                size_t length, struct text *out, struct error *err)
{
    switch (type) {
    case WIRE_RUN:
        return feed_run(session, payload, length, err);
    case WIRE_OFFER:
        return feed_offer(session, payload, length, out, err);
    case WIRE_DATA:
        return feed_data(session, payload, length, err);
    case WIRE_PASS:
        return feed_pass(session, payload, length, err);
    default:
        return breach(err, "%s does not belong here", wire_type_name(type));
    }
}

int disk_session_feed(struct disk_session *session, enum wire_type type, const uint8_t *payload,
                      size_t length, struct text *out, enum disk_session_event *event,
                      struct error *err)
{
    struct error own; /* the caller may not want one; those above always have one */

    *event = DISK_SESSION_GOES_ON;
    if (feed(session, type, payload, length, out, err ? err : &own) < 0)
        return -1;
    if (session->has_pass && session->count == 0 && !session->is_pass_told) {
        session->is_pass_told = true;
        *event = DISK_SESSION_PASS_ENDED;
    }
    return 0;
}

uint64_t disk_session_complete(const struct disk_session *session)
{
    return session->count ? session->queue[session->head].sequence : session->next_sequence;
}

bool disk_session_is_resumed(const struct disk_session *session)
{
    return session->is_resumed;
}

uint64_t disk_session_position(const struct disk_session *session)
{
    return session->position;
}
