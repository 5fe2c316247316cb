/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * struct files over an appliance. Every path is resolved by the appliance inside the guest's root,
 * so a hostile link leads nowhere else. A file is looked at before it is opened: reading a guest's
 * FIFO would never end.
 */
#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "bootfix/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* One message holds 4 MiB; above this a file is streamed. */
#define SESSION_MAX_MESSAGE_BYTES ((size_t)2 << 20)
#define SESSION_MAX_NAMES 65536

static struct session *from_files(struct files *files)
{
    return (struct session *)((char *)files - offsetof(struct session, files));
}

static int session_stat(struct files *files, const char *path, struct files_stat *stat,
                        struct error *err)
{
    struct session *session = from_files(files);
    struct guestfs_statns *found = guestfs_statns(session->handle, path);
    if (!found) {
        return session_is_missing(session) ? 0 : session_fail(session, err, "stat %s", path);
    }
    *stat = (struct files_stat){
        .mode = (mode_t)found->st_mode,
        .uid = (uint32_t)found->st_uid,
        .gid = (uint32_t)found->st_gid,
        .size_bytes = (uint64_t)found->st_size,
    };
    guestfs_free_statns(found);
    return 1;
}

static int read_in_one_message(struct session *session, const char *path, size_t size, char **data,
                               size_t *length, struct error *err)
{
    size_t got = 0;
    AUTO_FREE char *content = guestfs_pread(session->handle, path, (int)size, 0, &got);
    if (!content || got > size) {
        return session_fail(session, err, "read %s", path);
    }
    *data = memory_new(got + 1, 1);
    memcpy(*data, content, got);
    *length = got;
    return 1;
}

static int read_streamed(struct session *session, const char *path, size_t limit_bytes, char **data,
                         size_t *length, struct error *err)
{
    char name[64];
    AUTO_CLOSE int fd = memfd_create("guest file", MFD_CLOEXEC);
    if (fd < 0) {
        return error_set(err, errno, "make a file in memory for %s", path);
    }
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    if (guestfs_download(session->handle, path, name) < 0) {
        return session_fail(session, err, "read %s", path);
    }
    uint64_t size;
    if (io_size(fd, &size, err) < 0) {
        return -1;
    }
    if (size > limit_bytes) {
        return error_set(err, EFBIG, "read %s", path);
    }
    AUTO_FREE char *content = malloc((size_t)size + 1);
    if (!content) {
        return error_set(err, ENOMEM, "read %s", path);
    }
    if (io_read_at(fd, content, (size_t)size, 0, err) < 0) {
        return error_wrap(err, "read %s", path);
    }
    content[size] = '\0';
    *data = take_ptr(&content);
    *length = (size_t)size;
    return 1;
}

static int session_read(struct files *files, const char *path, size_t limit_bytes, char **data,
                        size_t *length, struct error *err)
{
    struct files_stat stat;
    int found = session_stat(files, path, &stat, err);
    if (found <= 0) {
        return found;
    }
    if (!S_ISREG(stat.mode)) {
        return 0;
    }
    if (stat.size_bytes > limit_bytes) {
        return error_set(err, EFBIG, "read %s: it has %llu bytes, at most %zu are read", path,
                         (unsigned long long)stat.size_bytes, limit_bytes);
    }
    struct session *session = from_files(files);
    if (stat.size_bytes <= SESSION_MAX_MESSAGE_BYTES) {
        return read_in_one_message(session, path, (size_t)stat.size_bytes, data, length, err);
    }
    return read_streamed(session, path, limit_bytes, data, length, err);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int session_list(struct files *files, const char *folder, char ***names, struct error *err)
{
    struct session *session = from_files(files);
    char **entries = guestfs_ls(session->handle, folder);
    if (!entries)
        return session_is_missing(session) ? 0 : session_fail(session, err, "list %s", folder);
    size_t count = 0;
    while (entries[count]) {
        count++;
    }
    qsort(entries, count, sizeof(*entries), by_name);
    for (size_t i = SESSION_MAX_NAMES; i < count; i++) {
        free(take_ptr(&entries[i]));
    }
    *names = entries;
    return 1;
}

static int session_readlink(struct files *files, const char *path, char **target, struct error *err)
{
    struct session *session = from_files(files);
    char *found = guestfs_readlink(session->handle, path);
    if (!found) {
        bool is_no_link = guestfs_last_errno(session->handle) == EINVAL;
        return is_no_link || session_is_missing(session)
                   ? 0
                   : session_fail(session, err, "read link %s", path);
    }
    *target = found;
    return 1;
}

const struct files_ops session_files_ops = {
    .read = session_read,
    .list = session_list,
    .stat = session_stat,
    .readlink = session_readlink,
};
