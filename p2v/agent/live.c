/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Compares the devices above a disk with what is mounted (proc(5), /proc/pid/mountinfo). What is
 * held by something else (a mount in another namespace, ZFS) is found by asking the kernel for the
 * device alone, which changes nothing.
 */
#include "p2v/agent/live.h"

#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/agent/live_devices.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

void live_mounts_fini(struct live_mounts *mounts)
{
    for (size_t i = 0; i < mounts->count; i++) {
        free(mounts->items[i].path);
        free(mounts->items[i].type);
    }
    free(mounts->items);
    *mounts = (struct live_mounts){0};
}

/* --- mountinfo --- */

/* One line: "36 35 98:0 /root /mount/point rw,opts shared:1 - ext4 /dev/sda1 rw,super" */
struct mount_line {
    unsigned major, minor;
    char *path, *type, *source, *super_options; /* inside the line */
};

/* "\040" for a blank; in place. */
static void decode_octal(char *text)
{
    char *to = text;
    for (const char *from = text; *from; to++) {
        unsigned byte;
        if (*from == '\\' && sscanf(from + 1, "%3o", &byte) == 1 && strlen(from) >= 4) {
            *to = (char)byte;
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

static bool parse_line(char *line, struct mount_line *mount)
{
    char *place = NULL, *fields[6];
    *mount = (struct mount_line){0};
    for (size_t i = 0; i < 6; i++) {
        fields[i] = strtok_r(i ? NULL : line, " ", &place);
        if (!fields[i])
            return false;
    }
    char *tag = fields[5];
    while (tag && strcmp(tag, "-") != 0)
        tag = strtok_r(NULL, " ", &place);
    mount->path = fields[4];
    mount->type = strtok_r(NULL, " ", &place);
    mount->source = strtok_r(NULL, " ", &place);
    mount->super_options = strtok_r(NULL, " ", &place);
    if (!mount->super_options || sscanf(fields[2], "%u:%u", &mount->major, &mount->minor) != 2)
        return false;
    decode_octal(mount->path);
    decode_octal(mount->source);
    return true;
}

static bool is_writable(const struct mount_line *mount)
{
    const char *options = mount->super_options;
    return strncmp(options, "rw", 2) == 0 && (options[2] == ',' || options[2] == '\0');
}

/* btrfs and others have a number of their own (0:NN): then what the source names counts. */
static bool is_on(const char *root, const struct mount_line *mount,
                  const struct live_devices *devices)
{
    struct stat status;
    unsigned major, minor;
    if (live_devices_have(devices, mount->major, mount->minor))
        return true;
    if (mount->major != 0 || mount->source[0] != '/')
        return false;
    if (root[0]) { /* tests have no device nodes: sys/class/block/NAME/dev instead */
        AUTO_FREE char *numbers =
            inventory_text(root, "/sys/class/block/%s/dev", strrchr(mount->source, '/') + 1);
        return sscanf(numbers, "%u:%u", &major, &minor) == 2 &&
               live_devices_have(devices, major, minor);
    }
    return stat(mount->source, &status) == 0 && S_ISBLK(status.st_mode) &&
           live_devices_have(devices, major(status.st_rdev), minor(status.st_rdev));
}

/* --- the list --- */

/* Something else may be mounted over a mount point: then it does not lead to the file system. */
static bool leads_there(const char *root, const struct mount_line *mount)
{
    struct stat status;
    if (root[0] || mount->major == 0)
        return true;
    return stat(mount->path, &status) == 0 && major(status.st_dev) == mount->major &&
           minor(status.st_dev) == mount->minor;
}

static bool is_listed(const struct live_mounts *mounts, const struct mount_line *mount)
{
    for (size_t i = 0; i < mounts->count; i++) {
        if (mounts->items[i].major == mount->major && mounts->items[i].minor == mount->minor)
            return true;
    }
    return false;
}

static size_t depth_of(const char *path)
{
    size_t depth = 0;
    for (; *path; path++)
        depth += path[0] == '/' && path[1] != '\0';
    return depth;
}

/* Deepest first; those of one depth in the reverse order of mounting. */
static void insert(struct live_mounts *mounts, const struct mount_line *mount)
{
    size_t at = 0, depth = depth_of(mount->path);
    while (at < mounts->count && depth_of(mounts->items[at].path) > depth)
        at++;
    mounts->items = memory_grow(mounts->items, mounts->count + 1, sizeof(*mounts->items));
    memmove(mounts->items + at + 1, mounts->items + at,
            (mounts->count - at) * sizeof(*mounts->items));
    mounts->items[at] = (struct live_mount){text_copy(mount->path), text_copy(mount->type),
                                            mount->major, mount->minor};
    mounts->count++;
}

struct found {
    size_t count;
    char first[96]; /* escaped and cut */
};

static void note(struct found *found, const char *mount_point)
{
    AUTO(text) path = {0};
    text_add_escaped(&path, mount_point, strlen(mount_point));
    if (found->count++ == 0)
        snprintf(found->first, sizeof(found->first), "%s", text_string(&path));
}

/* Calls `take` for every file system that is mounted read-write on the devices. */
static int for_each_mount(const char *root, const struct live_devices *devices,
                          void (*take)(const char *root, const struct mount_line *mount,
                                       struct found *found, struct live_mounts *mounts),
                          struct found *found, struct live_mounts *mounts, struct error *err)
{
    AUTO_FREE char *path = inventory_path(root, "/proc/self/mountinfo");
    AUTO_FREE char *data = inventory_read(path, NULL);
    char *place = NULL;
    if (!data)
        return error_set(err, errno, "/proc/self/mountinfo (is /proc mounted?)");
    for (char *line = strtok_r(data, "\n", &place); line; line = strtok_r(NULL, "\n", &place)) {
        struct mount_line mount;
        if (parse_line(line, &mount) && is_writable(&mount) && is_on(root, &mount, devices))
            take(root, &mount, found, mounts);
    }
    return 0;
}

static void take_mount(const char *root, const struct mount_line *mount, struct found *found,
                       struct live_mounts *mounts)
{
    if (is_listed(mounts, mount)) { /* by another disk of the same RAID, perhaps */
        if (!found->count)
            note(found, mount->path);
    } else if (leads_there(root, mount)) {
        note(found, mount->path);
        insert(mounts, mount);
    }
}

static void take_hidden(const char *root, const struct mount_line *mount, struct found *found,
                        struct live_mounts *mounts)
{
    (void)root;
    if (!is_listed(mounts, mount))
        note(found, mount->path);
}

/* --- other users --- */

static bool is_swap(const char *root, const char *name)
{
    AUTO_FREE char *swaps = inventory_text(root, "/proc/swaps");
    AUTO_FREE char *path = text_format("/dev/%s ", name);
    AUTO_FREE char *mapped = inventory_text(root, "/sys/class/block/%s/dm/name", name);
    AUTO_FREE char *mapped_path = text_format("/dev/mapper/%s ", mapped);
    return strstr(swaps, path) || (mapped[0] && strstr(swaps, mapped_path));
}

bool live_is_swap(const char *root, unsigned major, unsigned minor)
{
    AUTO_FREE char *name = inventory_link_name(root, "/sys/dev/block/%u:%u", major, minor);
    return is_swap(root, name);
}

/* Held by somebody: the kernel gives a device for itself to one user only. */
static bool is_claimed(const struct live_device *device)
{
    AUTO_FREE char *path = text_format("/dev/%s", device->name);
    for (char *at = path; (at = strchr(at, '!')); at++)
        *at = '/';
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK);
    return fd < 0 && errno == EBUSY;
}

/* A read-only mount claims its device as well, and writes nothing. */
static bool is_mounted_somehow(const char *root, const struct live_device *device)
{
    bool is_it = false;
    AUTO_FREE char *path = inventory_path(root, "/proc/self/mountinfo");
    AUTO_FREE char *data = inventory_read(path, NULL);
    char *place = NULL;
    struct live_devices alone = {(struct live_device *)device, 1};
    for (char *line = data ? strtok_r(data, "\n", &place) : NULL; line && !is_it;
         line = strtok_r(NULL, "\n", &place)) {
        struct mount_line mount;
        is_it = parse_line(line, &mount) && is_on(root, &mount, &alone);
    }
    return is_it;
}

/* A disk whose partition is in use cannot be had alone either: only the last ones are asked. */
static bool has_claimed_parts(const char *root, const struct live_device *device)
{
    char **names = inventory_names(root, "/sys/class/block/%s", device->name);
    bool has_any = false;
    for (size_t i = 0; names[i] && !has_any; i++)
        has_any = inventory_has(root, "/sys/class/block/%s/%s/partition", device->name, names[i]);
    inventory_names_free(names);
    return has_any;
}

static void find_other_users(const char *root, const struct live_devices *devices,
                             struct live *live)
{
    for (size_t i = 0; i < devices->count && !root[0] && !live->is_unknown; i++) {
        const struct live_device *device = &devices->items[i];
        if (device->has_holders || has_claimed_parts(root, device) || is_swap(root, device->name) ||
            !is_claimed(device) || is_mounted_somehow(root, device))
            continue;
        live->is_unknown = live->is_live = true;
        snprintf(live->what, sizeof(live->what), "%s, in use by something unknown", device->name);
    }
}

static int read_uses(const char *root, const struct live_devices *devices, struct live *live,
                     struct live_mounts *mounts, struct error *err)
{
    struct found found = {0}, hidden = {0};
    if (for_each_mount(root, devices, take_mount, &found, mounts, err) != 0 ||
        for_each_mount(root, devices, take_hidden, &hidden, mounts, err) != 0)
        return -1;
    live->is_live = found.count || hidden.count;
    live->is_unknown = hidden.count > 0;
    if (hidden.count)
        snprintf(live->what, sizeof(live->what), "%s, under another mount", hidden.first);
    else if (found.count > 1)
        snprintf(live->what, sizeof(live->what), "%s and %zu more", found.first, found.count - 1);
    else
        snprintf(live->what, sizeof(live->what), "%s", found.first);
    return 0;
}

int live_read(const char *root, unsigned major, unsigned minor, struct live *live,
              struct live_mounts *mounts, struct error *err)
{
    struct live_devices devices;
    *live = (struct live){0};
    if (!live_devices_read(root, major, minor, &devices))
        return error_set(err, ENODEV, "block device %u:%u", major, minor);
    int result = read_uses(root, &devices, live, mounts, err);
    if (result == 0)
        find_other_users(root, &devices, live);
    live_devices_fini(&devices);
    return result;
}
