/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a disk's thread remembers over cuts is its disk_offer: it goes on from what was told safe.
 */
#include "p2v/agent/disk_sender.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/text.h"
#include "p2v/agent/agent_link.h"
#include "p2v/copy.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* A connection that lasted longer was a good one whatever it brought. */
#define LONG_MS 60000

struct disk_sender {
    struct disk_sender_options options;
    const struct sender_disk *disk;
    pthread_t thread;
    bool is_started;
    atomic_bool is_ended;
    atomic_bool has_command; /* set and cleared under the lock */

    /* The thread's own. */
    struct disk_offer *offer;
    struct disk_pipeline *pipeline;
    struct extents used;
    struct link *link;
    uint64_t window_bytes;
    struct sender_session session; /* of the link */
    struct retry retry;
    uint64_t safe_chunk; /* when the link failed last */
    int64_t began_ms;    /* clock_ms of READY */
    bool is_warned;

    pthread_mutex_t lock; /* everything below */
    pthread_cond_t is_changed;
    struct disk_sender_state state; /* counts are asked of the pipeline */
};

/* --- the link --- */

static void drop_link(struct disk_sender *sender)
{
    if (!sender->link)
        return;
    pthread_mutex_lock(&sender->lock);
    sender->state.bytes_on_wire +=
        link_bytes_sent(sender->link) + link_bytes_received(sender->link);
    sender->state.is_connected = false;
    struct link *link = take_ptr(&sender->link);
    pthread_mutex_unlock(&sender->lock);
    link_close(link);
}

static enum agent_verdict send_disk(struct disk_sender *sender, struct error *err)
{
    struct wire_disk disk = {.disk = (uint16_t)sender->options.disk, .pass = sender->state.pass};
    const struct sender_options *options = sender->options.sender;
    struct wire_ready ready;
    struct link_frame frame;
    AUTO(text) bytes = {0};
    wire_disk_encode(&disk, &bytes);
    link_send(sender->link, bytes.data, bytes.length, NULL);
    enum agent_verdict verdict =
        agent_expect(sender->link, WIRE_READY, WIRE_SILENCE_MS, options->stop, &frame, err);
    if (verdict == AGENT_READY && wire_ready_decode(frame.payload, frame.length, &ready, err) != 0)
        return AGENT_GIVE_UP;
    return verdict;
}

static void keep_link(struct disk_sender *sender, struct link *link, uint64_t window_bytes)
{
    pthread_mutex_lock(&sender->lock);
    sender->link = link;
    sender->window_bytes = window_bytes;
    pthread_mutex_unlock(&sender->lock);
}

static enum agent_verdict connect_once(struct disk_sender *sender, struct error *err)
{
    struct wire_welcome welcome;
    struct link *link = NULL;
    uint64_t chunk;
    if (sender_control_session(sender->options.control, &sender->session, &sender->is_ended, err) !=
        0)
        return AGENT_GIVE_UP;
    enum agent_verdict verdict = agent_open(sender->options.sender, WIRE_DISK_DATA,
                                            sender->session.id, true, &link, &welcome, err);
    if (verdict == AGENT_READY) {
        keep_link(sender, link, welcome.window_bytes);
        verdict = send_disk(sender, err);
    }
    if (verdict == AGENT_NEW_SESSION)
        sender_control_renew(sender->options.control, sender->session.generation);
    if (verdict == AGENT_READY && disk_offer_reconnect(sender->offer, &chunk, err) != 0)
        verdict = AGENT_GIVE_UP;
    if (verdict != AGENT_READY)
        drop_link(sender);
    return verdict;
}

static void note_connected(struct disk_sender *sender)
{
    pthread_mutex_lock(&sender->lock);
    sender->state.is_connected = true;
    sender->began_ms = clock_ms();
    pthread_mutex_unlock(&sender->lock);
}

/* Connects, however often it takes. */
static int connect_disk(struct disk_sender *sender, struct error *err)
{
    const struct sender_options *options = sender->options.sender;
    while (!sender->link) {
        enum agent_verdict verdict = connect_once(sender, err);
        if (verdict == AGENT_READY)
            break;
        if (verdict != AGENT_GIVE_UP)
            verdict = retry_wait(&sender->retry, options, &sender->is_ended, err);
        if (verdict == AGENT_GIVE_UP)
            return -1;
    }
    note_connected(sender);
    return 0;
}

/* --- a pass --- */

/* A connection that brought something was a good one: the next wait is the first again. */
static void note_progress(struct disk_sender *sender)
{
    uint64_t safe_chunk = disk_offer_safe_chunk(sender->offer);
    bool is_good = safe_chunk != sender->safe_chunk || clock_ms() - sender->began_ms > LONG_MS;
    if (is_good)
        retry_start(&sender->retry, sender->options.sender->retry_ms);
    sender->safe_chunk = safe_chunk;
}

/* After a run that did not end with PASSED: 0 to go on, -1 to give up. */
static int judge_end(struct disk_sender *sender, enum pipeline_end end, enum wire_error_code code,
                     struct error *err)
{
    char text[sizeof(err->text)];
    enum agent_verdict verdict = end == PIPELINE_CUT ? AGENT_AGAIN : AGENT_GIVE_UP;
    if (end == PIPELINE_REFUSED) {
        memcpy(text, err->text, sizeof(text));
        verdict = agent_judge(code, "", err);
        memcpy(err->text, text, sizeof(text));
    }
    drop_link(sender);
    if (verdict == AGENT_GIVE_UP)
        return -1;
    if (verdict == AGENT_NEW_SESSION)
        sender_control_renew(sender->options.control, sender->session.generation);
    pthread_mutex_lock(&sender->lock);
    sender->state.reconnects++;
    pthread_mutex_unlock(&sender->lock);
    note_progress(sender);
    verdict = retry_wait(&sender->retry, sender->options.sender, &sender->is_ended, err);
    return verdict == AGENT_GIVE_UP ? -1 : 0;
}

/* One side is wrong: everything is offered again, once. */
static int begin_again(struct disk_sender *sender, unsigned *mismatches, struct error *err)
{
    if (++*mismatches > 1)
        return error_set(err, EPROTO, "the server's digest differs, again");
    log_warning(sender->options.sender->log,
                "%s: the server's digest differs: everything is offered again", sender->disk->name);
    return disk_pipeline_begin_pass(sender->pipeline, &sender->used, err);
}

static int send_pass(struct disk_sender *sender, struct error *err)
{
    unsigned mismatches = 0;
    for (;;) {
        enum wire_error_code code = WIRE_ERROR_INTERNAL;
        if (connect_disk(sender, err) != 0)
            return -1;
        struct pipeline_pass run = {.link = sender->link,
                                    .window_bytes = sender->window_bytes,
                                    .pass = sender->state.pass,
                                    .is_last = sender->state.is_last};
        enum pipeline_end end = disk_pipeline_run(sender->pipeline, &run, &code, err);
        if (end == PIPELINE_PASSED)
            return 0;
        int result = end == PIPELINE_DIFFERENT ? begin_again(sender, &mismatches, err)
                                               : judge_end(sender, end, code, err);
        if (result != 0)
            return -1;
    }
}

/* Once; which files are hit is found out by others. */
static void warn_unreadable(struct disk_sender *sender)
{
    const struct extents *bad = disk_pipeline_unreadable(sender->pipeline);
    char size[32];
    if (bad->count == 0 || sender->is_warned)
        return;
    sender->is_warned = true;
    log_warning(sender->options.sender->log,
                "%s: %s in %zu %s cannot be read, the first at 0x%" PRIx64, sender->disk->name,
                bytes_format(extents_total(bad), size, sizeof(size)), bad->count,
                bad->count == 1 ? "place" : "places", bad->items[0].offset);
}

static int run_pass(struct disk_sender *sender, struct error *err)
{
    struct pipeline_counts before, after;
    extents_fini(&sender->used);
    if (sender->disk->map(sender->disk->context, &sender->used, err) != 0 ||
        disk_pipeline_begin_pass(sender->pipeline, &sender->used, err) != 0)
        return -1;
    disk_pipeline_count(sender->pipeline, &before);
    int result = send_pass(sender, err);
    disk_pipeline_count(sender->pipeline, &after);
    pthread_mutex_lock(&sender->lock);
    sender->state.pass_sent_bytes = after.sent_bytes - before.sent_bytes;
    pthread_mutex_unlock(&sender->lock);
    warn_unreadable(sender);
    return result;
}

static void finish_pass(struct disk_sender *sender, int result, struct error *error)
{
    struct disk_sender_state *state = &sender->state;
    if (result != 0 || state->is_last)
        drop_link(sender);
    if (result != 0)
        error_wrap(error, "%s", sender->disk->name);
    pthread_mutex_lock(&sender->lock);
    if (result == 0) {
        state->passes++;
        state->is_sent = state->is_last;
        state->generation = sender->session.generation;
    } else {
        state->has_failed = true;
        state->error = *error;
    }
    state->is_busy = false;
    pthread_mutex_unlock(&sender->lock);
    sender_control_wake(sender->options.control);
}

/* --- between passes --- */

/* The link is kept alive by receiving; what may still come is a late SAFE. */
static void idle_on_link(struct disk_sender *sender)
{
    struct link_frame frame;
    struct wire_safe safe;
    int received = link_receive(sender->link, &frame, WIRE_SILENCE_MS, &sender->has_command, NULL);
    if (received > 0 && frame.type == WIRE_SAFE &&
        wire_safe_decode(frame.payload, frame.length, &safe, NULL) == 0)
        return;
    if (!sender->has_command)
        drop_link(sender);
}

static bool wait_command(struct disk_sender *sender)
{
    while (!sender->has_command && !sender->is_ended) {
        if (sender->link) {
            idle_on_link(sender);
            continue;
        }
        pthread_mutex_lock(&sender->lock);
        if (!sender->has_command && !sender->is_ended)
            pthread_cond_wait(&sender->is_changed, &sender->lock);
        pthread_mutex_unlock(&sender->lock);
    }
    pthread_mutex_lock(&sender->lock);
    sender->has_command = false;
    pthread_mutex_unlock(&sender->lock);
    return !sender->is_ended;
}

static void *disk_thread(void *argument)
{
    struct disk_sender *sender = argument;
    while (wait_command(sender)) {
        struct error error = {0};
        int result = run_pass(sender, &error);
        finish_pass(sender, result, &error);
    }
    drop_link(sender);
    return NULL;
}

/* --- from the sender's thread --- */

static int start(struct disk_sender *sender, struct error *err)
{
    const struct disk_sender_options *options = &sender->options;
    sender->offer = disk_offer_new(copy_target_size(sender->disk->block->size_bytes), err);
    if (!sender->offer)
        return -1;
    struct pipeline_options pipeline = {.block = sender->disk->block,
                                        .path = sender->disk->path,
                                        .offer = sender->offer,
                                        .shared = options->shared,
                                        .memory_bytes = options->memory_bytes,
                                        .threads = options->threads};
    sender->pipeline = disk_pipeline_new(&pipeline, err);
    if (!sender->pipeline)
        return -1;
    int result = pthread_create(&sender->thread, NULL, disk_thread, sender);
    if (result != 0)
        return error_set(err, result, "start a thread");
    sender->is_started = true;
    return 0;
}

struct disk_sender *disk_sender_start(const struct disk_sender_options *options, struct error *err)
{
    struct disk_sender *sender = memory_new(1, sizeof(*sender));
    sender->options = *options;
    sender->disk = &options->sender->disks[options->disk];
    retry_start(&sender->retry, options->sender->retry_ms);
    pthread_mutex_init(&sender->lock, NULL);
    clock_condition_init(&sender->is_changed);
    if (start(sender, err) != 0) {
        error_wrap(err, "%s", sender->disk->name);
        disk_sender_stop(sender);
        return NULL;
    }
    return sender;
}

void disk_sender_cancel(struct disk_sender *sender)
{
    if (!sender)
        return;
    pthread_mutex_lock(&sender->lock);
    sender->is_ended = true;
    sender->has_command = true;
    if (sender->link)
        link_shut(sender->link);
    pthread_cond_broadcast(&sender->is_changed);
    pthread_mutex_unlock(&sender->lock);
}

void disk_sender_stop(struct disk_sender *sender)
{
    if (!sender)
        return;
    disk_sender_cancel(sender);
    if (sender->is_started)
        pthread_join(sender->thread, NULL);
    disk_pipeline_free(sender->pipeline);
    disk_offer_free(sender->offer);
    extents_fini(&sender->used);
    pthread_mutex_destroy(&sender->lock);
    pthread_cond_destroy(&sender->is_changed);
    free(sender);
}

void disk_sender_begin(struct disk_sender *sender, uint32_t pass, bool is_last)
{
    pthread_mutex_lock(&sender->lock);
    sender->state.pass = pass;
    sender->state.is_last = is_last;
    sender->state.is_busy = true;
    sender->state.is_sent = false;
    sender->has_command = true;
    pthread_cond_broadcast(&sender->is_changed);
    pthread_mutex_unlock(&sender->lock);
}

void disk_sender_look(struct disk_sender *sender, struct disk_sender_state *state)
{
    pthread_mutex_lock(&sender->lock);
    *state = sender->state;
    if (sender->link)
        state->bytes_on_wire += link_bytes_sent(sender->link) + link_bytes_received(sender->link);
    pthread_mutex_unlock(&sender->lock);
    disk_pipeline_count(sender->pipeline, &state->counts);
}

int disk_sender_add_unreadable(const struct disk_sender *sender, struct extents *unreadable,
                               struct error *err)
{
    return extents_add_all(unreadable, disk_pipeline_unreadable(sender->pipeline), 0, err);
}
