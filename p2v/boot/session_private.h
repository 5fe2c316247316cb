/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The session and its steps. Private to session*.c and its tests.
 */
#ifndef P2V_BOOT_SESSION_PRIVATE_H
#define P2V_BOOT_SESSION_PRIVATE_H

#include "p2v/boot/findings.h"
#include "p2v/boot/network.h"
#include "p2v/boot/screen.h"
#include "p2v/boot/session.h"
#include "p2v/boot/session_log.h"
#include "p2v/boot/session_transfer.h"
#include "p2v/boot/settings.h"
#include "p2v/wire/link.h"

/* What the session works with; tests have their own. */
struct session_parts {
    const char *root; /* "" for this machine */
    const char *command_line;
    session_send *send;
    int (*ask_pin)(const struct link_address *address, int timeout_ms,
                   uint8_t pin[TLS_IDENTITY_SIZE], struct error *err);
    struct boot_network *(*network_start)(const struct boot_net_plan *plan, const char *root,
                                          struct log *log, struct error *err);
    void (*network_state)(struct boot_network *network, struct boot_network_state *state);
    int (*network_change)(struct boot_network *network, const struct boot_net_plan *plan,
                          struct error *err);
    void (*network_stop)(struct boot_network *network);

    const char *const *consoles;
    size_t console_count;
    const atomic_bool *stop; /* ends the session */

    int tick_ms;    /* how often what is shown is looked at anew */
    int network_ms; /* how long a person waits for a network */
    int again_ms;   /* between two looks for what is missing */
    int goodbye_s, attended_goodbye_s, retry_s, stay_s;
};

enum session_step {
    SESSION_LOOK,
    SESSION_FORM,
    SESSION_PIN,
    SESSION_REVIEW,
    SESSION_SEND,
    SESSION_DONE,
    SESSION_POWER_OFF, /* the end */
    SESSION_RESTART,
};

struct session {
    struct session_log log; /* first */
    const struct session_parts *parts;
    struct boot_settings settings;
    struct boot_network *network; /* NULL: could not be started */
    struct screens *screens;      /* NULL: none; unattended then */
    struct screen_model model;
    struct screen_answer answer;
    bool is_attended;
    bool is_abandoned; /* a thread still works on it: nothing of it may be freed */

    /* What was asked for, or given. */
    char pin[TLS_PIN_SIZE];
    char pinned_server[256]; /* the one that `pin` is of */
    struct session_outcome outcome;

    /* What a thread found out, while the model is shown; read when it has ended. */
    struct boot_findings found;
    struct error found_error;
    char asked_pin[TLS_PIN_SIZE];
};

/* Until the end. With is_abandoned after it, the process can only end. */
enum session_step session_run(struct session *session);

/* One round: shows what is so, and takes keys for that long. The shell is run in here. */
enum screen_act session_wait(struct session *session, int timeout_ms);

/*
 * Runs `work` in a thread; the page is alive meanwhile. SCREEN_NOTHING when it is done; else a
 * person has ended the session before.
 */
enum screen_act session_work(struct session *session, int (*work)(struct session *session));

/* The end, when that was wanted; else `otherwise`. */
enum session_step session_step_for(enum screen_act act, enum session_step otherwise);

/* The steps; each returns the next. */
enum session_step session_look(struct session *session);
enum session_step session_form(struct session *session);
enum session_step session_ask_pin(struct session *session);
enum session_step session_review(struct session *session);
enum session_step session_send_all(struct session *session);
enum session_step session_done(struct session *session);

#endif
