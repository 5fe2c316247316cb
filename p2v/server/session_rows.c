/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What `rehost status` shows of a session: the rows in the database, written about once a second
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

static void copy_disk(const struct session_disk *disk, struct machine_disk_row *row)
{
    const struct session_figures *figures = &disk->figures;
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

static enum machine_state state_of(const struct session *session)
{
    if (session->is_interrupted)
        return MACHINE_INTERRUPTED;
    for (size_t i = 0; i < session->disk_count; i++) {
        if (session->disks[i].figures.is_paused)
            return MACHINE_PAUSED;
    }
    return session->state == SESSION_RECEIVED ? MACHINE_RECEIVED : MACHINE_RECEIVING;
}

static void sum_figures(const struct session *session, uint64_t *done, uint64_t *total)
{
    *done = *total = 0;
    for (size_t i = 0; i < session->disk_count; i++) {
        *done += session->disks[i].figures.done_bytes;
        *total += session->disks[i].figures.total_bytes;
    }
}

/* Over the samples there are: at most the last five seconds. */
static void set_rate(struct session *session, struct machine_row *row)
{
    uint64_t done, total;
    sum_figures(session, &done, &total);
    unsigned count = session->sample_count++;
    unsigned oldest = count < SESSION_SAMPLES ? 0 : count % SESSION_SAMPLES;
    struct session_sample first = count ? session->samples[oldest] : (struct session_sample){0};
    int64_t now = clock_ms();
    session->samples[count % SESSION_SAMPLES] = (struct session_sample){now, done};
    row->seconds_left = -1;
    if (count == 0 || now <= first.at_ms || done <= first.done_bytes)
        return;
    row->bytes_per_second = (done - first.done_bytes) * 1000 / (uint64_t)(now - first.at_ms);
    if (row->bytes_per_second > 0 && total >= done)
        row->seconds_left = (int64_t)((total - done) / row->bytes_per_second);
}

static void take_snapshot(struct session *session, struct snapshot *snapshot)
{
    struct machine_row *row = &snapshot->row;
    *row = (struct machine_row){.number = session->number,
                                .state = state_of(session),
                                .updated = 0,
                                .warnings = session->warnings,
                                .seconds_left = -1};
    snprintf(row->name, sizeof(row->name), "%s", session->name);
    snprintf(row->text, sizeof(row->text), "%s", session->text);
    if (row->state == MACHINE_RECEIVING)
        set_rate(session, row);
    snapshot->has_row = session->state != SESSION_RECEIVED;
    snapshot->disk_count = session->disk_count;
    for (size_t i = 0; i < session->disk_count; i++)
        copy_disk(&session->disks[i], &snapshot->disks[i]);
    snapshot->is_gone_now = session->is_gone_now;
    session->is_row_stale = session->is_gone_now = false;
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

void session_store_row(struct server *server, struct session *session)
{
    AUTO_FREE struct snapshot *snapshot = memory_new(1, sizeof(*snapshot));
    pthread_mutex_lock(&server->rows_lock);
    pthread_mutex_lock(&server->lock);
    take_snapshot(session, snapshot);
    pthread_mutex_unlock(&server->lock);
    write_rows(server, snapshot);
    pthread_mutex_unlock(&server->rows_lock);
}

/* Under server.lock. */
static bool is_due(struct session *session)
{
    bool is_gone = session->users == 0 && session->state == SESSION_RECEIVING &&
                   clock_ms() - session->idle_since_ms > ROWS_GONE_MS;
    if (is_gone && !session->is_interrupted) {
        session->is_interrupted = true;
        session->is_row_stale = session->is_gone_now = true;
    }
    return session->is_row_stale;
}

static size_t snapshot_due(struct server *server, struct snapshot **snapshots)
{
    size_t count = 0;
    pthread_mutex_lock(&server->lock);
    for (struct session *session = server->sessions; session; session = session->next) {
        if (!is_due(session))
            continue;
        *snapshots = memory_grow(*snapshots, count + 1, sizeof(**snapshots));
        take_snapshot(session, &(*snapshots)[count++]);
    }
    pthread_mutex_unlock(&server->lock);
    return count;
}

void sessions_store_rows(struct server *server)
{
    AUTO_FREE struct snapshot *snapshots = NULL;
    pthread_mutex_lock(&server->rows_lock);
    size_t count = snapshot_due(server, &snapshots);
    for (size_t i = 0; i < count; i++)
        write_rows(server, &snapshots[i]);
    pthread_mutex_unlock(&server->rows_lock);
}
