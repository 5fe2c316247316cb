/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The sending and what comes after it. A machine whose copy failed is never switched off by itself:
 * it waits, and where that may help it tries again.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "p2v/boot/session_private.h"

#include <stdio.h>
#include <string.h>

#define SAY_SECONDS 60 /* between two lines of the log on how far it is */

/* --- sending --- */

static void say_how_far(struct session *session, double *said)
{
    double now = clock_seconds();
    if (now - *said < SAY_SECONDS)
        return;
    *said = now;
    for (size_t i = 0; i < session->model.disk_count; i++) {
        const struct screen_disk *disk = &session->model.disks[i];
        char done[32], total[32], safe[32];
        log_info(&session->log.log, "%s: %s of %s, safe to %s", disk->name,
                 bytes_format(disk->progress.done_bytes, done, sizeof(done)),
                 bytes_format(disk->progress.total_bytes, total, sizeof(total)),
                 bytes_format(disk->progress.safe_bytes, safe, sizeof(safe)));
    }
}

/* The network's words say more; but what it finds odd may well do. */
static void explain_problem(struct screen_model *model)
{
    const struct boot_network_state *network = &model->network;
    if (network->problem[0] && (model->problem[0] || !network->is_up))
        snprintf(model->problem, sizeof(model->problem), "%s", network->problem);
}

/* Until it has ended, or a person ends it. */
static enum screen_act watch(struct session *session, struct session_transfer *transfer)
{
    double said = clock_seconds();
    while (!session_transfer_show(transfer, &session->model)) {
        say_how_far(session, &said);
        explain_problem(&session->model);
        enum screen_act act = session_wait(session, session->parts->tick_ms);
        if (act == SCREEN_POWER_OFF || act == SCREEN_RESTART)
            return act;
    }
    return SCREEN_NOTHING;
}

static enum screen_act send_once(struct session *session)
{
    const struct screen_form *form = &session->model.form;
    struct error err = {0};
    struct session_transfer_options options = {.send = session->parts->send,
                                               .server = form->server,
                                               .pin = session->pin,
                                               .token = form->token[0] ? form->token : NULL,
                                               .name = form->name[0] ? form->name : NULL,
                                               .settings = &session->settings,
                                               .findings = &session->model.findings,
                                               .log = &session->log.log};
    session->model.page = SCREEN_SENDING;
    session->model.disk_count = 0;
    struct session_transfer *transfer = session_transfer_start(&options, &err);
    if (!transfer) {
        session_judge(-1, &err, NULL, &session->outcome);
        return SCREEN_NOTHING;
    }
    enum screen_act act = watch(session, transfer);
    if (act != SCREEN_NOTHING)
        session_transfer_stop(transfer);
    session_transfer_end(transfer, &session->outcome);
    session->model.problem[0] = '\0';
    return act;
}

enum session_step session_send_all(struct session *session)
{
    char *token = session->model.form.token;
    session_log_forget_warnings(&session->log);
    enum screen_act act = send_once(session);
    /* The machine may be another one to the server than it was: somebody there can tell. */
    if (act == SCREEN_NOTHING && session->outcome.is_refused && token[0] && !session->is_attended) {
        log_warning(&session->log.log, "the token was not accepted: on the server, somebody has "
                                       "to approve this machine");
        explicit_bzero(token, sizeof(session->model.form.token));
        act = send_once(session);
    }
    return session_step_for(act, SESSION_DONE);
}

/* --- done --- */

/* What comes by itself, and in how many seconds; -1: nothing. */
static int plan_then(const struct session *session, char then[40], enum session_step *next)
{
    const struct session_parts *parts = session->parts;
    if (!session->outcome.is_good) {
        snprintf(then, 40, "tries again");
        *next = SESSION_SEND;
        return session->outcome.may_pass && !session->is_attended ? parts->retry_s : -1;
    }
    bool is_restart = session->settings.then == BOOT_REBOOT;
    snprintf(then, 40, is_restart ? "restarts" : "powers off");
    *next = is_restart ? SESSION_RESTART : SESSION_POWER_OFF;
    if (session->settings.then == BOOT_WAIT)
        return -1;
    return session->is_attended ? parts->attended_goodbye_s : parts->goodbye_s;
}

/*
 * A key stops the countdown. Nobody may be there to start what would have tried again (a line that
 * makes noise types, too): that goes on after a while.
 */
static enum screen_act count_down(struct session *session, int seconds)
{
    int64_t end = clock_ms() + (int64_t)1000 * seconds;
    bool is_shown = seconds >= 0;
    while (seconds < 0 || clock_ms() < end) {
        int64_t left = (end - clock_ms() + 999) / 1000;
        session->model.seconds_to_then = is_shown ? (int)left : -1;
        enum screen_act act = session_wait(session, session->parts->tick_ms);
        if (act == SCREEN_STAY) {
            is_shown = false;
            seconds = session->outcome.is_good ? -1 : session->parts->stay_s;
            end = clock_ms() + (int64_t)1000 * seconds;
        } else if (act != SCREEN_NOTHING) {
            return act;
        }
    }
    return SCREEN_NOTHING;
}

enum session_step session_done(struct session *session)
{
    enum session_step next = SESSION_SEND;
    struct screen_model *model = &session->model;
    int seconds = plan_then(session, model->then, &next);
    model->page = SCREEN_DONE;
    model->is_good = session->outcome.is_good;
    memcpy(model->result, session->outcome.text, sizeof(model->result));
    log_info(&session->log.log, "%s: %s", model->is_good ? "done" : "failed", model->result);
    enum screen_act act = count_down(session, seconds);
    model->seconds_to_then = -1;
    if (act == SCREEN_NOTHING)
        return next;
    session->is_attended |= act == SCREEN_BACK;
    return session_step_for(act, act == SCREEN_BACK ? SESSION_FORM : SESSION_SEND);
}
