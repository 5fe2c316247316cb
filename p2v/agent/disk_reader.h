/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Reading a disk for sending: in large pieces first, so that what is good is out before time is
 * spent on what is not; the bad chunks later, with patience, down to a sector.
 */
#ifndef P2V_AGENT_DISK_READER_H
#define P2V_AGENT_DISK_READER_H

#include "base/error.h"
#include "base/extents.h"
#include "base/source.h"
#include "formats/manifest.h"

#include <stdatomic.h>
#include <stdint.h>

#define DISK_UNIT_CHUNKS 16u
#define DISK_UNIT_SIZE ((size_t)DISK_UNIT_CHUNKS * CHUNK_SIZE)

struct disk_reader {
    const struct block_source *source;
    const struct extents *used; /* everything else becomes zero */
    atomic_uint bad_streak;
};

/*
 * Reads whole chunks (of one unit). A chunk that the medium does not give up at once is zero in the
 * buffer, and its bit in `bad` is set. -1: the disk is gone or broken altogether.
 */
int disk_read_unit(struct disk_reader *reader, const struct extent *range, uint8_t *buffer,
                   uint16_t *bad, struct error *err);

/*
 * Reads one chunk that failed before, in smaller pieces down to a sector; bad sectors get a second
 * chance. What remains is zero in the buffer and added to `bad`.
 */
int disk_read_patiently(struct disk_reader *reader, const struct extent *chunk, uint8_t *buffer,
                        struct extents *bad, struct error *err);

#endif
