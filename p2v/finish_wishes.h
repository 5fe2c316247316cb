/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the sender wants the guest to be (`wanted` of the inventory), in the definition and the
 * report.
 */
#ifndef P2V_FINISH_WISHES_H
#define P2V_FINISH_WISHES_H

#include "p2v/definition.h"
#include "p2v/json.h"
#include "p2v/wishes.h"

struct finish_wishes {
    struct wishes wishes;
    char macs[GUEST_MAX_NICS + 1][18]; /* of the interfaces that they name; "": not known */
    bool has_left_out;                 /* something could not be */
};

/* What can be of it. Memory and CPUs go into the hints, in place of the machine's. */
void finish_wishes_read(const json_t *inventory, struct finish_wishes *wishes,
                        struct definition_hints *hints, struct log *log);

/*
 * Names the guest, unless it has one since an earlier time; connects its NICs; says in the report
 * what was wanted and what came of it. An interface is found by the agent's name for it, which a
 * boot medium may have made, or else by the system's. False: not everything could be done, and the
 * log was warned.
 */
bool finish_wishes_apply(const struct finish_wishes *wishes, bool is_new, struct guest *guest,
                         json_t *report, struct log *log);

#endif
