/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Throw-away overlays over the disks of one machine.
 */
#include "p2v/fix_disks.h"

#include "base/io.h"
#include "base/text.h"
#include "formats/image.h"
#include "p2v/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void fix_disks_remove(void *pointer)
{
    const struct fix_disks *disks = pointer;
    for (size_t i = 0; i < disks->count; i++) {
        if (disks->items[i].is_made)
            unlink(disks->items[i].overlay_path);
    }
}

static void fix_disk_fini(struct fix_disk *disk)
{
    free(disk->overlay_path);
    free(disk->base_path);
    free(disk->base_name);
    free(disk->folder);
}

void fix_disks_fini(struct fix_disks *disks)
{
    fix_disks_remove(disks);
    for (size_t i = 0; i < disks->count; i++)
        fix_disk_fini(&disks->items[i]);
    disks->count = 0;
}

static int name_disk(struct fix_disk *disk, const char *folder, const char *name,
                     const char *beside, struct error *err)
{
    char real[PATH_MAX];
    AUTO_FREE char *file = text_format(".%s.fix-%ld.partial", name, (long)getpid());
    disk->folder = text_copy(folder);
    disk->base_path = path_join(folder, name);
    disk->overlay_path = path_join(beside ? beside : folder, file);
    if (beside && !realpath(disk->base_path, real))
        return error_set(err, errno, "%s", disk->base_path);
    disk->base_name = text_copy(beside ? real : name);
    return 0;
}

static const char *chain_folder(const struct fix_disks *disks, size_t index)
{
    return disks->chain_folder ? disks->chain_folder : disks->items[index].folder;
}

/* The overlay's path has changed, or is known for the first time. */
static void set_overlay(struct fix_disks *disks, size_t index, const char *format)
{
    struct fix_disk *disk = &disks->items[index];
    disk->overlay = (struct overlay){.path = disk->overlay_path,
                                     .base_path = disk->base_path,
                                     .base_format = format,
                                     .base_name = disk->base_name,
                                     .folder = chain_folder(disks, index)};
    disks->disks[index] = (struct bootfix_disk){disk->overlay_path, "qcow2"};
}

int fix_disks_add(struct fix_disks *disks, const char *folder, const char *name, const char *format,
                  const char *beside, struct error *err)
{
    size_t index = disks->count++;
    struct fix_disk *disk = &disks->items[index];
    *disk = (struct fix_disk){.is_made = false};
    if (name_disk(disk, folder, name, beside, err) != 0)
        return -1;
    set_overlay(disks, index, format);
    if (overlay_create(&disk->overlay, err) != 0)
        return -1;
    disk->is_made = true;
    return 0;
}

/* --- changing in place --- */

static char *sealed_path(const char *folder, const char *name)
{
    AUTO_FREE char *file = text_format(".%s.fix-commit", name);
    return path_join(folder, file);
}

bool fix_disks_are_sealed(const char *folder, const char *first_name)
{
    AUTO_FREE char *path = sealed_path(folder, first_name);
    return access(path, F_OK) == 0;
}

static int sync_file(const char *path, struct error *err)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, errno, "open %s", path);
    return io_sync(fd, err);
}

static int seal(struct fix_disks *disks, size_t index, struct error *err)
{
    struct fix_disk *disk = &disks->items[index];
    AUTO_FREE char *path = sealed_path(disk->folder, disk->base_name);
    if (rename(disk->overlay_path, path) != 0)
        return error_set(err, errno, "rename %s", disk->overlay_path);
    free(disk->overlay_path);
    disk->overlay_path = take_ptr(&path);
    disk->is_made = false;
    disk->is_sealed = true;
    set_overlay(disks, index, disk->overlay.base_format);
    /* The mark may not reach the disk before what it vouches for. */
    return io_sync_folder(disk->folder, err);
}

int fix_disks_seal(struct fix_disks *disks, struct error *err)
{
    for (size_t i = 0; i < disks->count; i++) {
        if (sync_file(disks->items[i].overlay_path, err) != 0)
            return -1;
    }
    for (size_t i = disks->count; i > 0; i--) {
        if (seal(disks, i - 1, err) != 0)
            return -1;
    }
    return 0;
}

void fix_disks_finish(struct fix_disks *disks)
{
    for (size_t i = disks->count; i > 0; i--) {
        if (disks->items[i - 1].is_sealed)
            unlink(disks->items[i - 1].overlay_path);
        disks->items[i - 1].is_sealed = false;
    }
}

int fix_disks_attach(struct fix_disks *disks, const char *folder, const char *name,
                     const char *format, struct error *err)
{
    size_t index = disks->count++;
    struct fix_disk *disk = &disks->items[index];
    *disk = (struct fix_disk){.is_made = false};
    if (name_disk(disk, folder, name, NULL, err) != 0)
        return -1;
    free(disk->overlay_path);
    disk->overlay_path = sealed_path(folder, name);
    set_overlay(disks, index, format);
    disk->is_sealed = access(disk->overlay_path, F_OK) == 0;
    return disk->is_sealed;
}

/* --- */

int fix_disks_commit(struct fix_disks *disks, size_t index, struct manifest *manifest,
                     uint64_t *changed_bytes, struct error *err)
{
    return overlay_commit(&disks->items[index].overlay, manifest, changed_bytes, err);
}

/* 1 when the overlay stores anything. */
static int is_touched(const struct fix_disks *disks, size_t index, struct error *err)
{
    struct image_open_options options = {.format = "qcow2",
                                         .backing_folder = chain_folder(disks, index)};
    AUTO_PTR(image) image = image_open(disks->items[index].overlay_path, &options, err);
    struct extents own = {0};
    if (!image)
        return -1;
    int result = image_map_own(image, &own, err) == 0 ? own.count > 0 : -1;
    extents_fini(&own);
    return result;
}

int fix_disks_keep(struct fix_disks *disks, size_t index, const char *path, struct error *err)
{
    struct fix_disk *disk = &disks->items[index];
    int result = is_touched(disks, index, err);
    if (result <= 0)
        return result;
    AUTO_FREE char *parent = path_parent(path);
    /* The appliance wrote it, not this process. */
    if (sync_file(disk->overlay_path, err) != 0)
        return -1;
    if (rename(disk->overlay_path, path) != 0)
        return error_set(err, errno, "rename %s to %s", disk->overlay_path, path);
    disk->is_made = false;
    return io_sync_folder(parent, err) == 0 ? 1 : -1;
}
