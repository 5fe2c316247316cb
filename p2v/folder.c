/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Paths and folders: taking them apart, looking into them, removing them.
 */
#include "base/own.h"
#include "base/text.h"
#include "p2v/machine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Nothing of ours nests deeper than this. */
#define FOLDER_MAX_DEPTH 16

char *path_join(const char *path, const char *name)
{
    if (name[0] == '/' || strcmp(path, ".") == 0)
        return text_copy(name);
    return text_format("%s%s%s", path, text_ends_with(path, "/") ? "" : "/", name);
}

static size_t length_without_slashes(const char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    return length;
}

char *path_base(const char *path)
{
    size_t end = length_without_slashes(path);
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    return text_format("%.*s", (int)(end - start), path + start);
}

char *path_parent(const char *path)
{
    size_t end = length_without_slashes(path);
    while (end > 0 && path[end - 1] != '/')
        end--;
    if (end == 0)
        return text_copy(".");
    while (end > 1 && path[end - 1] == '/')
        end--;
    return text_format("%.*s", (int)end, path);
}

bool folder_has(int folder_fd, const char *name)
{
    struct stat stat;
    return fstatat(folder_fd, name, &stat, AT_SYMLINK_NOFOLLOW) == 0;
}

static int remove_entry(int parent_fd, const char *name, unsigned depth, struct error *err);

static int empty_folder(DIR *folder, unsigned depth, struct error *err)
{
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (remove_entry(dirfd(folder), entry->d_name, depth + 1, err) != 0)
            return -1;
    }
    return 0;
}

static int remove_entry(int parent_fd, const char *name, unsigned depth, struct error *err)
{
    if (unlinkat(parent_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR)
        return error_set(err, errno, "remove %s", name);
    if (depth > FOLDER_MAX_DEPTH)
        return error_set(err, 0, "remove %s: more than %d folders deep", name, FOLDER_MAX_DEPTH);
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder) {
        int cause = errno;
        own_close(&fd);
        return error_set(err, cause, "open %s", name);
    }
    int result = empty_folder(folder, depth, err);
    closedir(folder);
    if (result == 0 && unlinkat(parent_fd, name, AT_REMOVEDIR) != 0)
        return error_set(err, errno, "remove %s", name);
    return result;
}

int folder_remove(int parent_fd, const char *name, struct error *err)
{
    return remove_entry(parent_fd, name, 0, err);
}
