/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The control connection's thread: connect, be admitted, MACHINE, then listen; and again.
 */
#include "p2v/agent/sender_control.h"

#include "base/clock.h"
#include "base/text.h"
#include "p2v/agent/agent_link.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What the server has to do before SESSION may take a while: it looks at the pool. */
#define SESSION_MS 120000

struct sender_control {
    const struct sender_options *options;
    const struct wire_machine *machine;
    pthread_t thread;
    atomic_bool is_ended;

    pthread_mutex_t send_lock; /* before lock: keeps the link while something is sent on it */
    pthread_mutex_t lock;      /* everything below */
    pthread_cond_t is_changed;
    struct link *link; /* changed under both locks */
    uint8_t session[WIRE_SESSION_SIZE];
    struct sender_control_state state;
};

static void change_locked(struct sender_control *control)
{
    pthread_cond_broadcast(&control->is_changed);
}

static void set_link(struct sender_control *control, struct link *link)
{
    if (control->link)
        link_shut(control->link); /* whoever sends on it lets go */
    pthread_mutex_lock(&control->send_lock);
    pthread_mutex_lock(&control->lock);
    struct link *old = control->link;
    control->link = link;
    control->state.is_open = false;
    control->state.is_waiting = false;
    if (old)
        control->state.bytes_on_wire += link_bytes_sent(old) + link_bytes_received(old);
    change_locked(control);
    pthread_mutex_unlock(&control->lock);
    pthread_mutex_unlock(&control->send_lock);
    link_close(old);
}

/* --- from HELLO to SESSION; in the thread --- */

static int send_frame(struct sender_control *control, const struct text *frame, struct error *err)
{
    pthread_mutex_lock(&control->send_lock);
    int result = control->link ? link_send(control->link, frame->data, frame->length, err)
                               : error_set(err, ENOTCONN, "control connection");
    pthread_mutex_unlock(&control->send_lock);
    return result;
}

static void show_code(struct sender_control *control, const struct wire_admitted *admitted)
{
    pthread_mutex_lock(&control->lock);
    control->state.is_waiting = admitted->is_waiting;
    memcpy(control->state.code, admitted->code, sizeof(control->state.code));
    change_locked(control);
    pthread_mutex_unlock(&control->lock);
}

static enum agent_verdict be_admitted(struct sender_control *control, struct error *err)
{
    const struct sender_options *options = control->options;
    struct wire_admitted admitted = {.is_waiting = true};
    struct link_frame frame;
    if (options->token) {
        struct wire_token token = {0};
        AUTO(text) bytes = {0};
        memcpy(token.token, options->token, WIRE_TOKEN_LENGTH);
        wire_token_encode(&token, &bytes);
        send_frame(control, &bytes, NULL);
        explicit_bzero(token.token, sizeof(token.token));
        explicit_bzero(bytes.data, bytes.length);
    }
    while (admitted.is_waiting) {
        enum agent_verdict verdict = agent_expect(control->link, WIRE_ADMITTED, WIRE_SILENCE_MS,
                                                  &control->is_ended, &frame, err);
        if (verdict != AGENT_READY)
            return verdict;
        if (wire_admitted_decode(frame.payload, frame.length, &admitted, err) != 0) {
            err->errnum = EPROTO;
            return AGENT_GIVE_UP;
        }
        show_code(control, &admitted);
    }
    return AGENT_READY;
}

static void take_session(struct sender_control *control, const struct wire_session *session)
{
    struct sender_control_state *state = &control->state;
    pthread_mutex_lock(&control->lock);
    if (state->generation == 0 ||
        memcmp(control->session, session->session, sizeof(control->session)) != 0)
        state->generation++;
    memcpy(control->session, session->session, sizeof(control->session));
    memcpy(state->machine, session->machine, sizeof(state->machine));
    state->is_open = true;
    change_locked(control);
    pthread_mutex_unlock(&control->lock);
}

static enum agent_verdict open_session(struct sender_control *control, struct error *err)
{
    struct wire_session session;
    struct link_frame frame;
    AUTO(text) bytes = {0};
    wire_machine_encode(control->machine, &bytes);
    send_frame(control, &bytes, NULL);
    enum agent_verdict verdict =
        agent_expect(control->link, WIRE_SESSION, SESSION_MS, &control->is_ended, &frame, err);
    if (verdict != AGENT_READY)
        return verdict;
    if (wire_session_decode(frame.payload, frame.length, &session, err) != 0) {
        err->errnum = EPROTO;
        return AGENT_GIVE_UP;
    }
    take_session(control, &session);
    return AGENT_READY;
}

static enum agent_verdict open_control(struct sender_control *control, struct error *err)
{
    struct wire_welcome welcome;
    struct link *link = NULL;
    enum agent_verdict verdict = agent_open(control->options, WIRE_CONTROL, NULL,
                                            control->state.generation > 0, &link, &welcome, err);
    if (verdict != AGENT_READY)
        return verdict;
    set_link(control, link);
    if (welcome.needs_admission)
        verdict = be_admitted(control, err);
    return verdict == AGENT_READY ? open_session(control, err) : verdict;
}

/* --- listening; in the thread --- */

static int take_stage(struct sender_control *control, const struct link_frame *frame,
                      struct error *err)
{
    const struct sender_options *options = control->options;
    struct wire_stage_text stage;
    if (wire_stage_text_decode(frame->payload, frame->length, &stage, err) != 0)
        return -1;
    if (options->stage)
        options->stage(options->context, control->state.machine, stage.stage, stage.text);
    pthread_mutex_lock(&control->lock);
    control->state.is_received = true;
    change_locked(control);
    pthread_mutex_unlock(&control->lock);
    return 0;
}

static int take_result(struct sender_control *control, const struct link_frame *frame,
                       struct error *err)
{
    struct wire_result result;
    if (wire_result_decode(frame->payload, frame->length, &result, err) != 0)
        return -1;
    pthread_mutex_lock(&control->lock);
    control->state.result = result;
    control->state.has_result = control->state.is_received = true;
    change_locked(control);
    pthread_mutex_unlock(&control->lock);
    return 0;
}

static enum agent_verdict take_frame(struct sender_control *control, const struct link_frame *frame,
                                     struct error *err)
{
    struct wire_error refusal;
    int result = -1;
    switch (frame->type) {
    case WIRE_STAGE:
        result = take_stage(control, frame, err);
        break;
    case WIRE_RESULT:
        result = take_result(control, frame, err);
        break;
    case WIRE_ERROR:
        if (wire_error_decode(frame->payload, frame->length, &refusal, err) == 0)
            return agent_judge(refusal.code, refusal.text, err);
        break;
    default:
        error_set(err, 0, "%s is not for a control connection", wire_type_name(frame->type));
    }
    if (result != 0)
        err->errnum = EPROTO;
    return result == 0 ? AGENT_READY : AGENT_GIVE_UP;
}

static enum agent_verdict listen_control(struct sender_control *control, struct error *err)
{
    for (;;) {
        struct link_frame frame;
        int received =
            link_receive(control->link, &frame, WIRE_SILENCE_MS, &control->is_ended, err);
        if (received == 0)
            error_set(err, 0, "the server closed the connection");
        if (received <= 0)
            return AGENT_AGAIN;
        enum agent_verdict verdict = take_frame(control, &frame, err);
        if (verdict != AGENT_READY)
            return verdict;
    }
}

static void give_up(struct sender_control *control, const struct error *error)
{
    pthread_mutex_lock(&control->lock);
    control->state.is_given_up = true;
    control->state.error = *error;
    change_locked(control);
    pthread_mutex_unlock(&control->lock);
}

static void note_failure(struct sender_control *control, const struct error *error, bool was_open)
{
    pthread_mutex_lock(&control->lock);
    control->state.error = *error;
    control->state.reconnects += was_open;
    change_locked(control);
    pthread_mutex_unlock(&control->lock);
}

static void *control_thread(void *argument)
{
    struct sender_control *control = argument;
    struct retry retry;
    retry_start(&retry, control->options->retry_ms);
    while (!control->is_ended) {
        struct error error = {0};
        enum agent_verdict verdict = open_control(control, &error);
        bool was_open = verdict == AGENT_READY;
        if (was_open) {
            retry_start(&retry, control->options->retry_ms);
            verdict = listen_control(control, &error);
        }
        set_link(control, NULL);
        note_failure(control, &error, was_open);
        if (verdict != AGENT_GIVE_UP && !control->is_ended)
            verdict = retry_wait(&retry, control->options, &control->is_ended, &error);
        if (verdict == AGENT_GIVE_UP && !control->is_ended) {
            give_up(control, &error);
            break;
        }
    }
    return NULL;
}

/* --- from other threads --- */

struct sender_control *sender_control_start(const struct sender_options *options,
                                            const struct wire_machine *machine, struct error *err)
{
    struct sender_control *control = memory_new(1, sizeof(*control));
    control->options = options;
    control->machine = machine;
    pthread_mutex_init(&control->send_lock, NULL);
    pthread_mutex_init(&control->lock, NULL);
    clock_condition_init(&control->is_changed);
    int result = pthread_create(&control->thread, NULL, control_thread, control);
    if (result != 0) {
        error_set(err, result, "start a thread");
        free(control);
        return NULL;
    }
    return control;
}

void sender_control_stop(struct sender_control *control)
{
    if (!control)
        return;
    control->is_ended = true;
    pthread_mutex_lock(&control->lock);
    if (control->link)
        link_shut(control->link);
    change_locked(control);
    pthread_mutex_unlock(&control->lock);
    pthread_join(control->thread, NULL);
    pthread_mutex_destroy(&control->send_lock);
    pthread_mutex_destroy(&control->lock);
    pthread_cond_destroy(&control->is_changed);
    free(control);
}

static void wait_locked(struct sender_control *control, int timeout_ms)
{
    struct timespec until = clock_deadline(timeout_ms);
    pthread_cond_timedwait(&control->is_changed, &control->lock, &until);
}

void sender_control_wait(struct sender_control *control, int timeout_ms)
{
    pthread_mutex_lock(&control->lock);
    wait_locked(control, timeout_ms);
    pthread_mutex_unlock(&control->lock);
}

void sender_control_wake(struct sender_control *control)
{
    pthread_mutex_lock(&control->lock);
    change_locked(control);
    pthread_mutex_unlock(&control->lock);
}

int sender_control_session(struct sender_control *control, struct sender_session *session,
                           const atomic_bool *is_ended, struct error *err)
{
    const atomic_bool *stop = control->options->stop;
    int result = 0;
    pthread_mutex_lock(&control->lock);
    while (result == 0 && !control->state.is_open) {
        if (control->state.is_given_up) {
            *err = control->state.error;
            result = -1;
        } else if (control->is_ended || atomic_load(is_ended) || (stop && atomic_load(stop))) {
            result = error_set(err, ECANCELED, "stopped");
        } else {
            wait_locked(control, 100);
        }
    }
    memcpy(session->id, control->session, sizeof(session->id));
    session->generation = control->state.generation;
    pthread_mutex_unlock(&control->lock);
    return result;
}

void sender_control_renew(struct sender_control *control, unsigned generation)
{
    pthread_mutex_lock(&control->lock);
    if (control->state.is_open && control->state.generation == generation) {
        control->state.is_open = false;
        link_shut(control->link);
    }
    pthread_mutex_unlock(&control->lock);
}

static bool is_open(struct sender_control *control, unsigned generation)
{
    pthread_mutex_lock(&control->lock);
    bool result =
        control->state.is_open && (generation == 0 || control->state.generation == generation);
    pthread_mutex_unlock(&control->lock);
    return result;
}

void sender_control_status(struct sender_control *control, const struct wire_status *status)
{
    AUTO(text) frame = {0};
    wire_status_encode(status, &frame);
    if (is_open(control, 0))
        send_frame(control, &frame, NULL);
}

int sender_control_finish(struct sender_control *control, const struct wire_finish *finish,
                          unsigned generation, struct error *err)
{
    AUTO(text) frame = {0};
    wire_finish_encode(finish, &frame);
    if (!is_open(control, generation))
        return error_set(err, ENOTCONN, "control connection");
    return send_frame(control, &frame, err);
}

void sender_control_look(struct sender_control *control, struct sender_control_state *state)
{
    pthread_mutex_lock(&control->lock);
    *state = control->state;
    if (control->link)
        state->bytes_on_wire += link_bytes_sent(control->link) + link_bytes_received(control->link);
    pthread_mutex_unlock(&control->lock);
}
