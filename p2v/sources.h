/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The disks of one machine as the user named them: image files and block devices, opened read-only,
 * with what is on them.
 */
#ifndef P2V_SOURCES_H
#define P2V_SOURCES_H

#include "base/error.h"
#include "base/log.h"
#include "base/source.h"
#include "disk/device.h"
#include "disk/layout.h"
#include "formats/image.h"
#include "p2v/options.h"

#include <stdbool.h>
#include <stddef.h>

struct source {
    const char *path;   /* as named by the user, borrowed */
    const char *format; /* the driver's name, "raw" for a device */
    bool is_device;
    struct image *image; /* one of these two */
    struct device *device;
    const struct block_source *block;
    struct layout layout;
    uint64_t used_bytes; /* chunks that a copy would read */
};

struct sources {
    struct source *items;
    size_t count;
};

struct source_options {
    struct option_list formats; /* none: told from the header; one: for all; or one for each */
    const char *backing_folder; /* NULL: images with backing files are refused */
    bool is_whole_disk;         /* images of real disks: shorter than their tables is a warning */
};

/* Opens all and reads their layouts. Empty and cut-off images are errors. */
int sources_open(struct sources *sources, const struct option_list *paths,
                 const struct source_options *options, struct log *log, struct error *err);
void sources_close(struct sources *sources);

/* Refuses a target folder (which need not exist) that holds a source, is one, or lies on one. */
int sources_check_target(const struct sources *sources, const char *target, struct error *err);

/* The errors of a partition table that reach behind the disk's end: true with what, in `err`. */
bool source_is_cut_off(const struct block_source *disk, const struct partition_table *table,
                       struct error *err);

#endif
