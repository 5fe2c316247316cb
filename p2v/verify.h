/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Checks every chunk of an image against its manifest, with several threads.
 */
#ifndef P2V_VERIFY_H
#define P2V_VERIFY_H

#include "base/error.h"
#include "base/source.h"
#include "formats/manifest.h"

#include <stdatomic.h>
#include <stdint.h>

/* Differences kept in words; the rest is counted. */
#define VERIFY_MAX_KEPT 16

enum verify_fault {
    VERIFY_CHANGED,    /* the content has another name */
    VERIFY_NOT_ZERO,   /* skipped, zero or unreadable in the manifest, and there is something */
    VERIFY_UNREADABLE, /* the image cannot be read there */
};

struct verify_difference {
    uint64_t offset; /* of the chunk */
    enum verify_fault fault;
};

struct verify_result {
    uint64_t checked_bytes;                                /* of the disk */
    uint64_t hashed_bytes;                                 /* read and compared */
    uint64_t difference_count;                             /* chunks */
    struct verify_difference differences[VERIFY_MAX_KEPT]; /* the lowest ones seen, ascending */
};

struct verify_job {
    const struct block_source *image; /* of manifest->size_bytes */
    const struct manifest *manifest;
    unsigned threads;        /* 0: one per core */
    const atomic_bool *stop; /* or NULL */
    /* Ten times a second at most, in one of the threads, one call at a time; may be NULL. */
    void (*progress)(void *context, uint64_t checked_bytes);
    void *context;
};

/* Differences are a result; -1: no memory, no threads, stopped. */
int verify_image(const struct verify_job *job, struct verify_result *result, struct error *err);

const char *verify_fault_text(enum verify_fault fault); /* "differs from the manifest" */

#endif
