/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The copying engine: the used part of one disk into a new image, chunk by chunk, by several
 * threads, each chunk named in the manifest.
 *
 * What is not used does not arrive: bytes of a chunk outside the used ranges are written as zeroes,
 * so that old data beside live data stays behind.
 */
#ifndef P2V_COPY_H
#define P2V_COPY_H

#include "base/error.h"
#include "base/extents.h"
#include "base/source.h"
#include "formats/image.h"
#include "formats/manifest.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct copy_counts {
    uint64_t total_bytes;      /* chunks to read: used, and data by the source's own map */
    uint64_t done_bytes;       /* of those */
    uint64_t data_bytes;       /* not zero, written */
    uint64_t stored_bytes;     /* what they take when compressed; 0 when not */
    uint64_t zero_bytes;       /* read and found zero */
    uint64_t unreadable_bytes; /* could not be read, hold zeroes */
};

struct copy_job {
    const struct block_source *source;
    const struct extents *used;  /* exact ranges inside the source */
    const char *read_ahead_path; /* the file or device behind the source, NULL: none known */
    struct image *target;        /* new, of copy_target_size(source->size_bytes) */
    struct manifest *manifest;   /* initialised for the same size */
    unsigned threads;            /* 0: one per core */
    bool is_compressed;          /* zstd frames; the target was created for them */
    const atomic_bool *stop;     /* NULL, or ends the copy with ECANCELED when it becomes true */
    /* Ten times a second, in the caller's thread; may be NULL. */
    void (*progress)(void *context, const struct copy_counts *counts);
    void *context;
};

struct copy_result {
    struct copy_counts counts;
    struct extents unreadable; /* exact ranges of the disk */
};
void copy_result_fini(struct copy_result *result);

/* Images hold whole sectors: the size rounded up to 512. */
uint64_t copy_target_size(uint64_t source_size_bytes);

/* Bytes of the chunks that would be read: an upper limit of what the copy takes uncompressed. */
int copy_estimate(const struct block_source *source, const struct extents *used, uint64_t *bytes,
                  struct error *err);

/*
 * Copies. A range that the medium cannot read (EIO and its kin) is tried again in smaller pieces,
 * down to a sector; what remains is in result->unreadable and reads as zeroes. A chunk of which
 * nothing but zeroes was read beside that is CHUNK_UNREADABLE; one with data keeps its data and
 * has a name. Other failures end the copy. The image is not finished, the manifest not written.
 */
int copy_disk(const struct copy_job *job, struct copy_result *result, struct error *err);

#endif
