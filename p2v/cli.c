/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Dispatches to the subcommands and turns their results into messages and exit codes.
 */
#include "p2v/cli.h"

#include "base/own.h"
#include "p2v/commands.h"
#include "p2v/interrupt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct command *const commands[] = {
    &command_inspect, &command_convert,     &command_fix,     &command_define,   &command_run,
    &command_vm,      &command_verify,      &command_serve,   &command_send,     &command_finish,
    &command_token,   &command_status,      &command_approve, &command_make_iso, &command_make_pxe,
    &command_formats, &command_filesystems, &command_fixers,  &command_targets,  NULL,
};

struct common_options {
    bool is_quiet, is_verbose, is_help;
};

const struct option_spec cli_common_options[] = {
    {"quiet", 'q', OPTION_FLAG, NULL, NULL, offsetof(struct common_options, is_quiet),
     "say nothing but errors"},
    {"verbose", 'v', OPTION_FLAG, NULL, NULL, offsetof(struct common_options, is_verbose),
     "say more"},
    {"help", 'h', OPTION_FLAG, NULL, NULL, offsetof(struct common_options, is_help), "this text"},
    CLI_OPTION_END,
};

const struct command *command_find(const char *name)
{
    for (size_t i = 0; commands[i]; i++) {
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    }
    return NULL;
}

/* --- help --- */

static void print_help(void)
{
    AUTO(text) out = {0};
    text_add(&out, "Usage: rehost COMMAND [OPTION...] [ARGUMENT...]\n"
                   "Moves a physical machine into a virtual one.\n\nCommands:\n");
    for (size_t i = 0; commands[i]; i++)
        text_addf(&out, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
    text_add(&out, "\n  rehost COMMAND --help explains a command; rehost --version\n"
                   "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done with warnings,\n"
                   "  4 boot test or verification failed, 5 not authorised, 6 no space\n");
    fputs(out.data, stdout);
}

static void print_command_help(const struct command *command)
{
    AUTO(text) out = {0};
    text_addf(&out, "Usage: rehost %s [OPTION...]%s%s\n%s.\n\n%s%s", command->name,
              command->arguments[0] ? " " : "", command->arguments, command->summary,
              command->description ? command->description : "", command->description ? "\n" : "");
    text_add(&out, "Options:\n");
    options_format_help(command->options, &out);
    options_format_help(cli_common_options, &out);
    fputs(out.data, stdout);
}

/* For the shell's completion and the tests that compare it: commands, or a command's options. */
static int print_names(const char *command_name)
{
    AUTO(text) out = {0};
    const struct command *command = command_name ? command_find(command_name) : NULL;
    if (command_name && !command)
        return CLI_USAGE;
    for (size_t i = 0; !command && commands[i]; i++)
        text_addf(&out, "%s\n", commands[i]->name);
    if (command) {
        options_format_names(command->options, &out);
        options_format_names(cli_common_options, &out);
    }
    fputs(text_string(&out), stdout);
    return CLI_DONE;
}

/* --- running a command --- */

static int exit_code_for(const struct error *err)
{
    if (interrupt_is_requested())
        return CLI_INTERRUPTED;
    return error_is_no_space(err) ? CLI_NO_SPACE : CLI_FAILED;
}

/* "convert web.img: it is empty", naming the object once. */
static void print_error(struct cli *cli, const struct command *command,
                        const struct option_list *operands, const struct error *err)
{
    AUTO(text) line = {0};
    text_add(&line, command->name);
    bool is_named = false;
    for (size_t i = 0; i < operands->count && !is_named; i++) {
        size_t length = strlen(operands->items[i]);
        is_named = strncmp(err->text, operands->items[i], length) == 0 && err->text[length] == ':';
    }
    if (is_named) {
        text_add(&line, " ");
    } else if (operands->count) {
        text_add(&line, " ");
        text_add_escaped(&line, operands->items[0], strlen(operands->items[0]));
        text_add(&line, ": ");
    } else {
        text_add(&line, ": ");
    }
    text_add(&line, err->text);
    console_error(&cli->console, text_string(&line));
}

static void print_usage_error(struct cli *cli, const char *command, const char *text)
{
    AUTO_FREE char *line =
        text_format("%s%s%s (see rehost %s%s--help)", command ? command : "", command ? ": " : "",
                    text, command ? command : "", command ? " " : "");
    console_error(&cli->console, line);
}

static int check_operands(const struct command *command, const struct option_list *operands,
                          struct error *err)
{
    if (operands->count < command->min_operands)
        return cli_usage(err, "it needs %s", command->arguments);
    if (operands->count > command->max_operands)
        return cli_usage(err, "'%s' is one argument too many",
                         operands->items[command->max_operands]);
    return CLI_DONE;
}

/* Output that did not get out is a failure, whatever the command thinks of itself. */
static int finish_output(int code, struct cli *cli)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    int cause = errno;
    struct error err = {0};
    error_set(&err, cause, "write to standard output");
    console_error(&cli->console, err.text);
    return code == CLI_DONE ? exit_code_for(&err) : code;
}

static int run_parsed(struct cli *cli, const struct command *command, const void *values,
                      const struct option_list *operands)
{
    struct error err = {0};
    int code = check_operands(command, operands, &err);
    if (code == CLI_DONE)
        code = command->run(cli, values, operands, &err);
    if (code == CLI_USAGE) {
        print_usage_error(cli, command->name, err.text);
        return code;
    }
    if (code != CLI_DONE && err.text[0] != '\0')
        print_error(cli, command, operands, &err);
    return code < 0 ? exit_code_for(&err) : code;
}

static int run_command(struct cli *cli, const struct command *command, int argc, char *argv[])
{
    struct common_options common = {0};
    struct option_list operands = {0};
    struct error err = {0};
    AUTO_FREE void *values = memory_new(1, command->options_size);
    const struct option_set sets[] = {{command->options, values}, {cli_common_options, &common}};
    int code;
    if (options_parse(sets, 2, argc, argv, &operands, &err) != 0) {
        print_usage_error(cli, command->name, err.text);
        code = CLI_USAGE;
    } else if (common.is_help) {
        print_command_help(command);
        code = CLI_DONE;
    } else {
        cli->console.is_quiet = common.is_quiet;
        cli->console.is_verbose = common.is_verbose;
        code = run_parsed(cli, command, values, &operands);
    }
    options_fini(&sets[0]);
    option_list_fini(&operands);
    return finish_output(code, cli);
}

static int run(struct cli *cli, int argc, char *argv[])
{
    const char *word = argc > 1 ? argv[1] : "";
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 ||
        (strcmp(word, "help") == 0 && argc == 2)) {
        print_help();
        return finish_output(CLI_DONE, cli);
    }
    if (strcmp(word, "--version") == 0) {
        printf("rehost %s\n", REHOST_VERSION);
        return finish_output(CLI_DONE, cli);
    }
    if (strcmp(word, "--list-commands") == 0 || strcmp(word, "--list-options") == 0)
        return finish_output(print_names(argc > 2 ? argv[2] : NULL), cli);
    bool is_help = strcmp(word, "help") == 0;
    const char *name = is_help ? argv[2] : word;
    const struct command *command = command_find(name);
    if (!command) {
        AUTO_FREE char *text =
            word[0] ? text_format("'%s' is no command", name) : text_copy("a command is missing");
        struct error err = {0};
        error_set(&err, 0, "%s", text);
        print_usage_error(cli, NULL, err.text);
        return CLI_USAGE;
    }
    if (is_help) {
        print_command_help(command);
        return finish_output(CLI_DONE, cli);
    }
    return run_command(cli, command, argc - 2, argv + 2);
}

int cli_main(int argc, char *argv[])
{
    struct cli cli;
    struct error err = {0};
    console_init(&cli.console);
    int code = CLI_FAILED;
    if (interrupt_start(&err) == 0)
        code = run(&cli, argc, argv);
    else
        console_error(&cli.console, err.text);
    console_fini(&cli.console);
    return code;
}
