/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A conversion's frame: opening, describing the result, publishing it, and cleaning up.
 */
#include "p2v/convert.h"

#include "base/text.h"
#include "p2v/interrupt.h"
#include "p2v/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

char *convert_path(const struct convert *convert, const char *name)
{
    return path_join(convert->draft.partial, name);
}

int convert_open(struct convert *convert, const struct option_list *paths, struct error *err)
{
    const struct convert_options *options = convert->options;
    if (sources_open(&convert->sources, paths, &options->sources, convert->log, err) != 0 ||
        sources_check_target(&convert->sources, options->output, err) != 0)
        return -1;
    convert->machine_id = definition_machine_id(&convert->sources);
    convert->report = report_new();
    convert->disks = memory_new(convert->sources.count, sizeof(struct convert_disk));
    convert->disk_count = convert->sources.count;
    for (size_t i = 0; i < convert->disk_count; i++) {
        convert->disks[i].name = definition_disk_name(i, convert->format);
        convert->disks[i].format = convert->format;
    }
    if (machine_draft_open(&convert->draft, options->output, options->is_forced, convert->log,
                           err) != 0)
        return -1;
    interrupt_set_cleanup(machine_draft_remove, &convert->draft);
    return 0;
}

/* What the copy gets instead of virtio is worth a word. */
static void tell_hardware(struct convert *convert, struct definition_hardware hardware)
{
    const struct system *system = convert->fixing.system;
    const char *kernel = system && system->kernel_count ? system->kernels[0].version : "unknown";
    if (hardware.bus != GUEST_BUS_VIRTIO_BLK || hardware.nic_model != GUEST_NIC_VIRTIO) {
        convert->has_warnings = true;
        log_warning(convert->log, "kernel %s has not all virtio drivers: disks on %s, network %s",
                    kernel, guest_bus_name(hardware.bus), guest_nic_model_name(hardware.nic_model));
    }
}

/* Who asks for no fix says that the machine needs none; who wanted one and got none, needs care. */
static struct definition_hardware hardware_for(struct convert *convert)
{
    if (convert->options->is_fix_skipped)
        return (struct definition_hardware){GUEST_BUS_VIRTIO_BLK, GUEST_NIC_VIRTIO};
    if (convert->fix == CONVERT_NOT_FIXED)
        return definition_hardware_for(NULL);
    struct definition_hardware hardware = definition_hardware_for(convert->fixing.system);
    tell_hardware(convert, hardware);
    return hardware;
}

int convert_define(struct convert *convert, struct error *err)
{
    const struct convert_options *options = convert->options;
    AUTO_FREE char *folder_name = path_base(convert->draft.final);
    const struct system *system = convert->fixing.system;
    struct definition_options definition = {.name = options->name,
                                            .folder_name = folder_name,
                                            .machine_id = convert->machine_id,
                                            .format = convert->format,
                                            .memory_bytes = options->memory_bytes,
                                            .cpus = options->cpus,
                                            .hardware = hardware_for(convert),
                                            .hints = &convert->hints};
    if (convert->fixing.nics.count == 0)
        nics_choose(NULL, &convert->given, convert->machine_id, &convert->fixing.nics,
                    convert->log);
    convert->guest = definition_new(&convert->sources, system, &convert->fixing.nics, &definition);
    if (guest_validate(convert->guest, false, err) != 0)
        return error_wrap(err, "%s", MACHINE_GUEST);
    return 0;
}

void convert_report_disks(struct convert *convert)
{
    json_t *disks = json_object_get(convert->report, "disks");
    uint64_t data_bytes = 0;
    for (size_t i = 0; i < convert->sources.count; i++) {
        const struct convert_disk *disk = &convert->disks[i];
        struct report_disk entry = {.source = &convert->sources.items[i],
                                    .path = disk->name,
                                    .format = convert->format,
                                    .copy = &disk->copy,
                                    .manifest = &disk->manifest,
                                    .seconds = disk->seconds};
        json_array_append_new(disks, report_disk(&entry));
        data_bytes += disk->copy.counts.data_bytes;
    }
    report_add_step(convert->report, "copy", convert->copy_seconds, data_bytes);
}

static void fill_report(struct convert *convert)
{
    static const char *const results[] = {
        [CONVERT_NOT_FIXED] = "not fixed",
        [CONVERT_FIXED] = "fixed",
        [CONVERT_NOTHING_TO_FIX] = "nothing to change",
    };
    json_object_set_new(convert->report, "fix",
                        report_fix(&convert->fixing, results[convert->fix],
                                   convert->fix_reason[0] ? convert->fix_reason : NULL));
    if (!convert->options->is_fix_skipped)
        report_add_step(convert->report, "fix", convert->fix_seconds, convert->fix_bytes);
    report_set_warnings(convert->report, &convert->cli->console);
}

/* An agent that saw the machine itself has sent a better one. */
static int write_inventory(const struct convert *convert, struct error *err)
{
    if (folder_has(convert->draft.folder_fd, MACHINE_INVENTORY))
        return 0;
    AUTO_JSON inventory =
        report_inventory(&convert->sources, convert->fixing.system, &convert->fixing.nics);
    return json_write(inventory, convert->draft.folder_fd, MACHINE_INVENTORY, err);
}

int convert_describe(struct convert *convert, struct error *err)
{
    int folder_fd = convert->draft.folder_fd;
    if (write_inventory(convert, err) != 0)
        return -1;
    fill_report(convert);
    if (json_write(convert->report, folder_fd, MACHINE_REPORT, err) != 0)
        return -1;
    return guest_write(convert->guest, folder_fd, MACHINE_GUEST, err);
}

int convert_publish(struct convert *convert, struct error *err)
{
    if (interrupt_is_requested())
        return error_set(err, ECANCELED, "stopped");
    interrupt_set_cleanup(NULL, NULL);
    return machine_draft_publish(&convert->draft, convert->log, err);
}

void convert_fini(struct convert *convert)
{
    interrupt_set_cleanup(NULL, NULL);
    fixing_fini(&convert->fixing);
    if (convert->fix_disks)
        fix_disks_fini(convert->fix_disks);
    free(convert->fix_disks);
    machine_draft_fini(&convert->draft);
    for (size_t i = 0; i < convert->disk_count; i++) {
        free(convert->disks[i].name);
        copy_result_fini(&convert->disks[i].copy);
        manifest_fini(&convert->disks[i].manifest);
    }
    free(convert->disks);
    sources_close(&convert->sources);
    nics_fini(&convert->given);
    guest_free(convert->guest);
    json_decref(convert->report);
    boot_result_fini(&convert->boot);
    free(convert->machine_id);
}
