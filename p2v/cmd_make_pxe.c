/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rehost make-pxe: kernel, initramfs and menus for booting the agent over the network.
 */
#include "p2v/commands.h"
#include "p2v/make_media.h"
#include "p2v/media/boot_menus.h"

static const struct option_spec make_pxe_options[] = {
    MAKE_MEDIA_ROW("output", 'o', OPTION_TEXT, "DIR", output, "the folder"),
    MAKE_MEDIA_ROW("base-url", 0, OPTION_TEXT, "URL", base_url,
                   "where the folder is served from (beside the menus)"),
    MAKE_MEDIA_ROWS,
    CLI_OPTION_END,
};

static int run(struct cli *cli, const void *values, const struct option_list *operands,
               struct error *err)
{
    const struct make_media_options *options = values;
    struct error why = {0};
    (void)operands;
    if (options->base_url && boot_menus_check_url(options->base_url, &why) != 0)
        return cli_usage(err, "--base-url: %s", why.text);
    return make_media_run(cli, options, media_make_pxe, err);
}

const struct command command_make_pxe = {
    .name = "make-pxe",
    .arguments = "-o DIR",
    .summary = "make what boots the agent over the network",
    .description =
        "A folder for a TFTP or HTTP server: kernel, initramfs, and what pxelinux, GRUB\n"
        "and iPXE are to be told.\n",
    .options = make_pxe_options,
    .options_size = sizeof(struct make_media_options),
    .min_operands = 0,
    .max_operands = 0,
    .run = run,
};
