/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rehost status: how far every machine of a pool is, once or each second.
 */
#include "base/own.h"
#include "base/text.h"
#include "p2v/commands.h"
#include "p2v/interrupt.h"
#include "p2v/json.h"
#include "p2v/pool_use.h"
#include "p2v/status.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define WATCH_STEPS 20 /* a second is slept in so many, to end soon when asked to */

struct status_options {
    const char *pool;
    bool is_json, is_watching;
};

static const struct option_spec status_options[] = {
    CLI_OPTION_POOL(struct status_options),
    {"watch", 0, OPTION_FLAG, NULL, NULL, offsetof(struct status_options, is_watching),
     "again each second, until interrupted"},
    CLI_OPTION_JSON(struct status_options),
    CLI_OPTION_END,
};

/* --- the screen --- */

static unsigned screen_rows(void)
{
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 2 ? size.ws_row : 24;
}

/* From the top, each line cleared behind its end: nothing flickers. Too many are cut. */
static void draw(const char *lines)
{
    unsigned room = screen_rows() - 1;
    fputs("\033[H", stdout);
    while (*lines && room > 0) {
        size_t length = strcspn(lines, "\n");
        bool is_last = --room == 0 && lines[length] && lines[length + 1];
        printf("%.*s\033[K\n", is_last ? 3 : (int)length, is_last ? "..." : lines);
        lines += length + (lines[length] == '\n');
    }
    fputs("\033[J", stdout);
}

/* --- showing --- */

static void print_json(const struct status *status, bool is_watching)
{
    AUTO_JSON json = status_to_json(status);
    AUTO_FREE char *text = is_watching ? json_dumps(json, JSON_COMPACT) : json_format(json);
    if (text)
        printf("%s%s", text, is_watching ? "\n" : "");
}

static int show(const struct pool_use *use, const struct status_options *options, bool is_screen,
                struct error *err)
{
    AUTO(status) status;
    AUTO(text) lines = {0};
    if (status_read(&status, use->database, err) != 0)
        return -1;
    if (options->is_json) {
        print_json(&status, options->is_watching);
        return 0;
    }
    status_format(&status, use->pool.path, time(NULL), &lines);
    if (is_screen)
        draw(text_string(&lines));
    else
        printf("%s%s", text_string(&lines), options->is_watching ? "\n" : "");
    return 0;
}

/* Ends early when asked to. */
static void sleep_a_second(void)
{
    const struct timespec step = {.tv_nsec = 1000000000 / WATCH_STEPS};
    for (int i = 0; i < WATCH_STEPS && !interrupt_is_requested(); i++)
        nanosleep(&step, NULL);
}

/* Output that nobody takes any more ends it too; the caller of the command tells. */
static int watch(const struct pool_use *use, const struct status_options *options,
                 struct error *err)
{
    bool is_screen = isatty(STDOUT_FILENO) && !options->is_json;
    if (is_screen)
        fputs("\033[2J", stdout);
    while (!interrupt_is_requested()) {
        if (show(use, options, is_screen, err) != 0)
            return -1;
        if (fflush(stdout) != 0)
            break;
        sleep_a_second();
    }
    return 0;
}

static int run(struct cli *cli, const void *values, const struct option_list *operands,
               struct error *err)
{
    (void)cli, (void)operands;
    const struct status_options *options = values;
    AUTO(pool_use) use;
    int code = pool_use_open(&use, options->pool, err);
    if (code != CLI_DONE)
        return code;
    return options->is_watching ? watch(&use, options, err) : show(&use, options, false, err);
}

const struct command command_status = {
    .name = "status",
    .arguments = "",
    .summary = "how far every machine of the pool is, and who waits to be let in",
    .options = status_options,
    .options_size = sizeof(struct status_options),
    .run = run,
};
