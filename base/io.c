/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whole reads and writes; files written aside and renamed.
 */
#include "base/io.h"

#include "base/checked.h"
#include "base/own.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Linux moves at most this much in one call (MAX_RW_COUNT). */
#define IO_MAX_CALL ((size_t)1 << 30)

static int check_offset(uint64_t offset, size_t length, struct error *err)
{
    if (!range_is_inside(offset, length, INT64_MAX))
        return error_set(err, EOVERFLOW, "offset 0x%" PRIx64, offset);
    return 0;
}

int io_read_at(int fd, void *buffer, size_t length, uint64_t offset, struct error *err)
{
    if (check_offset(offset, length, err) != 0)
        return -1;
    for (size_t done = 0; done < length;) {
        size_t wanted = min_u64(length - done, IO_MAX_CALL);
        ssize_t got = pread(fd, (char *)buffer + done, wanted, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set(err, errno, "read %zu bytes at 0x%" PRIx64, wanted, offset + done);
        if (got == 0) {
            error_set(err, 0, "read %zu bytes at 0x%" PRIx64 ": the file ends there", wanted,
                      offset + done);
            if (err)
                err->errnum = EIO;
            return -1;
        }
        done += (size_t)got;
    }
    return 0;
}

int io_write_at(int fd, const void *data, size_t length, uint64_t offset, struct error *err)
{
    if (check_offset(offset, length, err) != 0)
        return -1;
    for (size_t done = 0; done < length;) {
        size_t wanted = min_u64(length - done, IO_MAX_CALL);
        ssize_t put = pwrite(fd, (const char *)data + done, wanted, (off_t)(offset + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return error_set(err, put < 0 ? errno : EIO, "write %zu bytes at 0x%" PRIx64, wanted,
                             offset + done);
        done += (size_t)put;
    }
    return 0;
}

int io_write(int fd, const void *data, size_t length, struct error *err)
{
    for (size_t done = 0; done < length;) {
        ssize_t put = write(fd, (const char *)data + done, min_u64(length - done, IO_MAX_CALL));
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return error_set(err, put < 0 ? errno : EIO, "write %zu bytes", length - done);
        done += (size_t)put;
    }
    return 0;
}

/* Reads to the end rather than trusting st_size, which is 0 in /proc and may change. */
static int read_to_end(int fd, size_t limit_bytes, struct text *content, struct error *err)
{
    char buffer[65536];
    for (;;) {
        ssize_t got = read(fd, buffer, sizeof(buffer));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set(err, errno, "read");
        if (got == 0)
            return 0;
        if (content->length + (size_t)got > limit_bytes)
            return error_set(err, EFBIG, "more than %zu bytes", limit_bytes);
        text_add_bytes(content, buffer, (size_t)got);
    }
}

int io_read_file(int folder_fd, const char *path, size_t limit_bytes, char **data, size_t *length,
                 struct error *err)
{
    AUTO_CLOSE int fd = openat(folder_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return error_set(err, errno, "open %s", path);
    AUTO(text) content = {0};
    if (read_to_end(fd, limit_bytes, &content, err) != 0)
        return error_wrap(err, "read %s", path);
    *length = content.length;
    *data = text_take(&content);
    return 0;
}

int io_size(int fd, uint64_t *size_bytes, struct error *err)
{
    struct stat stat;
    if (fstat(fd, &stat) != 0)
        return error_set(err, errno, "fstat");
    if (S_ISBLK(stat.st_mode)) {
        if (ioctl(fd, BLKGETSIZE64, size_bytes) != 0)
            return error_set(err, errno, "BLKGETSIZE64");
        return 0;
    }
    if (S_ISDIR(stat.st_mode))
        return error_set(err, EISDIR, "neither a file nor a block device");
    if (!S_ISREG(stat.st_mode))
        return error_set(err, 0, "neither a regular file nor a block device");
    *size_bytes = (uint64_t)stat.st_size;
    return 0;
}

int io_sync(int fd, struct error *err)
{
    if (fsync(fd) != 0)
        return error_set(err, errno, "fsync");
    return 0;
}

int io_sync_folder(const char *path, struct error *err)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, errno, "open %s", path);
    if (io_sync(fd, err) != 0)
        return error_wrap(err, "%s", path);
    return 0;
}

int new_file_open(struct new_file *file, int folder_fd, const char *name, mode_t mode,
                  struct error *err)
{
    *file = (struct new_file){.fd = -1, .folder_fd = -1};
    file->folder_fd = folder_fd == AT_FDCWD ? open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                                            : fcntl(folder_fd, F_DUPFD_CLOEXEC, 3);
    if (file->folder_fd < 0)
        return error_set(err, errno, "open the folder of %s", name);
    file->name = text_copy(name);
    const char *slash = strrchr(name, '/');
    int folder_length = slash ? (int)(slash + 1 - name) : 0;
    file->temporary = text_format("%.*s.%s.partial", folder_length, name, slash ? slash + 1 : name);
    /* A left-over of a killed process is nobody's: start it anew. */
    file->fd = openat(file->folder_fd, file->temporary,
                      O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (file->fd < 0) {
        error_set(err, errno, "create %s", file->temporary);
        free(take_ptr(&file->temporary)); /* whatever has that name is not ours to remove */
        new_file_fini(file);
        return -1;
    }
    return 0;
}

static int sync_parent(const struct new_file *file, struct error *err)
{
    const char *slash = strrchr(file->name, '/');
    if (!slash)
        return io_sync(file->folder_fd, err);
    AUTO_FREE char *parent = text_format("%.*s", (int)(slash + 1 - file->name), file->name);
    AUTO_CLOSE int fd = openat(file->folder_fd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, errno, "open %s", parent);
    return io_sync(fd, err);
}

static int commit(struct new_file *file, struct error *err)
{
    if (io_sync(file->fd, err) != 0)
        return -1;
    if (close(take_fd(&file->fd)) != 0)
        return error_set(err, errno, "close");
    if (renameat(file->folder_fd, file->temporary, file->folder_fd, file->name) != 0)
        return error_set(err, errno, "rename");
    free(take_ptr(&file->temporary));
    return sync_parent(file, err);
}

int new_file_commit(struct new_file *file, struct error *err)
{
    int result = commit(file, err);
    if (result != 0)
        error_wrap(err, "write %s", file->name);
    new_file_fini(file);
    return result;
}

void new_file_fini(struct new_file *file)
{
    if (file->temporary)
        unlinkat(file->folder_fd, file->temporary, 0);
    if (file->fd > 0)
        close(file->fd);
    if (file->folder_fd > 0)
        close(file->folder_fd);
    free(file->name);
    free(file->temporary);
    *file = (struct new_file){.fd = -1, .folder_fd = -1};
}

int io_replace_file(int folder_fd, const char *name, const void *data, size_t length, mode_t mode,
                    struct error *err)
{
    AUTO(new_file) file = {.fd = -1, .folder_fd = -1};
    if (new_file_open(&file, folder_fd, name, mode, err) != 0)
        return -1;
    if (io_write(file.fd, data, length, err) != 0)
        return error_wrap(err, "write %s", name);
    return new_file_commit(&file, err);
}
