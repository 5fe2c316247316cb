/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rehost define: renders a machine's definition for a platform.
 */
#include "base/io.h"
#include "base/text.h"
#include "p2v/commands.h"
#include "p2v/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct define_options {
    const char *target, *output;
};

static const struct option_spec define_options[] = {
    {"for", 0, OPTION_TEXT, "TARGET", NULL, offsetof(struct define_options, target),
     "the platform: see rehost targets"},
    {"output", 'o', OPTION_TEXT, "FILE", NULL, offsetof(struct define_options, output),
     "write there; - is standard output (default)"},
    CLI_OPTION_END,
};

static int write_output(const struct guest_target *target, const char *path,
                        const struct text *text, struct error *err)
{
    mode_t mode = target->is_executable ? 0755 : 0644;
    if (!path || strcmp(path, "-") == 0)
        return io_write(STDOUT_FILENO, text_string(text), text->length, err);
    return io_replace_file(AT_FDCWD, path, text_string(text), text->length, mode, err);
}

static int define(const struct machine *machine, const struct guest_target *target,
                  const char *output, struct error *err)
{
    char folder[PATH_MAX];
    AUTO(text) text = {0};
    if (!realpath(machine->path, folder))
        return error_set(err, errno, "%s", machine->path);
    if (target->render(machine->guest, folder, &text, err) != 0)
        return error_wrap(err, "render it for %s", target->name);
    return write_output(target, output, &text, err);
}

static int run(struct cli *cli, const void *values, const struct option_list *operands,
               struct error *err)
{
    (void)cli;
    const struct define_options *options = values;
    if (!options->target)
        return cli_usage(err, "--for TARGET is missing");
    const struct guest_target *target = guest_target_find(options->target);
    if (!target)
        return cli_usage(err, "--for: '%s' is none of the targets (see rehost targets)",
                         options->target);
    struct machine machine;
    if (machine_open(&machine, operands->items[0], MACHINE_READ, err) != 0)
        return -1;
    int result = define(&machine, target, options->output, err);
    machine_fini(&machine);
    return result;
}

const struct command command_define = {
    .name = "define",
    .arguments = "DIR --for TARGET",
    .summary = "render the machine's definition for a platform",
    .description = "DIR is a converted machine's folder. A start script looks for the disks in its "
                   "own folder:\n"
                   "write it there with -o DIR/start.sh.\n",
    .options = define_options,
    .options_size = sizeof(struct define_options),
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
