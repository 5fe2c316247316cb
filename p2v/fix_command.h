/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What `rehost fix` has in common for machines (fix_machine.c) and single images (fix_image.c).
 */
#ifndef P2V_FIX_COMMAND_H
#define P2V_FIX_COMMAND_H

#include "p2v/cli.h"
#include "p2v/fix_disks.h"
#include "p2v/fixing.h"
#include "p2v/report.h"

#include <limits.h>
#include <stdbool.h>

struct fix_options {
    bool is_dry_run, is_in_place, is_json;
    const char *output, *format, *root;
    struct option_list nics;
};

enum fix_outcome { FIX_UNKNOWN_SYSTEM, FIX_NOTHING, FIX_DONE };

struct fix_run {
    struct cli *cli;
    const struct fix_options *options;
    struct nics given; /* --nic, and for a machine what its definition says */
    struct fix_disks disks;
    struct fixing fixing;
    enum fix_outcome outcome;
    bool has_warnings;
    char result[PATH_MAX]; /* the overlay that was made; "" when none or several */
};

/* Opens, inspects, plans and, unless dry, applies on the disks given; sets fix->outcome. */
int fix_run_fixers(struct fix_run *fix, const struct bootfix_disk *disks, size_t count,
                   const char *machine_id, struct error *err);

int fix_machine(struct fix_run *fix, const char *path, struct error *err);
int fix_image(struct fix_run *fix, const char *path, struct error *err);

#endif
