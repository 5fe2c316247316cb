/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Merging an update. It stays whole until the machine has everything, so what is interrupted is
 * done again from the beginning: chunks that are the same already cost only reading.
 */
#include "p2v/finish_merge.h"

#include "base/bytes.h"
#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/finish_folder.h"
#include "p2v/json.h"
#include "p2v/machine.h"
#include "p2v/overlay.h"
#include "p2v/report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define MERGE_MAX_FILE ((size_t)64 << 20)

/* Tables and the JSON files, beside the data. */
#define MERGE_RESERVE (16 * MIB)

int finish_merge_check_space(const struct finish_place *place, size_t disk_count, struct error *err)
{
    struct statvfs space;
    uint64_t needed = MERGE_RESERVE;
    char needed_text[32], available_text[32];
    if (fstatvfs(place->folder_fd, &space) != 0)
        return error_set(err, errno, "statvfs %s", place->folder);
    for (size_t i = 0; i < disk_count; i++) {
        struct stat stat;
        AUTO_FREE char *name = text_format("disk%zu.qcow2", i);
        if (fstatat(place->folder_fd, name, &stat, AT_SYMLINK_NOFOLLOW) != 0)
            return error_set(err, errno, "%s/%s", place->folder, name);
        needed += (uint64_t)stat.st_blocks * 512;
    }
    uint64_t available = (uint64_t)space.f_bavail * space.f_frsize;
    if (needed <= available)
        return 0;
    error_set(err, 0, "no space to merge it into %s: up to %s are needed, %s are available",
              place->final, bytes_format(needed, needed_text, sizeof(needed_text)),
              bytes_format(available, available_text, sizeof(available_text)));
    if (err)
        err->errnum = ENOSPC;
    return -1;
}

/* The machine's image below an update's one; its place is in the definition. */
static int merge_disk(const struct finish_place *place, const struct guest *guest, size_t index,
                      struct error *err)
{
    const struct guest_disk *disk = &guest->disks[index];
    AUTO_FREE char *name = finish_disk_name(place, guest, index);
    AUTO_FREE char *path = path_join(place->folder, name);
    AUTO_FREE char *base_path = path_join(place->final, disk->path);
    struct overlay overlay = {.path = path,
                              .base_path = base_path,
                              .base_format = disk->format,
                              .base_name = base_path,
                              .folder = place->parent};
    uint64_t changed;
    return overlay_commit(&overlay, NULL, &changed, err);
}

static int merge_manifest(const struct finish_place *place, const struct guest *guest, size_t index,
                          struct error *err)
{
    AUTO(manifest) manifest = {0};
    AUTO_FREE char *name = machine_manifest_name(index);
    if (manifest_read(&manifest, place->folder_fd, name, err) != 0)
        return -1;
    snprintf(manifest.image, sizeof(manifest.image), "%s", guest->disks[index].path);
    return manifest_write(&manifest, place->base_fd, name, err);
}

static int replace_file(const struct finish_place *place, const char *name, struct error *err)
{
    AUTO_FREE char *data = NULL;
    size_t length;
    if (!folder_has(place->folder_fd, name))
        return 0;
    if (io_read_file(place->folder_fd, name, MERGE_MAX_FILE, &data, &length, err) != 0)
        return -1;
    return io_replace_file(place->base_fd, name, data, length, 0644, err);
}

/* What belonged to the state before, and the overlays of a `rehost fix` of it. */
static int drop_old(const struct finish_place *place, struct error *err)
{
    static const char *const old[] = {MACHINE_BOOT_LOG, FINISH_UNTESTED, FINISH_MARK, NULL};
    return finish_folder_drop(place->base_fd, old, err) != 0
               ? -1
               : finish_folder_drop_disks(place->base_fd, ".fixed.qcow2", err);
}

static int merge_files(const struct finish_place *place, const struct guest *guest,
                       struct error *err)
{
    static const char *const files[] = {MACHINE_INVENTORY, MACHINE_REPORT, MACHINE_GUEST};
    for (size_t i = 0; i < guest->disk_count; i++) {
        if (merge_manifest(place, guest, i, err) != 0)
            return -1;
    }
    for (size_t i = 0; i < 3; i++) {
        if (replace_file(place, files[i], err) != 0)
            return -1;
    }
    return drop_old(place, err);
}

static int merge(struct finish_place *place, const struct guest *guest, struct error *err)
{
    static const char *const mark[] = {MACHINE_MERGE_MARK, NULL};
    if (io_replace_file(place->base_fd, MACHINE_MERGE_MARK, "", 0, 0644, err) != 0)
        return -1;
    for (size_t i = 0; i < guest->disk_count; i++) {
        if (merge_disk(place, guest, i, err) != 0)
            return -1;
    }
    if (merge_files(place, guest, err) != 0 || io_sync(place->base_fd, err) != 0)
        return -1;
    /* In this order: as long as the machine is marked, the update is there. */
    return finish_folder_drop(place->base_fd, mark, err) != 0 || io_sync(place->base_fd, err) != 0
               ? -1
               : finish_folder_remove(place->folder, err);
}

int finish_merge(struct finish_place *place, const struct guest *guest, struct log *log,
                 struct error *err)
{
    int found =
        place->base_fd >= 0 ? 1 : finish_folder_lock(place->final, true, &place->base_fd, err);
    if (found < 0)
        return -1;
    if (found == 0)
        return error_set(err, ENOENT, "%s, which this updates", place->final);
    log_info(log, "merging the update into %s", place->final);
    if (merge(place, guest, err) != 0)
        return error_wrap(err, "merge into %s", place->final);
    own_close(&place->folder_fd);
    place->folder_fd = take_fd(&place->base_fd);
    return 0;
}
