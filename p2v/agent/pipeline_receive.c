/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the server says on a disk's connection, until the pass has ended one way or another.
 */
#include "base/checked.h"
#include "p2v/agent/compressor.h"
#include "p2v/agent/pipeline_parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Without compression, and nothing left over from when there was, pieces are ready at once. */
static void queue_wanted(struct disk_pipeline *pipeline, uint64_t from)
{
    bool is_plain =
        !pipeline->options.shared->can_compress ||
        (atomic_load(&pipeline->options.shared->step) == 0 && pipeline->compress_at == from);
    if (!is_plain) {
        pthread_cond_broadcast(&pipeline->can_compress);
        return;
    }
    for (uint64_t at = from; at < pipeline->want_at; at++) {
        struct piece *piece = pipeline_piece(pipeline, at);
        if (piece->state == PIECE_WANTED)
            piece->state = PIECE_READY;
    }
    pipeline->compress_at = pipeline->want_at;
}

static int take_want(struct disk_pipeline *pipeline, const struct wire_want *want,
                     struct error *err)
{
    uint64_t from = pipeline->want_at, first = 0;
    if (disk_offer_wanted(pipeline->options.offer, want, &first, err) != 0)
        return -1;
    for (unsigned i = 0; i < want->count; i++) {
        struct piece *piece = pipeline_piece(pipeline, pipeline->want_at++);
        bool is_wanted = wire_want_has(want, i);
        piece->state = is_wanted ? PIECE_WANTED : PIECE_DROPPED;
        if (is_wanted)
            pipeline->backlog++;
        else
            pipeline_release_locked(pipeline, piece->unit);
    }
    queue_wanted(pipeline, from);
    pipeline_skip_dropped_locked(pipeline);
    pipeline_publish_locked(pipeline);
    pthread_cond_signal(&pipeline->can_send);
    pthread_cond_signal(&pipeline->can_read);
    return 0;
}

/* Bytes to be read in this pass that are before the safe chunk, for people. */
static void count_safe(struct disk_pipeline *pipeline)
{
    const struct extents *chunks = &pipeline->cursor.chunks;
    uint64_t safe = disk_offer_safe_chunk(pipeline->options.offer) * CHUNK_SIZE;
    while (pipeline->safe_index < chunks->count &&
           chunks->items[pipeline->safe_index].offset +
                   chunks->items[pipeline->safe_index].length <=
               safe)
        pipeline->safe_before += chunks->items[pipeline->safe_index++].length;
    uint64_t before = pipeline->safe_before;
    if (pipeline->safe_index < chunks->count && chunks->items[pipeline->safe_index].offset < safe)
        before += safe - chunks->items[pipeline->safe_index].offset;
    uint64_t total = pipeline->counts.total_bytes;
    pipeline->counts.safe_bytes =
        pipeline->used_bytes
            ? (uint64_t)((double)total * ((double)before / (double)pipeline->used_bytes))
            : total;
}

static int take_safe(struct disk_pipeline *pipeline, const struct wire_safe *safe,
                     struct error *err)
{
    if (disk_offer_safe(pipeline->options.offer, safe, err) != 0)
        return -1;
    count_safe(pipeline);
    pipeline_publish_locked(pipeline);
    pthread_cond_signal(&pipeline->can_send);
    return 0;
}

static int take_passed(struct disk_pipeline *pipeline, const struct wire_passed *passed,
                       struct error *err)
{
    if (!pipeline->is_pass_sent || passed->pass != pipeline->run.pass)
        return error_set(err, EPROTO, "PASSED %u, which was not due", passed->pass);
    bool is_same = !passed->is_different &&
                   memcmp(passed->digest, disk_offer_digest(pipeline->options.offer)->bytes,
                          sizeof(passed->digest)) == 0;
    pipeline_fail_locked(pipeline, is_same ? PIPELINE_PASSED : PIPELINE_DIFFERENT, NULL);
    return 0;
}

static void take_pause(struct disk_pipeline *pipeline, const char *text)
{
    pipeline->counts.is_paused = text != NULL;
    snprintf(pipeline->counts.text, sizeof(pipeline->counts.text), "%.255s", text ? text : "");
    pthread_cond_signal(&pipeline->can_send);
}

static int take_error(struct disk_pipeline *pipeline, const struct wire_error *refusal)
{
    struct error error = {0};
    error_set(&error, 0, "the server says: %s", refusal->text);
    pipeline->code = refusal->code;
    pipeline_fail_locked(pipeline, PIPELINE_REFUSED, &error);
    return 0;
}

static int take_frame(struct disk_pipeline *pipeline, const struct link_frame *frame,
                      struct error *err)
{
    union {
        struct wire_want want;
        struct wire_safe safe;
        struct wire_passed passed;
        struct wire_pause pause;
        struct wire_error error;
    } is;
    const uint8_t *payload = frame->payload;
    size_t length = frame->length;
    switch (frame->type) {
    case WIRE_WANT:
        return wire_want_decode(payload, length, &is.want, err) == 0
                   ? take_want(pipeline, &is.want, err)
                   : -1;
    case WIRE_SAFE:
        return wire_safe_decode(payload, length, &is.safe, err) == 0
                   ? take_safe(pipeline, &is.safe, err)
                   : -1;
    case WIRE_PASSED:
        return wire_passed_decode(payload, length, &is.passed, err) == 0
                   ? take_passed(pipeline, &is.passed, err)
                   : -1;
    case WIRE_PAUSE:
        if (wire_pause_decode(payload, length, &is.pause, err) != 0)
            return -1;
        take_pause(pipeline, is.pause.text);
        return 0;
    case WIRE_RESUME:
        take_pause(pipeline, NULL);
        return 0;
    case WIRE_ERROR:
        return wire_error_decode(payload, length, &is.error, err) == 0
                   ? take_error(pipeline, &is.error)
                   : -1;
    default:
        return error_set(err, EPROTO, "%s is not for a disk's connection",
                         wire_type_name(frame->type));
    }
}

static void lose_link(struct disk_pipeline *pipeline, int received, struct error *error)
{
    if (received == 0)
        error_set(error, 0, "the server closed the connection");
    bool is_cut = error->errnum != ECANCELED;
    pipeline_fail(pipeline, is_cut ? PIPELINE_CUT : PIPELINE_BROKEN, error);
}

void pipeline_receive(struct disk_pipeline *pipeline)
{
    while (!pipeline->is_ended) {
        struct error error = {0};
        struct link_frame frame;
        int received = link_receive(pipeline->run.link, &frame, WIRE_SILENCE_MS,
                                    pipeline->options.shared->stop, &error);
        if (received <= 0) {
            lose_link(pipeline, received, &error);
            return;
        }
        pthread_mutex_lock(&pipeline->lock);
        if (!pipeline->is_ended && take_frame(pipeline, &frame, &error) != 0) {
            error.errnum = EPROTO;
            pipeline_fail_locked(pipeline, PIPELINE_BROKEN, &error);
        }
        pthread_mutex_unlock(&pipeline->lock);
    }
}
