/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Decompression of one stream out of a longer buffer, telling exactly where the stream ends: an
 * initramfs is several archives, each compressed or not, one behind the other, and the kernel goes
 * on at that byte. (libarchive reads ahead, so it cannot tell.)
 */
#ifndef BOOTFIX_UNPACK_H
#define BOOTFIX_UNPACK_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum unpack_kind {
    UNPACK_UNKNOWN,
    UNPACK_GZIP,
    UNPACK_ZSTD,
    UNPACK_XZ,
    UNPACK_LZMA,
    UNPACK_LZ4, /* the legacy format, which is the only one that kernels read */
    UNPACK_BZIP2,
    UNPACK_LZO,
};

/* Of what a decoder may use, and of what one stream may become. */
#define UNPACK_MAX_MEMORY_BYTES ((uint64_t)256 << 20)
#define UNPACK_MAX_OUTPUT_BYTES ((uint64_t)2 << 30)

/* Receives the output piece by piece; -1 ends it. */
struct unpack_sink {
    int (*write)(struct unpack_sink *sink, const void *data, size_t length, struct error *err);
};

enum unpack_kind unpack_detect(const void *data, size_t length);
const char *unpack_name(enum unpack_kind kind);

/*
 * Decompresses the stream at the start of `data`; *consumed tells its length. Kinds that are known
 * by name only, damaged and truncated streams, and those above the limits are errors.
 */
int unpack_stream(enum unpack_kind kind, const void *data, size_t length, size_t *consumed,
                  struct unpack_sink *sink, struct error *err);

/* The whole of a compressed file (a module); *out is malloced and the caller's. */
int unpack_file(const void *data, size_t length, size_t limit_bytes, char **out, size_t *out_length,
                struct error *err);

/* One LZ4 block. The number of bytes written to `out`, or -1 when the block is not valid. */
ssize_t unpack_lz4_block(const uint8_t *in, size_t length, uint8_t *out, size_t capacity);

#endif
