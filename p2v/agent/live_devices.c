/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Walks from a disk up to everything that is made of it. A btrfs of several devices has one number
 * of its own; its other devices are counted in, so that whichever the mount names is found.
 */
#include "p2v/agent/live_devices.h"

#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/inventory_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Loops cannot occur in sysfs; this many devices above one disk do not either. */
#define MAX_DEVICES 4096u

void live_devices_fini(struct live_devices *devices)
{
    free(devices->items);
    *devices = (struct live_devices){0};
}

bool live_devices_have(const struct live_devices *devices, unsigned major, unsigned minor)
{
    for (size_t i = 0; i < devices->count; i++) {
        if (devices->items[i].major == major && devices->items[i].minor == minor)
            return true;
    }
    return false;
}

/* `folder` is one in sysfs that has "dev". */
static bool add_device(const char *root, const char *folder, struct live_devices *devices)
{
    struct live_device device = {0};
    AUTO_FREE char *numbers = inventory_text(root, "%s/dev", folder);
    AUTO_FREE char *name = inventory_link_name(root, "%s", folder);
    if (sscanf(numbers, "%u:%u", &device.major, &device.minor) != 2 ||
        strlen(name) >= sizeof(device.name) || devices->count == MAX_DEVICES)
        return false;
    if (live_devices_have(devices, device.major, device.minor))
        return true;
    memcpy(device.name, name, strlen(name) + 1);
    devices->items = memory_grow(devices->items, devices->count + 1, sizeof(*devices->items));
    devices->items[devices->count++] = device;
    return true;
}

static void add_partitions(const char *root, const char *folder, struct live_devices *devices)
{
    char **names = inventory_names(root, "%s", folder);
    for (size_t i = 0; names[i]; i++) {
        AUTO_FREE char *part = text_format("%s/%s", folder, names[i]);
        if (inventory_has(root, "%s/partition", part))
            add_device(root, part, devices);
    }
    inventory_names_free(names);
}

static bool add_holders(const char *root, const char *folder, struct live_devices *devices)
{
    char **names = inventory_names(root, "%s/holders", folder);
    bool has_any = names[0] != NULL;
    for (size_t i = 0; names[i]; i++) {
        AUTO_FREE char *holder = text_format("%s/holders/%s", folder, names[i]);
        add_device(root, holder, devices);
    }
    inventory_names_free(names);
    return has_any;
}

/* /sys/fs/btrfs/UUID/devices holds links to the devices of one file system. */
static void add_btrfs(const char *root, const char *uuid, struct live_devices *devices)
{
    struct live_devices members = {0};
    bool is_ours = false;
    char **names = inventory_names(root, "/sys/fs/btrfs/%s/devices", uuid);
    for (size_t i = 0; names[i]; i++) {
        AUTO_FREE char *member = text_format("/sys/fs/btrfs/%s/devices/%s", uuid, names[i]);
        add_device(root, member, &members);
    }
    inventory_names_free(names);
    for (size_t i = 0; i < members.count; i++)
        is_ours |= live_devices_have(devices, members.items[i].major, members.items[i].minor);
    for (size_t i = 0; is_ours && i < members.count; i++) {
        AUTO_FREE char *folder =
            text_format("/sys/dev/block/%u:%u", members.items[i].major, members.items[i].minor);
        add_device(root, folder, devices);
    }
    live_devices_fini(&members);
}

bool live_devices_read(const char *root, unsigned major, unsigned minor,
                       struct live_devices *devices)
{
    *devices = (struct live_devices){0};
    AUTO_FREE char *disk = text_format("/sys/dev/block/%u:%u", major, minor);
    if (!add_device(root, disk, devices))
        return false;
    for (size_t i = 0; i < devices->count; i++) {
        AUTO_FREE char *folder =
            text_format("/sys/dev/block/%u:%u", devices->items[i].major, devices->items[i].minor);
        add_partitions(root, folder, devices);
        bool has_holders = add_holders(root, folder, devices);
        devices->items[i].has_holders = has_holders;
    }
    char **pools = inventory_names(root, "/sys/fs/btrfs");
    for (size_t i = 0; pools[i]; i++)
        add_btrfs(root, pools[i], devices);
    inventory_names_free(pools);
    return true;
}
