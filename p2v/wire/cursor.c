/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Reading and writing the fields of a payload: little-endian integers, zeroes, text.
 */
#include "p2v/wire/cursor.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

struct reader reader_of(enum wire_type type, const uint8_t *payload, size_t length,
                        struct error *err)
{
    return (struct reader){
        .at = payload, .left = length, .frame = wire_type_name(type), .err = err};
}

static void fail(struct reader *reader, const char *problem, const char *field)
{
    if (!reader->has_failed)
        error_set(reader->err, 0, "%s: %s %s", reader->frame, problem, field);
    if (reader->err)
        reader->err->errnum = EPROTO;
    reader->has_failed = true;
}

int reader_finish(struct reader *reader)
{
    if (!reader->has_failed && reader->left != 0)
        fail(reader, "bytes left over behind", "the last field");
    return reader->has_failed ? -1 : 0;
}

const uint8_t *reader_take(struct reader *reader, size_t length, const char *field)
{
    if (!reader->has_failed && length > reader->left)
        fail(reader, "ends inside of the", field);
    if (reader->has_failed)
        return NULL;
    const uint8_t *bytes = reader->at;
    if (length)
        reader->at += length;
    reader->left -= length;
    return bytes;
}

void reader_bytes(struct reader *reader, void *to, size_t length, const char *field)
{
    const uint8_t *bytes = reader_take(reader, length, field);

    if (bytes && length)
        memcpy(to, bytes, length);
    else
        memset(to, 0, length);
}

uint8_t reader_u8(struct reader *reader, const char *field)
{
    const uint8_t *bytes = reader_take(reader, 1, field);

    return bytes ? bytes[0] : 0;
}

uint16_t reader_u16(struct reader *reader, const char *field)
{
    const uint8_t *bytes = reader_take(reader, 2, field);

    return bytes ? load_le16(bytes) : 0;
}

uint32_t reader_u32(struct reader *reader, const char *field)
{
    const uint8_t *bytes = reader_take(reader, 4, field);

    return bytes ? load_le32(bytes) : 0;
}

uint64_t reader_u64(struct reader *reader, const char *field)
{
    const uint8_t *bytes = reader_take(reader, 8, field);

    return bytes ? load_le64(bytes) : 0;
}

void reader_zero(struct reader *reader, size_t length)
{
    const uint8_t *bytes = reader_take(reader, length, "reserved field");

    if (bytes && !bytes_are_zero(bytes, length))
        fail(reader, "not zero in the", "reserved field");
}

void reader_check(struct reader *reader, bool is_good, const char *field, uint64_t value)
{
    if (reader->has_failed || is_good)
        return;
    error_set(reader->err, 0, "%s: %s %llu is not allowed", reader->frame, field,
              (unsigned long long)value);
    if (reader->err)
        reader->err->errnum = EPROTO;
    reader->has_failed = true;
}

uint8_t reader_choice(struct reader *reader, unsigned end, const char *field)
{
    uint8_t value = reader_u8(reader, field);

    reader_check(reader, value < end, field, value);
    return reader->has_failed ? 0 : value;
}

static void take_text(struct reader *reader, char *to, size_t length, const char *field)
{
    const char *bytes = (const char *)reader_take(reader, length, field);

    to[0] = '\0';
    if (!bytes)
        return;
    for (size_t i = 0; i < length;) {
        size_t character = text_printable_length(bytes + i, length - i);
        if (character == 0) {
            fail(reader, "control characters or no UTF-8 in the", field);
            return;
        }
        i += character;
    }
    if (length)
        memcpy(to, bytes, length);
    to[length] = '\0';
}

void reader_text(struct reader *reader, char *to, size_t least, size_t most, const char *field)
{
    size_t length = reader_u16(reader, field);

    to[0] = '\0';
    if (!reader->has_failed && (length < least || length > most))
        fail(reader, length < least ? "too short:" : "too long:", field);
    if (!reader->has_failed)
        take_text(reader, to, length, field);
}

void reader_rest(struct reader *reader, char *to, size_t most, const char *field)
{
    to[0] = '\0';
    if (!reader->has_failed && reader->left > most)
        fail(reader, "too long:", field);
    if (!reader->has_failed)
        take_text(reader, to, reader->left, field);
}

size_t writer_begin(struct text *out, enum wire_type type)
{
    uint8_t header[WIRE_HEADER_SIZE];
    size_t frame = out->length;

    wire_header_encode(&(struct wire_header){.type = type}, header);
    text_add_bytes(out, header, sizeof(header));
    return frame;
}

void writer_end(struct text *out, size_t frame)
{
    store_le32(out->data + frame, (uint32_t)(out->length - frame - WIRE_HEADER_SIZE));
}

void writer_u8(struct text *out, uint8_t value)
{
    text_add_bytes(out, &value, 1);
}

void writer_u16(struct text *out, uint16_t value)
{
    uint8_t bytes[2];

    store_le16(bytes, value);
    text_add_bytes(out, bytes, sizeof(bytes));
}

void writer_u32(struct text *out, uint32_t value)
{
    uint8_t bytes[4];

    store_le32(bytes, value);
    text_add_bytes(out, bytes, sizeof(bytes));
}

void writer_u64(struct text *out, uint64_t value)
{
    uint8_t bytes[8];

    store_le64(bytes, value);
    text_add_bytes(out, bytes, sizeof(bytes));
}

void writer_zero(struct text *out, size_t length)
{
    for (size_t i = 0; i < length; i++)
        writer_u8(out, 0);
}

void writer_rest(struct text *out, const char *string, size_t most)
{
    size_t length = strlen(string), written = 0;

    for (size_t i = 0; i < length;) {
        size_t character = text_printable_length(string + i, length - i);
        size_t bytes = character ? character : 1;
        if (written + bytes > most)
            break;
        text_add_bytes(out, character ? string + i : "?", bytes);
        written += bytes;
        i += bytes;
    }
}

void writer_text(struct text *out, const char *string, size_t most)
{
    size_t length_at = out->length;

    writer_u16(out, 0);
    writer_rest(out, string, most);
    store_le16(out->data + length_at, (uint16_t)(out->length - length_at - 2));
}
