/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Reading and writing the fields of a frame's payload. A reader remembers the first thing that was
 * wrong and gives zeroes from then on, so a decoder reads all its fields and asks once at the end.
 */
#ifndef P2V_WIRE_CURSOR_H
#define P2V_WIRE_CURSOR_H

#include "base/error.h"
#include "base/text.h"
#include "p2v/wire/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader {
    const uint8_t *at;
    size_t left;
    const char *frame;
    struct error *err;
    bool has_failed;
};

struct reader reader_of(enum wire_type type, const uint8_t *payload, size_t length,
                        struct error *err);

/* -1 when something was wrong, or when bytes are left over. */
int reader_finish(struct reader *reader);

/* Borrowed from the payload; NULL when it ends before. */
const uint8_t *reader_take(struct reader *reader, size_t length, const char *field);

uint8_t reader_u8(struct reader *reader, const char *field);
uint16_t reader_u16(struct reader *reader, const char *field);
uint32_t reader_u32(struct reader *reader, const char *field);
uint64_t reader_u64(struct reader *reader, const char *field);
void reader_bytes(struct reader *reader, void *to, size_t length, const char *field);

/* Bytes that must be zero. */
void reader_zero(struct reader *reader, size_t length);

/* Fails with the field's name and value unless is_good. */
void reader_check(struct reader *reader, bool is_good, const char *field, uint64_t value);

/* A byte of 0 to end - 1. */
uint8_t reader_choice(struct reader *reader, unsigned end, const char *field);

/* `text` of least to most bytes; `to` holds most + 1. The second: without a length, to the end. */
void reader_text(struct reader *reader, char *to, size_t least, size_t most, const char *field);
void reader_rest(struct reader *reader, char *to, size_t most, const char *field);

/* Begins a frame of this type; returns where, for writer_end, which fills the length in. */
size_t writer_begin(struct text *out, enum wire_type type);
void writer_end(struct text *out, size_t frame);

void writer_u8(struct text *out, uint8_t value);
void writer_u16(struct text *out, uint16_t value);
void writer_u32(struct text *out, uint32_t value);
void writer_u64(struct text *out, uint64_t value);
void writer_zero(struct text *out, size_t length);

/* Cut at a character after `most` bytes; what may not be in a text becomes '?'. */
void writer_text(struct text *out, const char *string, size_t most);
void writer_rest(struct text *out, const char *string, size_t most);

#endif
