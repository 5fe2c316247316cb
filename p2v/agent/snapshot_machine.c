/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Partitions by /sys/dev/block, memory by /proc/meminfo.
 */
#include "p2v/agent/snapshot_machine.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/agent/live.h"
#include "p2v/agent/live_devices.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#define SECTOR_SIZE 512 /* sysfs counts in these */
#define MEMORY_MOST (512 * MIB)
#define MEMORY_PART 4u /* of what is available */

/* A partition's start on its disk; false when it is none of this disk's. */
static bool find_partition(const struct snapshot_disk *disk, unsigned major, unsigned minor,
                           uint64_t *offset)
{
    unsigned disk_major, disk_minor;
    uint64_t start = inventory_number("", UINT64_MAX, "/sys/dev/block/%u:%u/start", major, minor);
    AUTO_FREE char *parent = inventory_text("", "/sys/dev/block/%u:%u/../dev", major, minor);
    if (start >= UINT64_MAX / SECTOR_SIZE ||
        sscanf(parent, "%u:%u", &disk_major, &disk_minor) != 2 || disk_major != disk->major ||
        disk_minor != disk->minor)
        return false;
    *offset = start * SECTOR_SIZE;
    return true;
}

static bool is_under(const struct snapshot_disk *disk, unsigned major, unsigned minor)
{
    struct live_devices devices;
    if (!live_devices_read("", disk->major, disk->minor, &devices))
        return false;
    bool is_it = live_devices_have(&devices, major, minor);
    live_devices_fini(&devices);
    return is_it;
}

int snapshot_machine_find(void *context, const char *path, size_t *disk, uint64_t *offset)
{
    const struct snapshots_options *options = context;
    struct stat status;
    if (stat(path, &status) != 0 || !S_ISBLK(status.st_mode))
        return 0; /* missing: the group cannot be in use */
    unsigned major = major(status.st_rdev), minor = minor(status.st_rdev);
    for (*disk = 0; *disk < options->disk_count; ++*disk) {
        const struct snapshot_disk *candidate = &options->disks[*disk];
        *offset = 0;
        if ((candidate->major == major && candidate->minor == minor) ||
            find_partition(candidate, major, minor, offset))
            return 1;
        if (is_under(candidate, major, minor))
            return -1;
    }
    return 0;
}

bool snapshot_machine_is_swap(void *context, unsigned major, unsigned minor)
{
    (void)context;
    return live_is_swap("", major, minor);
}

/* By its start: that of a partition that the kernel knows, or the disk's own. */
static bool find_device(const struct snapshot_disk *disk, uint64_t offset, unsigned *major,
                        unsigned *minor)
{
    bool is_found = false;
    char **names = inventory_names("", "/sys/dev/block/%u:%u", disk->major, disk->minor);
    for (size_t i = 0; names[i] && !is_found; i++) {
        uint64_t start = 0;
        AUTO_FREE char *numbers =
            inventory_text("", "/sys/dev/block/%u:%u/%s/dev", disk->major, disk->minor, names[i]);
        is_found = sscanf(numbers, "%u:%u", major, minor) == 2 &&
                   find_partition(disk, *major, *minor, &start) && start == offset;
    }
    inventory_names_free(names);
    if (!is_found && offset == 0) {
        *major = disk->major;
        *minor = disk->minor;
        is_found = true;
    }
    return is_found;
}

/* While it is mounted, and cannot be asked otherwise. */
static uint64_t used_bytes(const struct live_mount *mount)
{
    struct statvfs status;
    if (statvfs(mount->path, &status) != 0 || status.f_bfree > status.f_blocks)
        return 0;
    return (uint64_t)(status.f_blocks - status.f_bfree) * status.f_frsize;
}

int snapshot_machine_use(const struct snapshot_disk *disk, uint64_t offset,
                         struct snapshot_use *use, struct error *err)
{
    unsigned major, minor;
    struct live live;
    AUTO(live_mounts) mounts = {0};
    *use = (struct snapshot_use){0};
    if (!find_device(disk, offset, &major,
                     &minor)) /* the kernel does not know it: nobody uses it */
        return 0;
    if (live_read("", major, minor, &live, &mounts, err) != 0)
        return -1;
    use->is_live = live.is_live;
    memcpy(use->what, live.what, sizeof(use->what));
    for (size_t i = 0; i < mounts.count; i++)
        use->bytes += used_bytes(&mounts.items[i]);
    return 0;
}

uint64_t snapshot_machine_memory(void)
{
    return min_u64(inventory_memory("", 0, "MemAvailable") / MEMORY_PART, MEMORY_MOST);
}
