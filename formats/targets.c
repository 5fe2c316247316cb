/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The platforms that a definition can be rendered for, and what their writers share.
 */
#include "formats/target.h"

#include <ctype.h>
#include <string.h>

const struct guest_target *const guest_targets[] = {
    &guest_target_qemu,
    &guest_target_libvirt,
    NULL,
};

const struct guest_target *guest_target_find(const char *name)
{
    for (size_t i = 0; guest_targets[i] != NULL; i++) {
        if (strcmp(guest_targets[i]->name, name) == 0)
            return guest_targets[i];
    }
    return NULL;
}

bool target_has_bus(const struct guest *guest, enum guest_bus bus)
{
    for (size_t i = 0; i < guest->disk_count; i++) {
        if (guest->disks[i].bus == bus)
            return true;
    }
    return false;
}

bool target_is_q35(const struct guest *guest)
{
    return !target_has_bus(guest, GUEST_BUS_IDE);
}

int target_check(const struct guest *guest, struct error *err)
{
    if (guest_validate(guest, true, err) < 0)
        return -1;
    if (guest->secure_boot && !target_is_q35(guest))
        return error_set(err, 0, "firmware.secure_boot: not possible with a disk on bus \"ide\"");
    return 0;
}

bool target_has_serial(const struct guest *guest)
{
    return guest->console == NULL || strcmp(guest->console, "vga") != 0;
}

bool target_has_vga(const struct guest *guest)
{
    return guest->console == NULL || strcmp(guest->console, "serial") != 0;
}

const char *target_serial(const struct guest_disk *disk, char *buffer, size_t limit)
{
    size_t length = 0;

    for (const char *at = disk->serial; at != NULL && *at != 0 && length < limit; at++) {
        bool is_plain = isalnum((unsigned char)*at) || strchr("_.+- ", *at) != NULL;

        buffer[length++] = is_plain ? *at : '_';
    }
    buffer[length] = 0;
    return buffer;
}
