/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The thread that sends, and those that compress for it. Chunks go out of the buffers that they
 * were read into; a frame takes the place of the chunks that it was made from.
 */
#include "base/checked.h"
#include "base/clock.h"
#include "p2v/agent/compressor.h"
#include "p2v/agent/pipeline_parts.h"

#include <string.h>
#include <sys/uio.h>
#include <time.h>

/* From a failed write until the link is shut. */
#define LAST_WORD_MS 1000

/* What goes out in one go: frames of names, then at most one DATA frame. */
struct batch {
    struct text frames;
    unsigned count; /* pieces from send_at on */
    uint64_t bytes; /* of their chunks */
};

/* --- choosing what goes out --- */

static bool is_next(const struct piece *first, const struct piece *piece, unsigned distance)
{
    return piece->state >= PIECE_WANTED && piece->sequence == first->sequence &&
           piece->chunk == first->chunk + distance;
}

/* The chunks of the frame that begins with `first`, when they all fit. */
static unsigned count_joined(struct disk_pipeline *pipeline, const struct piece *first,
                             uint64_t room, uint64_t *bytes)
{
    for (unsigned i = 0; i < first->joined; i++)
        *bytes += pipeline_piece(pipeline, pipeline->send_at + i)->length;
    return *bytes <= room ? first->joined : 0;
}

/* Consecutive wanted chunks of one offer; 0 while one of them is still being compressed. */
static unsigned count_ready(struct disk_pipeline *pipeline, uint64_t *bytes)
{
    const struct piece *first = pipeline_piece(pipeline, pipeline->send_at);
    uint64_t room = disk_offer_room(pipeline->options.offer, pipeline->run.window_bytes);
    uint64_t limit = min_u64(pipeline->want_at - pipeline->send_at, WIRE_MAX_DATA);
    unsigned count = 0;
    *bytes = 0;
    if (limit > 0 && first->state == PIECE_READY && first->joined)
        return count_joined(pipeline, first, room, bytes);
    for (; count < limit; count++) {
        const struct piece *piece = pipeline_piece(pipeline, pipeline->send_at + count);
        if (!is_next(first, piece, count) || *bytes + piece->length > room)
            break;
        if (piece->state != PIECE_READY) /* the rest of it is its compressor's */
            return 0;
        if (piece->joined)
            break;
        *bytes += piece->length;
    }
    return count;
}

static bool is_all_sent(const struct disk_pipeline *pipeline)
{
    return pipeline->is_read && !pipeline->is_pass_sent &&
           pipeline->send_at == pipeline->named_at &&
           disk_offer_is_through(pipeline->options.offer);
}

static void add_pass(struct disk_pipeline *pipeline)
{
    struct wire_pass pass = {.pass = pipeline->run.pass, .is_last = pipeline->run.is_last};
    memcpy(pass.digest, disk_offer_digest(pipeline->options.offer)->bytes, sizeof(pass.digest));
    wire_pass_encode(&pass, &pipeline->frames);
    pipeline->is_pass_sent = true;
}

static void swap_texts(struct text *a, struct text *b)
{
    struct text other = *a;
    *a = *b;
    *b = other;
}

/* True when there is something to send. */
static bool fill_batch(struct disk_pipeline *pipeline, struct batch *batch)
{
    struct error error = {0};
    if (pipeline->counts.is_paused)
        return false;
    batch->count = count_ready(pipeline, &batch->bytes);
    bool is_idle = batch->count == 0 && pipeline->frames.length == 0;
    if (is_idle && pipeline->name_count > 0 && pipeline_flush_locked(pipeline, &error) != 0)
        pipeline_fail_locked(pipeline, PIPELINE_BROKEN, &error);
    else if (is_idle && is_all_sent(pipeline))
        add_pass(pipeline);
    if (batch->count > 0)
        disk_offer_sent(pipeline->options.offer,
                        pipeline_piece(pipeline, pipeline->send_at)->sequence,
                        (uint16_t)batch->count, batch->bytes);
    swap_texts(&batch->frames, &pipeline->frames);
    return batch->count > 0 || batch->frames.length > 0;
}

static bool take_batch(struct disk_pipeline *pipeline, struct batch *batch)
{
    batch->frames.length = 0;
    pthread_mutex_lock(&pipeline->lock);
    while (!pipeline->is_ended && !fill_batch(pipeline, batch))
        pthread_cond_wait(&pipeline->can_send, &pipeline->lock);
    bool is_going = !pipeline->is_ended;
    pthread_mutex_unlock(&pipeline->lock);
    return is_going;
}

/* --- sending --- */

static int64_t clock_ns(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The frame's head and the chunks; what lies side by side in memory becomes one part. */
static size_t make_parts(struct disk_pipeline *pipeline, unsigned count, uint8_t *head,
                         struct iovec *parts, uint64_t *wire_bytes)
{
    const struct piece *first = pipeline_piece(pipeline, pipeline->send_at);
    struct wire_data data = {.sequence = first->sequence,
                             .first = first->chunk,
                             .count = (uint16_t)count,
                             .encoding = first->joined ? WIRE_ZSTD_JOINED : WIRE_PLAIN};
    size_t used = 1;
    for (unsigned i = 0; i < count; i++) {
        const struct piece *piece = pipeline_piece(pipeline, pipeline->send_at + i);
        uint32_t length = !first->joined ? piece->length : i == 0 ? piece->frame_length : 0;
        struct iovec *last = &parts[used - 1];
        data.parts[i] = (struct wire_part){piece->data, length};
        *wire_bytes += length;
        if (length == 0)
            continue;
        if (i > 0 && (uint8_t *)last->iov_base + last->iov_len == piece->data)
            last->iov_len += length;
        else
            parts[used++] = (struct iovec){piece->data, length};
    }
    parts[0] = (struct iovec){head, wire_data_encode_head(&data, head)};
    *wire_bytes += parts[0].iov_len;
    return used;
}

static int write_batch(struct disk_pipeline *pipeline, const struct batch *batch,
                       uint64_t *wire_bytes, struct error *err)
{
    struct pipeline_shared *shared = pipeline->options.shared;
    uint8_t head[WIRE_DATA_HEAD_SIZE];
    struct iovec parts[1 + WIRE_MAX_DATA];
    *wire_bytes = batch->frames.length;
    size_t count = batch->count ? make_parts(pipeline, batch->count, head, parts, wire_bytes) : 0;
    limiter_take(&shared->wire, *wire_bytes, shared->stop, &pipeline->is_ended);
    if (batch->frames.length > 0 &&
        link_send(pipeline->run.link, batch->frames.data, batch->frames.length, err) != 0)
        return -1;
    return count ? link_send_parts(pipeline->run.link, parts, count, err) : 0;
}

/* What the link cost in time that was not ours. */
static int write_batch_timed(struct disk_pipeline *pipeline, const struct batch *batch,
                             uint64_t *wire_bytes, struct error *err)
{
    int64_t wall_ns = clock_ns(CLOCK_MONOTONIC), cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    int result = write_batch(pipeline, batch, wire_bytes, err);
    wall_ns = clock_ns(CLOCK_MONOTONIC) - wall_ns;
    cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns;
    if (wall_ns > cpu_ns)
        atomic_fetch_add(&pipeline->options.shared->blocked_ns,
                         (unsigned long long)(wall_ns - cpu_ns));
    atomic_fetch_add(&pipeline->options.shared->sent_bytes, batch->bytes);
    return result;
}

static void finish_batch(struct disk_pipeline *pipeline, const struct batch *batch,
                         uint64_t wire_bytes)
{
    pthread_mutex_lock(&pipeline->lock);
    for (unsigned i = 0; i < batch->count; i++)
        pipeline_release_locked(pipeline, pipeline_piece(pipeline, pipeline->send_at++)->unit);
    pipeline->backlog -= batch->count;
    pipeline->counts.sent_bytes += batch->bytes;
    pipeline->counts.wire_bytes += wire_bytes;
    pipeline_skip_dropped_locked(pipeline);
    pipeline_publish_locked(pipeline);
    pthread_cond_signal(&pipeline->can_read);
    pthread_mutex_unlock(&pipeline->lock);
}

/* The server may have said why it hung up: that is left to be received for a moment. */
static void fail_sending(struct disk_pipeline *pipeline, const struct error *error)
{
    struct timespec until = clock_deadline(LAST_WORD_MS);
    pthread_mutex_lock(&pipeline->lock);
    while (!pipeline->is_ended &&
           pthread_cond_timedwait(&pipeline->can_send, &pipeline->lock, &until) == 0)
        ;
    pipeline_fail_locked(pipeline, PIPELINE_CUT, error);
    pthread_mutex_unlock(&pipeline->lock);
}

void *pipeline_send_thread(void *argument)
{
    struct disk_pipeline *pipeline = argument;
    struct batch batch = {0};
    struct cpu_clock clock;
    cpu_clock_start(&clock);
    while (take_batch(pipeline, &batch)) {
        struct error error = {0};
        uint64_t wire_bytes = 0;
        if (write_batch_timed(pipeline, &batch, &wire_bytes, &error) != 0) {
            fail_sending(pipeline, &error);
            break;
        }
        finish_batch(pipeline, &batch, wire_bytes);
        pipeline_pace(pipeline, &clock);
    }
    text_fini(&batch.frames);
    return NULL;
}

/* --- compressing --- */

/* Wanted chunks of one offer that lie side by side, on the disk and in memory: one frame. */
struct group {
    uint64_t at; /* of the first piece */
    unsigned count;
    size_t length;
};

static bool belongs_to(const struct group *group, const struct piece *first,
                       const struct piece *piece)
{
    return piece->state == PIECE_WANTED && piece->sequence == first->sequence &&
           piece->chunk == first->chunk + group->count &&
           piece->data == first->data + group->length;
}

static void take_group(struct disk_pipeline *pipeline, struct group *group)
{
    const struct piece *first = pipeline_piece(pipeline, group->at);
    while (pipeline->compress_at < pipeline->want_at && group->count < WIRE_MAX_DATA) {
        struct piece *piece = pipeline_piece(pipeline, pipeline->compress_at);
        if (!belongs_to(group, first, piece))
            return;
        piece->state = PIECE_TAKEN;
        group->length += piece->length;
        group->count++;
        pipeline->compress_at++;
    }
}

static bool take_group_locked(struct disk_pipeline *pipeline, struct group *group)
{
    while (!pipeline->is_ended) {
        while (pipeline->compress_at < pipeline->want_at) {
            *group = (struct group){.at = pipeline->compress_at};
            take_group(pipeline, group);
            if (group->count > 0)
                return true;
            pipeline->compress_at++;
        }
        pthread_cond_wait(&pipeline->can_compress, &pipeline->lock);
    }
    return false;
}

/* The pieces' places in the ring stay theirs until they are sent, which is not before READY. */
static void compress_group(struct disk_pipeline *pipeline, struct compressor *compressor,
                           const struct group *group)
{
    struct piece *first = pipeline_piece(pipeline, group->at);
    int level = compression_level(atomic_load(&pipeline->options.shared->step));
    if (level == 0)
        return;
    size_t length = compressor_run(compressor, level, first->data, group->length);
    if (length == 0)
        return;
    memcpy(first->data, compressor->frame, length);
    first->frame_length = (uint32_t)length;
    first->joined = (uint8_t)group->count;
}

void *pipeline_compress_thread(void *argument)
{
    struct disk_pipeline *pipeline = argument;
    struct compressor compressor;
    struct cpu_clock clock;
    struct error error = {0};
    struct group group;
    if (compressor_init(&compressor, &error) != 0) {
        pipeline_fail(pipeline, PIPELINE_BROKEN, &error);
        return NULL;
    }
    cpu_clock_start(&clock);
    pthread_mutex_lock(&pipeline->lock);
    while (take_group_locked(pipeline, &group)) {
        pthread_mutex_unlock(&pipeline->lock);
        compress_group(pipeline, &compressor, &group);
        pipeline_pace(pipeline, &clock);
        pthread_mutex_lock(&pipeline->lock);
        for (unsigned i = 0; i < group.count; i++)
            pipeline_piece(pipeline, group.at + i)->state = PIECE_READY;
        pthread_cond_signal(&pipeline->can_send);
    }
    pthread_mutex_unlock(&pipeline->lock);
    compressor_fini(&compressor);
    return NULL;
}
