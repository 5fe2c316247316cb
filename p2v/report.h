/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * report.json: what was copied, skipped, fixed and tested, with seconds and bytes per step, and
 * every warning. The same objects are what --json prints.
 */
#ifndef P2V_REPORT_H
#define P2V_REPORT_H

#include "bootfix/plan.h"
#include "disk/layout.h"
#include "p2v/boottest.h"
#include "p2v/console.h"
#include "p2v/copy.h"
#include "p2v/fixing.h"
#include "p2v/json.h"
#include "p2v/sources.h"

#include <stdbool.h>

#define REPORT_NOT_TESTED "not tested"

/* An empty report of this version and moment. All of the following return new references. */
json_t *report_new(void);

/* One entry of "steps". */
void report_add_step(json_t *report, const char *name, double seconds, uint64_t bytes);

/* What a step turned out to have written, told later. */
void report_set_step_bytes(json_t *report, const char *name, uint64_t bytes);

/* The console's warnings so far. */
void report_set_warnings(json_t *report, const struct console *console);

/* What is on a disk: its table and volumes, for inspect, the inventory and the report. */
json_t *report_layout(const struct source *source);

/* One copied disk. */
struct report_disk {
    const struct source *source;
    const char *path, *format; /* of the copy */
    const struct copy_result *copy;
    const struct manifest *manifest;
    double seconds;
};
json_t *report_disk(const struct report_disk *disk);

/* What the disk's image holds now, in its entry. */
void report_set_digest(json_t *disk, const struct manifest *manifest);

/* The operating system; null when there is none. */
json_t *report_system(const struct system *system);
json_t *report_nics(const struct nics *nics);

/* {"result", "reason", "edits": [{fixer, path, kind, reason, diff}], "notes", "seconds"} */
json_t *report_fix(const struct fixing *fixing, const char *result, const char *reason);

json_t *report_boot(const struct boot_result *boot);

/* inventory.json: what the machine was, as far as its disks tell. */
json_t *report_inventory(const struct sources *sources, const struct system *system,
                         const struct nics *nics);

#endif
