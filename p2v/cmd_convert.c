/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rehost convert: one machine, all its disks, into a folder that boots.
 */
#include "base/bytes.h"
#include "base/text.h"
#include "p2v/commands.h"
#include "p2v/convert.h"
#include "p2v/definition.h"

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

static void print_fixed(const struct convert *convert)
{
    AUTO(text) product = {0};
    const struct system *system = convert->fixing.system;
    const char *name = system && system->product ? system->product : "unknown system";
    text_add_escaped(&product, name, strlen(name));
    switch (convert->fix) {
    case CONVERT_FIXED:
        printf("fixed    %s: %zu changes in %.1f s\n", text_string(&product),
               convert->fixing.plan.edit_count, convert->fix_seconds);
        return;
    case CONVERT_NOTHING_TO_FIX:
        printf("fixed    %s: nothing to change\n", text_string(&product));
        return;
    case CONVERT_NOT_FIXED:
        printf("not fixed: %s\n", convert->fix_reason);
        return;
    }
}

static void print_tested(const struct convert *convert)
{
    const struct boot_result *boot = &convert->boot;
    if (!convert->is_boot_tested) {
        printf("not tested\n");
        return;
    }
    if (!boot->is_ok) {
        printf("boot test failed: %s\n", boot->problem);
        return;
    }
    printf("tested   booted to %s in %.0f s (%s)", boot_stage_name(boot->stage), boot->seconds,
           boot->accelerator);
    for (size_t i = 0; i < boot->nic_count; i++) {
        const struct boot_nic_result *nic = &boot->nics[i];
        if (nic->name)
            printf(", %s %s", nic->name, nic->is_ok ? "up" : "not seen");
    }
    if (boot->failed_count)
        printf(", %zu failed units", boot->failed_count);
    printf("\n");
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
    print_fixed(convert);
    print_tested(convert);
    bool is_good = !convert->is_boot_tested || convert->boot.is_ok;
    printf("%s: %s\n", convert->draft.final,
           is_good ? "the converted machine" : "the converted machine, which did not come up");
}

/* --- */

static bool is_boot_test_wanted(const struct convert *convert)
{
    bool is_unknown = !convert->options->is_fix_skipped && !fixing_knows_system(&convert->fixing);
    return !convert->options->is_boot_test_skipped && !is_unknown;
}

static int run_steps(struct convert *convert, const struct option_list *operands, struct error *err)
{
    if (convert_open(convert, operands, err) != 0 || convert_copy(convert, err) != 0 ||
        convert_fix(convert, err) != 0 || convert_publish(convert, err) != 0)
        return -1;
    if (is_boot_test_wanted(convert) && convert_boot_test(convert, err) != 0)
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
