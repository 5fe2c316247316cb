/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rehost approve: lets an agent in that has no token and shows a code.
 */
#include "base/log.h"
#include "p2v/commands.h"
#include "p2v/pool_use.h"

struct approve_options {
    const char *pool, *machine;
};

static const struct option_spec approve_options[] = {
    CLI_OPTION_POOL(struct approve_options),
    {"for", 0, OPTION_TEXT, "MACHINE", NULL, offsetof(struct approve_options, machine),
     "to go on with that machine with a new key"},
    CLI_OPTION_END,
};

static int run(struct cli *cli, const void *values, const struct option_list *operands,
               struct error *err)
{
    const struct approve_options *options = values;
    AUTO(pool_use) use;
    int code = pool_use_open(&use, options->pool, err);
    if (code != CLI_DONE)
        return code;
    if (agent_approve_as(use.database, operands->items[0], options->machine, err) != 0)
        return -1;
    log_info(&cli->console.log, "approved: the agent goes on by itself");
    return CLI_DONE;
}

const struct command command_approve = {
    .name = "approve",
    .arguments = "CODE",
    .summary = "let an agent in that has no token and shows CODE",
    .description = "The code stands on the agent's screen and in rehost status. Compare them.\n",
    .options = approve_options,
    .options_size = sizeof(struct approve_options),
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
