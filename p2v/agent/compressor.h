/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Compressing chunks, and deciding whether to: on a slow link zstd multiplies the speed, on a fast
 * one or a busy machine it costs. The decision looks at measurements alone.
 */
#ifndef P2V_AGENT_COMPRESSOR_H
#define P2V_AGENT_COMPRESSOR_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Steps, by what they cost: none, zstd 1, zstd 3. */
#define COMPRESSION_STEPS 3
int compression_level(unsigned step);
unsigned compression_step(int level); /* the nearest one */

struct compression_sample {
    double seconds;
    uint64_t bytes; /* of content that went out, before compression */
    double idle;    /* of all cores together, 0 to 1 */
    double blocked; /* part of the time in which sending waited for the link, 0 to 1 */
};

/* {0}: nothing is known, nothing is compressed. */
struct compression {
    unsigned step;
    double goodput[COMPRESSION_STEPS]; /* bytes a second, as last seen */
    bool is_probe;                     /* `step` is being tried */
    unsigned from;                     /* the step before the probe */
    uint64_t lag_bytes;                /* of the step before, still to come; */
    double lag_seconds;                /* not awaited for longer */
    double waited;                     /* seconds since the last decision */
    double up_after, down_after;       /* seconds to wait before the next probe */
};

/* Takes one measurement of half a second or so, and gives the step from now on. */
unsigned compression_choose(struct compression *state, const struct compression_sample *sample);

/* The first line of /proc/stat, in ticks since boot; false when it is none. */
struct cpu_ticks {
    uint64_t idle, total;
};
bool cpu_ticks_parse(const char *text, struct cpu_ticks *ticks);
bool cpu_ticks_read(struct cpu_ticks *ticks);
double cpu_ticks_idle(const struct cpu_ticks *before, const struct cpu_ticks *after);

/* One thread's compressor. After chunks that did not shrink it leaves some untried. */
/* What is compressed in one go: the chunks of one DATA frame. */
#define COMPRESSOR_MOST ((size_t)1 << 20)

struct compressor {
    void *context; /* ZSTD_CCtx */
    uint8_t *frame;
    size_t capacity;
    unsigned skip, next_skip;
};
int compressor_init(struct compressor *compressor, struct error *err);
void compressor_fini(struct compressor *compressor);

/*
 * Length of compressor->frame, which holds the data (at most COMPRESSOR_MOST) as one zstd frame; 0
 * when it is better sent as it is.
 */
size_t compressor_run(struct compressor *compressor, int level, const void *data, size_t length);

#endif
