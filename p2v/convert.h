/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A conversion from its sources to the finished folder, in steps: copy, fix, describe, publish,
 * boot-test. Nothing stands under the final name before `publish`. `rehost finish` goes through the
 * same steps with disks that were received (p2v/finish.h).
 */
#ifndef P2V_CONVERT_H
#define P2V_CONVERT_H

#include "p2v/boottest.h"
#include "p2v/cli.h"
#include "p2v/copy.h"
#include "p2v/definition.h"
#include "p2v/fix_disks.h"
#include "p2v/fixing.h"
#include "p2v/json.h"
#include "p2v/machine.h"
#include "p2v/sources.h"

#include <stdbool.h>

struct convert_options {
    struct source_options sources;
    const char *output, *format, *name, *root, *progress;
    struct option_list nics;
    uint64_t memory_bytes;
    unsigned cpus, timeout_seconds;
    bool is_forced, is_compressed, is_fix_skipped, is_boot_test_skipped, is_json;
};

enum convert_fix { CONVERT_NOT_FIXED, CONVERT_FIXED, CONVERT_NOTHING_TO_FIX };

struct convert_disk {
    char *name;         /* "disk0.qcow2", in the folder being made */
    const char *format; /* a driver's name */
    struct copy_result copy;
    struct manifest manifest;
    double seconds;
};

struct convert {
    struct cli *cli;
    const struct convert_options *options;
    const char *format; /* of the copies */
    struct log *log;
    struct definition_hints hints; /* what more is known of the machine than its disks tell */
    struct sources sources;
    struct nics given; /* --nic */
    char *machine_id;
    struct machine_draft draft;
    struct convert_disk *disks; /* one per source */
    size_t disk_count;
    struct fixing fixing;
    struct fix_disks *fix_disks; /* what the fixers wrote to; NULL before the fix */
    enum convert_fix fix;
    char fix_reason[ERROR_TEXT_SIZE]; /* why not fixed; "" otherwise */
    uint64_t fix_bytes;               /* written by the fix */
    double copy_seconds, fix_seconds;
    struct guest *guest;
    json_t *report;
    struct boot_result boot;
    bool is_boot_tested;
    bool has_warnings; /* exit code 3 */
};

/* The steps, in order. A step that fails leaves everything to convert_fini. */
int convert_open(struct convert *convert, const struct option_list *paths, struct error *err);
int convert_copy(struct convert *convert, struct error *err);     /* convert_copy.c */
int convert_fix(struct convert *convert, struct error *err);      /* convert_fix.c: on overlays */
int convert_commit(struct convert *convert, struct error *err);   /* these into the copies */
int convert_define(struct convert *convert, struct error *err);   /* convert->guest */
int convert_describe(struct convert *convert, struct error *err); /* it and reports, written */
int convert_publish(struct convert *convert, struct error *err);
int convert_boot_test(struct convert *convert, struct error *err); /* convert_boot.c */
void convert_fini(struct convert *convert);

/* The report's entries of what convert_copy copied; after convert_commit. */
void convert_report_disks(struct convert *convert);

/* A boot test is wanted, and of a system that is known. */
bool convert_is_test_wanted(const struct convert *convert);

/*
 * Starts `guest`, whose paths are relative to `folder`; what it did goes into the report of the
 * folder that the draft has open, and its throw-away files meanwhile below `scratch_folder`.
 * convert_boot_test does so with the machine as it was published.
 */
int convert_boot(struct convert *convert, const struct guest *guest, const char *folder,
                 const char *scratch_folder, struct error *err);

/* The lines about fix and boot test that end both commands (convert_print.c). */
void convert_print_fixed(const struct convert *convert);
void convert_print_tested(const struct convert *convert);

/* Path of a file in the folder being made; caller frees. */
char *convert_path(const struct convert *convert, const char *name);

#endif
