/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Following the backing file that an image's header names. The name is the guest's to choose, so
 * the file is first opened as a mere path (no side effects), its real place is compared with the
 * allowed folder, and only that very file is then opened for reading.
 */
#include "base/text.h"
#include "formats/image_driver.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool image_name_has_protocol(const char *name)
{
    size_t plain = strcspn(name, ":/");

    return name[plain] == ':';
}

/* The place of an open file, as the kernel sees it now. */
static int fd_path(int fd, char path[PATH_MAX], struct error *err)
{
    char link[64];
    ssize_t length;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    length = readlink(link, path, PATH_MAX);
    if (length < 0)
        return error_set(err, errno, "readlink %s", link);
    if (length >= PATH_MAX)
        return error_set(err, ENAMETOOLONG, "readlink %s", link);
    path[length] = '\0';
    return 0;
}

static bool path_is_below(const char *path, const char *folder)
{
    size_t length = strlen(folder);

    if (strcmp(folder, "/") == 0)
        return path[0] == '/';
    return strncmp(path, folder, length) == 0 && path[length] == '/';
}

static int check_place(int fd, const char *folder, struct error *err)
{
    char file_place[PATH_MAX], folder_place[PATH_MAX];
    AUTO_CLOSE int folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct stat status;

    if (folder_fd < 0)
        return error_set(err, errno, "folder %s", folder);
    if (fd_path(folder_fd, folder_place, err) < 0 || fd_path(fd, file_place, err) < 0)
        return -1;
    if (!path_is_below(file_place, folder_place))
        return error_set(err, EPERM, "it lies outside of the folder %s", folder_place);
    if (fstat(fd, &status) < 0)
        return error_set(err, errno, "stat");
    if (!S_ISREG(status.st_mode))
        return error_set(err, 0, "not a regular file");
    return 0;
}

/* A relative name starts in the folder of the image that names it. */
static int open_path_only(const char *image_path, const char *name, struct error *err)
{
    const char *slash = strrchr(image_path, '/');
    AUTO_FREE char *path = NULL;
    int fd;

    if (name[0] == '/' || !slash)
        path = text_copy(name);
    else
        path = text_format("%.*s%s", (int)(slash - image_path + 1), image_path, name);
    fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, errno, "open");
    return fd;
}

static int open_inside(const char *image_path, const char *name,
                       const struct image_open_options *options, struct error *err)
{
    AUTO_CLOSE int place = open_path_only(image_path, name, err);
    char link[64];

    if (place < 0 || check_place(place, options->backing_folder, err) < 0)
        return -1;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", place);
    return options->is_unlocked ? image_file_open_unlocked(link, err)
                                : image_file_open(link, false, err);
}

static struct image *open_checked(const char *image_path, const char *name, const char *format,
                                  const struct image_open_options *options, unsigned chain_depth,
                                  struct error *err)
{
    struct image_open_options below = {.backing_folder = options->backing_folder,
                                       .is_unlocked = options->is_unlocked};
    const struct image_driver *driver = image_driver_find(format ? format : raw_driver.name);
    char path[PATH_MAX];

    if (chain_depth >= IMAGE_MAX_CHAIN) {
        error_set(err, ELOOP, "the chain is longer than %d images, or a circle", IMAGE_MAX_CHAIN);
        return NULL;
    }
    if (!options->backing_folder) {
        error_set(err, EPERM, "backing files were not allowed");
        return NULL;
    }
    if (image_name_has_protocol(name)) {
        error_set(err, EPERM, "a protocol is refused, only plain files are read");
        return NULL;
    }
    if (!driver) {
        error_set(err, 0, "unknown image format '%s'", format);
        return NULL;
    }
    AUTO_CLOSE int fd = open_inside(image_path, name, options, err);

    /* Its own backing file is relative to where it really is. */
    if (fd < 0 || fd_path(fd, path, err) < 0)
        return NULL;
    return driver->open(take_fd(&fd), path, &below, chain_depth, err);
}

struct image *image_open_backing(const char *image_path, const char *name, const char *format,
                                 const struct image_open_options *options, unsigned chain_depth,
                                 struct error *err)
{
    struct image *image = open_checked(image_path, name, format, options, chain_depth, err);

    if (!image)
        error_wrap(err, "backing file %s", name);
    return image;
}
