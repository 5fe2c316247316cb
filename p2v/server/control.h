/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The server's side of a control connection as a state machine (docs/wire.md, "The control
 * connection"), from behind WELCOME on: frames in, frames out, no socket and no thread, so that it
 * can be fuzzed. What the frames ask for is behind a table of calls.
 *
 *     UNADMITTED ──TOKEN──► ADMITTED ──MACHINE──► OPEN ──FINISH──► FINISHED
 *         └────► WAITING ───────┘
 */
#ifndef P2V_SERVER_CONTROL_H
#define P2V_SERVER_CONTROL_H

#include "base/error.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/json.h"
#include "p2v/wire/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct control;

/*
 * errnum of what they fail with decides what the agent is told (control_refusal): EPROTO, EACCES,
 * ENOSPC, EBUSY, ESTALE (another session), ECANCELED; anything else is our own failure.
 */
struct control_calls {
    /* 0: the token lets this key in; -1, EACCES: it does not. */
    int (*use_token)(void *context, const char *token, struct error *err);
    /* Lists the key as waiting and gives its code. */
    int (*wait)(void *context, char code[65], struct error *err);
    /* The machine and its inventory (an object; its text is in `machine`): fills the answer. */
    int (*claim)(void *context, const struct wire_machine *machine, const json_t *inventory,
                 struct wire_session *session, struct error *err);
    void (*status)(void *context, const struct wire_status *status);
    /* The report is an object. Its own answers (STAGE, RESULT) come later and not through here. */
    int (*finish)(void *context, const struct wire_finish *finish, json_t *report,
                  struct error *err);
    void *context;
};

struct control *control_new(bool is_admitted, const struct control_calls *calls);
void control_free(struct control *control);
OWN_DEFINE_PTR(control, control_free)

/* Takes one frame and appends what is to be answered at once to `out`. -1 ends the connection. */
int control_feed(struct control *control, enum wire_type type, const uint8_t *payload,
                 size_t length, struct text *out, struct error *err);

/* No token came: waits for an approval from now on, and says so. */
int control_wait(struct control *control, struct text *out, struct error *err);

/* The approval is there. */
void control_admit(struct control *control, struct text *out);

bool control_is_admitted(const struct control *control);

/* What to tell an agent: nothing of ours (paths) leaves, and one text for all refused keys. */
enum wire_error_code control_refusal(const struct error *err, char text[WIRE_MAX_TEXT + 1]);

#endif
