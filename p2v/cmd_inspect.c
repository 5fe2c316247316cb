/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rehost inspect: what is on the disks, what is used, and what would be fixed. Changes nothing.
 */
#include "base/bytes.h"
#include "base/text.h"
#include "p2v/commands.h"
#include "p2v/definition.h"
#include "p2v/fixing.h"
#include "p2v/report.h"
#include "p2v/sources.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct inspect_options {
    struct source_options sources;
    const char *root;
    struct option_list nics;
    bool is_disks_only, is_json;
};

#define ROW(name, letter, kind, argument, field, help)                                             \
    {                                                                                              \
        name, letter, kind, argument, NULL, offsetof(struct inspect_options, field), help          \
    }

static const struct option_spec inspect_options[] = {
    ROW("disks-only", 0, OPTION_FLAG, NULL, is_disks_only,
        "do not start the appliance that looks into the system"),
    ROW("source-format", 0, OPTION_LIST, "FMT", sources.formats,
        "of the sources: once for all, or once for each; else told from the header"),
    ROW("backing-folder", 0, OPTION_TEXT, "DIR", sources.backing_folder,
        "allow sources whose backing files lie in DIR"),
    ROW("root", 0, OPTION_TEXT, "DEVICE", root,
        "the system's root, as /dev/sda2, where there are several"),
    ROW("nic", 0, OPTION_LIST, "NAME=MAC", nics, "MAC of an interface; may be repeated"),
    CLI_OPTION_JSON(struct inspect_options),
    CLI_OPTION_END,
};

/* Text of the disk's or the guest's, safe for a terminal; "-" for none. */
static void add_guest_text(struct text *out, const char *text)
{
    if (text && text[0])
        text_add_escaped(out, text, strlen(text));
    else
        text_add(out, "-");
}

/* --- disks --- */

static void add_volume(struct text *out, const struct volume *volume)
{
    char size[32], used[32], start[32];
    const struct probe *probe = &volume->probe;
    text_addf(out, "  %-3u %10s %10s  %-12s ", volume->partition ? volume->partition->number : 0,
              bytes_format(volume->offset, start, sizeof(start)),
              bytes_format(volume->length, size, sizeof(size)),
              probe->is_ambiguous ? "several"
              : probe->type[0]    ? probe->type
                                  : "unknown");
    if (volume->map.is_certain)
        text_addf(out, "%10s used",
                  bytes_format(extents_total(&volume->map.used), used, sizeof(used)));
    else
        text_addf(out, "%10s used (%s)", "all", volume->map.doubt);
    if (probe->label[0])
        text_addf(out, "  label %s", probe->label);
    if (probe->uuid[0])
        text_addf(out, "  uuid %s", probe->uuid);
    text_add(out, "\n");
}

/* What of the disk a boot needs outside file systems. */
static void add_boot(struct text *out, const struct partition_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct partition *partition = &table->partitions[i];
        const char *role =
            strcmp(partition->type_guid, PARTITION_TYPE_ESP) == 0         ? "EFI system partition"
            : strcmp(partition->type_guid, PARTITION_TYPE_BIOS_BOOT) == 0 ? "BIOS boot partition"
            : partition->is_bootable                                      ? "active"
                                                                          : NULL;
        if (role)
            text_addf(out, "  partition %u: %s\n", partition->number, role);
    }
}

static void add_disk(struct text *out, const struct source *source)
{
    char size[32], used[32];
    const struct partition_table *table = &source->layout.table;
    add_guest_text(out, source->path);
    text_addf(out, ": %s, %s, %s table%s, %s to copy\n", source->format,
              bytes_format(source->block->size_bytes, size, sizeof(size)),
              table->kind == PARTITION_TABLE_NONE ? "no" : partition_table_kind_name(table->kind),
              table->is_doubtful ? " (doubtful)" : "",
              bytes_format(source->used_bytes, used, sizeof(used)));
    if (source->layout.count)
        text_addf(out, "  %-3s %10s %10s  %s\n", "#", "start", "size", "holds");
    for (size_t i = 0; i < source->layout.count; i++)
        add_volume(out, &source->layout.volumes[i]);
    add_boot(out, table);
}

/* --- the system --- */

static void add_kernels(struct text *out, const struct system *system)
{
    for (size_t i = 0; i < system->kernel_count; i++) {
        const struct system_kernel *kernel = &system->kernels[i];
        bool has_virtio =
            kernel->has_virtio_pci && kernel->has_virtio_blk && kernel->has_virtio_net;
        text_add(out, "  kernel ");
        add_guest_text(out, kernel->version);
        text_addf(out, ": virtio %s, initramfs ", has_virtio ? "yes" : "no");
        add_guest_text(out, kernel->initramfs);
        text_add(out, "\n");
    }
}

static void add_interfaces(struct text *out, const struct nics *nics)
{
    for (size_t i = 0; i < nics->count; i++) {
        const struct nic *nic = &nics->items[i];
        text_add(out, "  interface ");
        add_guest_text(out, nic->name);
        text_addf(out, ": %s (%s)", nic->mac, nic_origin_name(nic->origin));
        for (size_t k = 0; k < nic->address_count; k++) {
            text_add(out, k ? ", " : "  ");
            add_guest_text(out, nic->addresses[k]);
        }
        text_add(out, "\n");
    }
}

static void add_system(struct text *out, const struct fixing *fixing)
{
    const struct system *system = fixing->system;
    if (!fixing_knows_system(fixing)) {
        AUTO_FREE char *reason = fixing_why_unknown(fixing);
        text_addf(out, "system: %s\n", reason);
        return;
    }
    text_add(out, "system: ");
    add_guest_text(out, system->product);
    text_add(out, " on ");
    add_guest_text(out, system->root);
    text_add(out, ", host ");
    add_guest_text(out, system->hostname);
    text_addf(out, ", %s, %s\n", system->firmware == SYSTEM_FIRMWARE_UEFI ? "UEFI" : "BIOS",
              system->loader == SYSTEM_LOADER_GRUB2 ? "GRUB 2" : "unknown boot loader");
    add_kernels(out, system);
    add_interfaces(out, &fixing->nics);
}

static void add_plan(struct text *out, const struct plan *plan)
{
    text_addf(out, "would be fixed: %s\n", plan->edit_count ? "" : "nothing");
    for (size_t i = 0; i < plan->edit_count; i++) {
        text_addf(out, "  %s: ", plan->edits[i].fixer);
        add_guest_text(out, plan->edits[i].path);
        text_add(out, ": ");
        add_guest_text(out, plan->edits[i].reason);
        text_add(out, "\n");
    }
    for (size_t i = 0; i < plan->note_count; i++)
        text_addf(out, "  %s%s: %s\n", plan->notes[i].is_warning ? "not possible: " : "",
                  plan->notes[i].fixer, plan->notes[i].text);
}

static int look_into(struct fixing *fixing, const struct sources *sources,
                     const struct inspect_options *options, const struct nics *given,
                     struct log *log, struct error *err)
{
    struct bootfix_disk disks[GUEST_MAX_DISKS];
    AUTO_FREE char *machine_id = definition_machine_id(sources);
    struct fixing_options fixing_options = {
        .root = options->root, .given = given, .machine_id = machine_id};
    for (size_t i = 0; i < sources->count; i++)
        disks[i] = (struct bootfix_disk){sources->items[i].path, sources->items[i].format};
    int result = fixing_open(fixing, disks, sources->count, &fixing_options, log, err);
    if (result == 0 && fixing_knows_system(fixing))
        result = fixing_plan(fixing, err);
    fixing_close(fixing);
    return result;
}

/* --- output --- */

static void print_json(const struct sources *sources, const struct fixing *fixing)
{
    AUTO_JSON json = json_object();
    json_t *disks = json_array();
    for (size_t i = 0; i < sources->count; i++)
        json_array_append_new(disks, report_layout(&sources->items[i]));
    json_object_set_new(json, "disks", disks);
    json_object_set_new(json, "system", report_system(fixing->system));
    json_object_set_new(json, "nics", report_nics(&fixing->nics));
    json_object_set_new(json, "fix",
                        fixing->is_planned ? report_fix(fixing, "planned", NULL) : json_null());
    AUTO_FREE char *text = json_format(json);
    fputs(text, stdout);
}

static void print_disks(const struct sources *sources)
{
    AUTO(text) out = {0};
    for (size_t i = 0; i < sources->count; i++)
        add_disk(&out, &sources->items[i]);
    fputs(text_string(&out), stdout);
    fflush(stdout);
}

static void print_system(const struct fixing *fixing)
{
    AUTO(text) out = {0};
    add_system(&out, fixing);
    if (fixing->is_planned)
        add_plan(&out, &fixing->plan);
    fputs(text_string(&out), stdout);
}

static int inspect(struct cli *cli, const struct inspect_options *options,
                   const struct sources *sources, const struct nics *given, struct error *err)
{
    struct fixing fixing = {0};
    int result = 0;
    if (!options->is_json)
        print_disks(sources);
    if (!options->is_disks_only)
        result = look_into(&fixing, sources, options, given, &cli->console.log, err);
    if (options->is_json && result == 0)
        print_json(sources, &fixing);
    else if (!options->is_disks_only && result == 0)
        print_system(&fixing);
    fixing_fini(&fixing);
    return result;
}

static int run(struct cli *cli, const void *values, const struct option_list *operands,
               struct error *err)
{
    const struct inspect_options *options = values;
    struct sources sources = {0};
    size_t formats = options->sources.formats.count;
    if (operands->count > GUEST_MAX_DISKS)
        return cli_usage(err, "more than %d disks", GUEST_MAX_DISKS);
    if (formats > 1 && formats != operands->count)
        return cli_usage(err, "--source-format: %zu given for %zu sources", formats,
                         operands->count);
    struct nics *given = memory_new(1, sizeof(*given));
    int result = CLI_USAGE;
    if (nics_parse(&options->nics, given, err) == 0) {
        result = sources_open(&sources, operands, &options->sources, &cli->console.log, err);
        if (result == 0)
            result = inspect(cli, options, &sources, given, err);
        sources_close(&sources);
    }
    nics_fini(given);
    free(given);
    return result;
}

const struct command command_inspect = {
    .name = "inspect",
    .arguments = "SOURCE...",
    .summary = "show what is on these disks, what is used, what would be fixed",
    .description = "Each SOURCE is a disk image or a block device: one disk of the same machine, "
                   "in order.\n",
    .options = inspect_options,
    .options_size = sizeof(struct inspect_options),
    .min_operands = 1,
    .max_operands = SIZE_MAX,
    .run = run,
};
