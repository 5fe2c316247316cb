/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One disk's data through one connection (docs/wire.md, "A disk connection"):
 *
 *     readers ──names──> offers ─┐
 *        └──buffers──> WANT ──> compressors ──> sending thread ──> link ──> the caller receives
 *
 * Knows nothing of reconnecting and passes: it runs from where disk_offer says to PASSED or to the
 * first failure. The buffers stay for the next run.
 */
#ifndef P2V_AGENT_DISK_PIPELINE_H
#define P2V_AGENT_DISK_PIPELINE_H

#include "base/error.h"
#include "base/extents.h"
#include "base/own.h"
#include "base/source.h"
#include "p2v/agent/disk_offer.h"
#include "p2v/agent/limiter.h"
#include "p2v/wire/link.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct disk_pipeline;

/* What all disks of a machine share. */
struct pipeline_shared {
    struct limiter wire; /* bytes */
    struct limiter cpu;  /* nanoseconds */
    atomic_uint step;    /* of compression, p2v/agent/compressor.h */
    bool can_compress;   /* the step may become more than 0 */
    /* For the choice of the step, since the start: content sent, and time waited for links. */
    atomic_ullong sent_bytes, blocked_ns;
    const atomic_bool *stop; /* may be NULL */
};

struct pipeline_options {
    const struct block_source *block;
    const char *path; /* for reading ahead; may be NULL */
    struct disk_offer *offer;
    struct pipeline_shared *shared;
    uint64_t memory_bytes; /* for buffers */
    unsigned threads;      /* that read, and as many that compress */
};

struct disk_pipeline *disk_pipeline_new(const struct pipeline_options *options, struct error *err);
void disk_pipeline_free(struct disk_pipeline *pipeline);
OWN_DEFINE_PTR(disk_pipeline, disk_pipeline_free)

/* A new pass begins: `used` is borrowed until the next one. */
int disk_pipeline_begin_pass(struct disk_pipeline *pipeline, const struct extents *used,
                             struct error *err);

enum pipeline_end {
    PIPELINE_PASSED,    /* both sides have the same digest */
    PIPELINE_DIFFERENT, /* they have not */
    PIPELINE_CUT,       /* the link failed; it is shut */
    PIPELINE_REFUSED,   /* the server sent ERROR: *code and its text */
    PIPELINE_BROKEN,    /* the disk failed, or the server broke the rules (EPROTO), or stop */
};

struct pipeline_pass {
    struct link *link;
    uint64_t window_bytes;
    uint32_t pass;
    bool is_last;
};

/* Offers and sends from disk_offer's position to the end. */
enum pipeline_end disk_pipeline_run(struct disk_pipeline *pipeline, const struct pipeline_pass *run,
                                    enum wire_error_code *code, struct error *err);

/* From any thread. */
struct pipeline_counts {
    uint64_t total_bytes, done_bytes, safe_bytes; /* of this pass; done: sent, or not wanted */
    uint64_t read_bytes, sent_bytes, wire_bytes;  /* of all passes */
    uint64_t unreadable_bytes;                    /* now */
    bool is_paused;
    char text[256]; /* why */
};
void disk_pipeline_count(struct disk_pipeline *pipeline, struct pipeline_counts *counts);

/* Exact ranges of the last pass; not while it runs. */
const struct extents *disk_pipeline_unreadable(const struct disk_pipeline *pipeline);

#endif
