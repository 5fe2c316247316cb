/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The description of an operating system: freeing it, and finding volumes in it by name.
 */
#include "bootfix/system.h"

#include "base/text.h"
#include "bootfix/spec.h"

#include <stdlib.h>
#include <string.h>

static void volume_fini(struct system_volume *volume)
{
    free(volume->device);
    free(volume->type);
    free(volume->uuid);
    free(volume->label);
    free(volume->partuuid);
    free(volume->mountpoint);
}

static void kernel_fini(struct system_kernel *kernel)
{
    free(kernel->version);
    free(kernel->image);
    free(kernel->initramfs);
    free(kernel->modules);
}

void system_interface_fini(struct system_interface *interface)
{
    free(interface->name);
    free(interface->mac);
    for (size_t i = 0; i < interface->address_count; i++)
        free(interface->addresses[i]);
    free(interface->config);
    *interface = (struct system_interface){0};
}

static void free_strings(struct system *system)
{
    free(system->root);
    free(system->type);
    free(system->distro);
    free(system->version);
    free(system->product);
    free(system->hostname);
    free(system->arch);
    free(system->machine_id);
    free(system->grub_config);
}

void system_free(struct system *system)
{
    if (!system)
        return;
    for (size_t i = 0; i < system->volume_count; i++)
        volume_fini(&system->volumes[i]);
    for (size_t i = 0; i < system->kernel_count; i++)
        kernel_fini(&system->kernels[i]);
    for (size_t i = 0; i < system->interface_count; i++)
        system_interface_fini(&system->interfaces[i]);
    free(system->volumes);
    free(system->kernels);
    free(system->interfaces);
    free_strings(system);
    free(system);
}

/* "/dev/mapper/vg-my--lv" is "/dev/vg/my-lv": LVM doubles the dashes of names. */
static char *logical_volume_name(const char *spec)
{
    if (!text_starts_with(spec, "/dev/mapper/"))
        return text_copy(spec);
    AUTO(text) name = {0};
    text_add(&name, "/dev/");
    bool is_divided = false;
    for (const char *at = spec + strlen("/dev/mapper/"); *at; at++) {
        bool is_double = at[0] == '-' && at[1] == '-';
        bool is_divider = *at == '-' && !is_double && !is_divided;
        text_add_bytes(&name, is_divider ? "/" : at, 1);
        is_divided |= is_divider;
        at += is_double;
    }
    return text_take(&name);
}

const struct system_volume *system_find_volume(const struct system *system, const char *name)
{
    struct spec spec;
    spec_parse((struct span){name, strlen(name)}, &spec);
    if (spec.kind != SPEC_OTHER)
        return spec_find_volume(system, &spec, NULL);
    AUTO_FREE char *device = logical_volume_name(name);
    for (size_t i = 0; i < system->volume_count; i++) {
        const char *other = system->volumes[i].device;
        if (other && (strcmp(other, name) == 0 || strcmp(other, device) == 0))
            return &system->volumes[i];
    }
    return NULL;
}
