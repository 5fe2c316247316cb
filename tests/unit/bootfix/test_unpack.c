/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "bootfix/unpack.h"

#include <lzma.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

#define PLAIN_BYTES 300000 /* more than one buffer */

struct collector {
    struct unpack_sink sink;
    struct text text;
};

static int collect(struct unpack_sink *sink, const void *data, size_t length, struct error *err)
{
    (void)err;
    text_add_bytes(&((struct collector *)sink)->text, data, length);
    return 0;
}

static char *make_plain(void)
{
    char *plain = memory_new(PLAIN_BYTES, 1);
    for (size_t i = 0; i < PLAIN_BYTES; i++)
        plain[i] = (char)(i * 7 % 251 + i / 4096);
    return plain;
}

static size_t pack_gzip(const char *plain, uint8_t *out, size_t size)
{
    z_stream zlib = {.next_in = (uint8_t *)plain,
                     .avail_in = PLAIN_BYTES,
                     .next_out = out,
                     .avail_out = (uInt)size};
    assert_int_equal(deflateInit2(&zlib, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&zlib, Z_FINISH), Z_STREAM_END);
    size_t length = zlib.total_out;
    deflateEnd(&zlib);
    return length;
}

static size_t pack_zstd(const char *plain, uint8_t *out, size_t size)
{
    return ZSTD_compress(out, size, plain, PLAIN_BYTES, 3);
}

static size_t pack_xz(const char *plain, uint8_t *out, size_t size)
{
    size_t length = 0;
    assert_int_equal(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, NULL, (const uint8_t *)plain,
                                             PLAIN_BYTES, out, &length, size),
                     LZMA_OK);
    return length;
}

static size_t pack_lzma(const char *plain, uint8_t *out, size_t size)
{
    lzma_stream lzma = LZMA_STREAM_INIT;
    lzma_options_lzma options;
    lzma_lzma_preset(&options, 1);
    assert_int_equal(lzma_alone_encoder(&lzma, &options), LZMA_OK);
    lzma.next_in = (const uint8_t *)plain;
    lzma.avail_in = PLAIN_BYTES;
    lzma.next_out = out;
    lzma.avail_out = size;
    assert_int_equal(lzma_code(&lzma, LZMA_FINISH), LZMA_STREAM_END);
    size_t length = size - lzma.avail_out;
    lzma_end(&lzma);
    return length;
}

static const struct {
    enum unpack_kind kind;
    size_t (*pack)(const char *plain, uint8_t *out, size_t size);
} packers[] = {
    {UNPACK_GZIP, pack_gzip},
    {UNPACK_ZSTD, pack_zstd},
    {UNPACK_XZ, pack_xz},
    {UNPACK_LZMA, pack_lzma},
};

static void test_streams_end_where_the_next_archive_starts(void **state)
{
    (void)state;
    AUTO_FREE char *plain = make_plain();
    size_t size = 2 * PLAIN_BYTES;
    for (size_t i = 0; i < ARRAY_LENGTH(packers); i++) {
        AUTO_FREE uint8_t *packed = memory_new(size, 1);
        size_t length = packers[i].pack(plain, packed, size - 100);
        memset(packed + length, '0', 100); /* what follows must not be taken for more of it */
        struct collector collector = {.sink.write = collect};
        struct error err = {0};
        size_t consumed = 0;
        assert_int_equal(unpack_detect(packed, length), packers[i].kind);
        assert_int_equal(
            unpack_stream(packers[i].kind, packed, length + 100, &consumed, &collector.sink, &err),
            0);
        assert_int_equal(consumed, length);
        assert_int_equal(collector.text.length, PLAIN_BYTES);
        assert_memory_equal(collector.text.data, plain, PLAIN_BYTES);
        text_fini(&collector.text);
    }
}

static void test_streams_that_end_early_are_refused(void **state)
{
    (void)state;
    AUTO_FREE char *plain = make_plain();
    AUTO_FREE uint8_t *packed = memory_new(2 * PLAIN_BYTES, 1);
    for (size_t i = 0; i < ARRAY_LENGTH(packers); i++) {
        size_t length = packers[i].pack(plain, packed, 2 * PLAIN_BYTES);
        size_t cuts[] = {7, length / 2, length - 1};
        for (size_t j = 0; j < ARRAY_LENGTH(cuts); j++) {
            if (packers[i].kind == UNPACK_LZMA && cuts[j] == length - 1)
                continue; /* its end mark may be shorter by then */
            struct collector collector = {.sink.write = collect};
            struct error err = {0};
            size_t consumed;
            AUTO_FREE uint8_t *cut = memory_new(cuts[j], 1);
            memcpy(cut, packed, cuts[j]);
            assert_int_equal(
                unpack_stream(packers[i].kind, cut, cuts[j], &consumed, &collector.sink, &err), -1);
            assert_string_not_equal(err.text, "");
            text_fini(&collector.text);
        }
    }
}

static void test_unsupported_compressions_are_named(void **state)
{
    (void)state;
    struct error err = {0};
    struct collector collector = {.sink.write = collect};
    size_t consumed;
    assert_int_equal(unpack_detect("BZh91AY", 7), UNPACK_BZIP2);
    assert_int_equal(unpack_stream(UNPACK_BZIP2, "BZh91AY", 7, &consumed, &collector.sink, &err),
                     -1);
    assert_string_equal(err.text, "bzip2 compression is not supported");
}

static void test_lz4_blocks_copy_literals_and_overlapping_matches(void **state)
{
    (void)state;
    /* "ab", then 10 bytes from 2 back, then the literal "c". */
    static const uint8_t block[] = {0x26, 'a', 'b', 2, 0, 0x10, 'c'};
    uint8_t out[16];
    assert_int_equal(unpack_lz4_block(block, sizeof(block), out, sizeof(out)), 13);
    assert_memory_equal(out, "ababababababc", 13);
}

static void test_lz4_blocks_that_reach_outside_are_refused(void **state)
{
    (void)state;
    static const uint8_t before_start[] = {0x14, 'a', 2, 0, 0x10, 'c'};
    static const uint8_t no_distance[] = {0x14, 'a', 0, 0, 0x10, 'c'};
    static const uint8_t literals_missing[] = {0x50, 'a'};
    static const uint8_t length_missing[] = {0xf0, 255};
    uint8_t out[16];
    assert_int_equal(unpack_lz4_block(before_start, sizeof(before_start), out, 16), -1);
    assert_int_equal(unpack_lz4_block(no_distance, sizeof(no_distance), out, 16), -1);
    assert_int_equal(unpack_lz4_block(literals_missing, sizeof(literals_missing), out, 16), -1);
    assert_int_equal(unpack_lz4_block(length_missing, sizeof(length_missing), out, 16), -1);
    static const uint8_t long_match[] = {0x1f, 'a', 1, 0, 200, 0x10, 'c'};
    assert_int_equal(unpack_lz4_block(long_match, sizeof(long_match), out, 16), -1);
}

static void test_lz4_streams_end_at_zeroes(void **state)
{
    (void)state;
    static const uint8_t stream[] = {2,   0x21, 0x4c, 0x18, 3,    0,    0, 0,  0x20,
                                     'h', 'i',  2,    0x21, 0x4c, 0x18, 2, 0,  0,
                                     0,   0x10, '!',  0,    0,    0,    0, 'x'};
    struct collector collector = {.sink.write = collect};
    struct error err = {0};
    size_t consumed = 0;
    assert_int_equal(
        unpack_stream(UNPACK_LZ4, stream, sizeof(stream), &consumed, &collector.sink, &err), 0);
    assert_int_equal(consumed, 21);
    assert_string_equal(text_string(&collector.text), "hi!");
    text_fini(&collector.text);
}

static void test_files_above_the_limit_are_refused(void **state)
{
    (void)state;
    AUTO_FREE char *plain = make_plain();
    AUTO_FREE uint8_t *packed = memory_new(2 * PLAIN_BYTES, 1);
    AUTO_FREE char *out = NULL;
    size_t length = pack_xz(plain, packed, 2 * PLAIN_BYTES), out_length = 0;
    struct error err = {0};
    assert_int_equal(unpack_file(packed, length, PLAIN_BYTES - 1, &out, &out_length, &err), -1);
    assert_int_equal(unpack_file(packed, length, PLAIN_BYTES, &out, &out_length, &err), 0);
    assert_int_equal(out_length, PLAIN_BYTES);
    assert_memory_equal(out, plain, PLAIN_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams_end_where_the_next_archive_starts),
        cmocka_unit_test(test_streams_that_end_early_are_refused),
        cmocka_unit_test(test_unsupported_compressions_are_named),
        cmocka_unit_test(test_lz4_blocks_copy_literals_and_overlapping_matches),
        cmocka_unit_test(test_lz4_blocks_that_reach_outside_are_refused),
        cmocka_unit_test(test_lz4_streams_end_at_zeroes),
        cmocka_unit_test(test_files_above_the_limit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
