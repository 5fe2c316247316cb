/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Finds the machine's disks in /sys/block (Linux' Documentation/ABI/stable/sysfs-block) and puts
 * them in order. What a disk says of itself is disks_identity.c's.
 */
#include "p2v/agent/disks.h"

#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/disks_identity.h"
#include "p2v/agent/inventory_file.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR_SIZE 512 /* sysfs counts in these, whatever the disk's own are */

void machine_disks_fini(struct machine_disks *disks)
{
    free(disks->items);
    *disks = (struct machine_disks){0};
}

/* --- what is a disk --- */

static bool has_any_prefix(const char *name, const char *const *prefixes)
{
    for (size_t i = 0; prefixes[i]; i++) {
        if (text_starts_with(name, prefixes[i]))
            return true;
    }
    return false;
}

/* NVMe disks with native multipath live under devices/virtual too, and are real all the same. */
static bool is_hardware(const char *root, const char *name)
{
    static const char *const never[] = {"loop", "ram", "zram", "dm-",      "md",   "sr",
                                        "fd",   "nbd", "drbd", "mtdblock", "rbd",  "bcache",
                                        "zd",   "scd", "pmem", "ublkb",    "null", NULL};
    if (has_any_prefix(name, never))
        return false;
    bool is_boot_area = text_starts_with(name, "mmcblk") &&
                        (strstr(name, "boot") || strstr(name, "rpmb") || strstr(name, "gp"));
    if (is_boot_area || inventory_number(root, 0, "/sys/block/%s/hidden", name) != 0)
        return false;
    AUTO_FREE char *target = inventory_link(root, "/sys/block/%s", name);
    return !strstr(target, "/devices/virtual/") || text_starts_with(name, "nvme");
}

static bool read_number_pair(const char *root, const char *folder, struct machine_disk *disk)
{
    AUTO_FREE char *numbers = inventory_text(root, "%s/dev", folder);
    return sscanf(numbers, "%u:%u", &disk->major, &disk->minor) == 2;
}

/* The kernel writes a name's '/' as '!'. */
static bool set_name(struct machine_disk *disk, const char *name)
{
    if (strlen(name) >= sizeof(disk->name))
        return false;
    for (size_t i = 0; name[i]; i++)
        disk->name[i] = name[i] == '!' ? '/' : name[i];
    snprintf(disk->path, sizeof(disk->path), "/dev/%s", disk->name);
    return true;
}

/* `folder` is the disk's in /sys, below the root. False: no disk, or it went away. */
static bool read_disk(const char *root, const char *folder, const char *name,
                      struct machine_disk *disk)
{
    *disk = (struct machine_disk){0};
    uint64_t sectors = inventory_number(root, 0, "%s/size", folder);
    if (!set_name(disk, name) || !read_number_pair(root, folder, disk) ||
        sectors > UINT64_MAX / SECTOR_SIZE)
        return false;
    disk->size_bytes = sectors * SECTOR_SIZE;
    disk->logical_sector_size =
        (uint32_t)inventory_number(root, SECTOR_SIZE, "%s/queue/logical_block_size", folder);
    disk->physical_sector_size =
        (uint32_t)inventory_number(root, SECTOR_SIZE, "%s/queue/physical_block_size", folder);
    disk->is_rotational = inventory_number(root, 0, "%s/queue/rotational", folder) != 0;
    disk->is_read_only = inventory_number(root, 0, "%s/ro", folder) != 0;
    bool is_removable = inventory_number(root, 0, "%s/removable", folder) != 0;
    disks_read_identity(root, folder, disk);
    disk->is_external = is_removable || strcmp(disk->bus, "usb") == 0;
    return true;
}

/* --- their order --- */

/* "sda" and "sdaa", "nvme2n1" and "nvme10n1": by length where only letters differ, by number. */
static int compare_natural(const char *a, const char *b)
{
    while (*a && *b) {
        if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
            char *end_a, *end_b;
            unsigned long x = strtoul(a, &end_a, 10), y = strtoul(b, &end_b, 10);
            if (x != y)
                return x < y ? -1 : 1;
            a = end_a;
            b = end_b;
        } else if (*a != *b) {
            return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
        } else {
            a++;
            b++;
        }
    }
    return *a ? 1 : *b ? -1 : 0;
}

static int compare_disks(const void *left, const void *right)
{
    const struct machine_disk *a = left, *b = right;
    int order = strncmp(a->name, b->name, 2); /* the kind: "nv", "sd", "vd" */
    for (size_t i = 0; order == 0 && i < 4; i++)
        order = a->address[i] < b->address[i] ? -1 : a->address[i] > b->address[i];
    bool has_letters = !strpbrk(a->name, "0123456789") && !strpbrk(b->name, "0123456789");
    size_t length_a = strlen(a->name), length_b = strlen(b->name);
    if (order == 0 && has_letters && length_a != length_b)
        order = length_a < length_b ? -1 : 1;
    return order ? order : compare_natural(a->name, b->name);
}

/* The same disk on another path (multipath): the name by which hardware is told apart. */
static const struct machine_disk *find_same(const struct machine_disks *disks,
                                            const struct machine_disk *disk)
{
    for (size_t i = 0; disk->wwn[0] && i < disks->count; i++) {
        const struct machine_disk *other = &disks->items[i];
        if (strcmp(other->wwn, disk->wwn) == 0 && strcmp(other->serial, disk->serial) == 0 &&
            other->size_bytes == disk->size_bytes)
            return other;
    }
    return NULL;
}

static void drop_other_paths(struct machine_disks *disks, struct log *log)
{
    struct machine_disks kept = {.items = disks->items};
    for (size_t i = 0; i < disks->count; i++) {
        const struct machine_disk *same = find_same(&kept, &disks->items[i]);
        if (same)
            log_info(log, "%s is %s on another path: taken once", disks->items[i].name, same->name);
        else
            kept.items[kept.count++] = disks->items[i];
    }
    *disks = kept;
}

/* --- */

int machine_disks_list(const char *root, struct machine_disks *disks, struct log *log,
                       struct error *err)
{
    *disks = (struct machine_disks){0};
    if (!inventory_has(root, "/sys/block"))
        return error_set(err, ENOENT, "/sys/block (is sysfs mounted?)");
    char **names = inventory_names(root, "/sys/block");
    for (size_t i = 0; names[i]; i++) {
        struct machine_disk disk;
        AUTO_FREE char *folder = text_format("/sys/block/%s", names[i]);
        if (!is_hardware(root, names[i]) || !read_disk(root, folder, names[i], &disk) ||
            disk.size_bytes == 0)
            continue;
        disks->items = memory_grow(disks->items, disks->count + 1, sizeof(*disks->items));
        disks->items[disks->count++] = disk;
    }
    inventory_names_free(names);
    if (disks->count)
        qsort(disks->items, disks->count, sizeof(*disks->items), compare_disks);
    drop_other_paths(disks, log);
    return 0;
}

int machine_disk_find(const char *root, unsigned major, unsigned minor, struct machine_disk *disk)
{
    AUTO_FREE char *folder = text_format("/sys/dev/block/%u:%u", major, minor);
    AUTO_FREE char *name = inventory_link_name(root, "%s", folder);
    return name[0] && read_disk(root, folder, name, disk) ? 1 : 0;
}

bool machine_disk_is_partition(const char *root, unsigned major, unsigned minor)
{
    return inventory_has(root, "/sys/dev/block/%u:%u/partition", major, minor);
}
