/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rehost finish: what follows a transfer. `rehost serve` runs it for every machine; by hand it
 * takes up what was interrupted.
 */
#include "base/bytes.h"
#include "base/text.h"
#include "p2v/commands.h"
#include "p2v/finish.h"
#include "p2v/interrupt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROW(name, kind, argument, field, help)                                                     \
    {                                                                                              \
        name, 0, kind, argument, NULL, offsetof(struct finish_options, field), help                \
    }

static const struct option_spec finish_options[] = {
    ROW("root", OPTION_TEXT, "DEVICE", convert.root,
        "the system's root, as /dev/sda2, where there are several"),
    ROW("no-fix", OPTION_FLAG, NULL, convert.is_fix_skipped, "leave the disks as they came"),
    ROW("no-boot-test", OPTION_FLAG, NULL, convert.is_boot_test_skipped, "do not start the copy"),
    ROW("timeout", OPTION_NUMBER, "SECONDS", convert.timeout_seconds, "for the boot test"),
    ROW("stages", OPTION_FLAG, NULL, has_stages, "one JSON line a stage on standard error"),
    {"progress", 0, OPTION_TEXT, "HOW", progress_words,
     offsetof(struct finish_options, convert.progress), "auto, bar, json or none"},
    ROW("json", OPTION_FLAG, NULL, convert.is_json, "one JSON document on stdout"),
    CLI_OPTION_END,
};

/* --- the last words --- */

static void print_received(const struct finish *finish)
{
    for (size_t i = 0; i < finish->received.disk_count; i++) {
        const struct received_disk *disk = &finish->received.disks[i];
        char sent[32], had[32], size[32];
        AUTO(text) name = {0};
        text_add_escaped(&name, disk->name, strlen(disk->name));
        printf("received %s: %s sent, %s were there, of %s%s\n", text_string(&name),
               bytes_format(disk->sent_bytes, sent, sizeof(sent)),
               bytes_format(disk->had_bytes + disk->copied_bytes, had, sizeof(had)),
               bytes_format(disk->size_bytes, size, sizeof(size)),
               disk->unreadable_bytes ? ", with unreadable ranges" : "");
    }
}

static bool has_failed(const struct finish *finish)
{
    return finish->convert.is_boot_tested && !finish->convert.boot.is_ok;
}

static bool was_tested(const struct finish *finish)
{
    const char *result = json_text_of(finish->convert.report, "boot_test");
    return !finish->convert.is_boot_tested && strcmp(result, "passed") == 0;
}

static void print_result(const struct finish *finish)
{
    const struct convert *convert = &finish->convert;
    if (convert->options->is_json) {
        AUTO_FREE char *text = json_format(convert->report);
        fputs(text, stdout);
        return;
    }
    if (convert->cli->console.is_quiet)
        return;
    print_received(finish);
    if (!finish->is_only_tested)
        convert_print_fixed(convert);
    if (finish->unreadable_ranges)
        printf("missing  %zu unreadable range%s\n", finish->unreadable_ranges,
               finish->unreadable_ranges == 1 ? "" : "s");
    if (was_tested(finish))
        printf("tested   by an earlier run\n");
    else
        convert_print_tested(convert);
    if (has_failed(finish) && finish->place.is_update)
        printf("%s: as it was before\n", finish->place.final);
    else
        printf("%s: the converted machine%s\n", finish->place.final,
               has_failed(finish) ? ", which did not come up" : "");
}

/* An earlier run may have made the test; its report says how it went. */
static int code_of(struct finish *finish, struct error *err)
{
    const struct convert *convert = &finish->convert;
    if (!has_failed(finish))
        return convert->has_warnings ? CLI_WARNINGS : CLI_DONE;
    const char *where = finish->place.is_update ? finish->place.folder : finish->place.final;
    error_set(err, 0, "the boot test failed: %s (%s, the console is in %s/boot.log)",
              convert->boot.problem,
              finish->place.is_update ? "the machine stays as it was before this update"
                                      : "the machine is complete",
              where);
    return CLI_TEST_FAILED;
}

/* --- */

static int check_interrupt(struct error *err)
{
    return interrupt_is_requested() ? error_set(err, ECANCELED, "stopped") : 0;
}

/* Up to what can be put in its place. */
static int prepare(struct finish *finish, struct error *err)
{
    if (finish_load(finish, err) != 0)
        return -1;
    finish_tell_stage(finish, "fixing");
    if (convert_fix(&finish->convert, err) != 0 || check_interrupt(err) != 0)
        return -1;
    finish_tell_stage(finish, "describing");
    return finish_describe(finish, err);
}

static int run_steps(struct finish *finish, const char *path, struct error *err)
{
    if (finish_open(finish, path, err) != 0)
        return -1;
    if (!finish->is_only_tested) {
        int tested = prepare(finish, err);
        if (tested == 0 && finish->place.is_update)
            tested = finish_test_update(finish, err);
        if (tested < 0)
            return -1;
        if (tested == CLI_DONE && finish_put_in_place(finish, err) != 0)
            return -1;
        if (tested != CLI_DONE) {
            print_result(finish);
            return code_of(finish, err);
        }
    }
    if (finish_test_machine(finish, err) != 0)
        return -1;
    print_result(finish);
    return code_of(finish, err);
}

static int run(struct cli *cli, const void *values, const struct option_list *operands,
               struct error *err)
{
    const struct finish_options *options = values;
    struct finish *finish = memory_new(1, sizeof(*finish));
    AUTO_FREE char *parent = path_parent(operands->items[0]);
    AUTO_FREE char *base = path_base(operands->items[0]);
    AUTO_FREE char *path = path_join(parent, base);
    finish->options = options;
    finish->convert.cli = cli;
    finish->convert.options = &options->convert;
    finish->convert.log = &cli->console.log;
    finish->convert.draft.folder_fd = -1;
    finish->place.folder_fd = finish->place.base_fd = -1;
    cli->console.progress.mode = progress_mode_for(options->convert.progress, STDERR_FILENO);
    int code = run_steps(finish, path, err);
    finish_fini(finish);
    free(finish);
    return code;
}

const struct command command_finish = {
    .name = "finish",
    .arguments = "DIR",
    .summary = "fix, define and boot-test a machine that was received",
    .description =
        "DIR is the machine's folder in the pool, or what was received for it: DIR.partial or\n"
        "DIR.update. rehost serve does this by itself; it may be done again when interrupted.\n",
    .options = finish_options,
    .options_size = sizeof(struct finish_options),
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
