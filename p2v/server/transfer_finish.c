/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The end of a transfer: FINISH makes of the received disks a folder that its job can take, and
 * what the job says goes to the agent, if it is still there.
 */
#include "base/clock.h"
#include "p2v/server/serving.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FINISH_SPACE_MS 2000
#define FINISH_BUSY_MS 100
#define FINISH_BUSY_TRIES 50

/* --- putting it together --- */

struct finishing {
    struct server *server;
    struct transfer *transfer;
    const struct wire_finish *finish;
    json_t *report;
    struct received received;
    bool is_finished[WIRE_MAX_DISKS];
};

/* What is known of the disk, before finishing it: a second try counts from zero. */
static void describe_disk(struct finishing *finishing, size_t index)
{
    const struct transfer *transfer = finishing->transfer;
    const struct transfer_disk *disk = &transfer->disks[index];
    struct received_disk *to = &finishing->received.disks[index];
    struct receiver_counts counts;
    if (to->name[0])
        return;
    receiver_get_counts(disk->receiver, &counts);
    snprintf(to->name, sizeof(to->name), "%s", disk->info.name);
    snprintf(to->serial, sizeof(to->serial), "%s", disk->info.serial);
    snprintf(to->format, sizeof(to->format), "%s",
             transfer->intake.base ? "qcow2" : finishing->server->format);
    to->size_bytes = disk->info.size_bytes;
    to->sector_size = disk->info.sector_size;
    to->sent_bytes = counts.stored_bytes;
    to->had_bytes = counts.had_bytes;
    to->copied_bytes = counts.copied_bytes;
    to->unreadable_bytes = counts.unreadable_bytes;
    memcpy(to->digest, disk->digest, sizeof(to->digest));
}

/* A receiver that could not be finished is of no more use: the next try opens another. */
static int finish_disk(struct finishing *finishing, size_t index, struct error *err)
{
    struct transfer *transfer = finishing->transfer;
    struct transfer_disk *disk = &transfer->disks[index];
    if (finishing->is_finished[index])
        return 0;
    if (!disk->receiver && transfer_open_receiver(finishing->server, transfer, index, err) != 0)
        return -1;
    describe_disk(finishing, index);
    int result = receiver_finish(disk->receiver, transfer->number, err);
    receiver_close(take_ptr(&disk->receiver));
    finishing->is_finished[index] = result == 0;
    return result;
}

static int put_together(struct finishing *finishing, struct error *err)
{
    struct transfer *transfer = finishing->transfer;
    for (size_t i = 0; i < transfer->disk_count; i++) {
        if (finish_disk(finishing, i, err) != 0)
            return error_wrap(err, "disk %s", transfer->disks[i].info.name);
    }
    return intake_complete(&transfer->intake, &finishing->received, err);
}

/*
 * Whether to try again, after a while. No room: until there is some, nothing of the transfer is
 * lost for want of it. Busy: for a moment only, a job's process that is just being started may hold
 * on to a lock that was given up here.
 */
static bool may_try_again(const struct finishing *finishing, unsigned try, const struct error *err)
{
    if (atomic_load(&finishing->server->is_stopping))
        return false;
    if (err->errnum == EBUSY && try < FINISH_BUSY_TRIES) {
        usleep(FINISH_BUSY_MS * 1000);
        return true;
    }
    if (!error_is_no_space(err))
        return false;
    log_warning(&finishing->transfer->log.log, "waits for room: %s", err->text);
    usleep(FINISH_SPACE_MS * 1000);
    return true;
}

static uint64_t wire_bytes(struct server *server, const struct transfer *transfer)
{
    pthread_mutex_lock(&server->lock);
    uint64_t bytes = transfer->wire_bytes;
    const struct connection *control = transfer->control;
    if (control && control->link)
        bytes += link_bytes_sent(control->link) + link_bytes_received(control->link);
    pthread_mutex_unlock(&server->lock);
    return bytes;
}

static int put_together_patiently(void *context, struct error *err)
{
    struct finishing *finishing = context;
    struct transfer *transfer = finishing->transfer;
    struct received *received = &finishing->received;
    unsigned try = 0;
    int result;
    snprintf(received->machine, sizeof(received->machine), "%s", transfer->name);
    received->disk_count = transfer->disk_count;
    received->consistency = finishing->finish->consistency;
    received->has_warnings = finishing->finish->has_warnings;
    received->seconds = (double)(clock_ms() - transfer->started_ms) / 1000;
    received->agent_report = finishing->report; /* borrowed */
    received->wire_bytes = wire_bytes(finishing->server, transfer);
    do {
        result = put_together(finishing, err);
    } while (result != 0 && may_try_again(finishing, try++, err));
    if (result == 0) {
        intake_close(&transfer->intake);
        transfer->intake = (struct intake){0};
    }
    return result;
}

/* --- FINISH --- */

/* Under server.lock. */
static int check_passed(const struct transfer *transfer, struct error *err)
{
    for (size_t i = 0; i < transfer->disk_count; i++) {
        const struct transfer_disk *disk = &transfer->disks[i];
        if (!disk->is_passed || !disk->receiver)
            return error_set(err, EPROTO, "FINISH before the last pass of disk %s has passed",
                             disk->info.name);
    }
    return 0;
}

/* Nobody has a disk from here on, and nobody gets one. */
static int begin(struct connection *connection, struct error *err)
{
    struct server *server = connection->server;
    struct transfer *transfer = connection->transfer;
    pthread_mutex_lock(&server->lock);
    int result = check_passed(transfer, err);
    if (result == 0) {
        transfer->state = TRANSFER_FINISHING;
        result = transfer_clear_disks(connection, err);
        if (result != 0)
            transfer->state = TRANSFER_RECEIVING;
    }
    pthread_mutex_unlock(&server->lock);
    return result;
}

/* Under server.lock. The agent's last STATUS came before the end. */
static void complete_figures(struct transfer *transfer)
{
    for (size_t i = 0; i < transfer->disk_count; i++) {
        struct transfer_figures *figures = &transfer->disks[i].figures;
        figures->done_bytes = figures->safe_bytes = figures->total_bytes;
    }
}

static void note_received(struct server *server, struct transfer *transfer, bool has_warnings)
{
    pthread_mutex_lock(&server->lock);
    transfer->state = TRANSFER_RECEIVED;
    transfer->warnings += has_warnings;
    transfer->text[0] = '\0';
    complete_figures(transfer);
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    log_info(&transfer->log.log, "received");
}

static int send_stage(struct connection *connection, enum wire_stage stage, const char *words,
                      struct error *err)
{
    AUTO(text) out = {0};
    struct wire_stage_text message = {.stage = stage};
    snprintf(message.text, sizeof(message.text), "%s", words);
    wire_stage_text_encode(&message, &out);
    return connection_send(connection, &out, err);
}

/* FINISH once more, by an agent that was cut off before it was answered. */
static int tell_again(struct connection *connection, struct error *err)
{
    struct server *server = connection->server;
    struct transfer *transfer = connection->transfer;
    AUTO(text) out = {0};
    pthread_mutex_lock(&server->lock);
    if (transfer->has_stage)
        wire_stage_text_encode(&transfer->stage, &out);
    if (transfer->has_result)
        wire_result_encode(&transfer->result, &out);
    transfer->is_stage_new = transfer->is_result_new = false;
    pthread_mutex_unlock(&server->lock);
    if (send_stage(connection, WIRE_STAGE_RECEIVED, transfer->name, err) != 0)
        return -1;
    return connection_send(connection, &out, err);
}

static void write_received_row(struct server *server, const struct transfer *transfer)
{
    struct machine_row row = {.number = transfer->number,
                              .state = MACHINE_RECEIVED,
                              .warnings = transfer->warnings,
                              .seconds_left = -1};
    struct error err = {0};
    pthread_mutex_lock(&server->rows_lock);
    if (machine_set(server->database, &row, &err) != 0)
        log_warning(server->log, "%s: its state cannot be recorded: %s", transfer->name, err.text);
    pthread_mutex_unlock(&server->rows_lock);
}

static void add_job(struct server *server, const char *name)
{
    struct error err = {0};
    if (server->add_job(server->job_context, name, &err) != 0)
        log_warning(server->log, "%s: %s", name, err.text);
}

static bool is_received(struct server *server, const struct transfer *transfer)
{
    pthread_mutex_lock(&server->lock);
    bool is = transfer->state == TRANSFER_RECEIVED;
    pthread_mutex_unlock(&server->lock);
    return is;
}

int transfer_finish(struct connection *connection, const struct wire_finish *finish, json_t *report,
                    struct error *err)
{
    struct server *server = connection->server;
    struct transfer *transfer = connection->transfer;
    if (is_received(server, transfer))
        return tell_again(connection, err);
    if (begin(connection, err) != 0)
        return -1;
    AUTO_FREE struct finishing *finishing = memory_new(1, sizeof(*finishing));
    finishing->server = server;
    finishing->transfer = transfer;
    finishing->finish = finish;
    finishing->report = report;
    if (connection_run_beside(connection, put_together_patiently, finishing, err) != 0) {
        pthread_mutex_lock(&server->lock);
        transfer->state = TRANSFER_RECEIVING;
        for (size_t i = 0; i < transfer->disk_count; i++)
            transfer->disks[i].is_passed = false;
        pthread_mutex_unlock(&server->lock);
        log_warning(&transfer->log.log, "it cannot be put together: %s", err->text);
        err->errnum = EIO;
        return -1;
    }
    note_received(server, transfer, finish->has_warnings);
    write_received_row(server, transfer);
    transfer_store_row(server, transfer); /* of the disks only, now */
    /* The machine is received whether or not the agent hears it. */
    int result = send_stage(connection, WIRE_STAGE_RECEIVED, transfer->name, err);
    add_job(server, transfer->name);
    return result;
}

/* --- what the job says --- */

/*
 * Under server.lock. The agent's own thread tells it: an agent that does not read must not hold up
 * a job, whose place others wait for. What a later word replaces before that is not told.
 */
static void tell_agent(struct transfer *transfer)
{
    if (transfer->control)
        connection_tell(transfer->control);
}

void transfer_take_news(struct connection *connection, struct text *out)
{
    struct server *server = connection->server;
    struct transfer *transfer = connection->transfer;
    pthread_mutex_lock(&server->lock);
    if (transfer->is_stage_new)
        wire_stage_text_encode(&transfer->stage, out);
    if (transfer->is_result_new)
        wire_result_encode(&transfer->result, out);
    transfer->is_stage_new = transfer->is_result_new = false;
    pthread_mutex_unlock(&server->lock);
}

static void write_job_row(struct server *server, const char *name, enum machine_state state,
                          int exit_code, const char *words)
{
    struct machine_row row;
    struct error err = {0};
    pthread_mutex_lock(&server->rows_lock);
    int result = machine_get(server->database, name, &row, &err);
    if (result == 0) {
        row.state = state;
        row.exit_code = exit_code;
        row.bytes_per_second = 0;
        row.seconds_left = -1;
        snprintf(row.text, sizeof(row.text), "%s", words);
        result = machine_set(server->database, &row, &err);
    }
    pthread_mutex_unlock(&server->rows_lock);
    if (result != 0)
        log_warning(server->log, "%s: its state cannot be recorded: %s", name, err.text);
}

void server_job_stage(struct server *server, const char *machine, enum wire_stage stage,
                      const char *words)
{
    static const enum machine_state states[WIRE_STAGE_END] = {
        [WIRE_STAGE_RECEIVED] = MACHINE_RECEIVED, [WIRE_STAGE_WAITING] = MACHINE_RECEIVED,
        [WIRE_STAGE_FIXING] = MACHINE_FIXING,     [WIRE_STAGE_DESCRIBING] = MACHINE_DESCRIBING,
        [WIRE_STAGE_TESTING] = MACHINE_TESTING,
    };
    struct wire_stage_text message = {.stage = stage};
    snprintf(message.text, sizeof(message.text), "%s", words);
    write_job_row(server, machine, states[stage], 0, words);
    pthread_mutex_lock(&server->lock);
    struct transfer *transfer = transfer_find_name(server, machine);
    if (transfer) {
        transfer->stage = message;
        transfer->has_stage = transfer->is_stage_new = true;
        tell_agent(transfer);
    }
    pthread_mutex_unlock(&server->lock);
}

void server_job_result(struct server *server, const char *machine, int exit_code, const char *words)
{
    struct wire_result message = {.exit_code = (uint8_t)exit_code};
    snprintf(message.text, sizeof(message.text), "%s", words);
    log_info(server->log, "%s: exit code %d: %s", machine, exit_code, words);
    write_job_row(server, machine,
                  exit_code == 0   ? MACHINE_DONE
                  : exit_code == 3 ? MACHINE_WARNED
                                   : MACHINE_FAILED,
                  exit_code, words);
    pthread_mutex_lock(&server->lock);
    struct transfer *transfer = transfer_find_name(server, machine);
    if (transfer && transfer->state == TRANSFER_RECEIVED) {
        transfer->result = message;
        transfer->has_result = transfer->is_result_new = true;
        tell_agent(transfer);
    }
    pthread_mutex_unlock(&server->lock);
}
