/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Which frame is allowed when on a control connection, and what becomes of it.
 */
#include "p2v/server/control.h"

#include "p2v/server/agent_json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum control_state {
    CONTROL_UNADMITTED,
    CONTROL_WAITING, /* for an approval; a token may still come */
    CONTROL_ADMITTED,
    CONTROL_OPEN,
    CONTROL_FINISHED,
};

struct control {
    struct control_calls calls;
    enum control_state state;
    uint16_t disk_count; /* of MACHINE */
};

struct control *control_new(bool is_admitted, const struct control_calls *calls)
{
    struct control *control = memory_new(1, sizeof(*control));
    control->calls = *calls;
    control->state = is_admitted ? CONTROL_ADMITTED : CONTROL_UNADMITTED;
    return control;
}

void control_free(struct control *control)
{
    free(control);
}

bool control_is_admitted(const struct control *control)
{
    return control->state >= CONTROL_ADMITTED;
}

void control_admit(struct control *control, struct text *out)
{
    static const struct wire_admitted admitted = {.is_waiting = false};
    if (control_is_admitted(control))
        return;
    control->state = CONTROL_ADMITTED;
    wire_admitted_encode(&admitted, out);
}

int control_wait(struct control *control, struct text *out, struct error *err)
{
    struct wire_admitted admitted = {.is_waiting = true};
    if (control->state != CONTROL_UNADMITTED)
        return 0;
    if (control->calls.wait(control->calls.context, admitted.code, err) != 0)
        return -1;
    control->state = CONTROL_WAITING;
    wire_admitted_encode(&admitted, out);
    return 0;
}

/* --- the frames --- */

/* A frame that cannot be decoded is the agent's fault. */
static int refuse_frame(struct error *err)
{
    if (err)
        err->errnum = EPROTO;
    return -1;
}

static int take_token(struct control *control, const uint8_t *payload, size_t length,
                      struct text *out, struct error *err)
{
    struct wire_token token;
    if (wire_token_decode(payload, length, &token, err) != 0)
        return refuse_frame(err);
    if (control->calls.use_token(control->calls.context, token.token, err) != 0)
        return -1;
    control_admit(control, out);
    return 0;
}

static int take_machine(struct control *control, const uint8_t *payload, size_t length,
                        struct text *out, struct error *err)
{
    struct wire_machine machine;
    struct wire_session session = {.session = {0}};
    if (wire_machine_decode(payload, length, &machine, err) != 0)
        return refuse_frame(err);
    AUTO_JSON inventory =
        agent_json_parse(machine.inventory, machine.inventory_length, "inventory", err);
    if (!inventory ||
        control->calls.claim(control->calls.context, &machine, inventory, &session, err) != 0)
        return -1;
    control->disk_count = machine.disk_count;
    control->state = CONTROL_OPEN;
    wire_session_encode(&session, out);
    return 0;
}

static int take_status(struct control *control, const uint8_t *payload, size_t length,
                       struct text *out, struct error *err)
{
    (void)out;
    struct wire_status status;
    if (wire_status_decode(payload, length, &status, err) != 0)
        return refuse_frame(err);
    if (status.disk != WIRE_WHOLE_MACHINE && status.disk >= control->disk_count)
        return error_set(err, EPROTO, "STATUS of disk %u of %u", status.disk, control->disk_count);
    control->calls.status(control->calls.context, &status);
    return 0;
}

static int take_finish(struct control *control, const uint8_t *payload, size_t length,
                       struct text *out, struct error *err)
{
    (void)out;
    struct wire_finish finish;
    if (wire_finish_decode(payload, length, &finish, err) != 0)
        return refuse_frame(err);
    AUTO_JSON report = agent_json_parse(finish.report, finish.report_length, "report", err);
    if (!report || control->calls.finish(control->calls.context, &finish, report, err) != 0)
        return -1;
    control->state = CONTROL_FINISHED;
    return 0;
}

#define STATE(state) (1u << (state))
static const struct rule {
    enum wire_type type;
    unsigned states; /* in which it may come */
    int (*take)(struct control *control, const uint8_t *payload, size_t length, struct text *out,
                struct error *err);
} rules[] = {
    {WIRE_TOKEN, STATE(CONTROL_UNADMITTED) | STATE(CONTROL_WAITING), take_token},
    {WIRE_MACHINE, STATE(CONTROL_ADMITTED), take_machine},
    {WIRE_STATUS, STATE(CONTROL_OPEN) | STATE(CONTROL_FINISHED), take_status},
    {WIRE_FINISH, STATE(CONTROL_OPEN), take_finish},
};

int control_feed(struct control *control, enum wire_type type, const uint8_t *payload,
                 size_t length, struct text *out, struct error *err)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (rules[i].type != type || !(rules[i].states & STATE(control->state)))
            continue;
        return rules[i].take(control, payload, length, out, err);
    }
    return error_set(err, EPROTO, "%s is not allowed now", wire_type_name(type));
}

/* --- what the agent is told --- */

enum wire_error_code control_refusal(const struct error *err, char text[WIRE_MAX_TEXT + 1])
{
    enum wire_error_code code = WIRE_ERROR_INTERNAL;
    const char *words = NULL; /* NULL: those of the error */
    switch (err->errnum) {
    case EPROTO:
        code = WIRE_ERROR_PROTOCOL;
        break;
    case EACCES:
        code = WIRE_ERROR_NOT_AUTHORISED;
        words = "not authorised: the token is unknown, used, expired or revoked";
        break;
    case ENOSPC:
    case EDQUOT:
        code = WIRE_ERROR_NO_SPACE;
        break;
    case EBUSY:
        code = WIRE_ERROR_BUSY;
        break;
    case ESTALE:
        code = WIRE_ERROR_UNKNOWN_SESSION;
        words = "unknown session";
        break;
    case ECANCELED:
        code = WIRE_ERROR_SHUTTING_DOWN;
        words = "the server is shutting down";
        break;
    default:
        words = "internal error; the server's log has the reason";
        break;
    }
    snprintf(text, WIRE_MAX_TEXT + 1, "%s", words ? words : err->text);
    return code;
}
