/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * How the agent's connections begin and what their failures mean (docs/wire.md, "A connection
 * begins", "Silence, cuts, ends").
 */
#ifndef P2V_AGENT_AGENT_LINK_H
#define P2V_AGENT_AGENT_LINK_H

#include "base/error.h"
#include "p2v/agent/sender.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum agent_verdict {
    AGENT_READY,
    AGENT_AGAIN,       /* connect again after a while */
    AGENT_NEW_SESSION, /* the server does not know the session any more */
    AGENT_GIVE_UP,     /* errnum as sender.h tells */
};

/* What an ERROR frame means; sets err. */
enum agent_verdict agent_judge(enum wire_error_code code, const char *text, struct error *err);

/*
 * Connects and says HELLO; on AGENT_READY *link is the caller's. `is_known`: there was a session
 * before, so that whatever answers is taken for the server having trouble.
 */
enum agent_verdict agent_open(const struct sender_options *options, enum wire_role role,
                              const uint8_t session[WIRE_SESSION_SIZE], bool is_known,
                              struct link **link, struct wire_welcome *welcome, struct error *err);

/* The next frame, which has to be of that type. */
enum agent_verdict agent_expect(struct link *link, enum wire_type type, int silence_ms,
                                const atomic_bool *stop, struct link_frame *frame,
                                struct error *err);

/* 1, 2, 4 … 30 times the first wait and up to a quarter more, by chance. */
struct retry {
    unsigned first_ms;
    unsigned count;     /* failures in a row */
    int64_t failing_ms; /* clock_ms of the first of them */
};
void retry_start(struct retry *retry, unsigned first_ms);
unsigned retry_next_ms(struct retry *retry, uint32_t chance, int64_t now_ms);

/*
 * After a failure: waits, or says that it is over (AGENT_GIVE_UP: ECANCELED, or ETIMEDOUT around
 * the failure in err). The flags end it soon; each may be NULL.
 */
enum agent_verdict retry_wait(struct retry *retry, const struct sender_options *options,
                              const atomic_bool *is_ended, struct error *err);

#endif
