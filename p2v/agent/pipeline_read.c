/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The threads that read and name. They take units in the disk's order and work on them side by
 * side. The last one to end says what was left over and goes back to what could not be read.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "formats/digest_pair.h"
#include "p2v/agent/pipeline_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- units --- */

static bool is_going(const struct disk_pipeline *pipeline)
{
    return !atomic_load_explicit(&pipeline->is_ended, memory_order_relaxed);
}

static bool may_read(const struct disk_pipeline *pipeline)
{
    return pipeline->free_units && pipeline->backlog < BACKLOG_CHUNKS;
}

/* Waits for one; NULL when the run has ended. */
static struct unit *take_unit_locked(struct disk_pipeline *pipeline)
{
    while (is_going(pipeline) && !may_read(pipeline))
        pthread_cond_wait(&pipeline->can_read, &pipeline->lock);
    if (!is_going(pipeline))
        return NULL;
    struct unit *unit = pipeline->free_units;
    pipeline->free_units = unit->next_free;
    unit->refs = 1;
    unit->is_named = unit->is_repair = false;
    unit->zero = unit->bad = 0;
    return unit;
}

static int make_buffer(struct unit *unit, struct error *err)
{
    if (!unit->buffer && posix_memalign((void **)&unit->buffer, 4096, DISK_UNIT_SIZE) != 0) {
        unit->buffer = NULL;
        return error_set(err, ENOMEM, "a buffer for reading");
    }
    return 0;
}

static void append_locked(struct disk_pipeline *pipeline, struct unit *unit)
{
    unsigned end = (pipeline->order_head + pipeline->order_count++) % pipeline->unit_count;
    pipeline->order[end] = unit;
}

/* The next unit of the disk, in turn; NULL at the end or when the run has ended. */
static struct unit *next_unit_in_turn(struct disk_pipeline *pipeline)
{
    struct error error = {0};
    pthread_mutex_lock(&pipeline->lock);
    struct unit *unit = take_unit_locked(pipeline);
    pthread_mutex_unlock(&pipeline->lock);
    if (!unit)
        return NULL;
    int more = copy_cursor_next(&pipeline->cursor, DISK_UNIT_SIZE, &unit->range, &error);
    if (more > 0)
        copy_read_ahead_from(&pipeline->ahead, unit->range.offset);
    pthread_mutex_lock(&pipeline->lock);
    if (more < 0)
        pipeline_fail_locked(pipeline, PIPELINE_BROKEN, &error);
    if (more > 0)
        append_locked(pipeline, unit);
    else
        pipeline_release_locked(pipeline, unit);
    pthread_mutex_unlock(&pipeline->lock);
    return more > 0 ? unit : NULL;
}

static struct unit *next_unit(struct disk_pipeline *pipeline)
{
    pthread_mutex_lock(&pipeline->cursor_lock);
    struct unit *unit = next_unit_in_turn(pipeline);
    pthread_mutex_unlock(&pipeline->cursor_lock);
    return unit;
}

/* --- reading and naming --- */

/* Two at a time, which takes hardly longer than one. */
static void name_pair(struct unit *unit, unsigned one, unsigned other)
{
    const void *data[] = {unit->buffer + (size_t)one * CHUNK_SIZE,
                          unit->buffer + (size_t)other * CHUNK_SIZE};
    uint8_t digests[2][DIGEST_SIZE];

    digest_compute_pair(data, CHUNK_SIZE, digests);
    memcpy(unit->names[one].bytes, digests[0], DIGEST_SIZE);
    memcpy(unit->names[other].bytes, digests[1], DIGEST_SIZE);
}

static size_t chunk_length(const struct unit *unit, unsigned i)
{
    return (size_t)min_u64(CHUNK_SIZE, unit->range.length - (uint64_t)i * CHUNK_SIZE);
}

static void name_chunk(struct unit *unit, unsigned i)
{
    chunk_name_compute(unit->buffer + (size_t)i * CHUNK_SIZE, chunk_length(unit, i),
                       &unit->names[i]);
}

static void name_chunks(struct unit *unit)
{
    unsigned count = (unsigned)div_round_up(unit->range.length, CHUNK_SIZE), alone = count;

    for (unsigned i = 0; i < count; i++) {
        size_t length = chunk_length(unit, i);
        if (unit->bad >> i & 1)
            continue;
        if (bytes_are_zero(unit->buffer + (size_t)i * CHUNK_SIZE, length)) {
            unit->zero |= (uint16_t)(1u << i);
        } else if (length < CHUNK_SIZE) {
            name_chunk(unit, i);
        } else if (alone == count) {
            alone = i;
        } else {
            name_pair(unit, alone, i);
            alone = count;
        }
    }
    if (alone < count)
        name_chunk(unit, alone);
}

static int read_unit(struct disk_pipeline *pipeline, struct unit *unit, struct error *err)
{
    if (make_buffer(unit, err) != 0 ||
        disk_read_unit(&pipeline->reader, &unit->range, unit->buffer, &unit->bad, err) != 0)
        return -1;
    name_chunks(unit);
    return 0;
}

static int note_bad_locked(struct disk_pipeline *pipeline, const struct unit *unit,
                           struct error *err)
{
    for (unsigned i = 0; i < DISK_UNIT_CHUNKS; i++) {
        uint64_t start = (uint64_t)i * CHUNK_SIZE;
        if ((unit->bad >> i & 1) &&
            extents_add(&pipeline->unreadable, unit->range.offset + start,
                        min_u64(CHUNK_SIZE, unit->range.length - start), err) != 0)
            return -1;
    }
    pipeline->counts.unreadable_bytes = extents_total(&pipeline->unreadable);
    return 0;
}

static void finish_unit(struct disk_pipeline *pipeline, struct unit *unit, int result,
                        struct error *error)
{
    pthread_mutex_lock(&pipeline->lock);
    if (result == 0 && unit->bad)
        result = note_bad_locked(pipeline, unit, error);
    pipeline->counts.read_bytes += unit->range.length;
    if (result == 0) {
        unit->is_named = true;
        pipeline_publish_locked(pipeline);
    } else {
        pipeline_fail_locked(pipeline, PIPELINE_BROKEN, error);
    }
    pthread_mutex_unlock(&pipeline->lock);
}

static void read_in_order(struct disk_pipeline *pipeline, struct cpu_clock *clock)
{
    struct unit *unit;
    while ((unit = next_unit(pipeline)) != NULL) {
        struct error error = {0};
        int result = read_unit(pipeline, unit, &error);
        finish_unit(pipeline, unit, result, &error);
        pipeline_pace(pipeline, clock);
    }
}

/* --- what could not be read --- */

/* What is known of the chunk now; true when there is something new to offer. */
static int note_repair_locked(struct disk_pipeline *pipeline, struct unit *unit,
                              const struct extents *bad, bool *is_offered, struct error *err)
{
    const struct extent *chunk = &unit->range;
    *is_offered = bad->count == 0 || !(unit->zero & 1);
    if (extents_remove(&pipeline->unreadable, chunk->offset, chunk->length, err) != 0 ||
        extents_add_all(&pipeline->unreadable, bad, 0, err) != 0)
        return -1;
    pipeline->counts.unreadable_bytes = extents_total(&pipeline->unreadable);
    if (*is_offered)
        return 0;
    return extents_add(&pipeline->dead, chunk->offset, chunk->length, err);
}

static int repair_unit(struct disk_pipeline *pipeline, struct unit *unit, struct error *err)
{
    struct extents bad = {0};
    bool is_offered = false;
    int result = make_buffer(unit, err);
    if (result == 0)
        result = disk_read_patiently(&pipeline->reader, &unit->range, unit->buffer, &bad, err);
    if (result == 0)
        name_chunks(unit);
    pthread_mutex_lock(&pipeline->lock);
    if (result == 0)
        result = note_repair_locked(pipeline, unit, &bad, &is_offered, err);
    if (result == 0 && is_offered) {
        unit->is_named = unit->is_repair = true;
        append_locked(pipeline, unit);
        pipeline_publish_locked(pipeline);
    } else {
        pipeline_release_locked(pipeline, unit);
    }
    pthread_mutex_unlock(&pipeline->lock);
    extents_fini(&bad);
    return result;
}

static int repair_chunk(struct disk_pipeline *pipeline, uint64_t offset, struct error *err)
{
    pthread_mutex_lock(&pipeline->lock);
    struct unit *unit = take_unit_locked(pipeline);
    pthread_mutex_unlock(&pipeline->lock);
    if (!unit)
        return 0; /* ended */
    unit->range = (struct extent){offset, min_u64(CHUNK_SIZE, pipeline->size_bytes - offset)};
    return repair_unit(pipeline, unit, err);
}

static int list_repairs(struct disk_pipeline *pipeline, struct extents *list, struct error *err)
{
    pthread_mutex_lock(&pipeline->lock);
    int result = extents_add_all(list, disk_offer_unreadable(pipeline->options.offer), 0, err);
    for (size_t i = 0; result == 0 && i < pipeline->dead.count; i++)
        result = extents_remove(list, pipeline->dead.items[i].offset,
                                align_up(pipeline->dead.items[i].length, CHUNK_SIZE), err);
    pthread_mutex_unlock(&pipeline->lock);
    return result;
}

static int repair_all(struct disk_pipeline *pipeline, struct cpu_clock *clock, struct error *err)
{
    struct extents list = {0};
    int result = list_repairs(pipeline, &list, err);
    for (size_t i = 0; result == 0 && i < list.count; i++)
        for (uint64_t done = 0; result == 0 && is_going(pipeline) && done < list.items[i].length;
             done += CHUNK_SIZE) {
            result = repair_chunk(pipeline, list.items[i].offset + done, err);
            pipeline_pace(pipeline, clock);
        }
    extents_fini(&list);
    return result;
}

/* --- the end --- */

/* Waits until all units are published; then says that the rest of the disk is not used. */
static int publish_rest(struct disk_pipeline *pipeline, struct error *err)
{
    pthread_mutex_lock(&pipeline->lock);
    while (is_going(pipeline) && pipeline->order_count > 0)
        pthread_cond_wait(&pipeline->can_read, &pipeline->lock);
    int result = 0;
    if (is_going(pipeline)) {
        result =
            pipeline_add_run_locked(pipeline, pipeline->position,
                                    pipeline->chunk_count - pipeline->position, CHUNK_SKIPPED, err);
        if (result == 0)
            result = pipeline_flush_locked(pipeline, err);
        pipeline->position = pipeline->chunk_count;
    }
    pthread_cond_signal(&pipeline->can_send);
    pthread_mutex_unlock(&pipeline->lock);
    return result;
}

static void finish_reading(struct disk_pipeline *pipeline, struct cpu_clock *clock)
{
    struct error error = {0};
    if (publish_rest(pipeline, &error) != 0 || repair_all(pipeline, clock, &error) != 0 ||
        publish_rest(pipeline, &error) != 0) {
        pipeline_fail(pipeline, PIPELINE_BROKEN, &error);
        return;
    }
    pthread_mutex_lock(&pipeline->lock);
    pipeline->is_read = true;
    pthread_cond_signal(&pipeline->can_send);
    pthread_mutex_unlock(&pipeline->lock);
}

void *pipeline_read_thread(void *argument)
{
    struct disk_pipeline *pipeline = argument;
    struct cpu_clock clock;
    cpu_clock_start(&clock);
    read_in_order(pipeline, &clock);
    pthread_mutex_lock(&pipeline->lock);
    bool is_last = --pipeline->readers == 0;
    pthread_mutex_unlock(&pipeline->lock);
    if (is_last && is_going(pipeline))
        finish_reading(pipeline, &clock);
    return NULL;
}
