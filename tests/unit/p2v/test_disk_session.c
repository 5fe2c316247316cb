/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The rules of a disk connection, over a store in memory: what is allowed arrives, what is not is
 * refused before it changes anything.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "p2v/server/disk_session.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include <cmocka.h>

#define CHUNKS 3000u
#define DISK_SIZE ((CHUNKS - 1) * (uint64_t)CHUNK_SIZE + 1000)

struct fixture {
    struct disk_session *session;
    struct chunk_name names[CHUNKS]; /* what the store says is there; zeroes: nothing */
    uint8_t first_byte[CHUNKS];
    enum chunk_state states[CHUNKS];
    unsigned stores; /* calls */
    int fail_errnum; /* of the next call */
    struct disksum digest;
    struct text out;
    enum disk_session_event event;
    struct error err;
    uint8_t chunks[WIRE_MAX_DATA][CHUNK_SIZE];
    uint8_t frames[WIRE_MAX_DATA][ZSTD_COMPRESSBOUND(CHUNK_SIZE)];
};

static int fail_once(struct fixture *fixture, struct error *err)
{
    int errnum = fixture->fail_errnum;

    fixture->fail_errnum = 0;
    return errnum ? error_set(err, errnum, "store") : 0;
}

static int store_offer(void *context, uint64_t first, size_t count, const struct chunk_name *names,
                       uint8_t *wanted, struct error *err)
{
    struct fixture *fixture = context;

    memset(wanted, 0, div_round_up(count, 8));
    for (size_t i = 0; i < count; i++) {
        if (memcmp(&fixture->names[first + i], &names[i], sizeof(*names)) != 0)
            wanted[i / 8] |= (uint8_t)(1u << i % 8);
    }
    return fail_once(fixture, err);
}

static int store_run(void *context, uint64_t first, uint64_t count, enum chunk_state state,
                     struct error *err)
{
    struct fixture *fixture = context;

    for (uint64_t i = first; i < first + count; i++) {
        memset(&fixture->names[i], 0, sizeof(fixture->names[i]));
        fixture->states[i] = state;
    }
    return fail_once(fixture, err);
}

static int store_store(void *context, uint64_t first, size_t count, const struct chunk_name *names,
                       const void *data, size_t length, struct error *err)
{
    struct fixture *fixture = context;

    if (fail_once(fixture, err) < 0)
        return -1;
    fixture->stores++;
    assert_int_equal(length, min_u64((first + count) * CHUNK_SIZE, DISK_SIZE) - first * CHUNK_SIZE);
    for (size_t i = 0; i < count; i++) {
        fixture->names[first + i] = names[i];
        fixture->first_byte[first + i] = ((const uint8_t *)data)[i * CHUNK_SIZE];
        fixture->states[first + i] = CHUNK_DATA;
    }
    return 0;
}

static void store_digest(void *context, struct disksum *digest)
{
    const struct fixture *fixture = context;

    *digest = fixture->digest;
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct disk_store store = {store_offer, store_run, store_store, store_digest, fixture, NULL};

    fixture->session = disk_session_new(DISK_SIZE, &store, &fixture->err);
    assert_non_null(fixture->session);
    for (unsigned i = 0; i < WIRE_MAX_DATA; i++)
        memset(fixture->chunks[i], 'a' + (int)i, CHUNK_SIZE);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    disk_session_free(fixture->session);
    text_fini(&fixture->out);
    free(fixture);
    return 0;
}

/* --- frames */

static int feed(struct fixture *fixture, const struct text *frame)
{
    const uint8_t *bytes = (const uint8_t *)frame->data;
    struct wire_header header;

    assert_int_equal(wire_header_decode(bytes, &header, NULL), 0);
    text_fini(&fixture->out);
    fixture->out = (struct text){0};
    fixture->err.errnum = 0;
    return disk_session_feed(fixture->session, header.type, bytes + WIRE_HEADER_SIZE, header.length,
                             &fixture->out, &fixture->event, &fixture->err);
}

static int run(struct fixture *fixture, uint64_t sequence, uint64_t first, uint64_t count,
               enum chunk_state kind)
{
    struct wire_run message = {sequence, first, count, kind};
    AUTO(text) frame = {0};

    wire_run_encode(&message, &frame);
    return feed(fixture, &frame);
}

/* Chunk i has the name { version, i }. */
static int offer(struct fixture *fixture, uint64_t sequence, uint64_t first, uint16_t count,
                 uint8_t version)
{
    struct wire_offer message = {.sequence = sequence, .first = first, .count = count};
    AUTO(text) frame = {0};

    for (unsigned i = 0; i < count; i++) {
        message.names[i].bytes[0] = version;
        store_le64(message.names[i].bytes + 8, first + i);
    }
    wire_offer_encode(&message, &frame);
    return feed(fixture, &frame);
}

static int feed_data(struct fixture *fixture, const struct wire_data *message)
{
    uint8_t head[WIRE_DATA_HEAD_SIZE];
    AUTO(text) frame = {0};

    text_add_bytes(&frame, head, wire_data_encode_head(message, head));
    for (unsigned i = 0; i < message->count; i++)
        text_add_bytes(&frame, message->parts[i].data, message->parts[i].length);
    return feed(fixture, &frame);
}

static void make_data(struct fixture *fixture, struct wire_data *message, uint64_t sequence,
                      uint64_t first, uint16_t count)
{
    *message = (struct wire_data){.sequence = sequence, .first = first, .count = count};
    for (unsigned i = 0; i < count; i++) {
        message->parts[i].data = fixture->chunks[i];
        message->parts[i].length =
            (uint32_t)min_u64(CHUNK_SIZE, DISK_SIZE - (first + i) * CHUNK_SIZE);
    }
}

static int data(struct fixture *fixture, uint64_t sequence, uint64_t first, uint16_t count)
{
    struct wire_data message;

    make_data(fixture, &message, sequence, first, count);
    return feed_data(fixture, &message);
}

/* As `data`, each chunk as a zstd frame. */
static void compress(struct fixture *fixture, struct wire_data *message)
{
    message->encoding = WIRE_ZSTD;
    for (unsigned i = 0; i < message->count; i++) {
        size_t length = ZSTD_compress(fixture->frames[i], sizeof(fixture->frames[i]),
                                      message->parts[i].data, message->parts[i].length, 1);

        message->parts[i].data = fixture->frames[i];
        message->parts[i].length = (uint32_t)length;
    }
}

static int pass(struct fixture *fixture, bool is_last)
{
    struct wire_pass message = {.pass = 3, .is_last = is_last};
    AUTO(text) frame = {0};

    wire_pass_encode(&message, &frame);
    return feed(fixture, &frame);
}

#define assert_breach(fixture, call)                                                               \
    do {                                                                                           \
        assert_int_equal(call, -1);                                                                \
        assert_int_equal((fixture)->err.errnum, EPROTO);                                           \
    } while (0)

/* --- what is allowed */

static void test_an_offer_is_answered_with_what_is_wanted(void **state)
{
    struct fixture *fixture = *state;
    struct wire_want want;

    fixture->names[11].bytes[0] = 1;
    store_le64(fixture->names[11].bytes + 8, 11);
    assert_int_equal(offer(fixture, 0, 10, 3, 1), 0);
    assert_int_equal(fixture->out.data[4], WIRE_WANT);
    assert_int_equal(wire_want_decode((uint8_t *)fixture->out.data + WIRE_HEADER_SIZE,
                                      fixture->out.length - WIRE_HEADER_SIZE, &want, NULL),
                     0);
    assert_int_equal(want.sequence, 0);
    assert_int_equal(want.count, 3);
    assert_true(wire_want_has(&want, 0) && !wire_want_has(&want, 1) && wire_want_has(&want, 2));
    assert_int_equal(data(fixture, 0, 10, 1), 0);
    assert_int_equal(data(fixture, 0, 12, 1), 0);
    assert_int_equal(fixture->states[10], CHUNK_DATA);
    assert_int_equal(disk_session_position(fixture->session), 3 * CHUNK_SIZE);
}

static void test_complete_is_the_first_sequence_that_lacks_data(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(disk_session_complete(fixture->session), 0);
    assert_int_equal(run(fixture, 0, 0, 10, CHUNK_SKIPPED), 0);
    assert_int_equal(disk_session_complete(fixture->session), 1);
    assert_int_equal(offer(fixture, 1, 10, 20, 1), 0);
    assert_int_equal(run(fixture, 2, 30, 10, CHUNK_ZERO), 0);
    assert_int_equal(disk_session_complete(fixture->session), 1);
    assert_int_equal(data(fixture, 1, 10, 16), 0);
    assert_int_equal(disk_session_complete(fixture->session), 1);
    assert_int_equal(data(fixture, 1, 26, 4), 0);
    assert_int_equal(disk_session_complete(fixture->session), 3);
}

static void test_the_chunks_of_a_frame_are_stored_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct wire_data message;

    assert_int_equal(offer(fixture, 0, 100, 32, 1), 0);
    assert_int_equal(data(fixture, 0, 100, 16), 0);
    assert_int_equal(fixture->stores, 1);
    make_data(fixture, &message, 0, 116, 16);
    compress(fixture, &message);
    message.parts[3] = (struct wire_part){fixture->chunks[3], CHUNK_SIZE}; /* as it is */
    assert_int_equal(feed_data(fixture, &message), 0);
    assert_int_equal(fixture->stores, 2);
    for (unsigned i = 0; i < 32; i++)
        assert_int_equal(fixture->first_byte[100 + i], 'a' + (int)(i % 16));
}

static void test_the_short_last_chunk_is_stored_with_its_own_length(void **state)
{
    struct fixture *fixture = *state;
    struct wire_data message;

    assert_int_equal(offer(fixture, 0, CHUNKS - 2, 2, 1), 0);
    make_data(fixture, &message, 0, CHUNKS - 2, 2);
    assert_int_equal(message.parts[1].length, 1000);
    compress(fixture, &message);
    assert_int_equal(feed_data(fixture, &message), 0);
    assert_int_equal(disk_session_position(fixture->session), CHUNK_SIZE + 1000);
}

static void test_a_later_offer_or_run_replaces_what_was_wanted(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(offer(fixture, 0, 10, 4, 1), 0);
    assert_int_equal(offer(fixture, 1, 11, 1, 2), 0);
    assert_int_equal(run(fixture, 2, 12, 1, CHUNK_ZERO), 0);
    assert_int_equal(data(fixture, 0, 10, 4), 0);
    assert_int_equal(fixture->states[10], CHUNK_DATA);
    assert_int_equal(fixture->states[11], CHUNK_SKIPPED); /* not yet */
    assert_int_equal(fixture->states[12], CHUNK_ZERO);
    assert_int_equal(fixture->states[13], CHUNK_DATA);
    assert_int_equal(fixture->first_byte[13], 'd');
    assert_int_equal(data(fixture, 1, 11, 1), 0);
    assert_int_equal(fixture->names[11].bytes[0], 2);
}

static void test_a_pass_ends_when_its_data_is_there(void **state)
{
    struct fixture *fixture = *state;
    struct wire_passed passed;
    bool is_same, is_last;

    assert_int_equal(offer(fixture, 0, 0, 1, 1), 0);
    assert_int_equal(pass(fixture, true), 0);
    assert_int_equal(fixture->event, DISK_SESSION_GOES_ON);
    assert_int_equal(data(fixture, 0, 0, 1), 0);
    assert_int_equal(fixture->event, DISK_SESSION_PASS_ENDED);
    disk_session_passed(fixture->session, &fixture->out, &is_same, &is_last);
    assert_true(is_same && is_last);
    assert_int_equal(wire_passed_decode((uint8_t *)fixture->out.data + WIRE_HEADER_SIZE,
                                        fixture->out.length - WIRE_HEADER_SIZE, &passed, NULL),
                     0);
    assert_int_equal(passed.pass, 3);
    assert_false(passed.is_different);
    assert_int_equal(disk_session_position(fixture->session), 0);
    assert_int_equal(run(fixture, 1, 0, CHUNKS, CHUNK_ZERO), 0); /* the next pass */
    assert_int_equal(pass(fixture, false), 0);
    assert_int_equal(fixture->event, DISK_SESSION_PASS_ENDED);
}

static void test_a_pass_of_another_digest_is_different(void **state)
{
    struct fixture *fixture = *state;
    bool is_same, is_last;

    fixture->digest.bytes[5] = 1;
    assert_int_equal(pass(fixture, false), 0);
    disk_session_passed(fixture->session, &fixture->out, &is_same, &is_last);
    assert_false(is_same);
    assert_false(is_last);
}

static void test_without_space_every_frame_can_be_fed_again(void **state)
{
    struct fixture *fixture = *state;

    fixture->fail_errnum = ENOSPC;
    assert_int_equal(run(fixture, 0, 0, 10, CHUNK_ZERO), -1);
    assert_int_equal(fixture->err.errnum, ENOSPC);
    assert_int_equal(run(fixture, 0, 0, 10, CHUNK_ZERO), 0);
    fixture->fail_errnum = ENOSPC;
    assert_int_equal(offer(fixture, 1, 10, 2, 1), -1);
    assert_int_equal(fixture->out.length, 0);
    assert_int_equal(offer(fixture, 1, 10, 2, 1), 0);
    fixture->fail_errnum = EDQUOT;
    assert_int_equal(data(fixture, 1, 10, 2), -1);
    assert_int_equal(fixture->err.errnum, EDQUOT);
    assert_int_equal(disk_session_complete(fixture->session), 1);
    assert_int_equal(data(fixture, 1, 10, 2), 0);
    assert_int_equal(disk_session_complete(fixture->session), 2);
}

/* --- what is not */

static void test_sequences_have_no_gaps(void **state)
{
    struct fixture *fixture = *state;

    assert_breach(fixture, run(fixture, 1, 0, 1, CHUNK_ZERO));
    assert_breach(fixture, offer(fixture, 1, 0, 1, 1));
    assert_int_equal(run(fixture, 0, 0, 1, CHUNK_ZERO), 0);
    assert_breach(fixture, run(fixture, 0, 0, 1, CHUNK_ZERO)); /* a replay */
}

static void test_chunks_outside_of_the_disk_are_a_breach(void **state)
{
    struct fixture *fixture = *state;

    assert_breach(fixture, run(fixture, 0, CHUNKS, 1, CHUNK_ZERO));
    assert_breach(fixture, run(fixture, 0, 0, CHUNKS + 1, CHUNK_ZERO));
    assert_breach(fixture, run(fixture, 0, UINT64_MAX, 2, CHUNK_ZERO));
    assert_breach(fixture, offer(fixture, 0, CHUNKS - 1, 2, 1));
    assert_breach(fixture, offer(fixture, 0, (uint64_t)1 << 60, 2, 1));
}

static void test_data_that_is_not_the_next_wanted_is_a_breach(void **state)
{
    struct fixture *fixture = *state;

    assert_breach(fixture, data(fixture, 0, 0, 1));
    assert_int_equal(offer(fixture, 0, 10, 8, 1), 0);
    assert_breach(fixture, data(fixture, 0, 11, 1)); /* out of order */
    assert_breach(fixture, data(fixture, 1, 10, 1)); /* of another offer */
    assert_breach(fixture, data(fixture, 0, 10, 9)); /* more than was wanted */
    assert_int_equal(data(fixture, 0, 10, 4), 0);
    assert_breach(fixture, data(fixture, 0, 10, 4)); /* a replay */
    assert_int_equal(fixture->stores, 1);
    assert_int_equal(data(fixture, 0, 14, 4), 0);
    assert_breach(fixture, data(fixture, 0, 18, 1));
}

static void test_a_frame_does_not_reach_into_the_next_offer(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(offer(fixture, 0, 10, 2, 1), 0);
    assert_int_equal(offer(fixture, 1, 12, 2, 1), 0);
    assert_breach(fixture, data(fixture, 0, 10, 4));
    assert_int_equal(fixture->stores, 0);
}

static void test_a_chunk_of_another_length_is_a_breach(void **state)
{
    struct fixture *fixture = *state;
    struct wire_data message;

    assert_int_equal(offer(fixture, 0, CHUNKS - 2, 2, 1), 0);
    make_data(fixture, &message, 0, CHUNKS - 2, 2);
    message.parts[0].length--;
    assert_breach(fixture, feed_data(fixture, &message));
    message.parts[0].length++;
    message.parts[1].length++;
    assert_breach(fixture, feed_data(fixture, &message));
    assert_int_equal(fixture->stores, 0);
}

static void assert_bad_frame(struct fixture *fixture, struct wire_data *message, size_t length)
{
    message->parts[0] = (struct wire_part){fixture->frames[0], (uint32_t)length};
    assert_breach(fixture, feed_data(fixture, message));
    assert_int_equal(fixture->stores, 0);
}

static void test_a_zstd_frame_that_is_not_exactly_the_chunk_is_a_breach(void **state)
{
    static const uint8_t larger[4 * CHUNK_SIZE];
    struct fixture *fixture = *state;
    uint8_t *frame = fixture->frames[0];
    size_t size = sizeof(fixture->frames[0]), length;
    struct wire_data message;
    ZSTD_CCtx *encoder = ZSTD_createCCtx();

    assert_int_equal(offer(fixture, 0, 0, 1, 1), 0);
    make_data(fixture, &message, 0, 0, 1);
    message.encoding = WIRE_ZSTD;
    length = ZSTD_compress(frame, size, larger, sizeof(larger), 1);
    assert_bad_frame(fixture, &message, length); /* expands beyond the chunk */
    length = ZSTD_compress(frame, size, larger, CHUNK_SIZE - 1, 1);
    assert_bad_frame(fixture, &message, length);
    ZSTD_CCtx_setParameter(encoder, ZSTD_c_contentSizeFlag, 0);
    length = ZSTD_compress2(encoder, frame, size, larger, CHUNK_SIZE);
    assert_bad_frame(fixture, &message, length); /* does not say its size */
    length = ZSTD_compress(frame, size, larger, CHUNK_SIZE, 1);
    assert_bad_frame(fixture, &message, length - 1);
    frame[length] = 0;
    assert_bad_frame(fixture, &message, length + 1);
    memcpy(frame + length, frame, length);
    assert_bad_frame(fixture, &message, 2 * length); /* two frames */
    assert_bad_frame(fixture, &message, 3);
    store_le32(frame, 0x184d2a50); /* a skippable frame */
    store_le32(frame + 4, 1);
    assert_bad_frame(fixture, &message, 9);
    length = ZSTD_compress(frame, size, larger, CHUNK_SIZE, 1);
    message.parts[0].length = (uint32_t)length;
    assert_int_equal(feed_data(fixture, &message), 0);
    ZSTD_freeCCtx(encoder);
}

static void test_what_says_it_is_a_larger_chunk_is_not_inflated(void **state)
{
    struct fixture *fixture = *state;
    struct wire_data message;
    size_t length = ZSTD_compress(fixture->frames[0], sizeof(fixture->frames[0]),
                                  fixture->chunks[0], CHUNK_SIZE, 1);

    assert_int_equal(offer(fixture, 0, CHUNKS - 1, 1, 1), 0);
    make_data(fixture, &message, 0, CHUNKS - 1, 1);
    message.encoding = WIRE_ZSTD;
    message.parts[0] = (struct wire_part){fixture->frames[0], (uint32_t)length};
    assert_breach(fixture, feed_data(fixture, &message));
}

static void test_joined_chunks_are_inflated_from_one_frame(void **state)
{
    static uint8_t frame[4 * CHUNK_SIZE], other[3 * CHUNK_SIZE + 1];
    struct fixture *fixture = *state;
    struct wire_data message;
    size_t length = ZSTD_compress(frame, sizeof(frame), fixture->chunks[0], 3 * CHUNK_SIZE, 1);

    assert_int_equal(offer(fixture, 0, 0, 3, 1), 0);
    make_data(fixture, &message, 0, 0, 3);
    message.encoding = WIRE_ZSTD_JOINED;
    message.parts[1] = message.parts[2] = (struct wire_part){0};
    for (size_t size = 3 * CHUNK_SIZE - 1; size <= sizeof(other); size += 2) {
        message.parts[0] = (struct wire_part){
            frame, (uint32_t)ZSTD_compress(frame, sizeof(frame), other, size, 1)};
        assert_breach(fixture, feed_data(fixture, &message));
        fixture->err.errnum = 0;
    }
    message.parts[0].length = 1;
    assert_breach(fixture, feed_data(fixture, &message));
    length = ZSTD_compress(frame, sizeof(frame), fixture->chunks[0], 3 * CHUNK_SIZE, 1);
    message.parts[0].length = (uint32_t)length;
    assert_int_equal(fixture->stores, 0);
    assert_int_equal(feed_data(fixture, &message), 0);
    assert_true(fixture->stores > 0);
}

static void test_more_than_128_mib_wanted_at_once_are_a_breach(void **state)
{
    struct fixture *fixture = *state;

    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(offer(fixture, i, i * 256, 256, 1), 0);
    assert_breach(fixture, offer(fixture, 8, 2048, 1, 1));
    fixture->names[2100].bytes[0] = 1; /* what is there may go on being offered */
    store_le64(fixture->names[2100].bytes + 8, 2100);
    assert_int_equal(offer(fixture, 8, 2100, 1, 1), 0);
    assert_int_equal(data(fixture, 0, 0, 16), 0);
    assert_int_equal(offer(fixture, 9, 2048, 16, 1), 0);
    assert_breach(fixture, offer(fixture, 10, 2064, 1, 1));
}

static void test_nothing_but_data_comes_between_pass_and_passed(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(offer(fixture, 0, 0, 1, 1), 0);
    assert_int_equal(pass(fixture, true), 0);
    assert_breach(fixture, pass(fixture, true));
    assert_breach(fixture, run(fixture, 1, 0, 1, CHUNK_ZERO));
    assert_breach(fixture, offer(fixture, 1, 0, 1, 1));
    assert_int_equal(data(fixture, 0, 0, 1), 0);
}

static void test_other_frames_and_damaged_ones_are_a_breach(void **state)
{
    static const uint8_t payload[64];
    struct fixture *fixture = *state;

    for (int type = 0; type < WIRE_TYPE_END + 1; type++) {
        fixture->err.errnum = 0;
        assert_breach(fixture, disk_session_feed(fixture->session, (enum wire_type)type, payload, 3,
                                                 &fixture->out, &fixture->event, &fixture->err));
    }
    assert_int_equal(disk_session_feed(fixture->session, WIRE_HELLO, payload, 3, &fixture->out,
                                       &fixture->event, NULL),
                     -1);
}

static void test_a_disk_of_no_size_or_too_large_has_no_session(void **state)
{
    struct fixture *fixture = *state;
    struct disk_store store = {0};

    assert_null(disk_session_new(0, &store, &fixture->err));
    assert_null(disk_session_new(MANIFEST_MAX_SIZE + 1, &store, &fixture->err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_offer_is_answered_with_what_is_wanted, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_complete_is_the_first_sequence_that_lacks_data, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_the_chunks_of_a_frame_are_stored_at_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_the_short_last_chunk_is_stored_with_its_own_length,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_later_offer_or_run_replaces_what_was_wanted, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_pass_ends_when_its_data_is_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_pass_of_another_digest_is_different, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_without_space_every_frame_can_be_fed_again, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_sequences_have_no_gaps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_chunks_outside_of_the_disk_are_a_breach, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_data_that_is_not_the_next_wanted_is_a_breach, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_frame_does_not_reach_into_the_next_offer, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_chunk_of_another_length_is_a_breach, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_zstd_frame_that_is_not_exactly_the_chunk_is_a_breach,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_says_it_is_a_larger_chunk_is_not_inflated, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_joined_chunks_are_inflated_from_one_frame, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_more_than_128_mib_wanted_at_once_are_a_breach, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_but_data_comes_between_pass_and_passed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_other_frames_and_damaged_ones_are_a_breach, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_disk_of_no_size_or_too_large_has_no_session, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
