/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Opening the images of a machine. What a guest can write into its disk decides nothing: the format
 * is the definition's, and so is the backing file, whatever the image's header names.
 */
#include "base/own.h"
#include "base/text.h"
#include "hypervisor/vm_private.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static char *path_in(const char *folder, const char *path)
{
    return path[0] == '/' ? text_copy(path) : text_format("%s/%s", folder, path);
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash != path ? text_format("%.*s", (int)(slash - path), path) : text_copy("/");
}

static bool is_same_file(const char *a, const char *b)
{
    struct stat first, second;
    return stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

/* The machine's folder, or the image's own where it lies elsewhere. Caller frees. */
static char *backing_folder(const struct vm_options *options, const char *path, struct error *err)
{
    char folder[PATH_MAX], image[PATH_MAX];
    if (!realpath(options->folder, folder) || !realpath(path, image)) {
        error_set(err, errno, "open %s", path);
        return NULL;
    }
    size_t length = strlen(folder);
    if (strncmp(folder, image, length) == 0 && image[length] == '/')
        return text_copy(folder);
    return folder_of(image);
}

/* The header and the definition name the same backing file, or none. */
static int check_backing(const struct image *image, const struct vm_options *options,
                         const struct guest_disk *disk, struct error *err)
{
    struct image_info info;
    image_get_info(image, &info);
    if (!info.backing_file && !disk->backing)
        return 0;
    if (!info.backing_file || !disk->backing)
        return error_set(err, 0, "%s: its header names %s%s, the definition %s", image->path,
                         info.backing_file ? "the backing file " : "no backing file",
                         info.backing_file ? info.backing_file : "",
                         disk->backing ? disk->backing : "none");
    AUTO_FREE char *folder = folder_of(image->path);
    AUTO_FREE char *named = path_in(folder, info.backing_file);
    AUTO_FREE char *wanted = path_in(options->folder, disk->backing);
    return is_same_file(named, wanted)
               ? 0
               : error_set(err, 0, "%s: its header names the backing file %s, the definition %s",
                           image->path, info.backing_file, disk->backing);
}

static struct image *open_defined(const struct vm_options *options, const struct guest_disk *disk,
                                  const char *path, bool is_writable, struct error *err)
{
    AUTO_FREE char *folder = disk->backing ? backing_folder(options, path, err) : NULL;
    if (disk->backing && !folder)
        return NULL;
    struct image_open_options how = {
        .format = disk->format, .is_writable = is_writable, .backing_folder = folder};
    AUTO_PTR(image) image = image_open(path, &how, err);
    if (!image || check_backing(image, options, disk, err) != 0)
        return NULL;
    return take_ptr(&image);
}

static int create_overlay(const char *path, const struct image *base, const char *base_path,
                          const char *base_format, struct error *err)
{
    struct image_create_options how = {.format = "qcow2",
                                       .size_bytes = base->source.size_bytes,
                                       .backing_path = base_path,
                                       .backing_format = base_format};
    AUTO_PTR(image) image = image_create(path, &how, err);
    return image ? image_finish(image, err) : -1;
}

/* The overlay has no name any more when this returns: it goes with the process. */
static struct image *open_overlay(const struct vm_options *options, const struct guest_disk *disk,
                                  const char *path, struct error *err)
{
    uint64_t random = 0;
    char base_path[PATH_MAX];
    AUTO_PTR(image) base = open_defined(options, disk, path, false, err);
    if (!base)
        return NULL;
    if (!realpath(path, base_path) || getrandom(&random, sizeof(random), 0) < 0) {
        error_set(err, errno, "make an overlay of %s", path);
        return NULL;
    }
    AUTO_FREE char *folder = backing_folder(options, path, err);
    AUTO_FREE char *overlay =
        text_format("%s/rehost-vm-%016" PRIx64 ".qcow2", options->snapshot_folder, random);
    if (!folder)
        return NULL;
    struct image_open_options how = {
        .format = "qcow2", .is_writable = true, .backing_folder = folder};
    struct image *image = NULL;
    if (create_overlay(overlay, base, base_path, disk->format, err) == 0)
        image = image_open(overlay, &how, err);
    unlink(overlay);
    return image;
}

struct image *vm_open_disk(const struct vm_options *options, const struct guest_disk *disk,
                           struct error *err)
{
    AUTO_FREE char *path = path_in(options->folder, disk->path);
    if (!disk->format) {
        error_set(err, 0, "%s: the definition does not name its format", disk->path);
        return NULL;
    }
    return options->snapshot_folder ? open_overlay(options, disk, path, err)
                                    : open_defined(options, disk, path, true, err);
}
