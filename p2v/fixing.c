/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Drives bootfix/ for convert, fix and inspect.
 */
#include "p2v/fixing.h"

#include "base/text.h"

#include <string.h>

static void choose_nics(struct fixing *fixing, const struct fixing_options *options)
{
    const struct system *system = fixing->system;
    const char *seed =
        system->machine_id && system->machine_id[0] ? system->machine_id : options->machine_id;
    nics_fini(&fixing->nics);
    nics_choose(system, options->given, seed, &fixing->nics, fixing->log);
}

int fixing_open(struct fixing *fixing, const struct bootfix_disk *disks, size_t count,
                const struct fixing_options *options, struct log *log, struct error *err)
{
    struct bootfix_options open_options = {.is_writable = options->is_writable,
                                           .root = options->root};
    /* Apart from err: a launch that succeeded in the end may have failed at first. */
    struct error cause = {0};
    *fixing = (struct fixing){.log = log};
    fixing->bootfix = bootfix_open(disks, count, &open_options, log, &cause);
    if (!fixing->bootfix) {
        if (err)
            *err = cause;
        return -1;
    }
    bootfix_get_times(fixing->bootfix, &fixing->times);
    if (bootfix_inspect(fixing->bootfix, &fixing->system, err) != 0)
        return -1;
    choose_nics(fixing, options);
    plan_init(&fixing->plan, bootfix_files(fixing->bootfix));
    return 0;
}

int fixing_plan(struct fixing *fixing, struct error *err)
{
    struct fix_nic nics[GUEST_MAX_NICS];
    struct fix_context context = {.system = fixing->system,
                                  .nics = nics,
                                  .nic_count = nics_for_fix(&fixing->nics, nics),
                                  .plan = &fixing->plan,
                                  .log = fixing->log};
    if (bootfix_plan(fixing->bootfix, &context, err) != 0)
        return -1;
    fixing->is_planned = true;
    for (size_t i = 0; i < fixing->plan.note_count; i++) {
        const struct plan_note *note = &fixing->plan.notes[i];
        if (note->is_warning)
            log_warning(fixing->log, "%s: %s", note->fixer, note->text);
        else
            log_detail(fixing->log, "%s: %s", note->fixer, note->text);
    }
    return 0;
}

int fixing_apply(struct fixing *fixing, struct error *err)
{
    int result = bootfix_apply(fixing->bootfix, &fixing->plan, err);
    fixing->is_applied = result == 0;
    fixing_close(fixing);
    return result;
}

void fixing_close(struct fixing *fixing)
{
    if (!fixing->bootfix)
        return;
    bootfix_get_times(fixing->bootfix, &fixing->times);
    fixing->plan.guest = NULL;
    bootfix_close(fixing->bootfix);
    fixing->bootfix = NULL;
}

void fixing_fini(struct fixing *fixing)
{
    fixing_close(fixing);
    plan_fini(&fixing->plan);
    system_free(fixing->system);
    nics_fini(&fixing->nics);
    *fixing = (struct fixing){0};
}

bool fixing_knows_system(const struct fixing *fixing)
{
    const struct system *system = fixing->system;
    return system && system->type && strcmp(system->type, "linux") == 0 && system->kernel_count > 0;
}

char *fixing_why_unknown(const struct fixing *fixing)
{
    const struct system *system = fixing->system;
    const char *name = system && system->product ? system->product : system ? system->distro : NULL;
    if (!name || !name[0] || strcmp(name, "unknown") == 0)
        return text_copy("no operating system that is known was found on the disks");
    AUTO(text) text = {0};
    text_add(&text, "the system on the disks (");
    text_add_escaped(&text, name, strlen(name));
    text_add(&text, ") is not known: no Linux kernel with modules was found");
    return text_take(&text);
}

size_t fixing_warning_count(const struct fixing *fixing)
{
    size_t count = 0;
    for (size_t i = 0; i < fixing->plan.note_count; i++)
        count += fixing->plan.notes[i].is_warning;
    return count;
}
