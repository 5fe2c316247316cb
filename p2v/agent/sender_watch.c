/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * While the disks' threads work: progress for people here and on the server, the choice of
 * compression, and the limit of a freeze.
 */
#include "base/clock.h"
#include "p2v/agent/sender_parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PROGRESS_MS 100
#define STATUS_MS 5000
#define SAMPLE_MS 500
#define LOOK_MS 50

/* --- progress --- */

static enum sender_phase phase_of(const struct disk_sender_state *disk,
                                  const struct sender_control_state *control)
{
    if (disk->has_failed)
        return SENDER_DISK_FAILED;
    if (disk->is_sent && !disk->is_busy)
        return SENDER_DISK_DONE;
    if (disk->counts.is_paused)
        return SENDER_PAUSED;
    if (disk->is_connected || !disk->is_busy)
        return SENDER_SENDING;
    return control->is_waiting ? SENDER_WAITING : SENDER_CONNECTING;
}

static const char *text_of(enum sender_phase phase, const struct disk_sender_state *disk,
                           const struct sender_control_state *control)
{
    switch (phase) {
    case SENDER_WAITING:
        return control->code;
    case SENDER_PAUSED:
        return disk->counts.text;
    case SENDER_DISK_FAILED:
        return disk->error.text;
    case SENDER_CONNECTING:
        return control->is_open ? "" : control->error.text;
    default:
        return "";
    }
}

static void tell_progress(struct sender_run *run, size_t index,
                          const struct disk_sender_state *disk,
                          const struct sender_control_state *control)
{
    struct sender_progress progress = {
        .phase = phase_of(disk, control),
        .pass = disk->pass,
        .is_last_pass = disk->is_last,
        .size_bytes = run->machine.disks[index].size_bytes,
        .total_bytes = disk->counts.total_bytes,
        .done_bytes = disk->counts.done_bytes,
        .safe_bytes = disk->counts.safe_bytes,
        .sent_bytes = disk->counts.sent_bytes,
        .wire_bytes = disk->counts.wire_bytes,
        .unreadable_bytes = disk->counts.unreadable_bytes,
    };
    snprintf(progress.text, sizeof(progress.text), "%.255s",
             text_of(progress.phase, disk, control));
    if (run->options->progress)
        run->options->progress(run->options->context, index, &progress);
}

static void tell_status(struct sender_run *run, size_t index, const struct disk_sender_state *disk)
{
    struct wire_status status = {.disk = (uint16_t)index,
                                 .done_bytes = disk->counts.done_bytes,
                                 .total_bytes = disk->counts.total_bytes};
    if (disk->has_failed)
        snprintf(status.text, sizeof(status.text), "%.1000s", disk->error.text);
    sender_control_status(run->control, &status);
}

static void note_failed(struct sender_run *run, size_t index, const struct disk_sender_state *disk)
{
    if (!disk->has_failed || run->is_known[index])
        return;
    run->is_known[index] = true;
    log_warning(run->options->log, "%s", disk->error.text);
    tell_status(run, index, disk);
}

static void tell_all(struct sender_run *run, bool is_status_due)
{
    struct sender_control_state control;
    sender_control_look(run->control, &control);
    for (size_t i = 0; i < run->options->disk_count; i++) {
        struct disk_sender_state disk;
        disk_sender_look(run->disks[i], &disk);
        note_failed(run, i, &disk);
        tell_progress(run, i, &disk, &control);
        if (is_status_due && control.is_open)
            tell_status(run, i, &disk);
    }
}

/* --- compression --- */

static unsigned count_busy(const struct sender_run *run)
{
    unsigned busy = 0;
    for (size_t i = 0; i < run->options->disk_count; i++) {
        struct disk_sender_state disk;
        disk_sender_look(run->disks[i], &disk);
        busy += disk.is_busy;
    }
    return busy;
}

static void sample_compression(struct sender_run *run, int64_t now_ms)
{
    struct cpu_ticks ticks = run->ticks;
    uint64_t bytes = atomic_load(&run->shared.sent_bytes);
    uint64_t blocked_ns = atomic_load(&run->shared.blocked_ns);
    unsigned busy = count_busy(run);
    if (run->options->compression >= 0)
        return;
    cpu_ticks_read(&ticks);
    struct compression_sample sample = {
        .seconds = (double)(now_ms - run->sampled_ms) / 1e3,
        .bytes = bytes - run->seen_bytes,
        .idle = cpu_ticks_idle(&run->ticks, &ticks),
    };
    sample.blocked =
        (double)(blocked_ns - run->seen_blocked_ns) / 1e9 / sample.seconds / (busy ? busy : 1);
    unsigned before = run->compression.step;
    unsigned step = compression_choose(&run->compression, &sample);
    if (step != before)
        log_detail(run->options->log,
                   "compression %d, after %d gave %.0f MB/s, %.0f%% waited, %.0f%% idle",
                   compression_level(step), compression_level(before),
                   (double)sample.bytes / sample.seconds / 1e6, sample.blocked * 100,
                   sample.idle * 100);
    atomic_store(&run->shared.step, step);
    run->ticks = ticks;
    run->seen_bytes = bytes;
    run->seen_blocked_ns = blocked_ns;
}

/* --- one look --- */

void sender_thaw(struct sender_run *run)
{
    if (run->is_frozen)
        run->options->thaw(run->options->context);
    run->is_frozen = false;
}

static void end_long_freeze(struct sender_run *run, int64_t now_ms)
{
    if (!run->is_frozen || run->thaw_ms == 0 || now_ms < run->thaw_ms)
        return;
    sender_thaw(run);
    log_warning(run->options->log, "the last pass takes too long for file systems to stay frozen: "
                                   "the copy is not consistent (--final holds them however long)");
}

void sender_tick(struct sender_run *run)
{
    int64_t now_ms = clock_ms();
    end_long_freeze(run, now_ms);
    bool is_status_due = now_ms - run->status_ms >= STATUS_MS;
    if (now_ms - run->progress_ms >= PROGRESS_MS) {
        tell_all(run, is_status_due);
        run->progress_ms = now_ms;
        run->status_ms = is_status_due ? now_ms : run->status_ms;
    }
    if (now_ms - run->sampled_ms >= SAMPLE_MS) {
        sample_compression(run, now_ms);
        run->sampled_ms = now_ms;
    }
}

int sender_check(struct sender_run *run, struct error *err)
{
    struct sender_control_state control;
    if (run->options->stop && atomic_load(run->options->stop))
        return error_set(err, ECANCELED, "stopped");
    sender_control_look(run->control, &control);
    if (!control.is_given_up)
        return 0;
    if (err)
        *err = control.error;
    return -1;
}

int sender_watch(struct sender_run *run, struct error *err)
{
    while (count_busy(run) > 0) {
        sender_tick(run);
        if (sender_check(run, err) != 0)
            return -1;
        if (count_busy(run) > 0)
            sender_control_wait(run->control, LOOK_MS);
    }
    run->progress_ms = 0;
    sender_tick(run);
    return sender_check(run, err);
}
