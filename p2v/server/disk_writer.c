/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The queue and its thread. A write leaves the queue when it was done, and never when it failed, so
 * that whoever looks into it sees what is not in the image.
 */
#include "p2v/server/disk_writer.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/text.h"
#include "p2v/server/serving.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

/* One frame becomes so many writes when every other chunk of it is not wanted any more. */
#define PLACES (DISK_WRITER_DEPTH + WIRE_MAX_DATA)

struct disk_writer {
    struct disk_writer_calls calls;
    int retry_ms;
    pthread_t thread;
    bool has_thread;

    pthread_mutex_t lock; /* what follows */
    pthread_cond_t changed;
    struct disk_write queue[PLACES]; /* a ring */
    size_t head, count;
    struct link_memory spares[DISK_WRITER_DEPTH];
    size_t spare_count;
    bool is_paused, is_stopping, has_failed;
};

static struct disk_write *queue_at(struct disk_writer *writer, size_t i)
{
    return &writer->queue[(writer->head + i) % PLACES];
}

/* --- the thread ----------------------------------------------------------------------------- */

static void keep_spare(struct disk_writer *writer, struct link_memory *memory)
{
    if (writer->spare_count < DISK_WRITER_DEPTH)
        writer->spares[writer->spare_count++] = *memory;
    else
        link_memory_fini(memory);
}

static void drop_first(struct disk_writer *writer)
{
    keep_spare(writer, &queue_at(writer, 0)->memory);
    writer->head = (writer->head + 1) % PLACES;
    writer->count--;
    pthread_cond_broadcast(&writer->changed);
}

static void set_paused(struct disk_writer *writer, bool is_paused)
{
    if (writer->is_paused == is_paused)
        return;
    writer->is_paused = is_paused;
    pthread_cond_broadcast(&writer->changed);
    pthread_mutex_unlock(&writer->lock);
    writer->calls.set_paused(writer->calls.context, is_paused);
    pthread_mutex_lock(&writer->lock);
}

/* False when it is to be stopped. */
static bool wait_for_room(struct disk_writer *writer)
{
    struct timespec until = clock_deadline(writer->retry_ms);

    set_paused(writer, true);
    while (!writer->is_stopping &&
           pthread_cond_timedwait(&writer->changed, &writer->lock, &until) != ETIMEDOUT)
        continue;
    return !writer->is_stopping;
}

/* Under the lock, given up meanwhile: the place in the queue stays the write's own. */
static int write_first(struct disk_writer *writer, struct error *err)
{
    const struct disk_write *write = queue_at(writer, 0);
    int result;

    do {
        pthread_mutex_unlock(&writer->lock);
        result = writer->calls.write(writer->calls.context, write, err);
        pthread_mutex_lock(&writer->lock);
    } while (result != 0 && error_is_no_space(err) && wait_for_room(writer));
    set_paused(writer, false);
    return result;
}

/* No room is none of the writer's faults: it was stopped while it waited. */
static void fail(struct disk_writer *writer, const struct error *error)
{
    writer->has_failed = true;
    pthread_cond_broadcast(&writer->changed);
    pthread_mutex_unlock(&writer->lock);
    if (!error_is_no_space(error))
        writer->calls.fail(writer->calls.context, error);
    pthread_mutex_lock(&writer->lock);
}

static void *run(void *argument)
{
    struct disk_writer *writer = argument;

    pthread_mutex_lock(&writer->lock);
    while (!writer->has_failed) {
        struct error error = {0};

        while (writer->count == 0 && !writer->is_stopping)
            pthread_cond_wait(&writer->changed, &writer->lock);
        if (writer->count == 0)
            break;
        if (write_first(writer, &error) == 0)
            drop_first(writer);
        else
            fail(writer, &error);
    }
    pthread_mutex_unlock(&writer->lock);
    return NULL;
}

/* --- from outside --------------------------------------------------------------------------- */

struct disk_writer *disk_writer_start(const struct disk_writer_calls *calls, int retry_ms,
                                      struct error *err)
{
    struct disk_writer *writer = memory_new(1, sizeof(*writer));
    writer->calls = *calls;
    writer->retry_ms = retry_ms;
    pthread_mutex_init(&writer->lock, NULL);
    clock_condition_init(&writer->changed);
    int result = connection_start_thread(&writer->thread, run, writer);
    writer->has_thread = result == 0;
    if (result == 0)
        return writer;
    disk_writer_free(writer);
    error_set(err, result, "start a thread");
    return NULL;
}

void disk_writer_stop(struct disk_writer *writer)
{
    if (!writer->has_thread)
        return;
    pthread_mutex_lock(&writer->lock);
    writer->is_stopping = true;
    pthread_cond_broadcast(&writer->changed);
    pthread_mutex_unlock(&writer->lock);
    pthread_join(writer->thread, NULL);
    writer->has_thread = false;
}

void disk_writer_free(struct disk_writer *writer)
{
    if (!writer)
        return;
    disk_writer_stop(writer);
    for (size_t i = 0; i < writer->count; i++)
        link_memory_fini(&queue_at(writer, i)->memory);
    for (size_t i = 0; i < writer->spare_count; i++)
        link_memory_fini(&writer->spares[i]);
    pthread_cond_destroy(&writer->changed);
    pthread_mutex_destroy(&writer->lock);
    free(writer);
}

struct link_memory disk_writer_spare(struct disk_writer *writer)
{
    struct link_memory memory = {0};

    pthread_mutex_lock(&writer->lock);
    if (writer->spare_count > 0)
        memory = writer->spares[--writer->spare_count];
    pthread_mutex_unlock(&writer->lock);
    return memory;
}

void disk_writer_push(struct disk_writer *writer, const struct disk_write *write)
{
    struct link_memory unused = write->memory;

    pthread_mutex_lock(&writer->lock);
    if (writer->has_failed) {
        keep_spare(writer, &unused);
    } else {
        *queue_at(writer, writer->count++) = *write;
        pthread_cond_broadcast(&writer->changed);
    }
    pthread_mutex_unlock(&writer->lock);
}

bool disk_writer_wait(struct disk_writer *writer, size_t most, int timeout_ms)
{
    struct timespec until = clock_deadline(timeout_ms);

    pthread_mutex_lock(&writer->lock);
    while (writer->count > most && !writer->has_failed &&
           pthread_cond_timedwait(&writer->changed, &writer->lock, &until) != ETIMEDOUT)
        continue;
    bool is_so = writer->count <= most || writer->has_failed;
    pthread_mutex_unlock(&writer->lock);
    return is_so;
}

int disk_writer_check(struct disk_writer *writer, struct error *err)
{
    pthread_mutex_lock(&writer->lock);
    bool has_failed = writer->has_failed;
    pthread_mutex_unlock(&writer->lock);
    return has_failed ? error_set(err, EIO, "writing failed") : 0;
}

bool disk_writer_is_paused(struct disk_writer *writer)
{
    pthread_mutex_lock(&writer->lock);
    bool is_paused = writer->is_paused;
    pthread_mutex_unlock(&writer->lock);
    return is_paused;
}

bool disk_writer_touches(struct disk_writer *writer, uint64_t first, uint64_t count)
{
    bool is_touched = false;

    pthread_mutex_lock(&writer->lock);
    for (size_t i = 0; i < writer->count && !is_touched; i++) {
        const struct disk_write *write = queue_at(writer, i);

        is_touched = first < write->first + write->count && write->first < first + count;
    }
    pthread_mutex_unlock(&writer->lock);
    return is_touched;
}

uint64_t disk_writer_left(struct disk_writer *writer, uint64_t none, uint64_t *sequence)
{
    uint64_t bytes = 0;

    pthread_mutex_lock(&writer->lock);
    *sequence = writer->count ? queue_at(writer, 0)->sequence : none;
    for (size_t i = 0; i < writer->count; i++)
        bytes += queue_at(writer, i)->length;
    pthread_mutex_unlock(&writer->lock);
    return bytes;
}
