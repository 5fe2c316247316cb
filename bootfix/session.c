/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Launching the appliance, and struct files over it. Every path is resolved by the appliance inside
 * the guest's root, so a hostile link leads nowhere else. A file is looked at before it is opened:
 * reading a guest's FIFO would never end.
 */
#include "bootfix/session.h"

#include "base/bytes.h"
#include "base/io.h"
#include "base/own.h"
#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* One message holds 4 MiB; above this a file is streamed. */
#define SESSION_MAX_MESSAGE_BYTES ((size_t)2 << 20)
#define SESSION_MAX_NAMES 65536

int session_fail(struct session *session, struct error *err, const char *format, ...)
{
    char what[ERROR_TEXT_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);

    const char *why = session->handle ? guestfs_last_error(session->handle) : NULL;
    if (session->watchdog.is_running && watchdog_has_fired(&session->watchdog)) {
        why = "the appliance did not answer in time and was stopped";
    }
    if (!why)
        why = "unknown error of libguestfs";
    /* Only the first line says something; the others tell how to debug libguestfs. */
    error_set(err, 0, "%s: %.*s", what, (int)strcspn(why, "\n"), why);
    if (err && session->handle) {
        err->errnum = guestfs_last_errno(session->handle);
    }
    return -1;
}

bool session_is_missing(struct session *session)
{
    int errnum = guestfs_last_errno(session->handle);
    return errnum == ENOENT || errnum == ENOTDIR || errnum == ELOOP || errnum == ENAMETOOLONG;
}

/* --- the guest's files --------------------------------------------------------------------- */

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

static const struct files_ops session_files_ops = {
    .read = session_read,
    .list = session_list,
    .stat = session_stat,
    .readlink = session_readlink,
};

/* --- launching ----------------------------------------------------------------------------- */

static int add_disk(struct session *session, const struct bootfix_disk *disk, struct error *err)
{
    int is_read_only = !session->is_writable;
    if (guestfs_add_drive_opts(session->handle, disk->path, GUESTFS_ADD_DRIVE_OPTS_FORMAT,
                               disk->format, GUESTFS_ADD_DRIVE_OPTS_READONLY, is_read_only,
                               -1) < 0) {
        return session_fail(session, err, "add %s", disk->path);
    }
    return 0;
}

static int create_handle(struct session *session, struct error *err)
{
    session->handle = guestfs_create();
    if (!session->handle) {
        return error_set(err, errno, "start libguestfs");
    }
    guestfs_set_error_handler(session->handle, NULL, NULL);
    guestfs_set_identifier(session->handle, "rehost");
    if (!session->is_emulated) {
        return 0;
    }
    /* Emulated CPUs run in a thread each: the second takes a sixth off the launch. */
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (guestfs_set_backend_setting(session->handle, "force_tcg", "1") < 0 ||
        guestfs_set_smp(session->handle, processors > 1 ? 2 : 1) < 0) {
        return session_fail(session, err, "choose software emulation");
    }
    return 0;
}

static int launch(struct session *session, const struct bootfix_disk *disks, size_t count,
                  struct error *err)
{
    if (create_handle(session, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        if (add_disk(session, &disks[i], err) < 0) {
            return -1;
        }
    }
    watchdog_arm(&session->watchdog, session->is_emulated ? SESSION_LAUNCH_EMULATED_SECONDS
                                                          : SESSION_LAUNCH_KVM_SECONDS);
    if (guestfs_launch(session->handle) < 0) {
        return session_fail(session, err, "launch the libguestfs appliance");
    }
    watchdog_arm(&session->watchdog, SESSION_WORK_SECONDS);
    return 0;
}

static void close_handle(struct session *session)
{
    if (session->handle) {
        guestfs_close(take_ptr(&session->handle));
    }
}

static bool is_forced_by_environment(void)
{
    const char *settings = getenv("LIBGUESTFS_BACKEND_SETTINGS");
    return settings && strstr(settings, "force_tcg");
}

int session_open(struct session *session, const struct bootfix_disk *disks, size_t count,
                 const struct bootfix_options *options, struct log *log, struct error *err)
{
    *session = (struct session){
        .files.ops = &session_files_ops,
        .log = log,
        .is_writable = options->is_writable,
        .is_emulated = options->is_emulated || is_forced_by_environment(),
    };
    if (watchdog_start(&session->watchdog, err) < 0) {
        return -1;
    }
    if (launch(session, disks, count, err) == 0) {
        return 0;
    }
    if (session->is_emulated) {
        return -1;
    }
    /* Cheaper than any test beforehand: an accelerator that cannot run the appliance fails in a
     * tenth of a second, and only an appliance that ran proves the accelerator. */
    log_info(log, "KVM cannot run the libguestfs appliance on this machine: using software "
                  "emulation, which is slower");
    log_detail(log, "%s", err->text);
    close_handle(session);
    session->is_emulated = true;
    return launch(session, disks, count, err);
}

void session_close(struct session *session)
{
    close_handle(session);
    watchdog_stop(&session->watchdog);
}

int session_finish(struct session *session, struct error *err)
{
    if (guestfs_umount_all(session->handle) < 0) {
        return session_fail(session, err, "unmount the guest");
    }
    if (guestfs_sync(session->handle) < 0) {
        return session_fail(session, err, "flush the guest's disks");
    }
    if (guestfs_shutdown(session->handle) < 0) {
        return session_fail(session, err, "stop the appliance");
    }
    return 0;
}
