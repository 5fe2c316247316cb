/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The sending, in a thread of its own, and how far it is. Private to session*.c.
 */
#ifndef P2V_BOOT_SESSION_TRANSFER_H
#define P2V_BOOT_SESSION_TRANSFER_H

#include "p2v/boot/screen.h"
#include "p2v/boot/settings.h"
#include "p2v/send.h"

/* As send_machine; tests have their own. */
typedef int session_send(struct console *console, const struct send_options *options,
                         const struct option_list *operands, struct error *err);

/* Borrowed until it has ended. */
struct session_transfer_options {
    session_send *send;
    const char *server, *pin;
    const char *token, *name;             /* NULL: none */
    const struct boot_settings *settings; /* limits, wishes */
    const struct boot_findings *findings; /* which disks are chosen */
    struct log *log;
};

struct session_outcome {
    bool is_good;
    bool has_result; /* the server has all of it and has said how it went */
    bool is_refused; /* the token: it was used up, has expired or is another server's */
    bool may_pass;   /* it failed, and may work in a while with nobody's help */
    char text[300];
};

struct session_transfer;
struct session_transfer *session_transfer_start(const struct session_transfer_options *options,
                                                struct error *err);

/* Puts disks, stage, code and problem into the model. True: it has ended. */
bool session_transfer_show(struct session_transfer *transfer, struct screen_model *model);

/* It is to end; session_transfer_end then comes back soon. */
void session_transfer_stop(struct session_transfer *transfer);

/* Waits for the end, tells how it was, and frees it. */
void session_transfer_end(struct session_transfer *transfer, struct session_outcome *outcome);

/* A send_machine's code and error, in words for a person. */
void session_judge(int code, const struct error *err, const struct sender_result *result,
                   struct session_outcome *outcome);

#endif
