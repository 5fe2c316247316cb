/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The content of a DATA frame, whatever its encoding, as one piece of memory. Zstandard frames
 * (RFC 8878) are inflated to exactly the chunk's length or refused.
 */
#ifndef P2V_SERVER_DISK_INFLATE_H
#define P2V_SERVER_DISK_INFLATE_H

#include "base/error.h"
#include "p2v/wire/frame.h"

#include <stddef.h>
#include <stdint.h>

/* Made of memory only when it is needed: 1 MiB and a decoder. {0} is valid. */
struct disk_inflate {
    uint8_t *buffer;
    void *decoder; /* ZSTD_DCtx */
};

void disk_inflate_fini(struct disk_inflate *inflate);

/*
 * All chunks of the frame, one after the other: in the payload itself where they lie there as they
 * are, else in the buffer (until the next call). lengths[i] is what chunk i must have; errnum
 * EPROTO when a part gives anything else. NULL on failure.
 */
const uint8_t *disk_inflate_all(struct disk_inflate *inflate, const struct wire_data *data,
                                const size_t *lengths, struct error *err);

#endif
