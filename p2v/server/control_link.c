/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A control connection's thread: what the state machine (p2v/server/control.h) asks for is done
 * with the database and the transfers.
 */
#include "base/checked.h"
#include "base/clock.h"
#include "p2v/server/control.h"
#include "p2v/server/serving.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* An agent that has a token sends it at once; one that has not sends nothing. */
#define CONTROL_TOKEN_MS 2000

struct control_link {
    struct connection *connection;
    struct control *control;
};

/* --- the calls --- */

static int use_token(void *context, const char *token, struct error *err)
{
    const struct control_link *link = context;
    struct connection *connection = link->connection;
    struct server *server = connection->server;
    enum admission admission;
    char reason[32] = "";
    if (agent_use_token(server->database, connection->identity, token, &admission, reason, err) !=
        0) {
        err->errnum = EIO;
        return -1;
    }
    if (admission != ADMISSION_GRANTED) {
        log_warning(server->log, "%s: a token was refused: %s", connection->address, reason);
        return error_set(err, EACCES, "token refused");
    }
    agent_stop_waiting(server->database, connection->identity, NULL);
    log_info(server->log, "%s: admitted by a token", connection->address);
    return connection_admit(connection, err);
}

static int wait_for_approval(void *context, char code[65], struct error *err)
{
    const struct control_link *link = context;
    struct connection *connection = link->connection;
    struct server *server = connection->server;
    char short_code[AGENT_CODE_SIZE];
    if (connection_set_waiting(connection, err) != 0)
        return -1;
    if (agent_wait(server->database, connection->identity, connection->address, connection->mark,
                   err) != 0) {
        err->errnum = EBUSY;
        return -1;
    }
    agent_code(connection->identity, short_code);
    snprintf(code, 65, "%s", short_code);
    log_info(server->log, "%s: waits for approval, code %s", connection->address, code);
    return 0;
}

static int claim(void *context, const struct wire_machine *machine, const json_t *inventory,
                 struct wire_session *answer, struct error *err)
{
    const struct control_link *link = context;
    if (transfer_claim(link->connection, machine, inventory, err) != 0)
        return -1;
    const struct transfer *transfer = link->connection->transfer;
    memcpy(answer->session, transfer->id, sizeof(answer->session));
    snprintf(answer->machine, sizeof(answer->machine), "%s", transfer->name);
    return 0;
}

static void set_status(struct transfer *transfer, const struct wire_status *status)
{
    transfer->is_row_stale = true;
    if (status->text[0])
        snprintf(transfer->text, sizeof(transfer->text), "%.511s", status->text);
    if (status->disk == WIRE_WHOLE_MACHINE || transfer->state == TRANSFER_RECEIVED)
        return;
    struct transfer_figures *figures = &transfer->disks[status->disk].figures;
    figures->total_bytes = status->total_bytes;
    figures->done_bytes = min_u64(status->done_bytes, status->total_bytes);
    figures->has_status = true;
}

static void take_status(void *context, const struct wire_status *status)
{
    const struct control_link *link = context;
    struct connection *connection = link->connection;
    pthread_mutex_lock(&connection->server->lock);
    set_status(connection->transfer, status);
    pthread_mutex_unlock(&connection->server->lock);
    if (status->text[0])
        log_info(&connection->transfer->log.log, "%s", status->text);
}

static int finish(void *context, const struct wire_finish *message, json_t *report,
                  struct error *err)
{
    const struct control_link *link = context;
    return transfer_finish(link->connection, message, report, err);
}

/* --- the thread --- */

/* Woken: an approval and what the job says go on, anything else ends. */
static int take_wake(struct control_link *link, struct text *out, struct error *err)
{
    struct connection *connection = link->connection;
    struct server *server = connection->server;
    pthread_mutex_lock(&server->lock);
    bool is_approved = connection->wake == WAKE_APPROVED;
    bool has_news = connection->wake == WAKE_NONE && connection->has_news;
    if (is_approved || has_news) {
        connection->wake = WAKE_NONE;
        connection->has_news = false;
        atomic_store(&connection->stop, false);
    }
    pthread_mutex_unlock(&server->lock);
    if (has_news)
        transfer_take_news(connection, out);
    if (!is_approved)
        return has_news ? 0 : -1;
    if (connection_admit(connection, err) != 0)
        return -1;
    log_info(server->log, "%s: approved", connection->address);
    control_admit(link->control, out);
    return 0;
}

/* The token, if there is one; silence means that there is none. */
static int wait_for_token(struct control_link *link, struct link_frame *frame, struct error *err)
{
    struct connection *connection = link->connection;
    AUTO(text) out = {0};
    int result = connection_receive(connection, frame, CONTROL_TOKEN_MS, err);
    if (result < 0 && err->errnum == ETIMEDOUT) {
        connection->is_told = false;
        result = control_wait(link->control, &out, err);
        return result == 0 ? connection_send(connection, &out, err) : -1;
    }
    return result == 0 ? error_set(err, 0, "closed before a token") : result;
}

/* 1: a frame; 0: none this time; -1: the end, with errnum 0 when the agent just left. */
static int next_frame(struct control_link *link, struct link_frame *frame, struct text *out,
                      struct error *err)
{
    struct connection *connection = link->connection;
    int result = connection_receive(connection, frame, WIRE_SILENCE_MS, err);
    if (result > 0)
        return 1;
    /* Before admission a link counts frames, not PINGs; who waits sends nothing else. */
    if (result < 0 && err->errnum == ETIMEDOUT && !control_is_admitted(link->control) &&
        link_silent_ms(connection->link) < WIRE_SILENCE_MS) {
        connection->is_told = false;
        return 0;
    }
    if (result < 0 && err->errnum == ECANCELED)
        return take_wake(link, out, err);
    return result == 0 ? error_set(err, 0, "closed by the agent") : -1;
}

static int serve(struct control_link *link, bool is_known, struct error *err)
{
    struct link_frame frame;
    int got = is_known ? 0 : wait_for_token(link, &frame, err);
    while (got >= 0) {
        AUTO(text) out = {0};
        if (got > 0 &&
            control_feed(link->control, frame.type, frame.payload, frame.length, &out, err) != 0)
            return -1;
        if (connection_send(link->connection, &out, err) != 0)
            return -1;
        AUTO(text) woken = {0};
        got = next_frame(link, &frame, &woken, err);
        if (got >= 0 && connection_send(link->connection, &woken, err) != 0)
            return -1;
    }
    return -1;
}

/* By another that waits with the same key: the list is that one's now. */
static bool is_replaced(struct connection *connection)
{
    pthread_mutex_lock(&connection->server->lock);
    bool is = connection->wake == WAKE_REPLACED;
    pthread_mutex_unlock(&connection->server->lock);
    return is;
}

int control_link_run(struct connection *connection, bool is_known, struct error *err)
{
    struct control_link link = {.connection = connection};
    struct control_calls calls = {.use_token = use_token,
                                  .wait = wait_for_approval,
                                  .claim = claim,
                                  .status = take_status,
                                  .finish = finish,
                                  .context = &link};
    link.control = control_new(is_known, &calls);
    int result = serve(&link, is_known, err);
    if (!control_is_admitted(link.control) && !is_replaced(connection))
        agent_stop_waiting(connection->server->database, connection->identity, NULL);
    if (connection->transfer)
        log_detail(&connection->transfer->log.log, "control connection ended: %s", err->text);
    control_free(link.control);
    return result;
}
