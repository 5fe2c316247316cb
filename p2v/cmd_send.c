/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rehost send: this machine, to a server. All of it is in send.c, which rehost-agent has too.
 */
#include "p2v/commands.h"
#include "p2v/send.h"

#include <stdint.h>

static int run(struct cli *cli, const void *values, const struct option_list *operands,
               struct error *err)
{
    return send_machine(&cli->console, values, operands, err);
}

const struct command command_send = {
    .name = "send",
    .arguments = send_arguments,
    .summary = send_summary,
    .description = send_description,
    .options = send_options,
    .options_size = sizeof(struct send_options),
    .min_operands = 0,
    .max_operands = SIZE_MAX,
    .run = run,
};
