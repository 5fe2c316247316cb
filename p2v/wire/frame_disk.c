/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The messages of a disk connection: DISK, READY, RUN, OFFER, WANT, DATA, SAFE, PASS, PASSED
 * (docs/wire.md, "A disk connection"). Whether chunks lie inside the disk is the session's to
 * check.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "p2v/wire/cursor.h"
#include "p2v/wire/frame.h"

#include <string.h>

void wire_disk_encode(const struct wire_disk *message, struct text *out)
{
    size_t frame = writer_begin(out, WIRE_DISK);

    writer_u16(out, message->disk);
    writer_u32(out, message->pass);
    writer_end(out, frame);
}

int wire_disk_decode(const uint8_t *payload, size_t length, struct wire_disk *message,
                     struct error *err)
{
    struct reader reader = reader_of(WIRE_DISK, payload, length, err);

    message->disk = reader_u16(&reader, "disk");
    reader_check(&reader, message->disk < WIRE_MAX_DISKS, "disk", message->disk);
    message->pass = reader_u32(&reader, "pass");
    return reader_finish(&reader);
}

void wire_ready_encode(const struct wire_ready *message, struct text *out)
{
    size_t frame = writer_begin(out, WIRE_READY);

    writer_u64(out, message->checkpoint_bytes);
    writer_zero(out, 4);
    writer_end(out, frame);
}

int wire_ready_decode(const uint8_t *payload, size_t length, struct wire_ready *message,
                      struct error *err)
{
    struct reader reader = reader_of(WIRE_READY, payload, length, err);

    message->checkpoint_bytes = reader_u64(&reader, "checkpoint");
    reader_zero(&reader, 4);
    return reader_finish(&reader);
}

/* Chunks from `first` on, at least one and not beyond what 64 bits count. */
static void check_range(struct reader *reader, uint64_t first, uint64_t count, uint64_t most)
{
    uint64_t end;

    reader_check(reader, count >= 1 && count <= most, "count", count);
    reader_check(reader, checked_add(first, count, &end), "first chunk", first);
}

void wire_run_encode(const struct wire_run *message, struct text *out)
{
    size_t frame = writer_begin(out, WIRE_RUN);

    writer_u64(out, message->sequence);
    writer_u64(out, message->first);
    writer_u64(out, message->count);
    writer_u8(out, (uint8_t)message->state);
    writer_end(out, frame);
}

int wire_run_decode(const uint8_t *payload, size_t length, struct wire_run *message,
                    struct error *err)
{
    struct reader reader = reader_of(WIRE_RUN, payload, length, err);

    message->sequence = reader_u64(&reader, "sequence");
    message->first = reader_u64(&reader, "first chunk");
    message->count = reader_u64(&reader, "count");
    check_range(&reader, message->first, message->count, UINT64_MAX);
    message->state = reader_choice(&reader, CHUNK_UNREADABLE + 1, "state");
    reader_check(&reader, message->state != CHUNK_DATA, "state", message->state);
    reader_check(&reader,
                 message->state != CHUNK_UNREADABLE || message->count <= WIRE_MAX_UNREADABLE,
                 "count of unreadable chunks", message->count);
    return reader_finish(&reader);
}

void wire_offer_encode(const struct wire_offer *message, struct text *out)
{
    size_t frame = writer_begin(out, WIRE_OFFER);

    writer_u64(out, message->sequence);
    writer_u64(out, message->first);
    writer_u16(out, message->count);
    text_add_bytes(out, message->names, message->count * sizeof(message->names[0]));
    writer_end(out, frame);
}

int wire_offer_decode(const uint8_t *payload, size_t length, struct wire_offer *message,
                      struct error *err)
{
    struct reader reader = reader_of(WIRE_OFFER, payload, length, err);

    message->sequence = reader_u64(&reader, "sequence");
    message->first = reader_u64(&reader, "first chunk");
    message->count = reader_u16(&reader, "count");
    check_range(&reader, message->first, message->count, WIRE_MAX_OFFER);
    if (!reader.has_failed)
        reader_bytes(&reader, message->names, message->count * sizeof(message->names[0]), "names");
    return reader_finish(&reader);
}

void wire_want_encode(const struct wire_want *message, struct text *out)
{
    size_t frame = writer_begin(out, WIRE_WANT);

    writer_u64(out, message->sequence);
    writer_u16(out, message->count);
    text_add_bytes(out, message->bits, (message->count + 7u) / 8);
    writer_end(out, frame);
}

int wire_want_decode(const uint8_t *payload, size_t length, struct wire_want *message,
                     struct error *err)
{
    struct reader reader = reader_of(WIRE_WANT, payload, length, err);

    *message = (struct wire_want){0};
    message->sequence = reader_u64(&reader, "sequence");
    message->count = reader_u16(&reader, "count");
    reader_check(&reader, message->count >= 1 && message->count <= WIRE_MAX_OFFER, "count",
                 message->count);
    if (reader.has_failed)
        return -1;
    size_t size = (message->count + 7u) / 8;
    reader_bytes(&reader, message->bits, size, "bits");
    unsigned unused = (unsigned)(size * 8) - message->count;
    uint8_t last = message->bits[size - 1];
    reader_check(&reader, last >> (8 - unused) == 0, "unused bits of", last);
    return reader_finish(&reader);
}

#define DATA_FIXED 20u /* in front of the lengths of the parts */

size_t wire_data_encode_head(const struct wire_data *message, uint8_t head[WIRE_DATA_HEAD_SIZE])
{
    uint8_t *payload = head + WIRE_HEADER_SIZE;
    size_t size = DATA_FIXED + 4u * message->count, total = size;

    store_le64(payload, message->sequence);
    store_le64(payload + 8, message->first);
    store_le16(payload + 16, message->count);
    payload[18] = (uint8_t)message->encoding;
    payload[19] = 0;
    for (unsigned i = 0; i < message->count; i++) {
        store_le32(payload + DATA_FIXED + 4u * i, message->parts[i].length);
        total += message->parts[i].length;
    }
    wire_header_encode(&(struct wire_header){.length = (uint32_t)total, .type = WIRE_DATA}, head);
    return WIRE_HEADER_SIZE + size;
}

size_t wire_data_content_offset(size_t length)
{
    size_t behind = length > DATA_FIXED ? length - DATA_FIXED : 0;

    return DATA_FIXED + 4 * div_round_up(behind, 4 + CHUNK_SIZE);
}

/* Of each chunk; or, joined, of all of them, and zeroes. */
static void read_part_lengths(struct reader *reader, struct wire_data *message)
{
    bool is_joined = message->encoding == WIRE_ZSTD_JOINED;

    for (unsigned i = 0; i < message->count; i++) {
        uint32_t part = reader_u32(reader, "chunk's length");
        uint32_t most = !is_joined ? CHUNK_SIZE : i == 0 ? message->count * CHUNK_SIZE : 0;
        reader_check(reader, part >= (most > 0) && part <= most, "chunk's length", part);
        message->parts[i].length = part;
    }
}

int wire_data_decode(const uint8_t *payload, size_t length, struct wire_data *message,
                     struct error *err)
{
    struct reader reader = reader_of(WIRE_DATA, payload, length, err);

    message->sequence = reader_u64(&reader, "sequence");
    message->first = reader_u64(&reader, "first chunk");
    message->count = reader_u16(&reader, "count");
    check_range(&reader, message->first, message->count, WIRE_MAX_DATA);
    message->encoding = reader_choice(&reader, WIRE_ZSTD_JOINED + 1, "encoding");
    reader_zero(&reader, 1);
    if (reader.has_failed)
        return -1;
    read_part_lengths(&reader, message);
    for (unsigned i = 0; i < message->count; i++)
        message->parts[i].data = reader_take(&reader, message->parts[i].length, "chunk");
    return reader_finish(&reader);
}

void wire_safe_encode(const struct wire_safe *message, struct text *out)
{
    size_t frame = writer_begin(out, WIRE_SAFE);

    writer_u64(out, message->sequence);
    writer_zero(out, 4);
    writer_end(out, frame);
}

int wire_safe_decode(const uint8_t *payload, size_t length, struct wire_safe *message,
                     struct error *err)
{
    struct reader reader = reader_of(WIRE_SAFE, payload, length, err);

    message->sequence = reader_u64(&reader, "sequence");
    reader_zero(&reader, 4);
    return reader_finish(&reader);
}

static void encode_pass(enum wire_type type, uint32_t pass, bool flag,
                        const uint8_t digest[WIRE_DIGEST_SIZE], struct text *out)
{
    size_t frame = writer_begin(out, type);

    writer_u32(out, pass);
    writer_u8(out, flag);
    text_add_bytes(out, digest, WIRE_DIGEST_SIZE);
    writer_end(out, frame);
}

void wire_pass_encode(const struct wire_pass *message, struct text *out)
{
    encode_pass(WIRE_PASS, message->pass, message->is_last, message->digest, out);
}

int wire_pass_decode(const uint8_t *payload, size_t length, struct wire_pass *message,
                     struct error *err)
{
    struct reader reader = reader_of(WIRE_PASS, payload, length, err);

    message->pass = reader_u32(&reader, "pass");
    message->is_last = reader_choice(&reader, 2, "last");
    reader_bytes(&reader, message->digest, sizeof(message->digest), "digest");
    return reader_finish(&reader);
}

void wire_passed_encode(const struct wire_passed *message, struct text *out)
{
    encode_pass(WIRE_PASSED, message->pass, message->is_different, message->digest, out);
}

int wire_passed_decode(const uint8_t *payload, size_t length, struct wire_passed *message,
                       struct error *err)
{
    struct reader reader = reader_of(WIRE_PASSED, payload, length, err);

    message->pass = reader_u32(&reader, "pass");
    message->is_different = reader_choice(&reader, 2, "result");
    reader_bytes(&reader, message->digest, sizeof(message->digest), "digest");
    return reader_finish(&reader);
}
