/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The agent's control connection: a thread that keeps it open, admitted and with a session, as long
 * as it is told to. Private to the sender.
 */
#ifndef P2V_AGENT_SENDER_CONTROL_H
#define P2V_AGENT_SENDER_CONTROL_H

#include "base/error.h"
#include "base/own.h"
#include "p2v/agent/sender.h"

#include <stdbool.h>
#include <stdint.h>

struct sender_control;

/* Both are borrowed; `machine` as MACHINE tells it. */
struct sender_control *sender_control_start(const struct sender_options *options,
                                            const struct wire_machine *machine, struct error *err);
void sender_control_stop(struct sender_control *control);
OWN_DEFINE_PTR(sender_control, sender_control_stop)

struct sender_session {
    uint8_t id[WIRE_SESSION_SIZE];
    unsigned generation; /* from 1; another one for another session */
};

/* Waits until there is a session; -1: there will be none. `is_ended` as well ends the waiting. */
int sender_control_session(struct sender_control *control, struct sender_session *session,
                           const atomic_bool *is_ended, struct error *err);

/* The server does not know that session: begins a new connection, unless that was done since. */
void sender_control_renew(struct sender_control *control, unsigned generation);

/* Best effort. */
void sender_control_status(struct sender_control *control, const struct wire_status *status);

/* FINISH, on the connection of that session. -1: it is not open now. */
int sender_control_finish(struct sender_control *control, const struct wire_finish *finish,
                          unsigned generation, struct error *err);

struct sender_control_state {
    bool is_open;        /* there is a session, and a connection */
    unsigned generation; /* of the last session */
    bool is_waiting;     /* for an approval of `code` */
    char code[65];
    char machine[64];
    bool is_received, has_result; /* after FINISH */
    struct wire_result result;
    bool is_given_up;
    struct error error; /* why; or why there is no connection now */
    unsigned reconnects;
    uint64_t bytes_on_wire; /* of connections that have ended */
};
void sender_control_look(struct sender_control *control, struct sender_control_state *state);

/* Waits for a change of it or a wake, at most so long. */
void sender_control_wait(struct sender_control *control, int timeout_ms);
void sender_control_wake(struct sender_control *control);

#endif
