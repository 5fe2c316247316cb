/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What `rehost status` shows of a transfer: the rows in the database, written about once a second
 * while something changes. From FINISH on the machine's row is the job's.
 */
#include "base/clock.h"
#include "p2v/server/serving.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An agent that comes back within this was not gone. */
#define ROWS_GONE_MS 3000

/* What is written, copied under server.lock. */
struct snapshot {
    struct machine_row row;
    struct machine_disk_row disks[WIRE_MAX_DISKS];
    size_t disk_count;
    bool has_row;     /* else the disks only */
    bool is_gone_now; /* the agent: worth a line in the log */
};

static void copy_disk(const struct transfer_disk *disk, struct machine_disk_row *row)
{
    const struct transfer_figures *figures = &disk->figures;
    *row = (struct machine_disk_row){.size_bytes = disk->info.size_bytes,
                                     .total_bytes = figures->total_bytes,
                                     .done_bytes = figures->done_bytes,
                                     .safe_bytes = figures->safe_bytes,
                                     .sent_bytes = figures->sent_bytes,
                                     .wire_bytes = figures->wire_bytes,
                                     .unreadable_bytes = figures->unreadable_bytes,
                                     .pass = figures->pass};
    snprintf(row->name, sizeof(row->name), "%s", disk->info.name);
}

static enum machine_state state_of(const struct transfer *transfer)
{
    if (transfer->is_interrupted)
        return MACHINE_INTERRUPTED;
    for (size_t i = 0; i < transfer->disk_count; i++) {
        if (transfer->disks[i].figures.is_paused)
            return MACHINE_PAUSED;
    }
    return transfer->state == TRANSFER_RECEIVED ? MACHINE_RECEIVED : MACHINE_RECEIVING;
}

static void sum_figures(const struct transfer *transfer, uint64_t *done, uint64_t *total)
{
    *done = *total = 0;
    for (size_t i = 0; i < transfer->disk_count; i++) {
        *done += transfer->disks[i].figures.done_bytes;
        *total += transfer->disks[i].figures.total_bytes;
    }
}

/* Over the samples there are: at most the last five seconds. */
static void set_rate(struct transfer *transfer, struct machine_row *row)
{
    uint64_t done, total;
    sum_figures(transfer, &done, &total);
    unsigned count = transfer->sample_count++;
    unsigned oldest = count < TRANSFER_SAMPLES ? 0 : count % TRANSFER_SAMPLES;
    struct transfer_sample first = count ? transfer->samples[oldest] : (struct transfer_sample){0};
    int64_t now = clock_ms();
    transfer->samples[count % TRANSFER_SAMPLES] = (struct transfer_sample){now, done};
    row->seconds_left = -1;
    if (count == 0 || now <= first.at_ms || done <= first.done_bytes)
        return;
    row->bytes_per_second = (done - first.done_bytes) * 1000 / (uint64_t)(now - first.at_ms);
    if (row->bytes_per_second > 0 && total >= done)
        row->seconds_left = (int64_t)((total - done) / row->bytes_per_second);
}

static void take_snapshot(struct transfer *transfer, struct snapshot *snapshot)
{
    struct machine_row *row = &snapshot->row;
    *row = (struct machine_row){.number = transfer->number,
                                .state = state_of(transfer),
                                .updated = 0,
                                .warnings = transfer->warnings,
                                .seconds_left = -1};
    snprintf(row->name, sizeof(row->name), "%s", transfer->name);
    snprintf(row->text, sizeof(row->text), "%s", transfer->text);
    if (row->state == MACHINE_RECEIVING)
        set_rate(transfer, row);
    snapshot->has_row = transfer->state != TRANSFER_RECEIVED;
    snapshot->disk_count = transfer->disk_count;
    for (size_t i = 0; i < transfer->disk_count; i++)
        copy_disk(&transfer->disks[i], &snapshot->disks[i]);
    snapshot->is_gone_now = transfer->is_gone_now;
    transfer->is_row_stale = transfer->is_gone_now = false;
}

/* The rows cannot be written: the next time will show it; a transfer does not fail for it. */
static void write_rows(struct server *server, const struct snapshot *snapshot)
{
    struct error err = {0};
    if (snapshot->is_gone_now)
        log_info(server->log, "%s: interrupted: the agent is gone", snapshot->row.name);
    if ((snapshot->has_row && machine_set(server->database, &snapshot->row, &err) != 0) ||
        machine_set_disks(server->database, snapshot->row.number, snapshot->disks,
                          snapshot->disk_count, &err) != 0)
        log_warning(server->log, "%s: its state cannot be recorded: %s", snapshot->row.name,
                    err.text);
}

void transfer_store_row(struct server *server, struct transfer *transfer)
{
    AUTO_FREE struct snapshot *snapshot = memory_new(1, sizeof(*snapshot));
    pthread_mutex_lock(&server->rows_lock);
    pthread_mutex_lock(&server->lock);
    take_snapshot(transfer, snapshot);
    pthread_mutex_unlock(&server->lock);
    write_rows(server, snapshot);
    pthread_mutex_unlock(&server->rows_lock);
}

/* Under server.lock. */
static bool is_due(struct transfer *transfer)
{
    bool is_gone = transfer->users == 0 && transfer->state == TRANSFER_RECEIVING &&
                   clock_ms() - transfer->idle_since_ms > ROWS_GONE_MS;
    if (is_gone && !transfer->is_interrupted) {
        transfer->is_interrupted = true;
        transfer->is_row_stale = transfer->is_gone_now = true;
    }
    return transfer->is_row_stale;
}

static size_t snapshot_due(struct server *server, struct snapshot **snapshots)
{
    size_t count = 0;
    pthread_mutex_lock(&server->lock);
    for (struct transfer *transfer = server->transfers; transfer; transfer = transfer->next) {
        if (!is_due(transfer))
            continue;
        *snapshots = memory_grow(*snapshots, count + 1, sizeof(**snapshots));
        take_snapshot(transfer, &(*snapshots)[count++]);
    }
    pthread_mutex_unlock(&server->lock);
    return count;
}

void transfers_store_rows(struct server *server)
{
    AUTO_FREE struct snapshot *snapshots = NULL;
    pthread_mutex_lock(&server->rows_lock);
    size_t count = snapshot_due(server, &snapshots);
    for (size_t i = 0; i < count; i++)
        write_rows(server, &snapshots[i]);
    pthread_mutex_unlock(&server->rows_lock);
}
