/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rehost fix: the fix alone, for a converted machine or a disk image.
 */
#include "base/text.h"
#include "p2v/commands.h"
#include "p2v/definition.h"
#include "p2v/fix_command.h"
#include "p2v/interrupt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ROW(name, letter, kind, argument, field, help)                                             \
    {                                                                                              \
        name, letter, kind, argument, NULL, offsetof(struct fix_options, field), help              \
    }

static const struct option_spec fix_options[] = {
    ROW("dry-run", 0, OPTION_FLAG, NULL, is_dry_run, "print the changes as a diff, make none"),
    ROW("in-place", 0, OPTION_FLAG, NULL, is_in_place, "change the disks themselves"),
    ROW("output", 'o', OPTION_TEXT, "OVERLAY", output, "of an IMAGE's fix; else IMAGE.fixed.qcow2"),
    ROW("format", 0, OPTION_TEXT, "FMT", format, "of IMAGE; else told from its header"),
    ROW("nic", 0, OPTION_LIST, "NAME=MAC", nics, "MAC of an interface; may be repeated"),
    ROW("root", 0, OPTION_TEXT, "DEVICE", root,
        "the system's root, as /dev/sda2, where there are several"),
    CLI_OPTION_JSON(struct fix_options),
    CLI_OPTION_END,
};

static int check_options(const struct fix_options *options, bool is_machine, struct error *err)
{
    if (options->is_dry_run && (options->is_in_place || options->output))
        return cli_usage(err, "--dry-run changes nothing: no --in-place, no -o");
    if (options->is_in_place && options->output)
        return cli_usage(err, "--in-place makes no overlay: no -o");
    if (is_machine && options->output)
        return cli_usage(err, "-o: a machine's overlays have their names (diskN.fixed.qcow2)");
    if (is_machine && options->format)
        return cli_usage(err, "--format: the machine's definition tells it");
    if (options->format && !image_driver_find(options->format))
        return cli_usage(err, "--format: '%s' is no format (see rehost formats)", options->format);
    return CLI_DONE;
}

/* --- what the two kinds share --- */

static int plan_and_apply(struct fix_run *fix, struct error *err)
{
    if (fixing_plan(&fix->fixing, err) != 0)
        return -1;
    if (fixing_warning_count(&fix->fixing) > 0)
        fix->has_warnings = true;
    fix->outcome = FIX_NOTHING;
    if (fix->fixing.plan.edit_count == 0 || fix->options->is_dry_run)
        return 0;
    if (fixing_apply(&fix->fixing, err) != 0)
        return error_wrap(err, "nothing was changed");
    fix->outcome = FIX_DONE;
    return 0;
}

int fix_run_fixers(struct fix_run *fix, const struct bootfix_disk *disks, size_t count,
                   const char *machine_id, struct error *err)
{
    struct fixing_options options = {.is_writable = !fix->options->is_dry_run,
                                     .root = fix->options->root,
                                     .given = &fix->given,
                                     .machine_id = machine_id};
    int result = fixing_open(&fix->fixing, disks, count, &options, &fix->cli->console.log, err);
    fix->outcome = FIX_UNKNOWN_SYSTEM;
    if (result == 0 && fixing_knows_system(&fix->fixing))
        result = plan_and_apply(fix, err);
    fixing_close(&fix->fixing);
    if (interrupt_is_requested())
        return error_set(err, ECANCELED, "stopped; nothing was changed");
    return result;
}

/* --- output --- */

static const char *outcome_text(const struct fix_run *fix)
{
    if (fix->outcome == FIX_UNKNOWN_SYSTEM)
        return "not fixed";
    if (fix->fixing.plan.edit_count == 0)
        return "nothing to change";
    return fix->options->is_dry_run ? "planned" : "fixed";
}

static void print_people(const struct fix_run *fix, const char *operand)
{
    AUTO(text) diff = {0};
    size_t count = fix->fixing.plan.edit_count;
    if (fix->outcome == FIX_UNKNOWN_SYSTEM)
        return;
    if (fix->options->is_dry_run)
        plan_format_diff(&fix->fixing.plan, &diff);
    fwrite(text_string(&diff), 1, diff.length, stdout);
    if (fix->cli->console.is_quiet)
        return;
    if (count == 0)
        printf("%s: nothing to change\n", operand);
    else if (!fix->options->is_dry_run)
        printf("%s: fixed, %zu changes%s%s\n", operand, count, fix->result[0] ? " in " : "",
               fix->result);
}

static void print_result(const struct fix_run *fix, const char *operand)
{
    if (!fix->options->is_json) {
        print_people(fix, operand);
        return;
    }
    AUTO_JSON json = report_fix(&fix->fixing, outcome_text(fix), NULL);
    json_set_text(json, "output", fix->result[0] ? fix->result : NULL);
    AUTO_FREE char *text = json_format(json);
    fputs(text, stdout);
}

static int finish(struct fix_run *fix, const char *operand, struct error *err)
{
    print_result(fix, operand);
    if (fix->outcome == FIX_UNKNOWN_SYSTEM) {
        AUTO_FREE char *reason = fixing_why_unknown(&fix->fixing);
        error_set(err, 0, "not fixed: %s", reason);
        return CLI_WARNINGS;
    }
    return fix->has_warnings ? CLI_WARNINGS : CLI_DONE;
}

static int run(struct cli *cli, const void *values, const struct option_list *operands,
               struct error *err)
{
    const struct fix_options *options = values;
    const char *operand = operands->items[0];
    struct stat stat_of;
    bool is_machine = stat(operand, &stat_of) == 0 && S_ISDIR(stat_of.st_mode);
    int code = check_options(options, is_machine, err);
    if (code != CLI_DONE)
        return code;
    struct fix_run *fix = memory_new(1, sizeof(*fix));
    fix->cli = cli;
    fix->options = options;
    if (nics_parse(&options->nics, &fix->given, err) != 0)
        code = CLI_USAGE;
    else
        code = is_machine ? fix_machine(fix, operand, err) : fix_image(fix, operand, err);
    if (code == CLI_DONE)
        code = finish(fix, operand, err);
    interrupt_set_cleanup(NULL, NULL);
    fix_disks_fini(&fix->disks);
    fixing_fini(&fix->fixing);
    nics_fini(&fix->given);
    free(fix);
    return code;
}

const struct command command_fix = {
    .name = "fix",
    .arguments = "DIR|IMAGE",
    .summary = "fix a machine or a disk image so that it boots on virtio",
    .description =
        "The changes go to overlays beside the disks, unless --in-place is given. For a DIR the\n"
        "definition then names the overlays. Nothing is changed unless all of it succeeds.\n",
    .options = fix_options,
    .options_size = sizeof(struct fix_options),
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
