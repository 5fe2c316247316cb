/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Any frames into the server's side of a disk connection, over a store in memory. What the store
 * holds in the end must be what the accepted frames said, last one first; what was refused must
 * have changed nothing.
 *
 * Input: frames, one after the other. A type above the known ones is made of its low bits, and a
 * sequence of all ones becomes the one that is expected, so that mutations get deep.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "p2v/server/disk_session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHUNKS 40u
#define DISK_SIZE ((CHUNKS - 1) * (uint64_t)CHUNK_SIZE + 100)
#define MAX_FRAMES 200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct chunk {
    enum chunk_state state;
    struct chunk_name name;
    uint64_t wanted_by; /* sequence + 1 of the offer that it waits for; 0: none */
};

/* What the store did, and what the frames said. */
struct world {
    struct chunk stored[CHUNKS], said[CHUNKS];
    unsigned calls;
    int fail_errnum;
    uint8_t buffer[WIRE_MAX_PAYLOAD];
    uint64_t next_sequence;
};

static int fail(struct world *world, struct error *err)
{
    int errnum = world->fail_errnum;

    world->fail_errnum = 0;
    return errnum ? error_set(err, errnum, "store") : 0;
}

static void check_range(uint64_t first, uint64_t count)
{
    if (count == 0 || !range_is_inside(first, count, CHUNKS))
        abort();
}

/* A store that has what it was given last, and by itself all names that begin with 0xee. */
static int store_offer(void *context, uint64_t first, size_t count, const struct chunk_name *names,
                       uint8_t *wanted, struct error *err)
{
    struct world *world = context;

    check_range(first, count);
    memset(wanted, 0, div_round_up(count, 8));
    for (size_t i = 0; i < count; i++) {
        struct chunk *chunk = &world->stored[first + i];

        if (names[i].bytes[0] == 0xee)
            *chunk = (struct chunk){.state = CHUNK_DATA, .name = names[i]};
        if (chunk->state != CHUNK_DATA || memcmp(&chunk->name, &names[i], sizeof(*names)) != 0)
            wanted[i / 8] |= (uint8_t)(1u << i % 8);
    }
    return fail(world, err);
}

static int store_run(void *context, uint64_t first, uint64_t count, enum chunk_state state,
                     struct error *err)
{
    struct world *world = context;

    check_range(first, count);
    for (uint64_t i = first; i < first + count; i++)
        world->stored[i] = (struct chunk){.state = state};
    return fail(world, err);
}

/* Reads all of the data, so that a sanitizer sees what is not there. */
static int store_store(void *context, uint64_t first, size_t count, const struct chunk_name *names,
                       const void *data, size_t length, struct error *err)
{
    struct world *world = context;

    check_range(first, count);
    if (length != min_u64((first + count) * CHUNK_SIZE, DISK_SIZE) - first * CHUNK_SIZE)
        abort();
    if (fail(world, err) < 0)
        return -1;
    world->calls += bytes_are_zero(data, length) ? 1 : 2;
    for (size_t i = 0; i < count; i++)
        world->stored[first + i] = (struct chunk){.state = CHUNK_DATA, .name = names[i]};
    return 0;
}

static void store_digest(void *context, struct disksum *digest)
{
    const struct world *world = context;

    *digest = (struct disksum){0};
    for (uint64_t i = 0; i < CHUNKS; i++)
        disksum_add(digest, i, world->stored[i].state, &world->stored[i].name);
}

/* --- what accepted frames mean */

static void note_run(struct world *world, const uint8_t *payload, size_t length)
{
    struct wire_run run;

    if (wire_run_decode(payload, length, &run, NULL) != 0)
        abort();
    check_range(run.first, run.count);
    for (uint64_t i = run.first; i < run.first + run.count; i++)
        world->said[i] = (struct chunk){.state = run.state};
    world->next_sequence++;
}

static void note_offer(struct world *world, const uint8_t *payload, size_t length,
                       const struct text *answer)
{
    struct wire_offer offer;
    struct wire_want want;

    if (wire_offer_decode(payload, length, &offer, NULL) != 0 ||
        answer->length <= WIRE_HEADER_SIZE ||
        wire_want_decode((const uint8_t *)answer->data + WIRE_HEADER_SIZE,
                         answer->length - WIRE_HEADER_SIZE, &want, NULL) != 0 ||
        want.sequence != offer.sequence || want.count != offer.count)
        abort();
    for (unsigned i = 0; i < offer.count; i++)
        world->said[offer.first + i] =
            (struct chunk){.state = CHUNK_DATA,
                           .name = offer.names[i],
                           .wanted_by = wire_want_has(&want, i) ? offer.sequence + 1 : 0};
    world->next_sequence++;
}

static void note_data(struct world *world, const uint8_t *payload, size_t length)
{
    struct wire_data data;

    if (wire_data_decode(payload, length, &data, NULL) != 0)
        abort();
    for (unsigned i = 0; i < data.count; i++) {
        struct chunk *chunk = &world->said[data.first + i];

        if (chunk->wanted_by == data.sequence + 1)
            chunk->wanted_by = 0;
    }
}

static void compare(const struct world *world, const struct disk_session *session)
{
    uint64_t complete = world->next_sequence;

    for (unsigned i = 0; i < CHUNKS; i++) {
        const struct chunk *said = &world->said[i], *stored = &world->stored[i];

        if (said->wanted_by)
            complete = min_u64(complete, said->wanted_by - 1);
        else if (said->state != stored->state ||
                 memcmp(&said->name, &stored->name, sizeof(said->name)) != 0)
            abort();
    }
    /* Data that was replaced is waited for too. */
    if (disk_session_complete(session) > complete)
        abort();
}

/* --- frames */

static void patch_sequence(struct world *world, enum wire_type type, size_t length)
{
    if (type != WIRE_PASS && length >= 8 && load_le64(world->buffer) == UINT64_MAX)
        store_le64(world->buffer, world->next_sequence - (type == WIRE_DATA));
}

static void note(struct world *world, struct disk_session *session, enum wire_type type,
                 size_t length, const struct text *answer, enum disk_session_event event)
{
    AUTO(text) out = {0};
    bool is_same, is_last;

    if (type == WIRE_RUN)
        note_run(world, world->buffer, length);
    else if (type == WIRE_OFFER)
        note_offer(world, world->buffer, length, answer);
    else if (type == WIRE_DATA)
        note_data(world, world->buffer, length);
    if (event == DISK_SESSION_PASS_ENDED) {
        if (disk_session_complete(session) != world->next_sequence)
            abort();
        disk_session_passed(session, &out, &is_same, &is_last);
    }
    compare(world, session);
}

/* False when the connection is to end. */
static bool feed(struct world *world, struct disk_session *session, enum wire_type type,
                 size_t length, bool is_full)
{
    enum disk_session_event event;
    AUTO(text) answer = {0};
    struct error err = {0};
    unsigned calls = world->calls;
    int result;

    patch_sequence(world, type, length);
    world->fail_errnum = is_full ? ENOSPC : 0;
    result = disk_session_feed(session, type, world->buffer, length, &answer, &event, &err);
    if (result < 0 && err.errnum == ENOSPC) {
        if (answer.length)
            abort();
        result = disk_session_feed(session, type, world->buffer, length, &answer, &event, &err);
    }
    world->fail_errnum = 0;
    if (result == 0)
        note(world, session, type, length, &answer, event);
    else if (err.errnum != EPROTO || world->calls != calls)
        abort();
    return result == 0;
}

static size_t take_frame(struct world *world, struct disk_session *session, const uint8_t *data,
                         size_t size, bool *goes_on)
{
    static const enum wire_type types[] = {WIRE_RUN, WIRE_OFFER, WIRE_DATA, WIRE_PASS};
    size_t length = (size_t)min_u64(load_le32(data), min_u64(size - 8, WIRE_MAX_PAYLOAD));
    enum wire_type type = data[4] < WIRE_TYPE_END ? data[4] : types[data[4] % 4];

    memcpy(world->buffer, data + 8, length);
    *goes_on = feed(world, session, type, length, data[5] & 1);
    return 8 + length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    struct disk_store store = {store_offer, store_run, store_store, store_digest, &world, NULL};
    AUTO_PTR(disk_session) session = disk_session_new(DISK_SIZE, &store, NULL);
    bool goes_on = session != NULL;

    memset(&world, 0, offsetof(struct world, buffer));
    world.next_sequence = 0;
    for (unsigned i = 0; goes_on && i < MAX_FRAMES && size > 8; i++) {
        size_t used = take_frame(&world, session, data, size, &goes_on);

        data += used;
        size -= used;
    }
    return 0;
}
