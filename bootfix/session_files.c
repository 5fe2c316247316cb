/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * struct files over an appliance. Every path is resolved by the appliance inside the guest's root,
 * so a hostile link leads nowhere else. A file is looked at before it is opened: reading a guest's
 * FIFO would never end.
 */
#include "base/checked.h"
#include "base/own.h"
#include "base/text.h"
#include "bootfix/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* One message of libguestfs holds at most 4 MiB. */
#define SESSION_PART_BYTES ((size_t)2 << 20)
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

/* Large files, too, come by parts of one message each: streaming them (guestfs_download) was seen
 * to take four times as long. */
static int read_parts(struct session *session, const char *path, char *data, size_t size,
                      size_t *length, struct error *err)
{
    *length = 0;
    while (*length < size) {
        size_t got = 0, part = min_u64(size - *length, SESSION_PART_BYTES);
        AUTO_FREE char *content =
            guestfs_pread(session->handle, path, (int)part, (int64_t)*length, &got);
        if (!content || got > part)
            return session_fail(session, err, "read %s at %zu", path, *length);
        if (got == 0)
            return error_set(err, EIO, "read %s: it ends at %zu of %zu bytes", path, *length, size);
        memcpy(data + *length, content, got);
        *length += got;
    }
    data[*length] = '\0';
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
    AUTO_FREE char *content = malloc((size_t)stat.size_bytes + 1);
    if (!content)
        return error_set(err, ENOMEM, "read %s", path);
    found = read_parts(from_files(files), path, content, (size_t)stat.size_bytes, length, err);
    if (found == 1)
        *data = take_ptr(&content);
    return found;
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

/* readlinklist: the daemon answers readlink itself from a new process, which takes four times as
 * long in emulation. A name that is no link, or not there, gives "". */
static int session_readlink(struct files *files, const char *path, char **target, struct error *err)
{
    struct session *session = from_files(files);
    const char *slash = strrchr(path, '/');
    if (!slash || !slash[1])
        return 0;
    AUTO_FREE char *folder = text_format("%.*s", slash > path ? (int)(slash - path) : 1, path);
    char *const names[] = {(char *)slash + 1, NULL};
    char **targets = guestfs_readlinklist(session->handle, folder, names);
    if (!targets)
        return session_is_missing(session) ? 0 : session_fail(session, err, "read link %s", path);
    bool is_link = targets[0] && targets[0][0];
    if (is_link)
        *target = take_ptr(&targets[0]);
    else
        free(targets[0]);
    free(targets);
    return is_link;
}

const struct files_ops session_files_ops = {
    .read = session_read,
    .list = session_list,
    .stat = session_stat,
    .readlink = session_readlink,
};
