/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rehost fix DIR: all disks of a converted machine together. Its definition names the overlays only
 * once all of them are complete.
 */
#include "base/text.h"
#include "p2v/definition.h"
#include "p2v/fix_command.h"
#include "p2v/interrupt.h"
#include "p2v/machine.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the definition says already is kept: --nic first, then the NICs that have a name. */
static void add_known_nics(struct fix_run *fix, const struct guest *guest)
{
    struct nics *given = &fix->given;
    for (size_t i = 0; i < guest->nic_count && given->count < GUEST_MAX_NICS; i++) {
        const struct guest_nic *nic = &guest->nics[i];
        bool is_given = !nic->name;
        for (size_t k = 0; k < given->count && !is_given; k++)
            is_given = strcmp(given->items[k].name, nic->name) == 0;
        if (is_given)
            continue;
        struct nic *added = &given->items[given->count++];
        *added = (struct nic){.name = text_copy(nic->name), .origin = NIC_GIVEN};
        snprintf(added->mac, sizeof(added->mac), "%s", nic->mac);
    }
}

static int fix_dry(struct fix_run *fix, const struct machine *machine, struct error *err)
{
    const struct guest *guest = machine->guest;
    struct bootfix_disk disks[GUEST_MAX_DISKS];
    char *paths[GUEST_MAX_DISKS];
    for (size_t i = 0; i < guest->disk_count; i++) {
        paths[i] = path_join(machine->path, guest->disks[i].path);
        disks[i] = (struct bootfix_disk){paths[i], guest->disks[i].format};
    }
    int result = fix_run_fixers(fix, disks, guest->disk_count, guest->uuid, err);
    for (size_t i = 0; i < guest->disk_count; i++)
        free(paths[i]);
    return result;
}

/* Into the disk itself; its manifest, where it has one, goes with it. */
static int commit_disk(struct fix_run *fix, const struct machine *machine, size_t index,
                       struct error *err)
{
    AUTO(manifest) manifest = {0};
    AUTO_FREE char *name = machine_manifest_name(index);
    uint64_t changed = 0;
    int found = machine_read_manifest(machine, index, &manifest, err);
    if (found < 0)
        return -1;
    bool is_described =
        found == 1 && strcmp(manifest.image, machine->guest->disks[index].path) == 0;
    if (fix_disks_commit(&fix->disks, index, is_described ? &manifest : NULL, &changed, err) != 0)
        return -1;
    return is_described ? manifest_write(&manifest, machine->folder_fd, name, err) : 0;
}

static int keep_overlay(struct fix_run *fix, const struct machine *machine, size_t index,
                        struct error *err)
{
    struct guest_disk *disk = &machine->guest->disks[index];
    AUTO_FREE char *name = text_format("disk%zu.fixed.qcow2", index);
    AUTO_FREE char *path = path_join(machine->path, name);
    int is_kept = fix_disks_keep(&fix->disks, index, path, err);
    if (is_kept <= 0)
        return is_kept;
    disk->backing = take_ptr(&disk->path);
    disk->path = take_ptr(&name);
    free(disk->format);
    disk->format = text_copy("qcow2");
    snprintf(fix->result, sizeof(fix->result), "%s", path);
    return 0;
}

/* A copy that was not fixed before has hardware for the doubtful; now it can have virtio. */
static void upgrade_hardware(struct guest *guest, const struct fixing *fixing)
{
    struct definition_hardware hardware = definition_hardware_for(fixing->system);
    bool has_names = false;
    for (size_t i = 0; i < guest->disk_count; i++) {
        if (guest->disks[i].bus == GUEST_BUS_SATA)
            guest->disks[i].bus = hardware.bus;
    }
    for (size_t i = 0; i < fixing->nics.count; i++)
        has_names |= fixing->nics.items[i].name != NULL;
    if (has_names || guest->nic_count == 0)
        definition_set_nics(guest, &fixing->nics, hardware.nic_model);
    if (strcmp(guest->os_type ? guest->os_type : "unknown", "unknown") == 0)
        definition_set_system(guest, fixing->system);
}

/* The old report goes on being true but for the fix; what was tested before is not this. */
static int update_report(const struct fix_run *fix, const struct machine *machine,
                         struct error *err)
{
    if (!folder_has(machine->folder_fd, MACHINE_REPORT))
        return 0;
    AUTO_JSON report = json_read(machine->folder_fd, MACHINE_REPORT, err);
    if (!report)
        return -1;
    json_object_set_new(report, "fix", report_fix(&fix->fixing, "fixed", NULL));
    json_set_text(report, "boot_test", REPORT_NOT_TESTED);
    json_object_set_new(report, "boot", json_null());
    return json_write(report, machine->folder_fd, MACHINE_REPORT, err);
}

/* An overlay of an earlier fix takes the new changes itself: no chain grows. */
static bool is_in_place(const struct fix_run *fix, const struct guest *guest)
{
    bool has_overlay = false;
    for (size_t i = 0; i < guest->disk_count; i++)
        has_overlay |= guest->disks[i].backing != NULL;
    return fix->options->is_in_place || has_overlay;
}

static int commit_all(struct fix_run *fix, const struct machine *machine, struct error *err)
{
    for (size_t i = 0; i < machine->guest->disk_count; i++) {
        if (fix->disks.items[i].is_sealed && commit_disk(fix, machine, i, err) != 0)
            return -1;
    }
    fix_disks_finish(&fix->disks);
    fix_disks_fini(&fix->disks);
    return 0;
}

/* What an interrupted run had begun to write into the disks is written to its end first. */
static int recover(struct fix_run *fix, const struct machine *machine, struct error *err)
{
    const struct guest *guest = machine->guest;
    log_info(&fix->cli->console.log, "finishing an interrupted fix");
    for (size_t i = 0; i < guest->disk_count; i++) {
        if (fix_disks_attach(&fix->disks, machine->path, guest->disks[i].path,
                             guest->disks[i].format, err) < 0)
            return -1;
    }
    return commit_all(fix, machine, err);
}

static int keep_disks(struct fix_run *fix, const struct machine *machine, struct error *err)
{
    if (is_in_place(fix, machine->guest))
        return fix_disks_seal(&fix->disks, err) == 0 ? commit_all(fix, machine, err) : -1;
    for (size_t i = 0; i < machine->guest->disk_count; i++) {
        if (keep_overlay(fix, machine, i, err) != 0)
            return -1;
    }
    return 0;
}

/* The definition follows what was found, also when an earlier run made the changes. */
static int update_definition(const struct fix_run *fix, const struct machine *machine,
                             struct error *err)
{
    AUTO_FREE char *before = guest_format(machine->guest, err);
    if (!before)
        return -1;
    upgrade_hardware(machine->guest, &fix->fixing);
    AUTO_FREE char *after = guest_format(machine->guest, err);
    if (!after)
        return -1;
    if (fix->outcome == FIX_NOTHING && strcmp(before, after) == 0)
        return 0;
    return guest_write(machine->guest, machine->folder_fd, MACHINE_GUEST, err);
}

static int fix_on_overlays(struct fix_run *fix, const struct machine *machine, struct error *err)
{
    const struct guest *guest = machine->guest;
    interrupt_set_cleanup(fix_disks_remove, &fix->disks);
    for (size_t i = 0; i < guest->disk_count; i++) {
        if (fix_disks_add(&fix->disks, machine->path, guest->disks[i].path, guest->disks[i].format,
                          NULL, err) != 0)
            return -1;
    }
    if (fix_run_fixers(fix, fix->disks.disks, guest->disk_count, guest->uuid, err) != 0)
        return -1;
    interrupt_set_cleanup(NULL, NULL);
    if (fix->outcome == FIX_UNKNOWN_SYSTEM)
        return 0;
    if (fix->outcome == FIX_DONE &&
        (keep_disks(fix, machine, err) != 0 || update_report(fix, machine, err) != 0))
        return -1;
    return update_definition(fix, machine, err);
}

/* Overlays of killed runs: the folder is locked, so nobody else is at work on them. */
static void remove_leftovers(const struct machine *machine)
{
    AUTO_CLOSE int fd = openat(machine->folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder)
        return;
    take_fd(&fd);
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        const char *name = entry->d_name;
        if (name[0] == '.' && strstr(name, ".fix-") && text_ends_with(name, ".partial"))
            unlinkat(machine->folder_fd, name, 0);
    }
    closedir(folder);
}

static int fix_wet(struct fix_run *fix, const struct machine *machine, bool is_sealed,
                   struct error *err)
{
    remove_leftovers(machine);
    if (is_sealed && recover(fix, machine, err) != 0)
        return -1;
    return fix_on_overlays(fix, machine, err);
}

int fix_machine(struct fix_run *fix, const char *path, struct error *err)
{
    struct machine machine;
    bool is_dry = fix->options->is_dry_run;
    if (machine_open(&machine, path, is_dry ? MACHINE_READ : MACHINE_WRITE, err) != 0)
        return -1;
    int result = -1;
    bool is_sealed = machine.guest->disk_count > 0 &&
                     fix_disks_are_sealed(machine.path, machine.guest->disks[0].path);
    add_known_nics(fix, machine.guest);
    if (is_dry && is_sealed)
        error_set(err, 0, "an interrupted fix has to be finished first: rehost fix %s", path);
    else
        result = is_dry ? fix_dry(fix, &machine, err) : fix_wet(fix, &machine, is_sealed, err);
    machine_fini(&machine);
    return result;
}
