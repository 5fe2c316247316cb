/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What follows a transfer: the received disks are fixed, described, put in their place and
 * boot-tested, by the same steps as a conversion's copies (p2v/convert.h).
 *
 *     NAME.partial: fix, describe, [complete], boot test of NAME
 *     NAME.update:  fix, describe, boot test, [complete]: only what boots replaces what is there
 *
 * Up to [complete] nothing but overlays and reports is written, so that it is begun anew when it
 * was interrupted; that step itself is gone through to its end by whoever comes next
 * (p2v/finish_complete.h).
 */
#ifndef P2V_FINISH_H
#define P2V_FINISH_H

#include "p2v/convert.h"
#include "p2v/finish_complete.h"
#include "p2v/finish_wishes.h"
#include "p2v/server/received.h"

#include <stdbool.h>

struct finish_options {
    struct convert_options convert; /* what both commands have */
    bool has_stages;
};

struct finish {
    const struct finish_options *options;
    struct convert convert; /* its draft's paths and descriptor are those of `place`, borrowed */
    struct finish_place place;
    struct received received;
    struct finish_wishes wishes;
    struct guest *before; /* of an update: the machine's definition until now */
    struct guest *tested; /* as it was started; the boot test's result borrows from it */
    char *paths[WIRE_MAX_DISKS];
    size_t unreadable_ranges; /* of all disks, as far as they are listed */
    bool is_only_tested;      /* everything else was done by an earlier run */
};

/*
 * Finds and locks the folder: DIR itself, or what is complete beside it. When an earlier run
 * reached [complete], that is gone through here, and at most a boot test remains (is_only_tested).
 */
int finish_open(struct finish *finish, const char *path, struct error *err);

/* The received disks, what is known of them and of the machine (finish_load.c). */
int finish_load(struct finish *finish, struct error *err);

/* What the report says of the transfer and of the disks, once defined (finish_report.c). */
void finish_report(struct finish *finish);

/* Definition, inventory, report; the images are closed after. */
int finish_describe(struct finish *finish, struct error *err);

/* An update that was not tested or passed goes on; CLI_TEST_FAILED stays where it is. */
int finish_test_update(struct finish *finish, struct error *err);
int finish_put_in_place(struct finish *finish, struct error *err);
int finish_test_machine(struct finish *finish, struct error *err);
void finish_fini(struct finish *finish);

/* As the wire's stages are called: "fixing". Only with --stages. */
void finish_tell_stage(const struct finish *finish, const char *stage);

#endif
