/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rehost approve: lets an agent in that has no token and shows a code.
 */
#include "base/log.h"
#include "p2v/commands.h"
#include "p2v/pool_use.h"

struct approve_options {
    const char *pool, *machine;
    bool is_new;
};

static const struct option_spec approve_options[] = {
    CLI_OPTION_POOL(struct approve_options),
    {"for", 0, OPTION_TEXT, "MACHINE", NULL, offsetof(struct approve_options, machine),
     "to go on with that machine with a new key"},
    {"new", 0, OPTION_FLAG, NULL, NULL, offsetof(struct approve_options, is_new),
     "a new machine, although it says that it is one that is half received"},
    CLI_OPTION_END,
};

/* What it says of itself may be a lie: a person decides. */
static int check_machine(struct database *database, const struct approve_options *options,
                         const char *code, struct error *err)
{
    char machine[64];
    if (options->machine && options->is_new) {
        error_set(err, 0, "--for and --new are not for one agent");
        return CLI_USAGE;
    }
    if (options->machine || options->is_new)
        return CLI_DONE;
    if (agent_waiting_machine(database, code, machine, err) != 0)
        return -1;
    if (!machine[0])
        return CLI_DONE;
    return error_set(err, 0,
                     "%s says that it is %s, of which a part was received: --for %s goes on with "
                     "that, --new begins another machine",
                     code, machine, machine);
}

static int run(struct cli *cli, const void *values, const struct option_list *operands,
               struct error *err)
{
    const struct approve_options *options = values;
    AUTO(pool_use) use;
    int code = pool_use_open(&use, options->pool, err);
    if (code != CLI_DONE)
        return code;
    code = check_machine(use.database, options, operands->items[0], err);
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
