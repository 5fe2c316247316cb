/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sending this machine, as `rehost send` and the small program rehost-agent do it: which disks, the
 * agent's key, freezing, what is shown, and what became of it.
 */
#ifndef P2V_SEND_H
#define P2V_SEND_H

#include "base/error.h"
#include "p2v/console.h"
#include "p2v/options.h"

#include <stdbool.h>
#include <stdint.h>

struct send_options {
    const char *server, *pin, *token_file, *name, *compress, *format, *state, *progress;
    uint64_t limit_bytes_per_second;
    unsigned cpu_percent, give_up_seconds;
    bool is_final, is_result_unwanted, is_json;
};

extern const struct option_spec send_options[];
extern const char send_summary[], send_description[], send_arguments[];

/*
 * Sends the disks named, or all of the machine's. An exit code of p2v/cli.h, or -1; with a text in
 * err when there is something to say.
 */
int send_machine(struct console *console, const struct send_options *options,
                 const struct option_list *operands, struct error *err);

#endif
