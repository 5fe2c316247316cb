/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The command line: the table of subcommands, their options, and the exit codes.
 *
 * A command returns an exit code, or -1 with the reason in err. Only cli.c and console.c print to
 * stderr; commands write their results to stdout.
 */
#ifndef P2V_CLI_H
#define P2V_CLI_H

#include "base/error.h"
#include "p2v/console.h"
#include "p2v/options.h"

#include <stddef.h>

enum cli_exit {
    CLI_DONE = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_WARNINGS = 3,    /* done, but: unreadable ranges, a fix skipped */
    CLI_TEST_FAILED = 4, /* boot test or verification */
    CLI_NOT_AUTHORISED = 5,
    CLI_NO_SPACE = 6,
    CLI_INTERRUPTED = 130,
};

struct cli {
    struct console console;
};

struct command {
    const char *name;
    const char *arguments;             /* "SOURCE... -o DIR" */
    const char *summary;               /* one line, for `rehost --help` */
    const char *description;           /* for `rehost NAME --help`: some lines, each ended */
    const struct option_spec *options; /* ends with name NULL */
    size_t options_size;               /* of the struct that they fill */
    size_t min_operands, max_operands;
    /* The options' values; what it returns: see above. */
    int (*run)(struct cli *cli, const void *options, const struct option_list *operands,
               struct error *err);
};

/* Ends with NULL; in the order of --help. */
extern const struct command *const commands[];
const struct command *command_find(const char *name); /* NULL when there is none */

/* For commands: the text goes into err; returns CLI_USAGE. */
int cli_usage(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Everything but the process: parses, runs, prints errors, returns the exit code. */
int cli_main(int argc, char *argv[]);

/* The options that every command has, for the listing. */
extern const struct option_spec cli_common_options[];

/* Rows shared by several tables. */
#define CLI_OPTION_JSON(type)                                                                      \
    {                                                                                              \
        "json", 0, OPTION_FLAG, NULL, NULL, offsetof(type, is_json), "one JSON document on stdout" \
    }
#define CLI_OPTION_PROGRESS(type)                                                                  \
    {                                                                                              \
        "progress", 0, OPTION_TEXT, "HOW", progress_words, offsetof(type, progress),               \
            "auto, bar, json or none"                                                              \
    }
#define CLI_OPTION_END                                                                             \
    {                                                                                              \
        NULL, 0, OPTION_FLAG, NULL, NULL, 0, NULL                                                  \
    }

#endif
