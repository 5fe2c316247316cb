/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A conversion's second step: the fixers work on throw-away overlays of the copies; what they wrote
 * goes into the copies when all of it succeeded, in a step of its own.
 */
#include "base/clock.h"
#include "base/text.h"
#include "p2v/convert.h"
#include "p2v/interrupt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void not_fixed(struct convert *convert, const char *reason)
{
    convert->fix = CONVERT_NOT_FIXED;
    convert->has_warnings = true;
    snprintf(convert->fix_reason, sizeof(convert->fix_reason), "%s", reason);
    log_warning(convert->log, "not fixed: %s", reason);
}

static int make_overlays(struct convert *convert, struct error *err)
{
    for (size_t i = 0; i < convert->disk_count; i++) {
        const struct convert_disk *disk = &convert->disks[i];
        if (fix_disks_add(convert->fix_disks, convert->draft.partial, disk->name, disk->format,
                          NULL, err) != 0)
            return -1;
    }
    return 0;
}

static void drop_overlays(struct convert *convert)
{
    if (convert->fix_disks)
        fix_disks_fini(convert->fix_disks);
}

static int commit_overlay(struct convert *convert, size_t index, struct error *err)
{
    struct manifest *manifest = &convert->disks[index].manifest;
    AUTO_FREE char *name = machine_manifest_name(index);
    uint64_t changed = 0;
    if (fix_disks_commit(convert->fix_disks, index, manifest, &changed, err) != 0)
        return -1;
    convert->fix_bytes += changed;
    return manifest_write(manifest, convert->draft.folder_fd, name, err);
}

int convert_commit(struct convert *convert, struct error *err)
{
    double started = clock_seconds();
    for (size_t i = 0; convert->fix == CONVERT_FIXED && i < convert->disk_count; i++) {
        if (commit_overlay(convert, i, err) != 0)
            return error_wrap(err, "fix");
    }
    drop_overlays(convert);
    convert->fix_seconds += clock_seconds() - started;
    return 0;
}

/* Plans and applies on the overlays; they are to be committed when convert->fix says so. */
static void plan_and_apply(struct convert *convert)
{
    struct fixing *fixing = &convert->fixing;
    struct error err = {0};
    if (fixing_plan(fixing, &err) != 0) {
        not_fixed(convert, err.text);
        return;
    }
    convert->has_warnings |= fixing_warning_count(fixing) > 0;
    if (fixing->plan.edit_count == 0) {
        convert->fix = CONVERT_NOTHING_TO_FIX;
        return;
    }
    if (fixing_apply(fixing, &err) != 0) {
        not_fixed(convert, err.text);
        return;
    }
    convert->fix = CONVERT_FIXED;
}

static bool is_interrupted(struct error *err)
{
    if (interrupt_is_requested())
        error_set(err, ECANCELED, "stopped");
    return interrupt_is_requested();
}

/*
 * An appliance that cannot be started says nothing about the machine, so the copy is kept. What
 * inspection refuses (a root with errors, several systems) is the user's to decide: nothing is.
 */
static int run_fixers(struct convert *convert, struct error *err)
{
    const struct fix_disks *disks = convert->fix_disks;
    struct fixing *fixing = &convert->fixing;
    struct fixing_options options = {.is_writable = true,
                                     .root = convert->options->root,
                                     .given = &convert->given,
                                     .machine_id = convert->machine_id};
    struct error cause = {0};
    if (fixing_open(fixing, disks->disks, disks->count, &options, convert->log, &cause) != 0) {
        if (is_interrupted(err))
            return -1;
        if (fixing->bootfix)
            return error_set(err, 0, "%s (--no-fix keeps the copy as it is)", cause.text);
        not_fixed(convert, cause.text);
        return 0;
    }
    if (!fixing_knows_system(fixing)) {
        AUTO_FREE char *reason = fixing_why_unknown(fixing);
        not_fixed(convert, reason);
        return 0;
    }
    plan_and_apply(convert);
    fixing_close(fixing);
    return is_interrupted(err) ? -1 : 0;
}

static int fix_on_overlays(struct convert *convert, struct error *err)
{
    if (!convert->fix_disks)
        convert->fix_disks = memory_new(1, sizeof(*convert->fix_disks));
    int result = make_overlays(convert, err);
    if (result == 0)
        result = run_fixers(convert, err);
    fixing_close(&convert->fixing);
    if (result != 0 || convert->fix != CONVERT_FIXED)
        drop_overlays(convert);
    return result;
}

int convert_fix(struct convert *convert, struct error *err)
{
    double started = clock_seconds();
    if (convert->options->is_fix_skipped) {
        snprintf(convert->fix_reason, sizeof(convert->fix_reason), "--no-fix was given");
        return 0;
    }
    log_info(convert->log, "fixing the copy");
    int result = fix_on_overlays(convert, err);
    convert->fix_seconds = clock_seconds() - started;
    return result == 0 ? 0 : error_wrap(err, "fix");
}
