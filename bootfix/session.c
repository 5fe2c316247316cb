/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Launching the appliance, with KVM or without, and ending it properly.
 */
#include "bootfix/session.h"

#include "base/own.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static int add_disk(struct session *session, const struct bootfix_disk *disk, struct error *err)
{
    int is_read_only = !session->is_writable;
    int sector_size = session->sector_size == 4096 ? 4096 : 512;
    if (guestfs_add_drive_opts(session->handle, disk->path, GUESTFS_ADD_DRIVE_OPTS_FORMAT,
                               disk->format, GUESTFS_ADD_DRIVE_OPTS_READONLY, is_read_only,
                               GUESTFS_ADD_DRIVE_OPTS_BLOCKSIZE, sector_size, -1) < 0)
        return session_fail(session, err, "add %s", disk->path);
    return 0;
}

/* What the appliance and QEMU print: the end of it, which says why a launch failed. */
static void keep_console(guestfs_h *handle, void *opaque, uint64_t event, int event_handle,
                         int flags, const char *data, size_t length, const uint64_t *array,
                         size_t array_length)
{
    struct session *session = opaque;
    size_t room = sizeof(session->console) - 1;
    (void)handle, (void)event, (void)event_handle, (void)flags, (void)array, (void)array_length;
    if (length > room) {
        data += length - room;
        length = room;
    }
    if (session->console_length + length > room) {
        size_t kept = room - length;
        memmove(session->console, session->console + session->console_length - kept, kept);
        session->console_length = kept;
    }
    memcpy(session->console + session->console_length, data, length);
    session->console_length += length;
    session->console[session->console_length] = '\0';
}

/* QEMU's last complaint, into a buffer; "" when it made none. */
static void find_complaint(const struct session *session, char *complaint, size_t size)
{
    complaint[0] = '\0';
    for (const char *line = session->console; *line; line += *line == '\n') {
        size_t length = strcspn(line, "\r\n");
        if (strncmp(line, "qemu", 4) == 0)
            snprintf(complaint, size, "%.*s", (int)length, line);
        line += strcspn(line, "\n");
    }
}

static int create_handle(struct session *session, struct error *err)
{
    session->handle = guestfs_create();
    if (!session->handle)
        return error_set(err, errno, "start libguestfs");
    guestfs_set_error_handler(session->handle, NULL, NULL);
    guestfs_set_identifier(session->handle, "rehost");
    session->console_length = 0;
    session->console[0] = '\0';
    if (guestfs_set_event_callback(session->handle, keep_console, GUESTFS_EVENT_APPLIANCE, 0,
                                   session) < 0)
        return session_fail(session, err, "watch the appliance");
    if (!session->is_emulated)
        return 0;
    /* Emulated CPUs run in a thread each: the second takes a sixth off the launch. */
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (guestfs_set_backend_setting(session->handle, "force_tcg", "1") < 0 ||
        guestfs_set_smp(session->handle, processors > 1 ? 2 : 1) < 0)
        return session_fail(session, err, "choose software emulation");
    return 0;
}

static int prepare(struct session *session, const struct bootfix_disk *disks, size_t count,
                   struct error *err)
{
    if (create_handle(session, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (add_disk(session, &disks[i], err) < 0)
            return -1;
    return 0;
}

static int launch(struct session *session, struct error *err)
{
    char complaint[256];
    watchdog_arm(&session->watchdog, session->is_emulated ? SESSION_LAUNCH_EMULATED_SECONDS
                                                          : SESSION_LAUNCH_KVM_SECONDS);
    if (guestfs_launch(session->handle) == 0) {
        watchdog_arm(&session->watchdog, SESSION_WORK_SECONDS);
        return 0;
    }
    find_complaint(session, complaint, sizeof(complaint));
    if (complaint[0] == '\0')
        return session_fail(session, err, "launch the libguestfs appliance");
    return error_set(err, 0, "launch the libguestfs appliance: %s", complaint);
}

static void close_handle(struct session *session)
{
    if (session->handle) {
        guestfs_close(take_ptr(&session->handle));
    }
}

/* Only what proves that KVM cannot be used: an appliance that runs is the one proof that it can. */
static bool is_kvm_out_of_question(void)
{
    const char *settings = getenv("LIBGUESTFS_BACKEND_SETTINGS");
    return (settings && strstr(settings, "force_tcg")) || access("/dev/kvm", R_OK | W_OK) < 0;
}

/* 1: runs. 0: KVM did not run it, and *why says so. An unusable KVM fails in a tenth of a second.
 */
static int try_kvm(struct session *session, const struct bootfix_disk *disks, size_t count,
                   struct error *why, struct error *err)
{
    if (prepare(session, disks, count, err) < 0)
        return -1;
    if (launch(session, why) == 0)
        return 1;
    close_handle(session);
    session->is_emulated = true;
    return 0;
}

int session_open(struct session *session, const struct bootfix_disk *disks, size_t count,
                 const struct bootfix_options *options, struct log *log, struct error *err)
{
    *session = (struct session){
        .files.ops = &session_files_ops,
        .log = log,
        .sector_size = options->sector_size,
        .is_writable = options->is_writable,
        .is_emulated = options->is_emulated || is_kvm_out_of_question(),
    };
    struct error why = {0};
    if (watchdog_start(&session->watchdog, err) < 0)
        return -1;
    if (!session->is_emulated) {
        int is_running = try_kvm(session, disks, count, &why, err);
        if (is_running != 0)
            return is_running < 0 ? -1 : 0;
        log_detail(log, "%s", why.text);
        log_info(log, "the libguestfs appliance does not start with KVM on this machine: trying "
                      "software emulation, which is slower");
    }
    if (prepare(session, disks, count, err) < 0)
        return -1;
    return launch(session, err);
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
