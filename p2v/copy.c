/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The copying engine's threads. Each takes the next range, reads it, leaves out what is zero, names
 * the rest, and writes it in as few calls as possible. The order of writing does not matter: an
 * image takes its clusters as they come.
 */
#include "p2v/copy.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/clock.h"
#include "p2v/copy_work.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

/* One read. Large enough to keep a disk busy, small enough to stay in the cores' caches. */
#define COPY_UNIT (1 * MIB)
#define COPY_MAX_THREADS 16

#define COPY_ZSTD_LEVEL 1
#define COPY_PROGRESS_MS 100

struct engine {
    const struct copy_job *job;
    struct copy_result *result; /* guarded by lock */
    pthread_mutex_t lock;       /* the only lock */
    pthread_cond_t is_progressed;
    struct copy_cursor cursor;
    unsigned running; /* threads that have not ended */
    bool has_failed;
    struct error error; /* the first failure */
    struct copy_read_ahead ahead;
};

struct worker {
    pthread_t thread;
    struct engine *engine;
    uint8_t *buffer; /* COPY_UNIT */
    uint8_t *frame;  /* COPY of one chunk compressed; NULL when not compressing */
    size_t frame_capacity;
    ZSTD_CCtx *compressor;
    struct extents bad;        /* of the range being copied */
    struct copy_counts counts; /* of the range being copied */
};

void copy_result_fini(struct copy_result *result)
{
    extents_fini(&result->unreadable);
}

uint64_t copy_target_size(uint64_t source_size_bytes)
{
    return align_up(source_size_bytes, 512);
}

int copy_estimate(const struct block_source *source, const struct extents *used, uint64_t *bytes,
                  struct error *err)
{
    struct copy_cursor cursor;
    struct extent range;
    int more;
    *bytes = 0;
    if (copy_cursor_init(&cursor, source, used, NULL, err) != 0) {
        copy_cursor_fini(&cursor);
        return -1;
    }
    while ((more = copy_cursor_next(&cursor, GIB, &range, err)) > 0)
        *bytes += range.length;
    copy_cursor_fini(&cursor);
    return more;
}

/* --- one range --- */

static uint64_t bad_bytes_in(const struct extents *bad, uint64_t offset, uint64_t length)
{
    uint64_t total = 0;
    for (size_t i = extents_find(bad, offset);
         i < bad->count && bad->items[i].offset < offset + length; i++) {
        uint64_t start = max_u64(bad->items[i].offset, offset);
        total += min_u64(bad->items[i].offset + bad->items[i].length, offset + length) - start;
    }
    return total;
}

/* Names one chunk; true when it has to be written. */
static bool name_chunk(struct worker *worker, uint64_t offset, const uint8_t *data, size_t length)
{
    struct manifest *manifest = worker->engine->job->manifest;
    uint64_t bad = worker->bad.count ? bad_bytes_in(&worker->bad, offset, length) : 0;
    worker->counts.unreadable_bytes += bad;
    if (bytes_are_zero(data, length)) {
        worker->counts.zero_bytes += length - bad;
        manifest_set(manifest, offset / CHUNK_SIZE, bad ? CHUNK_UNREADABLE : CHUNK_ZERO, NULL);
        return false;
    }
    struct chunk_name name;
    chunk_name_compute(data, length, &name);
    manifest_set(manifest, offset / CHUNK_SIZE, CHUNK_DATA, &name);
    worker->counts.data_bytes += length;
    return true;
}

/* One chunk as a frame, or as it is when it does not shrink. */
static int write_compressed(struct worker *worker, uint64_t offset, const uint8_t *data,
                            size_t length, struct error *err)
{
    struct image *target = worker->engine->job->target;
    size_t frame_length = ZSTD_compressCCtx(worker->compressor, worker->frame,
                                            worker->frame_capacity, data, length, COPY_ZSTD_LEVEL);
    bool is_smaller =
        length == CHUNK_SIZE && !ZSTD_isError(frame_length) && frame_length < CHUNK_SIZE - 4096;
    worker->counts.stored_bytes += is_smaller ? frame_length : length;
    if (is_smaller)
        return image_write_frame(target, offset, worker->frame, frame_length, err);
    return image_write(target, offset, data, length, err);
}

static int write_run(struct worker *worker, uint64_t offset, const uint8_t *data, size_t length,
                     struct error *err)
{
    if (!worker->compressor)
        return length ? image_write(worker->engine->job->target, offset, data, length, err) : 0;
    for (size_t done = 0; done < length; done += CHUNK_SIZE) {
        size_t part = (size_t)min_u64(length - done, CHUNK_SIZE);
        if (write_compressed(worker, offset + done, data + done, part, err) != 0)
            return -1;
    }
    return 0;
}

/* Names the chunks of the buffer and writes the runs of them that are not zero. */
static int store_range(struct worker *worker, const struct extent *range, struct error *err)
{
    size_t run_start = 0, position = 0;
    while (position < range->length) {
        size_t length = (size_t)min_u64(range->length - position, CHUNK_SIZE);
        bool is_written =
            name_chunk(worker, range->offset + position, worker->buffer + position, length);
        if (!is_written) {
            if (write_run(worker, range->offset + run_start, worker->buffer + run_start,
                          position - run_start, err) != 0)
                return -1;
            run_start = position + length;
        }
        position += length;
    }
    return write_run(worker, range->offset + run_start, worker->buffer + run_start,
                     position - run_start, err);
}

static int copy_range(struct worker *worker, const struct extent *range, struct error *err)
{
    const struct copy_job *job = worker->engine->job;
    worker->bad.count = 0;
    worker->counts = (struct copy_counts){.done_bytes = range->length};
    if (copy_read(job->source, job->used, range, worker->buffer, &worker->bad, err) != 0)
        return -1;
    return store_range(worker, range, err);
}

/* --- threads --- */

static bool is_stopped(const struct engine *engine)
{
    return engine->job->stop && atomic_load(engine->job->stop);
}

static void fail_locked(struct engine *engine, const struct error *error)
{
    if (!engine->has_failed)
        engine->error = *error;
    engine->has_failed = true;
}

static bool take_range(struct engine *engine, struct extent *range)
{
    struct error error = {0};
    int more = 0;
    pthread_mutex_lock(&engine->lock);
    if (is_stopped(engine)) {
        error_set(&error, ECANCELED, "stopped");
        fail_locked(engine, &error);
    }
    if (!engine->has_failed)
        more = copy_cursor_next(&engine->cursor, COPY_UNIT, range, &error);
    if (more < 0)
        fail_locked(engine, &error);
    if (more > 0)
        copy_read_ahead_from(&engine->ahead, range->offset);
    pthread_mutex_unlock(&engine->lock);
    return more > 0;
}

static void add_counts(struct copy_counts *sum, const struct copy_counts *more)
{
    sum->done_bytes += more->done_bytes;
    sum->data_bytes += more->data_bytes;
    sum->stored_bytes += more->stored_bytes;
    sum->zero_bytes += more->zero_bytes;
    sum->unreadable_bytes += more->unreadable_bytes;
}

static void finish_range(struct worker *worker, int result, const struct error *error)
{
    struct engine *engine = worker->engine;
    struct error no_memory = {0};
    pthread_mutex_lock(&engine->lock);
    if (result != 0)
        fail_locked(engine, error);
    add_counts(&engine->result->counts, &worker->counts);
    if (extents_add_all(&engine->result->unreadable, &worker->bad, 0, &no_memory) != 0)
        fail_locked(engine, &no_memory);
    pthread_mutex_unlock(&engine->lock);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct engine *engine = worker->engine;
    struct extent range;
    while (take_range(engine, &range)) {
        struct error error = {0};
        int result = copy_range(worker, &range, &error);
        finish_range(worker, result, &error);
    }
    pthread_mutex_lock(&engine->lock);
    engine->running--;
    pthread_cond_signal(&engine->is_progressed);
    pthread_mutex_unlock(&engine->lock);
    return NULL;
}

static int worker_init(struct worker *worker, struct engine *engine, struct error *err)
{
    worker->engine = engine;
    if (posix_memalign((void **)&worker->buffer, 4096, COPY_UNIT) != 0)
        worker->buffer = NULL;
    if (engine->job->is_compressed) {
        worker->frame_capacity = ZSTD_compressBound(CHUNK_SIZE);
        worker->frame = malloc(worker->frame_capacity);
        worker->compressor = ZSTD_createCCtx();
    }
    if (!worker->buffer || (engine->job->is_compressed && (!worker->frame || !worker->compressor)))
        return error_set(err, ENOMEM, "buffers for copying");
    return 0;
}

static void worker_fini(struct worker *worker)
{
    free(worker->buffer);
    free(worker->frame);
    ZSTD_freeCCtx(worker->compressor);
    extents_fini(&worker->bad);
}

static unsigned thread_count(const struct copy_job *job)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned wanted = job->threads ? job->threads : cores > 0 ? (unsigned)cores : 1;
    return wanted < COPY_MAX_THREADS ? wanted : COPY_MAX_THREADS;
}

/* Waits for the threads and tells how far they are meanwhile. The lock is held. */
static void wait_locked(struct engine *engine)
{
    while (engine->running > 0) {
        struct timespec until = clock_deadline(COPY_PROGRESS_MS);
        pthread_cond_timedwait(&engine->is_progressed, &engine->lock, &until);
        struct copy_counts counts = engine->result->counts;
        pthread_mutex_unlock(&engine->lock);
        if (engine->job->progress)
            engine->job->progress(engine->job->context, &counts);
        pthread_mutex_lock(&engine->lock);
    }
}

/* Starts the threads and waits for them; those that started are always waited for. */
static void run_workers(struct engine *engine, struct worker *workers, unsigned count)
{
    unsigned started = 0;
    pthread_mutex_lock(&engine->lock);
    for (; started < count; started++) {
        struct error error = {0};
        int result = worker_init(&workers[started], engine, &error);
        if (result == 0) {
            result = pthread_create(&workers[started].thread, NULL, work, &workers[started]);
            if (result != 0)
                error_set(&error, result, "start a thread");
        }
        if (result != 0) {
            fail_locked(engine, &error);
            worker_fini(&workers[started]);
            break;
        }
        engine->running++;
    }
    wait_locked(engine);
    pthread_mutex_unlock(&engine->lock);
    for (unsigned i = 0; i < started; i++) {
        pthread_join(workers[i].thread, NULL);
        worker_fini(&workers[i]);
    }
}

static void run_engine(struct engine *engine)
{
    struct worker workers[COPY_MAX_THREADS] = {0};
    copy_read_ahead_open(&engine->ahead, engine->job->read_ahead_path);
    pthread_mutex_init(&engine->lock, NULL);
    clock_condition_init(&engine->is_progressed);
    run_workers(engine, workers, thread_count(engine->job));
    pthread_cond_destroy(&engine->is_progressed);
    pthread_mutex_destroy(&engine->lock);
    copy_read_ahead_close(&engine->ahead);
}

int copy_disk(const struct copy_job *job, struct copy_result *result, struct error *err)
{
    struct engine engine = {.job = job, .result = result};
    *result = (struct copy_result){0};
    if (copy_estimate(job->source, job->used, &result->counts.total_bytes, err) != 0)
        return -1;
    int status = copy_cursor_init(&engine.cursor, job->source, job->used, job->manifest, err);
    if (status == 0) {
        run_engine(&engine);
        if (engine.has_failed && err)
            *err = engine.error;
        status = engine.has_failed ? -1 : 0;
    }
    copy_cursor_fini(&engine.cursor);
    return status;
}
