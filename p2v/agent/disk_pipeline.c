/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The pipeline's life: its buffers, its threads, and how a run ends.
 */
#include "p2v/agent/disk_pipeline.h"

#include "base/checked.h"
#include "base/clock.h"
#include "p2v/agent/pipeline_parts.h"
#include "p2v/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIN_UNITS 8u
#define MAX_UNITS 4096u
#define MAX_THREADS 16u

/* --- buffers --- */

static void make_rings(struct disk_pipeline *pipeline)
{
    uint64_t wanted = pipeline->options.memory_bytes / DISK_UNIT_SIZE;
    uint64_t pieces = 1;
    pipeline->unit_count = (unsigned)min_u64(max_u64(wanted, MIN_UNITS), MAX_UNITS);
    while (pieces < (uint64_t)pipeline->unit_count * DISK_UNIT_CHUNKS * 2)
        pieces *= 2;
    pipeline->piece_mask = pieces - 1;
    pipeline->units = memory_new(pipeline->unit_count, sizeof(*pipeline->units));
    pipeline->order = memory_new(pipeline->unit_count, sizeof(struct unit *));
    pipeline->pieces = memory_new(pieces, sizeof(*pipeline->pieces));
}

struct disk_pipeline *disk_pipeline_new(const struct pipeline_options *options, struct error *err)
{
    (void)err;
    struct disk_pipeline *pipeline = memory_new(1, sizeof(*pipeline));
    pipeline->options = *options;
    pipeline->size_bytes = copy_target_size(options->block->size_bytes);
    pipeline->chunk_count = div_round_up(pipeline->size_bytes, CHUNK_SIZE);
    pipeline->reader.source = options->block;
    pipeline->ahead.fd = -1;
    make_rings(pipeline);
    pthread_mutex_init(&pipeline->cursor_lock, NULL);
    pthread_mutex_init(&pipeline->lock, NULL);
    clock_condition_init(&pipeline->can_read);
    clock_condition_init(&pipeline->can_send);
    clock_condition_init(&pipeline->can_compress);
    return pipeline;
}

void disk_pipeline_free(struct disk_pipeline *pipeline)
{
    if (!pipeline)
        return;
    for (unsigned i = 0; i < pipeline->unit_count; i++)
        free(pipeline->units[i].buffer);
    free(pipeline->units);
    free(pipeline->order);
    free(pipeline->pieces);
    extents_fini(&pipeline->dead);
    extents_fini(&pipeline->unreadable);
    copy_cursor_fini(&pipeline->cursor);
    text_fini(&pipeline->frames);
    pthread_mutex_destroy(&pipeline->cursor_lock);
    pthread_mutex_destroy(&pipeline->lock);
    pthread_cond_destroy(&pipeline->can_read);
    pthread_cond_destroy(&pipeline->can_send);
    pthread_cond_destroy(&pipeline->can_compress);
    free(pipeline);
}

void pipeline_release_locked(struct disk_pipeline *pipeline, struct unit *unit)
{
    if (--unit->refs > 0)
        return;
    unit->next_free = pipeline->free_units;
    pipeline->free_units = unit;
}

void pipeline_pace(struct disk_pipeline *pipeline, struct cpu_clock *clock)
{
    struct pipeline_shared *shared = pipeline->options.shared;
    if (shared->cpu.bucket.units_per_second)
        limiter_take(&shared->cpu, cpu_clock_lap(clock), shared->stop, &pipeline->is_ended);
}

void pipeline_skip_dropped_locked(struct disk_pipeline *pipeline)
{
    while (pipeline->send_at < pipeline->want_at &&
           pipeline_piece(pipeline, pipeline->send_at)->state == PIECE_DROPPED)
        pipeline->send_at++;
    pipeline->compress_at = max_u64(pipeline->compress_at, pipeline->send_at);
}

/* --- the end of a run --- */

void pipeline_fail_locked(struct disk_pipeline *pipeline, enum pipeline_end end,
                          const struct error *error)
{
    if (pipeline->is_ended)
        return;
    pipeline->end = end;
    if (error)
        pipeline->error = *error;
    pipeline->is_ended = true;
    pthread_cond_broadcast(&pipeline->can_read);
    pthread_cond_broadcast(&pipeline->can_send);
    pthread_cond_broadcast(&pipeline->can_compress);
    if (end != PIPELINE_PASSED && end != PIPELINE_DIFFERENT)
        link_shut(pipeline->run.link);
}

void pipeline_fail(struct disk_pipeline *pipeline, enum pipeline_end end, const struct error *error)
{
    pthread_mutex_lock(&pipeline->lock);
    pipeline_fail_locked(pipeline, end, error);
    pthread_mutex_unlock(&pipeline->lock);
}

/* --- a run --- */

int disk_pipeline_begin_pass(struct disk_pipeline *pipeline, const struct extents *used,
                             struct error *err)
{
    uint64_t total = 0;
    if (copy_estimate(pipeline->options.block, used, &total, err) != 0)
        return -1;
    pipeline->used = pipeline->reader.used = used;
    extents_fini(&pipeline->dead);
    pthread_mutex_lock(&pipeline->lock);
    extents_fini(&pipeline->unreadable);
    disk_offer_begin_pass(pipeline->options.offer);
    pipeline->counts.total_bytes = total;
    pipeline->counts.done_bytes = pipeline->counts.safe_bytes = 0;
    pipeline->counts.unreadable_bytes = 0;
    pipeline->safe_index = 0;
    pipeline->safe_before = 0;
    pthread_mutex_unlock(&pipeline->lock);
    return 0;
}

static void reset_locked(struct disk_pipeline *pipeline)
{
    pipeline->free_units = NULL;
    for (unsigned i = pipeline->unit_count; i-- > 0;) {
        pipeline->units[i].refs = 1;
        pipeline_release_locked(pipeline, &pipeline->units[i]);
    }
    pipeline->order_head = pipeline->order_count = 0;
    pipeline->send_at = pipeline->compress_at = pipeline->want_at = 0;
    pipeline->offered_at = pipeline->named_at = 0;
    pipeline->backlog = pipeline->name_count = 0;
    pipeline->open_run.count = 0;
    pipeline->frames.length = 0;
    pipeline->is_read = pipeline->is_pass_sent = pipeline->counts.is_paused = false;
    pipeline->error = (struct error){0};
    pipeline->is_ended = false;
}

/* Where disk_offer stands is where reading begins. */
static int begin_run(struct disk_pipeline *pipeline, const struct pipeline_pass *run,
                     struct error *err)
{
    struct copy_cursor *cursor = &pipeline->cursor;
    pthread_mutex_lock(&pipeline->lock);
    reset_locked(pipeline);
    pipeline->run = *run;
    pipeline->position = disk_offer_position(pipeline->options.offer);
    pipeline->most_names =
        (unsigned)min_u64(run->window_bytes / CHUNK_SIZE / OFFERS_IN_WINDOW, OFFER_CHUNKS);
    pipeline->counts.done_bytes = pipeline->counts.safe_bytes;
    copy_cursor_fini(cursor);
    int result = copy_cursor_init(cursor, pipeline->options.block, pipeline->used, NULL, err);
    cursor->offset = pipeline->position * CHUNK_SIZE;
    pipeline->used_bytes = extents_total(&cursor->chunks);
    pthread_mutex_unlock(&pipeline->lock);
    copy_read_ahead_open(&pipeline->ahead, result == 0 ? pipeline->options.path : NULL);
    return result;
}

struct threads {
    pthread_t items[1 + 2 * MAX_THREADS];
    unsigned count;
};

static int start_thread(struct threads *threads, void *(*start)(void *), void *argument,
                        struct error *err)
{
    int result = pthread_create(&threads->items[threads->count], NULL, start, argument);
    if (result != 0)
        return error_set(err, result, "start a thread");
    threads->count++;
    return 0;
}

static int start_threads(struct disk_pipeline *pipeline, struct threads *threads, struct error *err)
{
    unsigned each = (unsigned)min_u64(max_u64(pipeline->options.threads, 1), MAX_THREADS);
    int result = start_thread(threads, pipeline_send_thread, pipeline, err);
    pthread_mutex_lock(&pipeline->lock);
    pipeline->readers = each;
    pthread_mutex_unlock(&pipeline->lock);
    for (unsigned i = 0; result == 0 && i < each; i++)
        result = start_thread(threads, pipeline_read_thread, pipeline, err);
    for (unsigned i = 0; result == 0 && pipeline->options.shared->can_compress && i < each; i++)
        result = start_thread(threads, pipeline_compress_thread, pipeline, err);
    return result;
}

enum pipeline_end disk_pipeline_run(struct disk_pipeline *pipeline, const struct pipeline_pass *run,
                                    enum wire_error_code *code, struct error *err)
{
    struct threads threads = {.count = 0};
    struct error error = {0};
    if (begin_run(pipeline, run, &error) != 0 || start_threads(pipeline, &threads, &error) != 0)
        pipeline_fail(pipeline, PIPELINE_BROKEN, &error);
    else
        pipeline_receive(pipeline);
    for (unsigned i = 0; i < threads.count; i++)
        pthread_join(threads.items[i], NULL);
    copy_read_ahead_close(&pipeline->ahead);
    *code = pipeline->code;
    if (err)
        *err = pipeline->error;
    return pipeline->end;
}

/* Read, but neither sent nor known to be there: a slow link is as far as this, not as the disk. */
static uint64_t unsent_locked(struct disk_pipeline *pipeline)
{
    uint64_t bytes = 0;
    for (uint64_t i = pipeline->send_at; i < pipeline->named_at; i++) {
        const struct piece *piece = pipeline_piece(pipeline, i);
        bytes += piece->state == PIECE_DROPPED ? 0 : piece->length;
    }
    return bytes;
}

void disk_pipeline_count(struct disk_pipeline *pipeline, struct pipeline_counts *counts)
{
    pthread_mutex_lock(&pipeline->lock);
    *counts = pipeline->counts;
    counts->done_bytes -= min_u64(counts->done_bytes, unsent_locked(pipeline));
    pthread_mutex_unlock(&pipeline->lock);
}

const struct extents *disk_pipeline_unreadable(const struct disk_pipeline *pipeline)
{
    return &pipeline->unreadable;
}
