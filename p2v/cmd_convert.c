/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rehost convert: one machine, all its disks, into a folder that boots.
 */
#include "base/bytes.h"
#include "p2v/commands.h"
#include "p2v/convert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROW(name, letter, kind, argument, field, help)                                             \
    {                                                                                              \
        name, letter, kind, argument, NULL, offsetof(struct convert_options, field), help          \
    }

static const struct option_spec convert_options[] = {
    ROW("output", 'o', OPTION_TEXT, "DIR", output, "the folder to make"),
    ROW("format", 0, OPTION_TEXT, "FMT", format, "of the copies: qcow2 (default) or raw"),
    ROW("compress", 0, OPTION_FLAG, NULL, is_compressed, "store zstd-compressed clusters"),
    ROW("source-format", 0, OPTION_LIST, "FMT", sources.formats,
        "of the sources: once for all, or once for each; else told from the header"),
    ROW("backing-folder", 0, OPTION_TEXT, "DIR", sources.backing_folder,
        "allow sources whose backing files lie in DIR"),
    ROW("force", 0, OPTION_FLAG, NULL, is_forced, "replace a converted machine in DIR"),
    ROW("name", 0, OPTION_TEXT, "NAME", name, "of the machine; else its host name"),
    ROW("memory", 0, OPTION_SIZE, "SIZE", memory_bytes, "of the machine: 2G"),
    ROW("cpus", 0, OPTION_NUMBER, "N", cpus, "of the machine"),
    ROW("nic", 0, OPTION_LIST, "NAME=MAC", nics, "MAC of an interface; may be repeated"),
    ROW("root", 0, OPTION_TEXT, "DEVICE", root,
        "the system's root, as /dev/sda2, where there are several"),
    ROW("no-fix", 0, OPTION_FLAG, NULL, is_fix_skipped, "copy only"),
    ROW("no-boot-test", 0, OPTION_FLAG, NULL, is_boot_test_skipped, "do not start the copy"),
    ROW("timeout", 0, OPTION_NUMBER, "SECONDS", timeout_seconds, "for the boot test"),
    CLI_OPTION_PROGRESS(struct convert_options),
    CLI_OPTION_JSON(struct convert_options),
    CLI_OPTION_END,
};

static int check_options(const struct convert_options *options, size_t source_count,
                         struct error *err)
{
    const char *format = options->format ? options->format : "qcow2";
    const struct image_driver *driver = image_driver_find(format);
    if (!options->output)
        return cli_usage(err, "-o DIR is missing");
    if (!driver || !driver->create)
        return cli_usage(err, "--format: '%s' cannot be written (see rehost formats)", format);
    if (options->is_compressed && !driver->can_compress)
        return cli_usage(err, "--compress: %s has no compression", format);
    if (source_count > GUEST_MAX_DISKS)
        return cli_usage(err, "more than %d disks", GUEST_MAX_DISKS);
    size_t formats = options->sources.formats.count;
    if (formats > 1 && formats != source_count)
        return cli_usage(err, "--source-format: %zu given for %zu sources", formats, source_count);
    for (size_t i = 0; i < formats; i++) {
        if (!image_driver_find(options->sources.formats.items[i]))
            return cli_usage(err, "--source-format: '%s' is no format (see rehost formats)",
                             options->sources.formats.items[i]);
    }
    if (options->name && !definition_name_is_valid(options->name))
        return cli_usage(err, "--name: '%s' is not 1 to 63 of A-Z a-z 0-9 . _ -", options->name);
    if (options->memory_bytes % MIB || options->memory_bytes > GUEST_MAX_MEMORY)
        return cli_usage(err, "--memory: not a multiple of 1M up to 16T");
    if (options->cpus > 512)
        return cli_usage(err, "--cpus: more than 512");
    return CLI_DONE;
}

/* --- the last words --- */

static void print_copied(const struct convert *convert)
{
    for (size_t i = 0; i < convert->sources.count; i++) {
        const struct convert_disk *disk = &convert->disks[i];
        char data[32], size[32];
        printf("copied   %s: %s of %s in %.1f s%s\n", disk->name,
               bytes_format(disk->copy.counts.data_bytes, data, sizeof(data)),
               bytes_format(convert->sources.items[i].block->size_bytes, size, sizeof(size)),
               disk->seconds, disk->copy.unreadable.count ? ", with unreadable ranges" : "");
    }
}

static void print_result(const struct convert *convert)
{
    if (convert->options->is_json) {
        AUTO_FREE char *text = json_format(convert->report);
        fputs(text, stdout);
        return;
    }
    if (convert->cli->console.is_quiet)
        return;
    print_copied(convert);
    convert_print_fixed(convert);
    convert_print_tested(convert);
    bool is_good = !convert->is_boot_tested || convert->boot.is_ok;
    printf("%s: %s\n", convert->draft.final,
           is_good ? "the converted machine" : "the converted machine, which did not come up");
}

/* --- */

static int run_steps(struct convert *convert, const struct option_list *operands, struct error *err)
{
    if (convert_open(convert, operands, err) != 0 || convert_copy(convert, err) != 0 ||
        convert_fix(convert, err) != 0 || convert_commit(convert, err) != 0)
        return -1;
    convert_report_disks(convert);
    if (convert_define(convert, err) != 0 || convert_describe(convert, err) != 0 ||
        convert_publish(convert, err) != 0)
        return -1;
    if (convert_is_test_wanted(convert) && convert_boot_test(convert, err) != 0)
        return -1;
    print_result(convert);
    if (convert->is_boot_tested && !convert->boot.is_ok) {
        error_set(err, 0,
                  "the boot test failed: %s (the machine is in %s, its console in "
                  "%s/boot.log)",
                  convert->boot.problem, convert->draft.final, convert->draft.final);
        return CLI_TEST_FAILED;
    }
    return convert->has_warnings ? CLI_WARNINGS : CLI_DONE;
}

static int run(struct cli *cli, const void *values, const struct option_list *operands,
               struct error *err)
{
    const struct convert_options *options = values;
    int code = check_options(options, operands->count, err);
    if (code != CLI_DONE)
        return code;
    struct convert *convert = memory_new(1, sizeof(*convert));
    convert->cli = cli;
    convert->options = options;
    convert->format = options->format ? options->format : "qcow2";
    convert->log = &cli->console.log;
    convert->draft.folder_fd = -1;
    cli->console.progress.mode = progress_mode_for(options->progress, STDERR_FILENO);
    code = nics_parse(&options->nics, &convert->given, err) == 0 ? run_steps(convert, operands, err)
                                                                 : CLI_USAGE;
    convert_fini(convert);
    free(convert);
    return code;
}

const struct command command_convert = {
    .name = "convert",
    .arguments = "SOURCE... -o DIR",
    .summary = "copy a machine's disks, fix the copy, define and boot-test it",
    .description = "Each SOURCE is a disk image or a block device: one disk of the same machine, "
                   "in order.\nThe sources are only read. DIR appears when it is complete.\n",
    .options = convert_options,
    .options_size = sizeof(struct convert_options),
    .min_operands = 1,
    .max_operands = SIZE_MAX,
    .run = run,
};
