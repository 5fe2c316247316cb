/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rehost token: who may send. The token itself is shown once, on stdout, and kept nowhere.
 */
#include "base/bytes.h"
#include "base/log.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/commands.h"
#include "p2v/json.h"
#include "p2v/pool_use.h"
#include "p2v/server/token_text.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct token_command_options {
    const char *pool;
    unsigned uses;
    const char *ttl, *note, *machine;
    bool is_with_agents, is_json;
};

static const struct option_spec token_options[] = {
    CLI_OPTION_POOL(struct token_command_options),
    {"uses", 0, OPTION_NUMBER, "N", NULL, offsetof(struct token_command_options, uses),
     "create: for so many agents (1)"},
    {"ttl", 0, OPTION_TEXT, "TIME", NULL, offsetof(struct token_command_options, ttl),
     "create: valid for so long, as 30m, 8h, 2d (24h)"},
    {"note", 0, OPTION_TEXT, "TEXT", NULL, offsetof(struct token_command_options, note),
     "create: what it is for, as list shows it"},
    {"for", 0, OPTION_TEXT, "MACHINE", NULL, offsetof(struct token_command_options, machine),
     "create: to go on with that machine with a new key"},
    {"agents", 0, OPTION_FLAG, NULL, NULL, offsetof(struct token_command_options, is_with_agents),
     "revoke: the agents that it has let in, too"},
    CLI_OPTION_JSON(struct token_command_options),
    CLI_OPTION_END,
};

static void print_json(const json_t *json)
{
    AUTO_FREE char *text = json_format(json);
    fputs(text, stdout);
}

/* --- create --- */

static int read_options(const struct token_command_options *given, struct token_options *options,
                        struct error *err)
{
    *options =
        (struct token_options){.uses = given->uses, .note = given->note, .machine = given->machine};
    if (given->ttl && !lifetime_parse(given->ttl, &options->lifetime_seconds))
        return cli_usage(err, "--ttl: '%s' is no time (as 30m, 8h or 2d; ten years at most)",
                         given->ttl);
    if (given->uses > TOKEN_MAX_USES)
        return cli_usage(err, "--uses: at most %u", TOKEN_MAX_USES);
    if (given->machine && given->uses > 1)
        return cli_usage(err, "--for: one machine has one key, --uses can be 1 only");
    if (given->note && strlen(given->note) > TOKEN_MAX_NOTE)
        return cli_usage(err, "--note: at most %d characters", TOKEN_MAX_NOTE);
    return CLI_DONE;
}

struct wanted_token {
    const char *id;
    int64_t expires;
};

static void keep_expiry(void *context, const struct token_row *row)
{
    struct wanted_token *wanted = context;
    if (strcmp(row->id, wanted->id) == 0)
        wanted->expires = row->expires;
}

static void print_token(struct cli *cli, const struct token_command_options *given,
                        const char *token, const struct wanted_token *made)
{
    char expires[32];
    if (given->is_json) {
        AUTO_JSON object = json_object();
        json_set_text(object, "token", token);
        json_set_text(object, "id", made->id);
        json_object_set_new(object, "expires", json_integer(made->expires));
        print_json(object);
        return;
    }
    printf("%s\n", token);
    log_info(&cli->console.log, "token %s: %u %s, until %s", made->id,
             given->uses ? given->uses : 1, given->uses > 1 ? "uses" : "use",
             pool_format_time(made->expires, expires, sizeof(expires)));
}

static int create(struct cli *cli, const struct token_command_options *given,
                  const struct token_options *options, struct database *database, struct error *err)
{
    char token[WIRE_TOKEN_LENGTH + 1], id[16];
    if (token_create(database, options, token, id, err) != 0)
        return -1;
    struct wanted_token made = {.id = id};
    int result = token_list(database, keep_expiry, &made, err);
    if (result == 0)
        print_token(cli, given, token, &made);
    OPENSSL_cleanse(token, sizeof(token));
    return result;
}

/* --- list --- */

static const char *state_of(const struct token_row *row, int64_t now)
{
    if (row->is_revoked)
        return "revoked";
    if (row->used >= row->uses)
        return "used up";
    return now >= row->expires ? "expired" : "valid";
}

static void add_row(void *context, const struct token_row *row)
{
    json_t *object = json_object();
    json_set_text(object, "id", row->id);
    json_set_text(object, "state", state_of(row, time(NULL)));
    json_object_set_new(object, "created", json_integer(row->created));
    json_object_set_new(object, "expires", json_integer(row->expires));
    json_object_set_new(object, "uses", json_integer(row->uses));
    json_object_set_new(object, "used", json_integer(row->used));
    json_set_text(object, "machine", row->machine[0] ? row->machine : NULL);
    json_set_text(object, "note", row->note);
    json_array_append_new(context, object);
}

static json_int_t number(const json_t *row, const char *key)
{
    return json_integer_value(json_object_get(row, key));
}

static void print_table(const json_t *rows)
{
    size_t index;
    json_t *row;
    if (json_array_size(rows) == 0)
        printf("no tokens (rehost token create makes one)\n");
    else
        printf("%-6s %-8s %-12s %-17s %s\n", "ID", "STATE", "USED", "EXPIRES", "NOTE");
    json_array_foreach(rows, index, row)
    {
        char expires[32];
        AUTO_FREE char *used = text_format("%lld of %lld", (long long)number(row, "used"),
                                           (long long)number(row, "uses"));
        AUTO_FREE char *line =
            text_format("%-6s %-8s %-12s %-17s %s", json_string_value(json_object_get(row, "id")),
                        json_string_value(json_object_get(row, "state")), used,
                        pool_format_time(number(row, "expires"), expires, sizeof(expires)),
                        json_string_value(json_object_get(row, "note")));
        size_t length = strlen(line);
        while (length > 0 && line[length - 1] == ' ')
            line[--length] = '\0';
        printf("%s\n", line);
    }
}

static int list(const struct token_command_options *given, struct database *database,
                struct error *err)
{
    AUTO_JSON rows = json_array();
    if (token_list(database, add_row, rows, err) != 0)
        return -1;
    if (given->is_json)
        print_json(rows);
    else
        print_table(rows);
    return CLI_DONE;
}

/* --- revoke --- */

static int revoke(struct cli *cli, const struct token_command_options *given, const char *id,
                  struct database *database, struct error *err)
{
    unsigned agents = 0;
    int result = given->is_with_agents ? token_revoke_agents(database, id, &agents, err)
                                       : token_revoke(database, id, err);
    if (result == 0 && given->is_with_agents)
        log_info(&cli->console.log, "%u %s refused from their next connection on", agents,
                 agents == 1 ? "agent is" : "agents are");
    return result;
}

/* --- which of them --- */

enum action { ACTION_CREATE, ACTION_LIST, ACTION_REVOKE, ACTION_END };

static const char *const action_names[] = {"create", "list", "revoke"};

static enum action find_action(const char *name)
{
    for (int i = 0; i < ACTION_END; i++) {
        if (strcmp(action_names[i], name) == 0)
            return (enum action)i;
    }
    return ACTION_END;
}

static int check_usage(enum action action, const struct token_command_options *given,
                       const struct option_list *operands, struct error *err)
{
    size_t count = operands->count - 1;
    if (action == ACTION_END)
        return cli_usage(err, "'%s' is none of create, list, revoke", operands->items[0]);
    if (action == ACTION_REVOKE && count != 1)
        return cli_usage(err, "revoke needs the ID of one token, as rehost token list shows it");
    if (action != ACTION_REVOKE && count != 0)
        return cli_usage(err, "'%s' is one argument too many", operands->items[1]);
    if (action != ACTION_CREATE && (given->uses || given->ttl || given->note || given->machine))
        return cli_usage(err, "--uses, --ttl, --note and --for are for rehost token create");
    if (action != ACTION_REVOKE && given->is_with_agents)
        return cli_usage(err, "--agents is for rehost token revoke");
    if (action == ACTION_REVOKE && given->is_json)
        return cli_usage(err, "revoke has nothing to print as JSON");
    return CLI_DONE;
}

static int run(struct cli *cli, const void *values, const struct option_list *operands,
               struct error *err)
{
    const struct token_command_options *given = values;
    enum action action = find_action(operands->items[0]);
    struct token_options options;
    int code = check_usage(action, given, operands, err);
    if (code == CLI_DONE)
        code = read_options(given, &options, err);
    if (code != CLI_DONE)
        return code;
    AUTO(pool_use) use;
    code = pool_use_open(&use, given->pool, err);
    if (code != CLI_DONE)
        return code;
    if (action == ACTION_CREATE)
        return create(cli, given, &options, use.database, err);
    if (action == ACTION_LIST)
        return list(given, use.database, err);
    return revoke(cli, given, operands->items[1], use.database, err);
}

const struct command command_token = {
    .name = "token",
    .arguments = "create | list | revoke ID",
    .summary = "make, list and revoke the tokens that let agents in",
    .description = "create prints the token alone on its line. It is kept nowhere: note it now.\n",
    .options = token_options,
    .options_size = sizeof(struct token_command_options),
    .min_operands = 1,
    .max_operands = 2,
    .run = run,
};
