/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Folders that were received: locking, emptying, removing them, and telling whether the machine
 * below an update is still the same.
 */
#include "p2v/finish_folder.h"

#include "base/bytes.h"
#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "formats/guest.h"
#include "formats/image.h"
#include "p2v/definition.h"
#include "p2v/machine.h"
#include "p2v/server/pool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

int finish_folder_lock(const char *path, bool is_exclusive, int *fd, struct error *err)
{
    AUTO_CLOSE int opened = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (opened < 0)
        return errno == ENOENT ? 0 : error_set(err, errno, "open %s", path);
    if (flock(opened, (is_exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
        int cause = errno;
        if (cause != EWOULDBLOCK)
            return error_set(err, cause, "lock %s", path);
        error_set(err, 0, "%s is in use by another rehost", path);
        if (err)
            err->errnum = EBUSY;
        return -1;
    }
    if (!machine_folder_is_there(opened, path))
        return 0;
    *fd = take_fd(&opened);
    return 1;
}

/* --- removing --- */

static DIR *open_listing(int folder_fd, struct error *err)
{
    int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder) {
        error_set(err, errno, "read a folder");
        own_close(&fd);
    }
    return folder;
}

int finish_folder_empty(int folder_fd, struct error *err)
{
    DIR *folder = open_listing(folder_fd, err);
    int result = folder ? 0 : -1;
    struct dirent *entry;
    while (result == 0 && (entry = readdir(folder)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            strcmp(entry->d_name, MACHINE_DRAFT_MARK) == 0)
            continue;
        result = folder_remove(folder_fd, entry->d_name, err);
    }
    if (folder)
        closedir(folder);
    return result;
}

int finish_folder_drop(int folder_fd, const char *const *names, struct error *err)
{
    for (size_t i = 0; names[i]; i++) {
        if (unlinkat(folder_fd, names[i], 0) != 0 && errno != ENOENT)
            return error_set(err, errno, "remove %s", names[i]);
    }
    return 0;
}

int finish_folder_drop_disks(int folder_fd, const char *suffix, struct error *err)
{
    for (size_t i = 0; i < GUEST_MAX_DISKS; i++) {
        AUTO_FREE char *name = text_format("disk%zu%s", i, suffix);
        const char *names[] = {name, NULL};
        if (finish_folder_drop(folder_fd, names, err) != 0)
            return -1;
    }
    return 0;
}

int finish_folder_drop_leftovers(int folder_fd, struct error *err)
{
    DIR *folder = open_listing(folder_fd, err);
    int result = folder ? 0 : -1;
    struct dirent *entry;
    while (result == 0 && (entry = readdir(folder)) != NULL) {
        const char *const names[] = {entry->d_name, NULL};
        if (text_starts_with(entry->d_name, ".disk") && strstr(entry->d_name, ".fix-"))
            result = finish_folder_drop(folder_fd, names, err);
    }
    if (folder)
        closedir(folder);
    return result;
}

/* Where a folder lies while it is being removed, beside itself: a name that is no machine's. */
static char *removed_path(const char *path, const char *suffix)
{
    AUTO_FREE char *parent = path_parent(path);
    AUTO_FREE char *base = path_base(path);
    AUTO_FREE char *name = text_format(".%s%s.removed", base, suffix);
    return path_join(parent, name);
}

int finish_folder_remove(const char *path, struct error *err)
{
    AUTO_FREE char *parent = path_parent(path);
    AUTO_FREE char *hidden = removed_path(path, "");
    /* What an earlier removal did not get through with. */
    if (folder_remove(AT_FDCWD, hidden, err) != 0)
        return -1;
    if (rename(path, hidden) != 0)
        return errno == ENOENT ? 0 : error_set(err, errno, "rename %s", path);
    if (io_sync_folder(parent, err) != 0)
        return -1;
    return folder_remove(AT_FDCWD, hidden, err);
}

void finish_folder_sweep(const char *final)
{
    static const char *const suffixes[] = {POOL_PARTIAL_SUFFIX, POOL_UPDATE_SUFFIX};
    for (size_t i = 0; i < ARRAY_LENGTH(suffixes); i++) {
        AUTO_FREE char *path = removed_path(final, suffixes[i]);
        folder_remove(AT_FDCWD, path, NULL);
    }
}

/* --- the machine below an update --- */

static void add_times(struct text *facts, const char *name, const struct stat *stat)
{
    text_addf(facts, "%s %lld %lld.%09ld\n", name, (long long)stat->st_size,
              (long long)stat->st_mtim.tv_sec, stat->st_mtim.tv_nsec);
}

/* The manifest's last bytes are the sum over all of it. */
static int add_sum(struct text *facts, int folder_fd, const char *name, struct error *err)
{
    uint8_t sum[CHUNK_NAME_SIZE];
    uint64_t size;
    AUTO_CLOSE int fd = openat(folder_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, errno, "open %s", name);
    if (io_size(fd, &size, err) != 0)
        return error_wrap(err, "%s", name);
    if (size < sizeof(sum))
        return error_set(err, 0, "%s: too short for a manifest", name);
    if (io_read_at(fd, sum, sizeof(sum), size - sizeof(sum), err) != 0)
        return error_wrap(err, "%s", name);
    text_add_bytes(facts, sum, sizeof(sum));
    return 0;
}

static bool is_later(const struct timespec *one, const struct timespec *other)
{
    return one->tv_sec != other->tv_sec ? one->tv_sec > other->tv_sec
                                        : one->tv_nsec > other->tv_nsec;
}

static int add_disk(struct text *facts, int folder_fd, size_t index, bool *is_described,
                    struct error *err)
{
    AUTO_FREE char *manifest = machine_manifest_name(index);
    struct stat described, stat;
    bool has_manifest = fstatat(folder_fd, manifest, &described, AT_SYMLINK_NOFOLLOW) == 0;
    bool has_image = false;
    for (size_t i = 0; image_drivers[i]; i++) {
        AUTO_FREE char *name = definition_disk_name(index, image_drivers[i]->name);
        if (fstatat(folder_fd, name, &stat, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        has_image = true;
        add_times(facts, name, &stat);
        *is_described &= has_manifest && !is_later(&stat.st_mtim, &described.st_mtim);
    }
    if (!has_manifest && !has_image)
        return 0;
    *is_described &= has_manifest && has_image;
    return has_manifest ? add_sum(facts, folder_fd, manifest, err) : 0;
}

int finish_base_state(int folder_fd, char state[FINISH_STATE_SIZE], bool *is_described,
                      struct error *err)
{
    AUTO(text) facts = {0};
    struct chunk_name name;
    *is_described = true;
    for (size_t i = 0; i < GUEST_MAX_DISKS; i++) {
        if (add_disk(&facts, folder_fd, i, is_described, err) != 0)
            return -1;
    }
    *is_described &= facts.length > 0;
    chunk_name_compute(text_string(&facts), facts.length, &name);
    bytes_format_hex(name.bytes, sizeof(name.bytes), state);
    return 0;
}
