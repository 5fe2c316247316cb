/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A conversion's first step: is there room, then every disk into an image with its manifest.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/text.h"
#include "p2v/convert.h"
#include "p2v/interrupt.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

/* Tables, manifests and what the fixers write, beside the data itself. */
#define SPACE_RESERVE (16 * MIB)

static int check_space(const struct convert *convert, struct error *err)
{
    struct statvfs space;
    uint64_t needed = SPACE_RESERVE;
    char needed_text[32], available_text[32];
    if (fstatvfs(convert->draft.folder_fd, &space) != 0)
        return error_set(err, errno, "statvfs %s", convert->draft.partial);
    for (size_t i = 0; i < convert->sources.count; i++)
        needed += convert->sources.items[i].used_bytes;
    uint64_t available = (uint64_t)space.f_bavail * space.f_frsize;
    /* How far compression will get nobody knows: then the disk itself has to say when it is full.
     */
    if (convert->options->is_compressed || needed <= available)
        return 0;
    error_set(err, 0, "no space for the copy in %s: up to %s are needed, %s are available",
              convert->options->output, bytes_format(needed, needed_text, sizeof(needed_text)),
              bytes_format(available, available_text, sizeof(available_text)));
    if (err)
        err->errnum = ENOSPC;
    return -1;
}

static void show_progress(void *context, const struct copy_counts *counts)
{
    console_progress(context, counts->done_bytes, counts->data_bytes, counts->stored_bytes);
}

static void tell_unreadable(struct convert *convert, const struct source *source,
                            const struct convert_disk *disk)
{
    const struct extents *bad = &disk->copy.unreadable;
    if (bad->count == 0)
        return;
    convert->has_warnings = true;
    log_warning(convert->log,
                "%s: %" PRIu64 " bytes in %zu ranges could not be read and are zero in the copy, "
                "the first at 0x%" PRIx64,
                source->path, extents_total(bad), bad->count, bad->items[0].offset);
}

static int run_copy(struct convert *convert, const struct source *source, struct convert_disk *disk,
                    struct image *target, struct error *err)
{
    struct console *console = &convert->cli->console;
    struct copy_job job = {.source = source->block,
                           .used = &source->layout.used,
                           .read_ahead_path =
                               strcmp(source->format, "raw") == 0 ? source->path : NULL,
                           .target = target,
                           .manifest = &disk->manifest,
                           .is_compressed = convert->options->is_compressed,
                           .stop = interrupt_flag(),
                           .progress = show_progress,
                           .context = console};
    progress_start(&console->progress, "copy", disk->name, source->used_bytes,
                   source->block->size_bytes);
    int result = copy_disk(&job, &disk->copy, err);
    console_progress_end(console);
    return result == 0 ? image_finish(target, err) : -1;
}

static int copy_one(struct convert *convert, size_t index, struct error *err)
{
    const struct source *source = &convert->sources.items[index];
    struct convert_disk *disk = &convert->disks[index];
    AUTO_FREE char *path = convert_path(convert, disk->name);
    AUTO_FREE char *manifest_name = machine_manifest_name(index);
    uint64_t size = copy_target_size(source->block->size_bytes);
    double started = clock_seconds();
    struct image_create_options options = {.format = convert->format,
                                           .size_bytes = size,
                                           .compression = convert->options->is_compressed
                                                              ? IMAGE_COMPRESSION_ZSTD
                                                              : IMAGE_COMPRESSION_NONE};
    AUTO_PTR(image) target = image_create(path, &options, err);
    if (!target || manifest_init(&disk->manifest, size, err) != 0)
        return -1;
    snprintf(disk->manifest.image, sizeof(disk->manifest.image), "%s", disk->name);
    AUTO(text) escaped = {0};
    text_add_escaped(&escaped, source->path, strlen(source->path));
    snprintf(disk->manifest.source, sizeof(disk->manifest.source), "%s", text_string(&escaped));
    if (run_copy(convert, source, disk, target, err) != 0)
        return -1;
    tell_unreadable(convert, source, disk);
    disk->seconds = clock_seconds() - started;
    /* The image is finished, so on stable storage: now it may be claimed. */
    return manifest_write(&disk->manifest, convert->draft.folder_fd, manifest_name, err);
}

int convert_copy(struct convert *convert, struct error *err)
{
    double started = clock_seconds();
    if (check_space(convert, err) != 0)
        return -1;
    for (size_t i = 0; i < convert->sources.count; i++) {
        if (copy_one(convert, i, err) != 0)
            return error_wrap(err, "copy %s", convert->sources.items[i].path);
    }
    convert->copy_seconds = clock_seconds() - started;
    return 0;
}
