/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A machine from the first connection to the server's word that it has everything:
 *
 *     all disks ── pass 0 ──► live disks, while it pays ── pass n ──► frozen: last pass ──► FINISH
 *         └────── pass 0, from snapshots of one moment: the last ──────────────────────────►
 */
#include "p2v/agent/sender.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/text.h"
#include "p2v/agent/sender_parts.h"
#include "p2v/copy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMORY_DEFAULT ((uint64_t)96 << 20)
#define MEMORY_FLOOR ((uint64_t)8 << 20) /* a disk */
#define MAX_THREADS 4u                   /* a disk, that read; and as many that compress */

/* A freeze that nobody asked to last is ended after so long. */
#define FREEZE_LIMIT_MS 60000

/* How often everything is told again because the server had lost the session at the end. */
#define MAX_REPEATS 5

#define LOOK_MS 50

void sender_result_fini(struct sender_result *result)
{
    for (size_t i = 0; i < WIRE_MAX_DISKS; i++)
        extents_fini(&result->disks[i].unreadable);
}

/* --- setting up --- */

static void describe_disk(const struct sender_disk *disk, struct wire_disk_info *info)
{
    struct extents used = {0};
    info->size_bytes = copy_target_size(disk->block->size_bytes);
    info->sector_size = disk->block->sector_size;
    info->used_bytes = info->size_bytes;
    snprintf(info->name, sizeof(info->name), "%s", disk->name);
    snprintf(info->serial, sizeof(info->serial), "%s", disk->serial);
    if (disk->map(disk->context, &used, NULL) == 0)
        info->used_bytes = min_u64(extents_total(&used), info->size_bytes);
    extents_fini(&used);
}

static int describe_machine(struct sender_run *run, struct error *err)
{
    const struct sender_options *options = run->options;
    size_t length = strlen(options->inventory);
    if (options->disk_count == 0 || options->disk_count > WIRE_MAX_DISKS)
        return error_set(err, 0, "%zu disks", options->disk_count);
    if (length > WIRE_MAX_INVENTORY)
        return error_set(err, 0, "an inventory of %zu bytes", length);
    if (options->token && strlen(options->token) != WIRE_TOKEN_LENGTH)
        return error_set(err, EACCES, "a token has %u characters", WIRE_TOKEN_LENGTH);
    run->machine.disk_count = (uint16_t)options->disk_count;
    for (size_t i = 0; i < options->disk_count; i++)
        describe_disk(&options->disks[i], &run->machine.disks[i]);
    snprintf(run->machine.name, sizeof(run->machine.name), "%s", options->name);
    run->machine.inventory = options->inventory;
    run->machine.inventory_length = length;
    return 0;
}

static unsigned threads_per_disk(const struct sender_options *options)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t each = (cores > 0 ? (uint64_t)cores : 1) / options->disk_count;
    return (unsigned)min_u64(max_u64(each, 1), MAX_THREADS);
}

static void share(struct sender_run *run)
{
    const struct sender_options *options = run->options;
    limiter_init(&run->shared.wire, options->limit_bytes_per_second);
    limiter_init(&run->shared.cpu, (uint64_t)options->cpu_percent * 10000000u);
    run->shared.can_compress = options->compression != 0;
    run->shared.step = options->compression > 0 ? compression_step(options->compression) : 0;
    run->shared.stop = options->stop;
    run->sampled_ms = run->status_ms = clock_ms();
    cpu_ticks_read(&run->ticks);
}

static int start(struct sender_run *run, struct error *err)
{
    const struct sender_options *options = run->options;
    uint64_t memory = options->memory_bytes ? options->memory_bytes : MEMORY_DEFAULT;
    if (describe_machine(run, err) != 0)
        return -1;
    run->control = sender_control_start(options, &run->machine, err);
    for (size_t i = 0; run->control && i < options->disk_count; i++) {
        struct disk_sender_options disk = {
            .sender = options,
            .disk = i,
            .control = run->control,
            .shared = &run->shared,
            .memory_bytes = max_u64(memory / options->disk_count, MEMORY_FLOOR),
            .threads = threads_per_disk(options),
        };
        run->disks[i] = disk_sender_start(&disk, err);
        if (!run->disks[i])
            return -1;
    }
    return run->control ? 0 : -1;
}

static void stop(struct sender_run *run)
{
    for (size_t i = 0; i < WIRE_MAX_DISKS; i++)
        disk_sender_cancel(run->disks[i]);
    for (size_t i = 0; i < WIRE_MAX_DISKS; i++)
        disk_sender_stop(run->disks[i]);
    sender_control_stop(run->control);
    limiter_fini(&run->shared.wire);
    limiter_fini(&run->shared.cpu);
}

/* --- passes --- */

/* A pass over the healthy disks that are live, or that are not; sums it up. */
static int send_pass(struct sender_run *run, bool is_live, bool is_all, bool is_last,
                     struct pass_sum *sum, struct error *err)
{
    const struct sender_options *options = run->options;
    bool is_in[WIRE_MAX_DISKS] = {false};
    double began = clock_seconds();
    for (size_t i = 0; i < options->disk_count; i++) {
        struct disk_sender_state state;
        disk_sender_look(run->disks[i], &state);
        is_in[i] = !state.has_failed && (is_all || options->disks[i].is_live == is_live);
        if (is_in[i])
            disk_sender_begin(run->disks[i], run->pass, is_last || !options->disks[i].is_live);
    }
    if (sender_watch(run, err) != 0)
        return -1;
    *sum = (struct pass_sum){.seconds = clock_seconds() - began};
    for (size_t i = 0; i < options->disk_count; i++) {
        struct disk_sender_state state;
        disk_sender_look(run->disks[i], &state);
        if (!is_in[i] || state.has_failed || !options->disks[i].is_live)
            continue;
        sum->sent_bytes += state.pass_sent_bytes;
        sum->used_bytes += state.counts.total_bytes;
    }
    run->pass++;
    return 0;
}

static bool has_live(struct sender_run *run)
{
    bool is_found = false;
    for (size_t i = 0; i < run->options->disk_count; i++) {
        struct disk_sender_state state;
        disk_sender_look(run->disks[i], &state);
        is_found |= run->options->disks[i].is_live && !state.has_failed;
    }
    return is_found;
}

/* Whether the file systems are frozen now; if not, the log is told why. */
static void freeze(struct sender_run *run, const struct pass_sum *before)
{
    const struct sender_options *options = run->options;
    struct error error = {0};
    if (!options->freeze || !options->thaw) {
        log_warning(options->log, "the machine runs and cannot be frozen: the copy is not "
                                  "consistent");
        return;
    }
    if (!passes_may_freeze(before, options->is_final)) {
        log_warning(options->log, "the last pass would hold the machine up for too long: the copy "
                                  "is not consistent (--final freezes it however long)");
        return;
    }
    int result = options->freeze(options->context, &error);
    if (result < 0)
        log_warning(options->log, "freezing: %s; the copy is not consistent", error.text);
    run->is_frozen = result > 0;
    run->thaw_ms = options->is_final ? 0 : clock_ms() + FREEZE_LIMIT_MS;
}

static int send_last_pass(struct sender_run *run, const struct pass_sum *before, struct error *err)
{
    struct pass_sum sum;
    freeze(run, before);
    int result = send_pass(run, true, false, true, &sum, err);
    run->result->consistency = run->is_frozen ? WIRE_FROZEN : WIRE_NOT_CONSISTENT;
    sender_thaw(run);
    return result;
}

/* Over live disks: until a pass is small, then the last one. */
static int send_live(struct sender_run *run, const struct pass_sum *first, struct error *err)
{
    struct pass_sum now = *first, before;
    bool is_more = passes_want_more(&now, NULL, run->pass, run->options->max_passes);
    while (is_more && has_live(run)) {
        before = now;
        if (send_pass(run, true, false, false, &now, err) != 0)
            return -1;
        is_more = passes_want_more(&now, &before, run->pass, run->options->max_passes);
    }
    return has_live(run) ? send_last_pass(run, &now, err) : 0;
}

/* Who waits for an approval waits long, and is not to hold anything meanwhile. */
static int await_session(struct sender_run *run, struct error *err)
{
    for (;;) {
        struct sender_control_state control;
        sender_control_look(run->control, &control);
        if (control.is_open)
            return 0;
        if (sender_check(run, err) != 0)
            return -1;
        sender_tick(run);
        sender_control_wait(run->control, LOOK_MS);
    }
}

/* All disks, the live ones as of one moment. 1: done; 0: they were not, or did not stay so; -1. */
static int send_held(struct sender_run *run, bool is_first, struct error *err)
{
    struct pass_sum sum;
    const struct sender_options *options = run->options;
    if (!options->hold || !options->is_held || !has_live(run))
        return 0;
    if (is_first && await_session(run, err) != 0)
        return -1;
    bool is_held = is_first ? options->hold(options->context) : options->is_held(options->context);
    if (!is_held)
        return 0;
    if (send_pass(run, false, true, true, &sum, err) != 0)
        return -1;
    if (!options->is_held(options->context))
        return 0;
    run->result->consistency = WIRE_FROZEN;
    return 1;
}

static int send_all(struct sender_run *run, struct error *err)
{
    struct pass_sum first;
    run->result->consistency = WIRE_AT_REST;
    int held = send_held(run, true, err);
    if (held != 0)
        return held > 0 ? 0 : -1;
    if (run->options->max_passes == 1 && has_live(run)) {
        if (send_pass(run, false, false, true, &first, err) != 0)
            return -1;
        return send_last_pass(run, NULL, err);
    }
    if (send_pass(run, false, true, false, &first, err) != 0)
        return -1;
    return has_live(run) ? send_live(run, &first, err) : 0;
}

/* --- the end --- */

static int fill_disk_result(struct sender_run *run, size_t index, struct error *err)
{
    struct sender_disk_result *disk = &run->result->disks[index];
    struct disk_sender_state state;
    disk_sender_look(run->disks[index], &state);
    disk->sent_bytes = state.counts.sent_bytes;
    disk->wire_bytes = state.counts.wire_bytes;
    disk->read_bytes = state.counts.read_bytes;
    disk->passes = state.passes;
    disk->is_sent = state.is_sent && !state.has_failed;
    disk->error = state.error;
    run->result->reconnects += state.reconnects;
    run->result->bytes_on_wire += state.bytes_on_wire;
    extents_fini(&disk->unreadable);
    if (state.is_busy) /* stopped in the middle of it */
        return 0;
    return disk_sender_add_unreadable(run->disks[index], &disk->unreadable, err);
}

static int fill_result(struct sender_run *run, struct error *err)
{
    struct sender_control_state control;
    sender_control_look(run->control, &control);
    memcpy(run->result->machine, control.machine, sizeof(run->result->machine));
    run->result->is_received = control.is_received;
    run->result->has_result = control.has_result;
    run->result->exit_code = control.result.exit_code;
    memcpy(run->result->text, control.result.text, sizeof(run->result->text));
    run->result->reconnects = control.reconnects;
    run->result->bytes_on_wire = control.bytes_on_wire;
    for (size_t i = 0; i < run->options->disk_count; i++)
        if (run->disks[i] && fill_disk_result(run, i, err) != 0)
            return -1;
    return 0;
}

/* The first disk that was not sent, as the machine's error. */
static int check_disks(const struct sender_run *run, struct error *err)
{
    for (size_t i = 0; i < run->options->disk_count; i++) {
        if (run->result->disks[i].is_sent)
            continue;
        if (err)
            *err = run->result->disks[i].error;
        return -1;
    }
    return 0;
}

static bool has_unreadable(const struct sender_run *run)
{
    for (size_t i = 0; i < run->options->disk_count; i++)
        if (run->result->disks[i].unreadable.count > 0)
            return true;
    return false;
}

static char *make_report(struct sender_run *run)
{
    char *report = run->options->report ? run->options->report(run->options->context) : NULL;
    if (report && strlen(report) <= WIRE_MAX_REPORT)
        return report;
    if (report)
        log_warning(run->options->log, "the report is too long to be sent");
    free(report);
    return text_copy("{}");
}

static bool is_told_all(struct sender_run *run, unsigned generation)
{
    for (size_t i = 0; i < run->options->disk_count; i++) {
        struct disk_sender_state state;
        disk_sender_look(run->disks[i], &state);
        if (state.generation != generation)
            return false;
    }
    return true;
}

/* A server that lost the session has to be told everything again; it has the data. */
static int send_again(struct sender_run *run, struct error *err)
{
    struct pass_sum sum = {0};
    int held = send_held(run, false, err);
    if (held < 0)
        return -1;
    if (held > 0)
        return fill_result(run, err) == 0 ? check_disks(run, err) : -1;
    if (has_live(run) &&
        (send_pass(run, false, false, true, &sum, err) != 0 || send_last_pass(run, &sum, err) != 0))
        return -1;
    if (!has_live(run) && send_pass(run, false, true, true, &sum, err) != 0)
        return -1;
    return fill_result(run, err) == 0 ? check_disks(run, err) : -1;
}

/* 1: the server has everything; 0: the connection was lost; -1. */
static int await_stage(struct sender_run *run, unsigned generation, struct error *err)
{
    for (;;) {
        struct sender_control_state control;
        sender_control_look(run->control, &control);
        if (control.is_received)
            return 1;
        if (!control.is_open || control.generation != generation)
            return sender_check(run, err);
        if (sender_check(run, err) != 0)
            return -1;
        sender_tick(run);
        sender_control_wait(run->control, LOOK_MS);
    }
}

static int finish_once(struct sender_run *run, unsigned *repeats, struct error *err)
{
    struct sender_session session;
    atomic_bool is_never = false;
    if (sender_control_session(run->control, &session, &is_never, err) != 0)
        return -1;
    if (!is_told_all(run, session.generation)) {
        if (++*repeats > MAX_REPEATS)
            return error_set(err, ETIMEDOUT, "the server forgets the session again and again");
        return send_again(run, err);
    }
    AUTO_FREE char *report = make_report(run);
    struct wire_finish finish = {
        .consistency = run->result->consistency,
        .has_warnings = has_unreadable(run) || run->result->consistency == WIRE_NOT_CONSISTENT,
        .report = report,
        .report_length = strlen(report),
    };
    if (sender_control_finish(run->control, &finish, session.generation, NULL) != 0)
        return sender_check(run, err);
    return await_stage(run, session.generation, err);
}

/* As often as connections are lost: the control connection knows when to give up. */
static int finish(struct sender_run *run, struct error *err)
{
    unsigned repeats = 0;
    int result;
    while ((result = finish_once(run, &repeats, err)) == 0)
        sender_control_wait(run->control, LOOK_MS);
    return result > 0 ? 0 : -1;
}

/* RESULT, as long as the connection holds: it is the server's work, not ours. */
static int await_result(struct sender_run *run, struct error *err)
{
    for (;;) {
        struct sender_control_state control;
        sender_control_look(run->control, &control);
        if (control.has_result)
            return 0;
        if (!control.is_open) {
            log_info(run->options->log, "the connection was lost; the server goes on by itself");
            return 0;
        }
        if (run->options->stop && atomic_load(run->options->stop))
            return error_set(err, ECANCELED, "stopped");
        sender_tick(run);
        sender_control_wait(run->control, LOOK_MS);
    }
}

static int send_machine(struct sender_run *run, struct error *err)
{
    if (start(run, err) != 0 || send_all(run, err) != 0 || fill_result(run, err) != 0 ||
        check_disks(run, err) != 0 || finish(run, err) != 0)
        return -1;
    return run->options->is_result_awaited ? await_result(run, err) : 0;
}

int sender_run(const struct sender_options *options, struct sender_result *result,
               struct error *err)
{
    struct sender_run *run = memory_new(1, sizeof(*run));
    struct error error = {0};
    *result = (struct sender_result){0};
    run->options = options;
    run->result = result;
    share(run);
    int status = send_machine(run, &error);
    sender_thaw(run);
    if (run->control && fill_result(run, status == 0 ? &error : NULL) != 0)
        status = -1;
    stop(run);
    free(run);
    if (status != 0 && err)
        *err = error;
    return status;
}
