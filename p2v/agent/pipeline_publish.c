/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Units that were read become offers and runs, in the disk's order. An offer or a run is kept open
 * as long as what follows fits into it and nobody waits for it.
 */
#include "base/checked.h"
#include "p2v/agent/pipeline_parts.h"

#include <errno.h>
#include <string.h>

/* What one unit may add to what is open. */
#define PUBLISH_CHUNKS (OFFER_CHUNKS + DISK_UNIT_CHUNKS)

static int flush_run(struct disk_pipeline *pipeline, struct error *err)
{
    struct wire_run run = {.first = pipeline->open_run.first,
                           .count = pipeline->open_run.count,
                           .state = pipeline->open_run.state};
    pipeline->open_run.count = 0;
    if (disk_offer_run(pipeline->options.offer, run.first, run.count, run.state, &run.sequence,
                       err) != 0)
        return -1;
    wire_run_encode(&run, &pipeline->frames);
    return 0;
}

static int flush_names(struct disk_pipeline *pipeline, struct error *err)
{
    struct wire_offer offer;
    offer.first = pipeline->names_first;
    offer.count = (uint16_t)pipeline->name_count;
    memcpy(offer.names, pipeline->names, offer.count * sizeof(offer.names[0]));
    if (disk_offer_names(pipeline->options.offer, offer.first, offer.count, offer.names,
                         &offer.sequence, err) != 0)
        return -1;
    wire_offer_encode(&offer, &pipeline->frames);
    for (unsigned i = 0; i < offer.count; i++)
        pipeline_piece(pipeline, pipeline->offered_at++)->sequence = offer.sequence;
    pipeline->name_count = 0;
    return 0;
}

int pipeline_flush_locked(struct disk_pipeline *pipeline, struct error *err)
{
    if (pipeline->open_run.count > 0)
        return flush_run(pipeline, err);
    if (pipeline->name_count > 0)
        return flush_names(pipeline, err);
    return 0;
}

int pipeline_add_run_locked(struct disk_pipeline *pipeline, uint64_t first, uint64_t count,
                            enum chunk_state state, struct error *err)
{
    struct open_run *run = &pipeline->open_run;
    if (count == 0)
        return 0;
    bool is_more = run->count > 0 && run->state == state && run->first + run->count == first &&
                   (state != CHUNK_UNREADABLE || run->count + count <= WIRE_MAX_UNREADABLE);
    if (!is_more && pipeline_flush_locked(pipeline, err) != 0)
        return -1;
    if (is_more)
        run->count += count;
    else
        *run = (struct open_run){first, count, state};
    return 0;
}

/* The chunk's piece, which keeps the unit. */
static void add_piece(struct disk_pipeline *pipeline, struct unit *unit, unsigned index)
{
    struct piece *piece = pipeline_piece(pipeline, pipeline->named_at++);
    size_t start = (size_t)index * CHUNK_SIZE;
    *piece = (struct piece){
        .unit = unit,
        .data = unit->buffer + start,
        .chunk = unit->range.offset / CHUNK_SIZE + index,
        .length = (uint32_t)min_u64(CHUNK_SIZE, unit->range.length - start),
        .state = PIECE_NAMED,
    };
    unit->refs++;
}

static int add_name(struct disk_pipeline *pipeline, struct unit *unit, unsigned index,
                    struct error *err)
{
    uint64_t chunk = unit->range.offset / CHUNK_SIZE + index;
    bool is_more =
        pipeline->name_count > 0 && pipeline->names_first + pipeline->name_count == chunk;
    if (!is_more && pipeline_flush_locked(pipeline, err) != 0)
        return -1;
    if (pipeline->name_count == 0)
        pipeline->names_first = chunk;
    pipeline->names[pipeline->name_count++] = unit->names[index];
    add_piece(pipeline, unit, index);
    return pipeline->name_count == pipeline->most_names ? pipeline_flush_locked(pipeline, err) : 0;
}

static int publish_chunk(struct disk_pipeline *pipeline, struct unit *unit, unsigned index,
                         struct error *err)
{
    uint64_t chunk = unit->range.offset / CHUNK_SIZE + index;
    if (unit->bad >> index & 1)
        return pipeline_add_run_locked(pipeline, chunk, 1, CHUNK_UNREADABLE, err);
    if (unit->zero >> index & 1)
        return pipeline_add_run_locked(pipeline, chunk, 1, CHUNK_ZERO, err);
    return add_name(pipeline, unit, index, err);
}

static int publish_unit(struct disk_pipeline *pipeline, struct unit *unit, struct error *err)
{
    uint64_t first = unit->range.offset / CHUNK_SIZE;
    unsigned count = (unsigned)div_round_up(unit->range.length, CHUNK_SIZE);
    if (unit->is_repair) {
        if (pipeline_flush_locked(pipeline, err) != 0 || publish_chunk(pipeline, unit, 0, err) != 0)
            return -1;
        return pipeline_flush_locked(pipeline, err);
    }
    if (pipeline_add_run_locked(pipeline, pipeline->position, first - pipeline->position,
                                CHUNK_SKIPPED, err) != 0)
        return -1;
    for (unsigned i = 0; i < count; i++)
        if (publish_chunk(pipeline, unit, i, err) != 0)
            return -1;
    pipeline->position = first + count;
    pipeline->counts.done_bytes += unit->range.length;
    return 0;
}

static bool has_room(struct disk_pipeline *pipeline)
{
    uint64_t pieces = pipeline->named_at - pipeline->send_at;
    return pipeline->frames.length < MAX_FRAMES_BYTES &&
           pieces + DISK_UNIT_CHUNKS <= pipeline->piece_mask + 1 &&
           disk_offer_may_offer(pipeline->options.offer, PUBLISH_CHUNKS);
}

void pipeline_publish_locked(struct disk_pipeline *pipeline)
{
    bool is_changed = false;
    while (!pipeline->is_ended && pipeline->order_count > 0) {
        struct unit *unit = pipeline->order[pipeline->order_head];
        struct error error = {0};
        if (!unit->is_named || !has_room(pipeline))
            break;
        if (publish_unit(pipeline, unit, &error) != 0) {
            pipeline_fail_locked(pipeline, PIPELINE_BROKEN, &error);
            return;
        }
        pipeline->order_head = (pipeline->order_head + 1) % pipeline->unit_count;
        pipeline->order_count--;
        pipeline_release_locked(pipeline, unit);
        is_changed = true;
    }
    if (is_changed) {
        pthread_cond_signal(&pipeline->can_send);
        pthread_cond_signal(&pipeline->can_read);
    }
}
