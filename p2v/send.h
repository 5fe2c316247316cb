/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sending this machine, as `rehost send` and the small program rehost-agent do it: which disks, the
 * agent's key, freezing, what is shown, and what became of it.
 */
#ifndef P2V_SEND_H
#define P2V_SEND_H

#include "base/error.h"
#include "base/log.h"
#include "p2v/agent/sender.h"
#include "p2v/console.h"
#include "p2v/options.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * For a program that shows the sending itself: with it nothing is printed, on stdout or stderr. Any
 * of the calls may be NULL. They come from any thread, one at a time, and must not wait for the
 * sending; while file systems are frozen too: what they write to a file there would wait for
 * itself. What they are given is theirs during the call only.
 */
struct send_watch {
    /* The disks that are sent, before any progress; `disk` below is an index into these. */
    void (*disks)(void *context, const char *const names[], size_t count);
    void (*progress)(void *context, size_t disk, const struct sender_progress *progress);
    void (*stage)(void *context, const char *machine, enum wire_stage stage, const char *text);
    void (*message)(void *context, enum log_level level, const char *line);
    /* How it ended, well or not. Not when it could not begin: the error says why. */
    void (*result)(void *context, const struct sender_result *result, int exit_code);
    void *context;
};

/* What the guest is to be, where that is not what the machine was. {0}: nothing. */
struct send_wishes {
    uint64_t memory_bytes;
    unsigned vcpus;
    /* The guest's networks: "eth0:wired", of the machine's NIC eth0; "wired", of all others. */
    const char *const *networks;
    size_t network_count;
};

struct send_options {
    const char *server, *pin, *token_file, *name, *compress, *format, *state, *progress, *snapshots;
    uint64_t limit_bytes_per_second, memory_bytes;
    unsigned cpu_percent, give_up_seconds, vcpus;
    struct option_list networks;
    bool is_final, is_result_unwanted, is_json;
    /*
     * The key is made of the token and of what this machine is, not kept in a file: the same
     * machine with the same token is the same agent again, although nothing could be written.
     * Without a token it is kept as always.
     */
    bool is_key_from_token;

    /* Not of the command line. */
    const char *token;                /* instead of token_file: WIRE_TOKEN_LENGTH characters */
    const struct send_watch *watch;   /* NULL: the console */
    const struct send_wishes *wishes; /* instead of memory_bytes, vcpus and networks; or NULL */
    const atomic_bool *stop;          /* ends the sending with ECANCELED; NULL: interrupt_flag() */
};

extern const struct option_spec send_options[];
extern const char send_summary[], send_description[], send_arguments[];

/*
 * Sends the disks named, or all of the machine's. An exit code of p2v/cli.h, or -1; with a text in
 * err when there is something to say. From any thread, as often as one likes, but one at a time.
 * `console` may be NULL when options->watch is not.
 */
int send_machine(struct console *console, const struct send_options *options,
                 const struct option_list *operands, struct error *err);

#endif
