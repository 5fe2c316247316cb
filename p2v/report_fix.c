/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What inspection found and what the fixers do, as JSON.
 */
#include "base/text.h"
#include "p2v/report.h"

#include <limits.h>
#include <string.h>

static json_t *kernel_json(const struct system_kernel *kernel)
{
    json_t *json = json_object();
    json_set_text(json, "version", kernel->version);
    json_set_text(json, "image", kernel->image);
    json_set_text(json, "initramfs", kernel->initramfs);
    json_set_bool(json, "has_virtio_pci", kernel->has_virtio_pci);
    json_set_bool(json, "has_virtio_blk", kernel->has_virtio_blk);
    json_set_bool(json, "has_virtio_scsi", kernel->has_virtio_scsi);
    json_set_bool(json, "has_virtio_net", kernel->has_virtio_net);
    return json;
}

static json_t *interface_json(const struct system_interface *interface)
{
    json_t *json = json_object();
    json_t *addresses = json_array();
    json_set_text(json, "name", interface->name);
    json_set_text(json, "mac", interface->mac);
    for (size_t i = 0; i < interface->address_count; i++)
        json_array_append_new(addresses, json_text(interface->addresses[i]));
    json_object_set_new(json, "addresses", addresses);
    json_set_text(json, "config", interface->config);
    return json;
}

static json_t *volume_json(const struct system_volume *volume)
{
    json_t *json = json_object();
    json_set_text(json, "device", volume->device);
    json_object_set_new(json, "disk",
                        volume->disk == UINT_MAX ? json_null() : json_integer(volume->disk));
    json_set_text(json, "type", volume->type);
    json_set_text(json, "uuid", volume->uuid);
    json_set_text(json, "label", volume->label);
    json_set_text(json, "mountpoint", volume->mountpoint);
    json_set_bytes(json, "size_bytes", volume->size_bytes);
    return json;
}

static void set_lists(json_t *json, const struct system *system)
{
    json_t *volumes = json_array(), *kernels = json_array(), *interfaces = json_array();
    for (size_t i = 0; i < system->volume_count; i++)
        json_array_append_new(volumes, volume_json(&system->volumes[i]));
    for (size_t i = 0; i < system->kernel_count; i++)
        json_array_append_new(kernels, kernel_json(&system->kernels[i]));
    for (size_t i = 0; i < system->interface_count; i++)
        json_array_append_new(interfaces, interface_json(&system->interfaces[i]));
    json_object_set_new(json, "volumes", volumes);
    json_object_set_new(json, "kernels", kernels);
    json_object_set_new(json, "interfaces", interfaces);
}

json_t *report_system(const struct system *system)
{
    static const char *const initramfs_names[] = {"unknown", "initramfs-tools", "dracut"};
    if (!system)
        return json_null();
    json_t *json = json_object();
    json_set_text(json, "type", system->type);
    json_set_text(json, "distro", system->distro);
    json_set_text(json, "version", system->version);
    json_set_text(json, "product", system->product);
    json_set_text(json, "hostname", system->hostname);
    json_set_text(json, "arch", system->arch);
    json_set_text(json, "machine_id", system->machine_id);
    json_set_text(json, "root", system->root);
    json_set_text(json, "firmware", system->firmware == SYSTEM_FIRMWARE_UEFI ? "uefi" : "bios");
    json_set_text(json, "initramfs", initramfs_names[system->initramfs]);
    json_set_text(json, "loader", system->loader == SYSTEM_LOADER_GRUB2 ? "grub2" : "unknown");
    json_set_bool(json, "has_systemd", system->has_systemd);
    json_set_text(json, "clock", system->is_clock_localtime ? "localtime" : "utc");
    set_lists(json, system);
    return json;
}

static json_t *edit_json(const struct edit *edit)
{
    static const char *const kinds[] = {"write", "append", "remove", "symlink", "copy"};
    json_t *json = json_object();
    json_set_text(json, "fixer", edit->fixer);
    json_set_text(json, "path", edit->path);
    json_set_text(json, "kind", kinds[edit->kind]);
    json_set_text(json, "reason", edit->reason);
    json_set_bytes(json, "bytes",
                   edit->kind == EDIT_COPY ? edit->needed_bytes : edit->after_length);
    if (edit->kind == EDIT_SYMLINK)
        json_set_text(json, "target", edit->after);
    if (edit->kind == EDIT_COPY)
        json_set_text(json, "source", edit->after);
    if (edit->kind != EDIT_WRITE)
        return json;
    AUTO(text) diff = {0};
    AUTO_FREE char *before = text_format("a%s", edit->path);
    AUTO_FREE char *after = text_format("b%s", edit->path);
    diff_unified(edit->before ? before : "/dev/null", edit->before ? edit->before : "", after,
                 edit->after, &diff);
    /* Newlines stay newlines in a diff; jansson escapes what JSON needs. */
    json_t *text = json_stringn(text_string(&diff), diff.length);
    json_object_set_new(json, "diff", text ? text : json_text_bytes(diff.data, diff.length));
    return json;
}

static json_t *note_json(const struct plan_note *note)
{
    json_t *json = json_object();
    json_set_text(json, "fixer", note->fixer);
    json_set_bool(json, "is_warning", note->is_warning);
    json_object_set_new(json, "text", json_string(note->text));
    return json;
}

static json_t *times_json(const struct bootfix_times *times)
{
    json_t *json = json_object();
    json_object_set_new(json, "launch", json_seconds(times->launch));
    json_object_set_new(json, "inspect", json_seconds(times->inspect));
    json_object_set_new(json, "plan", json_seconds(times->plan));
    json_object_set_new(json, "apply", json_seconds(times->apply));
    return json;
}

json_t *report_fix(const struct fixing *fixing, const char *result, const char *reason)
{
    json_t *json = json_object();
    json_t *edits = json_array(), *notes = json_array();
    json_set_text(json, "result", result);
    json_set_text(json, "reason", reason);
    for (size_t i = 0; i < fixing->plan.edit_count; i++)
        json_array_append_new(edits, edit_json(&fixing->plan.edits[i]));
    for (size_t i = 0; i < fixing->plan.note_count; i++)
        json_array_append_new(notes, note_json(&fixing->plan.notes[i]));
    json_object_set_new(json, "edits", edits);
    json_object_set_new(json, "notes", notes);
    json_object_set_new(json, "seconds", times_json(&fixing->times));
    return json;
}
