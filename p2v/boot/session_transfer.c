/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sends in a thread; the callbacks write down what the screen shows.
 */
#include "p2v/boot/session_transfer.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/text.h"
#include "p2v/cli.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A rate is of about so many seconds. */
#define RATE_SECONDS 5.0

/* What every message about a connection that did not come about ends with (agent_link.c). */
#define CONNECTION_WORDS "trying again in"

/* Nothing has moved for so long: the rate says nothing any more. */
#define STALL_SECONDS 10

struct rate {
    double at; /* clock_seconds; 0: not yet */
    uint64_t bytes;
    double moved_at; /* when a byte was read, or became safe */
};

struct session_transfer {
    struct session_transfer_options options;
    pthread_t thread;
    atomic_bool stop, has_ended;

    pthread_mutex_t lock; /* everything below */
    struct screen_disk disks[BOOT_MAX_DISKS];
    struct rate rates[BOOT_MAX_DISKS];
    size_t disk_count;
    char stage[200], code[80], said[200];
    struct session_outcome outcome;
    bool is_judged;
    bool has_connected;
};

/* --- what is told from the sending's threads --- */

static void take_disks(void *context, const char *const names[], size_t count)
{
    struct session_transfer *transfer = context;
    pthread_mutex_lock(&transfer->lock);
    transfer->disk_count = count < BOOT_MAX_DISKS ? count : BOOT_MAX_DISKS;
    for (size_t i = 0; i < transfer->disk_count; i++) {
        struct screen_disk *disk = &transfer->disks[i];
        *disk = (struct screen_disk){.seconds_left = -1};
        snprintf(disk->name, sizeof(disk->name), "%.64s", names[i]);
    }
    pthread_mutex_unlock(&transfer->lock);
}

static void take_rate(struct screen_disk *disk, struct rate *rate, double now)
{
    const struct sender_progress *progress = &disk->progress;
    if (rate->at <= 0 || progress->done_bytes < rate->bytes || progress->phase != SENDER_SENDING) {
        *rate = (struct rate){now, progress->done_bytes, now};
        disk->bytes_per_second = 0;
        disk->seconds_left = -1;
        return;
    }
    double seconds = now - rate->at;
    if (seconds < 1)
        return;
    double newest = (double)(progress->done_bytes - rate->bytes) / seconds;
    double weight =
        seconds >= RATE_SECONDS || disk->bytes_per_second <= 0 ? 1 : seconds / RATE_SECONDS;
    disk->bytes_per_second += weight * (newest - disk->bytes_per_second);
    rate->at = now;
    rate->bytes = progress->done_bytes;
    uint64_t left = progress->total_bytes > progress->done_bytes
                        ? progress->total_bytes - progress->done_bytes
                        : 0;
    disk->seconds_left = disk->bytes_per_second >= 1 ? (double)left / disk->bytes_per_second : -1;
}

/* Once: how long a person who has switched the machine on waits for this. Called unlocked. */
static void tell_connected(struct session_transfer *transfer)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    log_info(transfer->options.log, "connected %.1f s after the kernel was started",
             (double)now.tv_sec + (double)now.tv_nsec / 1e9);
}

static bool is_connection(enum sender_phase phase)
{
    return phase == SENDER_SENDING || phase == SENDER_WAITING || phase == SENDER_PAUSED;
}

static void take_progress(void *context, size_t index, const struct sender_progress *progress)
{
    struct session_transfer *transfer = context;
    pthread_mutex_lock(&transfer->lock);
    bool is_first = !transfer->has_connected && is_connection(progress->phase);
    transfer->has_connected |= is_first;
    if (index < transfer->disk_count) {
        struct screen_disk *disk = &transfer->disks[index];
        if (progress->done_bytes != disk->progress.done_bytes ||
            progress->safe_bytes != disk->progress.safe_bytes)
            transfer->rates[index].moved_at = clock_seconds();
        disk->progress = *progress;
        take_rate(disk, &transfer->rates[index], clock_seconds());
        if (progress->phase == SENDER_WAITING && progress->text[0])
            snprintf(transfer->code, sizeof(transfer->code), "%.79s", progress->text);
        else if (progress->phase != SENDER_CONNECTING)
            transfer->code[0] = '\0'; /* approved */
    }
    pthread_mutex_unlock(&transfer->lock);
    if (is_first)
        tell_connected(transfer);
}

static void take_stage(void *context, const char *machine, enum wire_stage stage, const char *text)
{
    static const char *const names[] = {
        "has received everything", "waits for its turn", "makes the copy fit for its new hardware",
        "describes the new machine", "tests whether the copy boots"};
    struct session_transfer *transfer = context;
    const char *name = (size_t)stage < ARRAY_LENGTH(names) ? names[stage] : "?";
    bool has_text = text && text[0] && strcmp(text, machine) != 0;
    pthread_mutex_lock(&transfer->lock);
    snprintf(transfer->stage, sizeof(transfer->stage), "%s%s%.100s", name, has_text ? ": " : "",
             has_text ? text : "");
    pthread_mutex_unlock(&transfer->lock);
    log_info(transfer->options.log, "%s: the server %s", machine, name);
}

static void take_message(void *context, enum log_level level, const char *line)
{
    struct session_transfer *transfer = context;
    struct log *log = transfer->options.log;
    if (strstr(line, CONNECTION_WORDS)) {
        pthread_mutex_lock(&transfer->lock);
        snprintf(transfer->said, sizeof(transfer->said), "%.199s", line);
        pthread_mutex_unlock(&transfer->lock);
    }
    if (log)
        log->emit(log, level, line);
}

static void take_result(void *context, const struct sender_result *result, int exit_code)
{
    struct session_transfer *transfer = context;
    pthread_mutex_lock(&transfer->lock);
    if (result->has_result) {
        session_judge(exit_code, NULL, result, &transfer->outcome);
        transfer->is_judged = true;
    }
    pthread_mutex_unlock(&transfer->lock);
}

/* --- how it was --- */

static bool may_pass(int code, const struct error *err)
{
    static const int lasting[] = {EACCES, EPROTO, EBUSY, ECANCELED, TLS_WRONG_PIN};
    for (size_t i = 0; err && i < ARRAY_LENGTH(lasting); i++) {
        if (err->errnum == lasting[i])
            return false;
    }
    return code != CLI_USAGE && code != CLI_NOT_AUTHORISED;
}

/* "3 unreadable ranges (12.0 KiB)" */
static void add_unreadable(const struct sender_result *result, struct text *line)
{
    char size[32];
    size_t ranges = 0;
    uint64_t bytes = 0;
    for (size_t i = 0; i < WIRE_MAX_DISKS; i++) {
        ranges += result->disks[i].unreadable.count;
        bytes += extents_total(&result->disks[i].unreadable);
    }
    if (ranges > 0)
        text_addf(line, ", with %zu unreadable range%s (%s)", ranges, ranges == 1 ? "" : "s",
                  bytes_format(bytes, size, sizeof(size)));
}

void session_judge(int code, const struct error *err, const struct sender_result *result,
                   struct session_outcome *outcome)
{
    AUTO(text) line = {0};
    outcome->is_good = code == CLI_DONE || code == CLI_WARNINGS;
    outcome->has_result = result && result->has_result;
    if (outcome->has_result) {
        text_addf(&line, outcome->is_good ? "%s: " : "%s was received, but: ", result->machine);
        text_add_escaped(&line, result->text, strlen(result->text));
        add_unreadable(result, &line);
        outcome->may_pass = false; /* the same would come out of it again */
    } else {
        text_add(&line, err && err->text[0] ? err->text
                        : outcome->is_good  ? "everything was received"
                                            : "the sending ended without a word");
        outcome->is_refused = code == CLI_NOT_AUTHORISED && err && err->errnum == EACCES;
        outcome->may_pass = !outcome->is_good && may_pass(code, err);
    }
    snprintf(outcome->text, sizeof(outcome->text), "%.299s", text_string(&line));
}

/* --- the thread --- */

static void add_disks(const struct boot_findings *findings, const char *paths[BOOT_MAX_DISKS],
                      struct option_list *operands)
{
    *operands = (struct option_list){.items = paths};
    for (size_t i = 0; i < findings->disk_count; i++) {
        if (findings->disks[i].is_chosen)
            paths[operands->count++] = findings->disks[i].device.path;
    }
}

static int send_all(struct session_transfer *transfer, struct error *err)
{
    const struct session_transfer_options *options = &transfer->options;
    const struct boot_settings *settings = options->settings;
    const char *paths[BOOT_MAX_DISKS];
    struct option_list operands;
    const struct send_watch watch = {take_disks,   take_progress, take_stage,
                                     take_message, take_result,   transfer};
    const struct send_wishes wishes = {settings->memory_bytes, settings->vcpus,
                                       (const char *const *)settings->networks.items,
                                       settings->networks.count};
    const struct send_options send = {.server = options->server,
                                      .pin = options->pin,
                                      .token = options->token,
                                      .name = options->name,
                                      .compress = settings->compress,
                                      .limit_bytes_per_second = settings->limit_bytes_per_second,
                                      .is_key_from_token = true,
                                      .watch = &watch,
                                      .wishes = &wishes,
                                      .stop = &transfer->stop};
    add_disks(options->findings, paths, &operands);
    if (operands.count == 0) /* none would mean all of them */
        return error_set(err, ENODEV, "there is no disk to copy");
    return options->send(NULL, &send, &operands, err);
}

static void *work(void *context)
{
    struct session_transfer *transfer = context;
    struct error err = {0};
    int code = send_all(transfer, &err);
    pthread_mutex_lock(&transfer->lock);
    if (!transfer->is_judged)
        session_judge(code, &err, NULL, &transfer->outcome);
    pthread_mutex_unlock(&transfer->lock);
    atomic_store(&transfer->has_ended, true);
    return NULL;
}

struct session_transfer *session_transfer_start(const struct session_transfer_options *options,
                                                struct error *err)
{
    struct session_transfer *transfer = memory_new(1, sizeof(*transfer));
    transfer->options = *options;
    pthread_mutex_init(&transfer->lock, NULL);
    int result = pthread_create(&transfer->thread, NULL, work, transfer);
    if (result == 0)
        return transfer;
    pthread_mutex_destroy(&transfer->lock);
    free(transfer);
    error_set(err, result, "start a thread");
    return NULL;
}

static bool is_any_connecting(const struct session_transfer *transfer)
{
    for (size_t i = 0; i < transfer->disk_count; i++) {
        if (transfer->disks[i].progress.phase == SENDER_CONNECTING)
            return true;
    }
    return false;
}

/* For how long none of the disks has moved; 0 when one has, or none is being sent. */
static int stalled_seconds(struct session_transfer *transfer, struct screen_model *model)
{
    double now = clock_seconds(), least = -1;
    for (size_t i = 0; i < transfer->disk_count; i++) {
        double still = now - transfer->rates[i].moved_at;
        if (transfer->disks[i].progress.phase != SENDER_SENDING || transfer->stage[0])
            continue;
        least = least < 0 || still < least ? still : least;
        if (still >= STALL_SECONDS) {
            model->disks[i].bytes_per_second = 0;
            model->disks[i].seconds_left = -1;
        }
    }
    return least >= STALL_SECONDS ? (int)least : 0;
}

bool session_transfer_show(struct session_transfer *transfer, struct screen_model *model)
{
    pthread_mutex_lock(&transfer->lock);
    memcpy(model->disks, transfer->disks, sizeof(model->disks));
    model->disk_count = transfer->disk_count;
    memcpy(model->stage, transfer->stage, sizeof(model->stage));
    memcpy(model->code, transfer->code, sizeof(model->code));
    int stalled = stalled_seconds(transfer, model);
    model->problem[0] = '\0';
    if (is_any_connecting(transfer))
        snprintf(model->problem, sizeof(model->problem), "%s", transfer->said);
    else if (stalled)
        snprintf(model->problem, sizeof(model->problem),
                 "nothing has moved for %d seconds: waiting for the network or the server",
                 stalled);
    pthread_mutex_unlock(&transfer->lock);
    return atomic_load(&transfer->has_ended);
}

void session_transfer_stop(struct session_transfer *transfer)
{
    atomic_store(&transfer->stop, true);
}

void session_transfer_end(struct session_transfer *transfer, struct session_outcome *outcome)
{
    pthread_join(transfer->thread, NULL);
    *outcome = transfer->outcome;
    pthread_mutex_destroy(&transfer->lock);
    free(transfer);
}
