/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One function per compression, each a loop of 'decode into a buffer, hand the buffer on'.
 */
#include "bootfix/unpack.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/own.h"

#include <errno.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define UNPACK_BUFFER_BYTES ((size_t)256 << 10)
#define LZ4_MAGIC 0x184c2102u
#define LZ4_BLOCK_BYTES ((size_t)8 << 20)
#define LZ4_MAX_PACKED_BYTES (LZ4_BLOCK_BYTES + LZ4_BLOCK_BYTES / 255 + 16)

struct stream {
    const uint8_t *data;
    size_t length, consumed;
    uint8_t *buffer;
    uint64_t written;
    struct unpack_sink *sink;
};

static const struct {
    enum unpack_kind kind;
    const char *name;
    uint8_t magic[6];
    size_t length;
} kinds[] = {
    {UNPACK_GZIP, "gzip", {0x1f, 0x8b}, 2},
    {UNPACK_ZSTD, "zstd", {0x28, 0xb5, 0x2f, 0xfd}, 4},
    {UNPACK_XZ, "xz", {0xfd, '7', 'z', 'X', 'Z', 0}, 6},
    {UNPACK_LZMA, "lzma", {0x5d, 0, 0}, 3},
    {UNPACK_LZ4, "lz4", {0x02, 0x21, 0x4c, 0x18}, 4},
    {UNPACK_BZIP2, "bzip2", {'B', 'Z', 'h'}, 3},
    {UNPACK_LZO, "lzo", {0x89, 'L', 'Z', 'O'}, 4},
};

enum unpack_kind unpack_detect(const void *data, size_t length)
{
    for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++)
        if (length >= kinds[i].length && memcmp(data, kinds[i].magic, kinds[i].length) == 0)
            return kinds[i].kind;
    return UNPACK_UNKNOWN;
}

const char *unpack_name(enum unpack_kind kind)
{
    for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++)
        if (kinds[i].kind == kind)
            return kinds[i].name;
    return "unknown";
}

static int hand_on(struct stream *stream, const void *data, size_t length, struct error *err)
{
    stream->written += length;
    if (stream->written > UNPACK_MAX_OUTPUT_BYTES)
        return error_set(err, EFBIG, "more than %llu bytes when unpacked",
                         (unsigned long long)UNPACK_MAX_OUTPUT_BYTES);
    return length ? stream->sink->write(stream->sink, data, length, err) : 0;
}

static int damaged(struct error *err, const char *name, const char *why)
{
    return error_set(err, 0, "damaged %s data: %s", name, why);
}

/* zlib's counters are 32 bits wide: input goes in by parts. */
static int inflate_all(struct stream *stream, z_stream *zlib, struct error *err)
{
    int state = Z_OK;
    while (state != Z_STREAM_END) {
        size_t part = min_u64(stream->length - stream->consumed, UNPACK_BUFFER_BYTES);
        zlib->next_in = (uint8_t *)stream->data + stream->consumed;
        zlib->avail_in = (uInt)part;
        zlib->next_out = stream->buffer;
        zlib->avail_out = UNPACK_BUFFER_BYTES;
        state = inflate(zlib, Z_NO_FLUSH);
        if (state == Z_BUF_ERROR)
            return damaged(err, "gzip", "it ends early");
        if (state != Z_OK && state != Z_STREAM_END)
            return damaged(err, "gzip", zlib->msg ? zlib->msg : "not readable");
        stream->consumed += part - zlib->avail_in;
        if (hand_on(stream, stream->buffer, UNPACK_BUFFER_BYTES - zlib->avail_out, err) < 0)
            return -1;
    }
    return 0;
}

static int unpack_gzip(struct stream *stream, struct error *err)
{
    z_stream zlib = {0};
    if (inflateInit2(&zlib, 15 + 16) != Z_OK)
        return error_set(err, ENOMEM, "start zlib");
    int result = inflate_all(stream, &zlib, err);
    inflateEnd(&zlib);
    return result;
}

static int unpack_zstd_frame(struct stream *stream, ZSTD_DCtx *context, struct error *err)
{
    ZSTD_inBuffer in = {stream->data, stream->length, 0};
    size_t left = 1;
    while (left != 0) {
        ZSTD_outBuffer out = {stream->buffer, UNPACK_BUFFER_BYTES, 0};
        size_t before = in.pos;
        left = ZSTD_decompressStream(context, &out, &in);
        if (ZSTD_isError(left))
            return damaged(err, "zstd", ZSTD_getErrorName(left));
        if (left != 0 && out.pos == 0 && in.pos == before)
            return damaged(err, "zstd", "it ends early");
        if (hand_on(stream, stream->buffer, out.pos, err) < 0)
            return -1;
    }
    stream->consumed = in.pos;
    return 0;
}

static int unpack_zstd(struct stream *stream, struct error *err)
{
    ZSTD_DCtx *context = ZSTD_createDCtx();
    if (!context)
        return error_set(err, ENOMEM, "start zstd");
    int result = unpack_zstd_frame(stream, context, err);
    ZSTD_freeDCtx(context);
    return result;
}

static int lzma_run(struct stream *stream, lzma_stream *lzma, const char *name, struct error *err)
{
    lzma_ret state = LZMA_OK;
    lzma->next_in = stream->data;
    lzma->avail_in = stream->length;
    while (state != LZMA_STREAM_END) {
        lzma->next_out = stream->buffer;
        lzma->avail_out = UNPACK_BUFFER_BYTES;
        state = lzma_code(lzma, LZMA_RUN);
        if (state == LZMA_MEMLIMIT_ERROR)
            return error_set(err, ENOMEM, "%s data that needs more than %llu bytes of memory", name,
                             (unsigned long long)UNPACK_MAX_MEMORY_BYTES);
        if (state == LZMA_BUF_ERROR)
            return damaged(err, name, "it ends early");
        if (state != LZMA_OK && state != LZMA_STREAM_END)
            return damaged(err, name, "not readable");
        if (hand_on(stream, stream->buffer, UNPACK_BUFFER_BYTES - lzma->avail_out, err) < 0)
            return -1;
    }
    stream->consumed = stream->length - lzma->avail_in;
    return 0;
}

static int unpack_xz_or_lzma(struct stream *stream, bool is_xz, struct error *err)
{
    lzma_stream lzma = LZMA_STREAM_INIT;
    lzma_ret state = is_xz ? lzma_stream_decoder(&lzma, UNPACK_MAX_MEMORY_BYTES, 0)
                           : lzma_alone_decoder(&lzma, UNPACK_MAX_MEMORY_BYTES);
    if (state != LZMA_OK)
        return error_set(err, ENOMEM, "start liblzma");
    int result = lzma_run(stream, &lzma, is_xz ? "xz" : "lzma", err);
    lzma_end(&lzma);
    return result;
}

/* --- lz4 ----------------------------------------------------------------------------------- */

/* A length's further bytes: each 255 says that one more follows. */
static bool lz4_length(const uint8_t **in, const uint8_t *end, size_t *length)
{
    uint8_t more = 255;
    while (more == 255) {
        if (*in == end)
            return false;
        more = *(*in)++;
        *length += more;
    }
    return true;
}

/* A match may overlap what it makes: byte by byte. */
static void lz4_copy_match(uint8_t *out, size_t at, size_t distance, size_t length)
{
    for (size_t i = 0; i < length; i++)
        out[at + i] = out[at + i - distance];
}

ssize_t unpack_lz4_block(const uint8_t *in, size_t length, uint8_t *out, size_t capacity)
{
    const uint8_t *end = in + length;
    size_t used = 0;
    while (in < end) {
        size_t literals = *in >> 4, match = *in & 15;
        in++;
        if (literals == 15 && !lz4_length(&in, end, &literals))
            return -1;
        if (literals > (size_t)(end - in) || literals > capacity - used)
            return -1;
        memcpy(out + used, in, literals);
        in += literals;
        used += literals;
        if (in == end) /* the last sequence has no match */
            return (ssize_t)used;
        if (end - in < 2)
            return -1;
        size_t distance = load_le16(in);
        in += 2;
        if (match == 15 && !lz4_length(&in, end, &match))
            return -1;
        match += 4;
        if (distance == 0 || distance > used || match > capacity - used)
            return -1;
        lz4_copy_match(out, used, distance, match);
        used += match;
    }
    return -1;
}

/*
 * Blocks, each behind its length, without a mark for the end: zeroes, less than four bytes or the
 * end of the buffer end it. The magic number may come again in between.
 */
static int unpack_lz4(struct stream *stream, struct error *err)
{
    AUTO_FREE uint8_t *out = malloc(LZ4_BLOCK_BYTES);
    if (!out)
        return error_set(err, ENOMEM, "start lz4");
    while (stream->length - stream->consumed >= 4) {
        uint32_t size = load_le32(stream->data + stream->consumed);
        if (size == 0)
            break;
        stream->consumed += 4;
        if (size == LZ4_MAGIC)
            continue;
        if (size > LZ4_MAX_PACKED_BYTES || size > stream->length - stream->consumed)
            return damaged(err, "lz4", "a block is longer than what is left");
        ssize_t got = unpack_lz4_block(stream->data + stream->consumed, size, out, LZ4_BLOCK_BYTES);
        if (got < 0)
            return damaged(err, "lz4", "a block is not valid");
        stream->consumed += size;
        if (hand_on(stream, out, (size_t)got, err) < 0)
            return -1;
    }
    return 0;
}

/* ------------------------------------------------------------------------------------------- */

static int run(struct stream *stream, enum unpack_kind kind, struct error *err)
{
    switch (kind) {
    case UNPACK_GZIP:
        return unpack_gzip(stream, err);
    case UNPACK_ZSTD:
        return unpack_zstd(stream, err);
    case UNPACK_XZ:
    case UNPACK_LZMA:
        return unpack_xz_or_lzma(stream, kind == UNPACK_XZ, err);
    case UNPACK_LZ4:
        return unpack_lz4(stream, err);
    case UNPACK_UNKNOWN:
    case UNPACK_BZIP2:
    case UNPACK_LZO:
        break;
    }
    return error_set(err, 0, "%s compression is not supported", unpack_name(kind));
}

int unpack_stream(enum unpack_kind kind, const void *data, size_t length, size_t *consumed,
                  struct unpack_sink *sink, struct error *err)
{
    AUTO_FREE uint8_t *buffer = malloc(UNPACK_BUFFER_BYTES);
    if (!buffer)
        return error_set(err, ENOMEM, "unpack");
    struct stream stream = {.data = data, .length = length, .buffer = buffer, .sink = sink};
    if (run(&stream, kind, err) < 0)
        return -1;
    *consumed = stream.consumed;
    return 0;
}

struct collector {
    struct unpack_sink sink;
    char *data;
    size_t length, capacity, limit;
};

static int collect(struct unpack_sink *sink, const void *data, size_t length, struct error *err)
{
    struct collector *collector = (struct collector *)sink;
    if (length > collector->limit - collector->length)
        return error_set(err, EFBIG, "more than %zu bytes when unpacked", collector->limit);
    if (length > collector->capacity - collector->length) {
        size_t capacity = (collector->length + length) * 2;
        char *grown = realloc(collector->data, capacity);
        if (!grown)
            return error_set(err, ENOMEM, "unpack");
        collector->data = grown;
        collector->capacity = capacity;
    }
    memcpy(collector->data + collector->length, data, length);
    collector->length += length;
    return 0;
}

int unpack_file(const void *data, size_t length, size_t limit_bytes, char **out, size_t *out_length,
                struct error *err)
{
    struct collector collector = {.sink.write = collect, .limit = limit_bytes};
    size_t consumed;
    if (unpack_stream(unpack_detect(data, length), data, length, &consumed, &collector.sink, err) <
        0) {
        free(collector.data);
        return -1;
    }
    *out = collector.data;
    *out_length = collector.length;
    return 0;
}
