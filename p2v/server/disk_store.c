/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the state machine's frames become: offers and runs are calls into the receiver, chunks are
 * given to the writer, which calls it in its own thread.
 */
#include "p2v/server/disk_link_private.h"

#include <errno.h>
#include <string.h>

/* --- for the state machine --- */

/* What is said of a chunk is about what was written, not about what is going to be. */
static int wait_until_written(struct disk_link *link, uint64_t first, uint64_t count,
                              struct error *err)
{
    if (!disk_writer_touches(link->writer, first, count))
        return 0;
    while (!disk_writer_wait(link->writer, 0, DISK_LINK_SLICE_MS)) {
        if (disk_writer_is_paused(link->writer))
            return error_set(err, ENOSPC, "what came before is not written yet");
    }
    return disk_writer_check(link->writer, err);
}

static int store_offer(void *context, uint64_t first, size_t count, const struct chunk_name *names,
                       uint8_t *wanted, struct error *err)
{
    struct disk_link *link = context;
    if (wait_until_written(link, first, count, err) != 0)
        return -1;
    return receiver_offer(link->disk->receiver, first, count, names, wanted, err);
}

static int store_run(void *context, uint64_t first, uint64_t count, enum chunk_state state,
                     struct error *err)
{
    struct disk_link *link = context;
    if (wait_until_written(link, first, count, err) != 0)
        return -1;
    return receiver_run(link->disk->receiver, first, count, state, err);
}

/* The frame's memory goes along with what lies at its end; anything else is copied. */
static int store_data(void *context, uint64_t first, size_t count, const struct chunk_name *names,
                      const void *data, size_t length, struct error *err)
{
    struct disk_link *link = context;
    struct disk_write write = {.sequence = disk_session_complete(link->machine),
                               .first = first,
                               .count = count,
                               .length = length,
                               .data = data,
                               .memory = disk_writer_spare(link->writer)};
    (void)err;
    memcpy(write.names, names, count * sizeof(*names));
    if (write.data + length == link->frame->payload + link->frame->length) {
        link_take_memory(link->connection->link, &write.memory);
    } else {
        link_memory_make(&write.memory, length);
        memcpy(write.memory.data, data, length);
        write.data = write.memory.data;
    }
    disk_writer_push(link->writer, &write);
    link->given_bytes += length;
    return 0;
}

static bool store_end_pass(void *context)
{
    const struct disk_link *link = context;
    return receiver_end_pass(link->disk->receiver);
}

static void store_digest(void *context, struct disksum *digest)
{
    const struct disk_link *link = context;
    receiver_digest(link->disk->receiver, digest);
}

struct disk_store disk_store_of(struct disk_link *link)
{
    return (struct disk_store){.offer = store_offer,
                               .run = store_run,
                               .store = store_data,
                               .digest = store_digest,
                               .end_pass = store_end_pass,
                               .context = link};
}

/* --- no room --- */

static int send_pause(struct disk_link *link, struct error *err)
{
    AUTO(text) out = {0};
    struct wire_pause pause = {
        .text = "the server has no space left; it goes on as soon as there is some"};
    disk_link_note_paused(link, true);
    log_warning(&link->transfer->log.log, "disk %s: paused, no space", link->disk->info.name);
    wire_pause_encode(&pause, &out);
    return link_send(link->connection->link, out.data, out.length, err);
}

static int send_resume(struct disk_link *link, struct error *err)
{
    AUTO(text) out = {0};
    disk_link_note_paused(link, false);
    log_info(&link->transfer->log.log, "disk %s: goes on", link->disk->info.name);
    wire_empty_encode(WIRE_RESUME, &out);
    return link_send(link->connection->link, out.data, out.length, err);
}

/* Feeding and writing may both be out of room: the agent hears of the first and of the last. */
int disk_store_set_paused(struct disk_link *link, bool is_paused, struct error *err)
{
    int result = 0;
    pthread_mutex_lock(&link->pause_lock);
    if (is_paused && link->pauses++ == 0)
        result = send_pause(link, err);
    else if (!is_paused && --link->pauses == 0)
        result = send_resume(link, err);
    pthread_mutex_unlock(&link->pause_lock);
    return result;
}

/* --- for the writer --- */

static int write_chunks(void *context, const struct disk_write *write, struct error *err)
{
    const struct disk_link *link = context;
    return receiver_store(link->disk->receiver, write->first, write->count, write->names,
                          write->data, write->length, err);
}

/* That the agent cannot be told any more, the connection's thread finds out. */
static void pause_writing(void *context, bool is_paused)
{
    disk_store_set_paused(context, is_paused, NULL);
}

static void fail_writing(void *context, const struct error *error)
{
    struct disk_link *link = context;
    log_warning(&link->transfer->log.log, "disk %s: %s", link->disk->info.name, error->text);
    pthread_mutex_lock(&link->feed_lock);
    disk_link_fail(link);
    pthread_mutex_unlock(&link->feed_lock);
}

struct disk_writer_calls disk_store_writing(struct disk_link *link)
{
    return (struct disk_writer_calls){
        .write = write_chunks, .set_paused = pause_writing, .fail = fail_writing, .context = link};
}
