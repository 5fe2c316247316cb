/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The fix as one job over a machine's disks: open, inspect, choose the interfaces, plan, apply.
 * What is found stays readable after the appliance is gone.
 */
#ifndef P2V_FIXING_H
#define P2V_FIXING_H

#include "base/error.h"
#include "base/log.h"
#include "bootfix/bootfix.h"
#include "p2v/nics.h"

#include <stdbool.h>

struct fixing_options {
    bool is_writable;         /* else: the plan only */
    const char *root;         /* --root, or NULL */
    const struct nics *given; /* --nic */
    const char *machine_id;   /* seeds MACs where the system has no machine-id */
};

/* {0} is valid for fixing_fini. */
struct fixing {
    struct bootfix *bootfix; /* NULL once closed */
    struct system *system;   /* NULL before inspection */
    struct plan plan;
    bool is_planned; /* `plan` is complete */
    bool is_applied;
    struct nics nics; /* chosen; also without a system */
    struct bootfix_times times;
    struct log *log;
};

/* Launches and inspects. After -1 `fixing` is to be freed all the same. */
int fixing_open(struct fixing *fixing, const struct bootfix_disk *disks, size_t count,
                const struct fixing_options *options, struct log *log, struct error *err);

/* Plans with the NICs chosen from the system and options->given. */
int fixing_plan(struct fixing *fixing, struct error *err);

/* Makes the edits and closes the disks. */
int fixing_apply(struct fixing *fixing, struct error *err);

/* Closes the appliance; the findings stay. */
void fixing_close(struct fixing *fixing);
void fixing_fini(struct fixing *fixing);

/* A Linux with a kernel, which the fixers know; false before inspection. */
bool fixing_knows_system(const struct fixing *fixing);

/* Why it is not known, after inspection; caller frees. Escaped. */
char *fixing_why_unknown(const struct fixing *fixing);

/* How many of the plan's notes are warnings: fixes that were wanted and are not possible. */
size_t fixing_warning_count(const struct fixing *fixing);

#endif
