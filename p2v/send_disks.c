/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The disks to send: all of this machine's, or the devices and image files that were named.
 */
#include "base/own.h"
#include "p2v/copy.h"
#include "p2v/machine.h"
#include "p2v/send_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* --- opening --- */

static int open_device(struct send_disk *disk, dev_t number, struct error *err)
{
    struct source *source = &disk->source;
    if (machine_disk_is_partition("", major(number), minor(number)))
        return error_set(err, 0, "it is a partition: name the whole disk");
    if (!machine_disk_find("", major(number), minor(number), &disk->device))
        return error_set(err, ENODEV, "find it in /sys");
    memcpy(disk->name, disk->device.name, sizeof(disk->name));
    source->device = device_open(disk->path, err);
    if (!source->device)
        return -1;
    source->is_device = true;
    source->format = "raw";
    source->block = device_source(source->device);
    disk->send->is_this_machine = true;
    return live_read("", major(number), minor(number), &disk->live, &disk->send->mounts, err);
}

static int open_image(struct send_disk *disk, struct error *err)
{
    const char *format = disk->send->options->format;
    struct image_open_options options = {.format = format ? format : "raw"};
    AUTO_FREE char *base = path_base(disk->path);
    AUTO(text) name = {0};
    text_add_escaped(&name, base, strlen(base));
    snprintf(disk->name, sizeof(disk->name), "%.64s", text_string(&name));
    disk->source.image = image_open(disk->path, &options, err);
    if (!disk->source.image)
        return -1;
    disk->source.block = &disk->source.image->source;
    disk->source.format = disk->source.image->driver->name;
    return 0;
}

static int check_size(const struct source *source, struct error *err)
{
    uint64_t size = source->block->size_bytes;
    if (size == 0)
        return error_set(err, 0, "it is empty");
    if (size > MANIFEST_MAX_SIZE)
        return error_set(err, EFBIG, "a disk of %llu bytes", (unsigned long long)size);
    return 0;
}

/* `status` is of the last one. */
static bool is_named_twice(const struct send *send, const struct stat *status)
{
    for (size_t i = 0; i + 1 < send->disk_count; i++) {
        struct stat other;
        if (stat(send->disks[i].path, &other) != 0)
            continue;
        if (S_ISBLK(status->st_mode)
                ? S_ISBLK(other.st_mode) && other.st_rdev == status->st_rdev
                : other.st_dev == status->st_dev && other.st_ino == status->st_ino)
            return true;
    }
    return false;
}

static int open_disk(struct send_disk *disk, struct error *err)
{
    struct stat status;
    if (stat(disk->path, &status) != 0)
        return error_set(err, errno, "open");
    bool is_device = S_ISBLK(status.st_mode);
    if (!is_device && !S_ISREG(status.st_mode))
        return error_set(err, 0, "it is neither a block device nor a file");
    if (is_named_twice(disk->send, &status))
        return error_set(err, 0, "it is named twice");
    int result = is_device ? open_device(disk, status.st_rdev, err) : open_image(disk, err);
    if (result != 0 || check_size(&disk->source, err) != 0)
        return -1;
    if (!is_device)
        return 0;
    if (disk->live.is_live)
        log_info(&disk->send->log, "%s is in use (%s)", disk->name, disk->live.what);
    disk->live_source = live_source_open(disk->path, disk->source.block, err);
    if (!disk->live_source)
        return -1;
    disk->source.block = live_source_block(disk->live_source);
    return 0;
}

static int add_disk(struct send *send, const char *path, struct error *err)
{
    if (send->disk_count == WIRE_MAX_DISKS)
        return error_set(err, 0, "more than %d disks", WIRE_MAX_DISKS);
    struct send_disk *disk = &send->disks[send->disk_count++];
    disk->send = send;
    disk->path = text_copy(path);
    disk->source.path = disk->path;
    if (open_disk(disk, err) == 0)
        return 0;
    if (!strstr(err->text, path))
        error_wrap(err, "%s", path);
    return -1;
}

static int add_all_disks(struct send *send, struct error *err)
{
    struct machine_disks disks;
    int result = machine_disks_list("", &disks, &send->log, err);
    for (size_t i = 0; result == 0 && i < disks.count; i++) {
        if (disks.items[i].is_external)
            log_info(&send->log, "left out: %s, which can be unplugged (name it to send it)",
                     disks.items[i].path);
        else
            result = add_disk(send, disks.items[i].path, err);
    }
    machine_disks_fini(&disks);
    if (result == 0 && send->disk_count == 0)
        return error_set(err, ENODEV, "this machine has no disk of its own (name one)");
    return result;
}

int send_open_disks(struct send *send, const struct option_list *operands, struct error *err)
{
    if (operands->count == 0)
        return add_all_disks(send, err);
    for (size_t i = 0; i < operands->count; i++) {
        if (add_disk(send, operands->items[i], err) != 0)
            return -1;
    }
    return 0;
}

void send_close_disks(struct send *send)
{
    for (size_t i = 0; i < send->disk_count; i++) {
        struct send_disk *disk = &send->disks[i];
        layout_fini(&disk->source.layout);
        live_source_close(disk->live_source);
        image_close(disk->source.image);
        device_close(disk->source.device);
        json_decref(disk->damage);
        free(disk->path);
    }
    live_mounts_fini(&send->mounts);
}

/* --- what is on them --- */

static int read_layout(struct send_disk *disk, struct error *err)
{
    struct source *source = &disk->source;
    if (disk->live_source)
        live_source_drop(disk->live_source);
    if (layout_read(source->block, &source->layout, &disk->send->log, err) != 0)
        return -1;
    if (!source->is_device && source_is_cut_off(source->block, &source->layout.table, err))
        return -1;
    return copy_estimate(source->block, &source->layout.used, &source->used_bytes, err);
}

int send_read_layouts(struct send *send, struct error *err)
{
    int result = 0;
    send_hold(send);
    for (size_t i = 0; result == 0 && i < send->disk_count; i++) {
        result = read_layout(&send->disks[i], err);
        if (result != 0 && !strstr(err->text, send->disks[i].path))
            error_wrap(err, "%s", send->disks[i].path);
    }
    send_release(send);
    return result;
}

/*
 * A disk at rest is as it was. One in use is looked at again; its doubts were told the first time.
 */
int send_map(void *context, struct extents *used, struct error *err)
{
    struct send_disk *disk = context;
    struct layout layout = {0};
    if (!disk->live.is_live)
        return extents_add_all(used, &disk->source.layout.used, 0, err);
    int held = send_snapshot_map(disk, used, err);
    if (held != 0)
        return held > 0 ? 0 : -1;
    send_hold(disk->send);
    live_source_drop(disk->live_source);
    int result = layout_read(disk->source.block, &layout, NULL, err);
    send_release(disk->send);
    if (result == 0)
        result = extents_add_all(used, &layout.used, 0, err);
    layout_fini(&layout);
    return result;
}
