/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The choice climbs a hill: from time to time the next step is tried for one measurement and kept
 * when more content went through. Up costs CPU, so it is tried only when the link is what holds
 * things up, and cores are idle or the link is slow; down is tried rarely, or at once when the link
 * waits for us.
 */
#include "p2v/agent/compressor.h"

#include "base/checked.h"
#include "formats/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define LINK_IS_BUSY 0.3   /* blocked for more: the link holds us up */
#define CORES_ARE_IDLE 0.5 /* at least this much, or compressing takes from something else */
#define SLOW_LINK 120e6    /* so little content a second that a part of one core pays for it */
#define WORTH_IT 1.1       /* more goodput a step up has to give */
#define AS_GOOD 0.95       /* goodput a step down may cost */
#define FIRST_RETRY 5.0    /* seconds after a step up that did not pay; doubles */
#define LAST_RETRY 60.0
#define LOOK_DOWN 20.0      /* seconds until a step down is tried; */
#define FIRST_LOOK_DOWN 1.0 /* less at first, when the link waits for us; doubles */

/* What is on its way when the step changes still tells of the step before; no longer than so long.
 */
#define LAG_BYTES ((uint64_t)12 << 20)
#define LAG_SECONDS 3.0

/* Chunks have to shrink by an eighth; else these and up to so many frames' after them go as they
 * are. */
#define MUST_SHRINK_BY 8
#define MAX_SKIP 4

static const int levels[COMPRESSION_STEPS] = {0, 1, 3};

int compression_level(unsigned step)
{
    return levels[step];
}

unsigned compression_step(int level)
{
    unsigned step = 0;
    while (step + 1 < COMPRESSION_STEPS && levels[step + 1] <= level)
        step++;
    return step;
}

static void settle(struct compression *state, unsigned step)
{
    state->step = step;
    state->is_probe = false;
    state->waited = 0;
}

static void probe(struct compression *state, unsigned step)
{
    state->lag_bytes = LAG_BYTES;
    state->lag_seconds = LAG_SECONDS;
    state->from = state->step;
    state->step = step;
    state->is_probe = true;
}

static void judge_probe(struct compression *state, double goodput)
{
    bool is_up = state->step > state->from;
    bool is_good = goodput >= state->goodput[state->from] * (is_up ? WORTH_IT : AS_GOOD);
    if (is_good) {
        state->up_after = is_up ? 0 : FIRST_RETRY;
        state->down_after = FIRST_LOOK_DOWN;
    } else if (!is_up) {
        state->down_after = state->down_after * 2 < LOOK_DOWN ? state->down_after * 2 : LOOK_DOWN;
    } else {
        state->up_after = state->up_after < FIRST_RETRY ? FIRST_RETRY : state->up_after * 2;
        if (state->up_after > LAST_RETRY)
            state->up_after = LAST_RETRY;
    }
    settle(state, is_good ? state->step : state->from);
}

unsigned compression_choose(struct compression *state, const struct compression_sample *sample)
{
    if (sample->bytes == 0 || sample->seconds <= 0)
        return state->step; /* paused, or nothing to send: tells nothing */
    double goodput = (double)sample->bytes / sample->seconds;
    bool is_link_busy = sample->blocked > LINK_IS_BUSY;
    if (state->is_probe && state->lag_bytes > 0 && state->lag_seconds > 0) {
        state->lag_bytes -= min_u64(sample->bytes, state->lag_bytes);
        state->lag_seconds -= sample->seconds;
        return state->step;
    }
    if (state->is_probe) {
        judge_probe(state, goodput);
        return state->step;
    }
    state->goodput[state->step] = goodput;
    state->waited += sample->seconds;
    double down_after = is_link_busy ? LOOK_DOWN : state->down_after;
    bool is_cheap = sample->idle > CORES_ARE_IDLE || goodput < SLOW_LINK;
    if (state->step + 1 < COMPRESSION_STEPS && is_link_busy && is_cheap &&
        state->waited >= state->up_after)
        probe(state, state->step + 1);
    else if (state->step > 0 && state->waited >= down_after)
        probe(state, state->step - 1);
    return state->step;
}

/* --- idle cores --- */

bool cpu_ticks_parse(const char *text, struct cpu_ticks *ticks)
{
    unsigned long long user, nice, kernel, idle, wait, irq, softirq, steal;
    if (sscanf(text, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &kernel, &idle,
               &wait, &irq, &softirq, &steal) != 8)
        return false;
    ticks->idle = idle + wait;
    ticks->total = user + nice + kernel + idle + wait + irq + softirq + steal;
    return true;
}

bool cpu_ticks_read(struct cpu_ticks *ticks)
{
    char line[256];
    FILE *file = fopen("/proc/stat", "re");
    if (!file)
        return false;
    bool is_read = fgets(line, sizeof(line), file) != NULL;
    fclose(file);
    return is_read && cpu_ticks_parse(line, ticks);
}

double cpu_ticks_idle(const struct cpu_ticks *before, const struct cpu_ticks *after)
{
    if (after->total <= before->total || after->idle < before->idle)
        return 0;
    double idle = (double)(after->idle - before->idle) / (double)(after->total - before->total);
    return idle > 1 ? 1 : idle;
}

/* --- one frame --- */

int compressor_init(struct compressor *compressor, struct error *err)
{
    *compressor = (struct compressor){.capacity = ZSTD_compressBound(COMPRESSOR_MOST)};
    compressor->context = ZSTD_createCCtx();
    compressor->frame = malloc(compressor->capacity);
    if (!compressor->context || !compressor->frame) {
        compressor_fini(compressor);
        return error_set(err, ENOMEM, "a compressor");
    }
    return 0;
}

void compressor_fini(struct compressor *compressor)
{
    ZSTD_freeCCtx(compressor->context);
    free(compressor->frame);
    *compressor = (struct compressor){0};
}

size_t compressor_run(struct compressor *compressor, int level, const void *data, size_t length)
{
    if (compressor->skip > 0) {
        compressor->skip--;
        return 0;
    }
    size_t result = ZSTD_compressCCtx(compressor->context, compressor->frame, compressor->capacity,
                                      data, length, level);
    if (!ZSTD_isError(result) && result <= length - length / MUST_SHRINK_BY) {
        compressor->next_skip = 0;
        return result;
    }
    compressor->next_skip = compressor->next_skip ? compressor->next_skip * 2 : 1;
    if (compressor->next_skip > MAX_SKIP)
        compressor->next_skip = MAX_SKIP;
    compressor->skip = compressor->next_skip;
    return 0;
}
