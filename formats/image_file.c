/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The files that images live in: opened once, kind checked on the descriptor, locked.
 *
 * The locks are QEMU's own (its block/file-posix): shared byte locks on the open file description,
 * byte 100 + n for 'I have permission n', byte 200 + n for 'nobody else may have it'. Taken first
 * and looked for after, so of two that come at once at least one sees the other.
 */
#include "base/io.h"
#include "formats/image_driver.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_HAVE 100
#define LOCK_DENY 200

enum { PERMISSION_READ = 0, PERMISSION_WRITE = 1, PERMISSION_RESIZE = 3 };

static const int reader_has[] = {PERMISSION_READ, -1};
static const int writer_has[] = {PERMISSION_READ, PERMISSION_WRITE, PERMISSION_RESIZE, -1};
static const int both_deny[] = {PERMISSION_WRITE, PERMISSION_RESIZE, -1};

/* Some network file systems have no locks; an image there is used as it is. */
static bool is_unsupported(int errnum)
{
    return errnum == ENOLCK || errnum == EOPNOTSUPP || errnum == ENOSYS || errnum == EINVAL;
}

static int lock_bytes(int fd, int base, const int *permissions, struct error *err)
{
    for (; *permissions >= 0; permissions++) {
        struct flock lock = {
            .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = base + *permissions, .l_len = 1};

        if (fcntl(fd, F_OFD_SETLK, &lock) < 0 && !is_unsupported(errno))
            return error_set(err, errno, "lock byte %d", base + *permissions);
    }
    return 0;
}

/* Fails when anybody else holds one of these bytes. */
static int test_bytes(int fd, int base, const int *permissions, struct error *err)
{
    for (; *permissions >= 0; permissions++) {
        struct flock lock = {
            .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = base + *permissions, .l_len = 1};

        if (fcntl(fd, F_OFD_GETLK, &lock) < 0) {
            if (is_unsupported(errno))
                continue;
            return error_set(err, errno, "test the lock of byte %d", base + *permissions);
        }
        if (lock.l_type != F_UNLCK)
            return error_set(err, EBUSY, "another program is using it");
    }
    return 0;
}

static int lock_image(int fd, bool is_writable, struct error *err)
{
    const int *has = is_writable ? writer_has : reader_has;

    if (lock_bytes(fd, LOCK_HAVE, has, err) < 0 || lock_bytes(fd, LOCK_DENY, both_deny, err) < 0)
        return -1;
    if (test_bytes(fd, LOCK_DENY, has, err) < 0)
        return -1;
    return test_bytes(fd, LOCK_HAVE, both_deny, err);
}

/* Nothing to add to what the system says: the caller names the file and what was done. */
static int system_error(struct error *err, int errnum)
{
    error_set(err, 0, "%s", strerror(errnum));
    if (err)
        err->errnum = errnum;
    return -1;
}

static int check_kind(int fd, struct error *err)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return error_set(err, errno, "stat");
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
        return error_set(err, S_ISDIR(status.st_mode) ? EISDIR : 0,
                         "not a regular file or block device");
    return 0;
}

/* O_EXCL on a block device: nothing has it mounted or in use; it means nothing on a file. */
static int open_for_writing(const char *path)
{
    struct stat status;
    int flags = O_RDWR | O_CLOEXEC | O_NONBLOCK;

    if (stat(path, &status) == 0 && S_ISBLK(status.st_mode))
        flags |= O_EXCL;
    return open(path, flags);
}

int image_file_open(const char *path, bool is_writable, struct error *err)
{
    /* O_NONBLOCK: a FIFO put in the image's place must not hang us. */
    AUTO_CLOSE int fd =
        is_writable ? open_for_writing(path) : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return is_writable ? error_set(err, errno, "for writing") : system_error(err, errno);
    if (check_kind(fd, err) < 0 || lock_image(fd, is_writable, err) < 0)
        return -1;
    return take_fd(&fd);
}

int image_file_open_unlocked(const char *path, struct error *err)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return system_error(err, errno);
    return check_kind(fd, err) < 0 ? -1 : take_fd(&fd);
}

static bool is_block_device(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && S_ISBLK(status.st_mode);
}

int image_file_create(const char *path, bool may_be_device, struct error *err)
{
    if (may_be_device && is_block_device(path))
        return image_file_open(path, true, err);

    AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);

    if (fd < 0)
        return system_error(err, errno);
    if (lock_image(fd, true, err) < 0) {
        unlink(path);
        return -1;
    }
    return take_fd(&fd);
}

int image_file_read_padded(int fd, void *buffer, size_t length, uint64_t offset, struct error *err)
{
    size_t done = 0;

    while (done < length) {
        ssize_t got = pread(fd, (char *)buffer + done, length - done, (off_t)(offset + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set(err, errno, "read %zu bytes at 0x%llx", length,
                             (unsigned long long)offset);
        if (got == 0)
            break;
        done += (size_t)got;
    }
    memset((char *)buffer + done, 0, length - done);
    return 0;
}
