/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rehost make-iso: the agent's boot medium, for CD and USB stick.
 */
#include "p2v/commands.h"
#include "p2v/make_media.h"

static const struct option_spec make_iso_options[] = {
    MAKE_MEDIA_ROW("output", 'o', OPTION_TEXT, "FILE", output, "the ISO"),
    MAKE_MEDIA_ROWS,
    CLI_OPTION_END,
};

static int run(struct cli *cli, const void *values, const struct option_list *operands,
               struct error *err)
{
    (void)operands;
    return make_media_run(cli, values, media_make_iso, err);
}

const struct command command_make_iso = {
    .name = "make-iso",
    .arguments = "-o FILE",
    .summary = "make the agent's boot medium for CD and USB stick",
    .description = "Boots by BIOS and UEFI, as a CD and written to a USB stick as it is.\n"
                   "With --server, --pin and --token-file it sends without asking.\n",
    .options = make_iso_options,
    .options_size = sizeof(struct make_media_options),
    .min_operands = 0,
    .max_operands = 0,
    .run = run,
};
