/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Opens the disks of a machine and refuses what cannot be one.
 */
#include "p2v/sources.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"
#include "p2v/copy.h"
#include "p2v/machine.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static const char *format_for(const struct source_options *options, size_t index)
{
    const struct option_list *formats = &options->formats;
    if (formats->count == 0)
        return NULL;
    return formats->items[formats->count == 1 ? 0 : index];
}

static int open_device(struct source *source, struct error *err)
{
    source->device = device_open(source->path, err);
    if (!source->device)
        return -1;
    source->block = device_source(source->device);
    source->format = "raw";
    return 0;
}

static int open_image(struct source *source, const char *format, const char *backing_folder,
                      struct error *err)
{
    struct image_open_options options = {.format = format, .backing_folder = backing_folder};
    source->image = image_open(source->path, &options, err);
    if (!source->image)
        return -1;
    source->block = &source->image->source;
    source->format = source->image->driver->name;
    return 0;
}

/* The last sector that the four entries of an MBR reach; a protective one may say 'all'. */
static uint64_t mbr_last_sector(const uint8_t *mbr)
{
    uint64_t last = 0;
    if (mbr[510] != 0x55 || mbr[511] != 0xaa)
        return 0;
    for (int i = 0; i < 4; i++) {
        const uint8_t *entry = mbr + 446 + 16 * i;
        uint64_t count = load_le32(entry + 12);
        if (entry[4] != 0 && count > 0 && count != UINT32_MAX)
            last = max_u64(last, load_le32(entry + 8) + count - 1);
    }
    return last;
}

/* The last sector that a GPT's header claims: its backup, the usable ones. */
static uint64_t gpt_last_sector(const uint8_t *header)
{
    if (memcmp(header, "EFI PART", 8) != 0)
        return 0;
    return max_u64(load_le64(header + 32), load_le64(header + 48));
}

static uint64_t last_sector(const struct block_source *disk, const struct partition_table *table,
                            uint64_t sector)
{
    uint8_t sectors[2 * 4096] = {0};
    size_t length = (size_t)min_u64(2 * sector, disk->size_bytes);
    if (block_source_read(disk, 0, sectors, length, NULL) != 0)
        return 0;
    if (table->kind == PARTITION_TABLE_GPT)
        return gpt_last_sector(sectors + sector);
    /* No table: what the disk starts with may be a boot sector, unless it protects a GPT. */
    bool is_protective = sectors[446 + 4] == 0xee;
    return table->kind == PARTITION_TABLE_MBR || is_protective ? mbr_last_sector(sectors) : 0;
}

/*
 * A file that is shorter than its partition table says lost its end on the way here. Only claims
 * whose meaning is beyond doubt are looked at. A backup GPT that was found stands at the end, so
 * nothing is missing.
 */
bool source_is_cut_off(const struct block_source *disk, const struct partition_table *table,
                       struct error *err)
{
    uint64_t sector = table->sector_size == 4096 ? 4096 : 512;
    if (table->is_backup_used)
        return false;
    uint64_t last = last_sector(disk, table, sector);
    if (last == 0 || last < disk->size_bytes / sector)
        return false;
    error_set(err, 0,
              "the image is cut off: its partition table describes a disk of at least %" PRIu64
              " bytes, %" PRIu64 " are there",
              last < UINT64_MAX / sector ? (last + 1) * sector : UINT64_MAX, disk->size_bytes);
    return true;
}

static int check_size(const struct source *source, struct error *err)
{
    uint64_t size = source->block->size_bytes;
    if (size == 0)
        return error_set(err, 0, "it is empty");
    if (size > IMAGE_MAX_SIZE)
        return error_set(err, EFBIG, "a disk of %" PRIu64 " bytes", size);
    return 0;
}

/* A real disk may have a partition table that was made for a larger one. */
static int check_end(const struct source *source, const struct source_options *options,
                     struct log *log, struct error *err)
{
    struct error cause = {0};
    if (!source_is_cut_off(source->block, &source->layout.table, &cause))
        return 0;
    if (!options->is_whole_disk)
        return error_set(err, 0, "%s", cause.text);
    log_warning(log, "%s: %s", source->path, cause.text);
    return 0;
}

static int open_source(struct source *source, const char *format,
                       const struct source_options *options, struct log *log, struct error *err)
{
    struct stat stat_of;
    if (stat(source->path, &stat_of) != 0)
        return error_set(err, errno, "open");
    source->is_device = S_ISBLK(stat_of.st_mode);
    if (S_ISREG(stat_of.st_mode) && stat_of.st_size > 0 && stat_of.st_size < 512)
        return error_set(err, 0, "it has %lld bytes, less than a disk's sector",
                         (long long)stat_of.st_size);
    int result = source->is_device ? open_device(source, err)
                                   : open_image(source, format, options->backing_folder, err);
    if (result != 0 || check_size(source, err) != 0 ||
        layout_read(source->block, &source->layout, log, err) != 0)
        return -1;
    if (!source->is_device && check_end(source, options, log, err) != 0)
        return -1;
    return copy_estimate(source->block, &source->layout.used, &source->used_bytes, err);
}

/* The layers below name the file as well in some cases; once is enough. */
static void wrap_with_path(struct error *err, const char *path)
{
    if (err && !strstr(err->text, path))
        error_wrap(err, "%s", path);
}

int sources_open(struct sources *sources, const struct option_list *paths,
                 const struct source_options *options, struct log *log, struct error *err)
{
    *sources = (struct sources){.items = memory_new(paths->count, sizeof(struct source))};
    for (size_t i = 0; i < paths->count; i++) {
        struct source *source = &sources->items[sources->count++];
        source->path = paths->items[i];
        if (open_source(source, format_for(options, i), options, log, err) != 0) {
            wrap_with_path(err, source->path);
            sources_close(sources);
            return -1;
        }
    }
    return 0;
}

void sources_close(struct sources *sources)
{
    for (size_t i = 0; i < sources->count; i++) {
        layout_fini(&sources->items[i].layout);
        image_close(sources->items[i].image);
        device_close(sources->items[i].device);
    }
    free(sources->items);
    *sources = (struct sources){0};
}

/* --- is the target safe to write to? --- */

/* True when a file system's device is this disk, or a partition of it. */
static bool is_on_device(dev_t file_system, dev_t disk)
{
    char link[64], file_system_path[PATH_MAX], disk_path[PATH_MAX];
    if (file_system == disk)
        return true;
    snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(file_system), minor(file_system));
    if (!realpath(link, file_system_path))
        return false;
    snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(disk), minor(disk));
    if (!realpath(link, disk_path))
        return false;
    size_t length = strlen(disk_path);
    return strncmp(file_system_path, disk_path, length) == 0 &&
           (file_system_path[length] == '/' || file_system_path[length] == '\0');
}

static bool is_inside(const char *path, const char *folder)
{
    size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static int check_source(const struct source *source, const char *target, dev_t target_device,
                        struct error *err)
{
    struct stat stat_of;
    char path[PATH_MAX];
    if (stat(source->path, &stat_of) != 0 || !realpath(source->path, path))
        return error_set(err, errno, "%s", source->path);
    AUTO_FREE char *partial = text_format("%s.partial", target);
    if (strcmp(path, target) == 0)
        return error_set(err, 0, "the target %s is the source", target);
    if (is_inside(path, target) || is_inside(path, partial))
        return error_set(err, 0, "the source %s lies inside the target %s", source->path, target);
    if (source->is_device && is_on_device(target_device, stat_of.st_rdev))
        return error_set(err, 0, "the target %s lies on the source disk %s", target, source->path);
    return 0;
}

int sources_check_target(const struct sources *sources, const char *target, struct error *err)
{
    AUTO_FREE char *parent = path_parent(target);
    AUTO_FREE char *base = path_base(target);
    char real_parent[PATH_MAX];
    struct stat stat_of;
    if (!realpath(parent, real_parent) || stat(real_parent, &stat_of) != 0)
        return error_set(err, errno, "%s", parent);
    AUTO_FREE char *real_target = path_join(real_parent, base);
    for (size_t i = 0; i < sources->count; i++) {
        if (check_source(&sources->items[i], real_target, stat_of.st_dev, err) != 0)
            return -1;
    }
    return 0;
}
