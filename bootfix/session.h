/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One libguestfs appliance: launched once (with KVM, else in software emulation), the guest's files
 * seen through it, and its errors in our words. Only this file, bootfix.c and the inspect_*.c
 * files know libguestfs.
 */
#ifndef BOOTFIX_SESSION_H
#define BOOTFIX_SESSION_H

#include "base/error.h"
#include "base/log.h"
#include "bootfix/bootfix.h"
#include "bootfix/files.h"
#include "bootfix/watchdog.h"

#include <guestfs.h>
#include <stdbool.h>

/* How long an appliance may take to start, and how long the whole work in it. */
#define SESSION_LAUNCH_KVM_SECONDS 120
#define SESSION_LAUNCH_EMULATED_SECONDS 600
#define SESSION_WORK_SECONDS 3600

struct session {
    struct files files;
    guestfs_h *handle;
    struct log *log;
    struct watchdog watchdog;
    char console[4096]; /* the end of what the appliance printed */
    size_t console_length;
    unsigned sector_size;
    bool is_writable, is_emulated;
};

extern const struct files_ops session_files_ops;

/* Half-opened sessions may be closed. */
int session_open(struct session *session, const struct bootfix_disk *disks, size_t count,
                 const struct bootfix_options *options, struct log *log, struct error *err);
void session_close(struct session *session);

/* Unmounts, flushes and stops the appliance; every error counts. */
int session_finish(struct session *session, struct error *err);

/* Sets err to "formatted text: libguestfs's last error". Returns -1. */
int session_fail(struct session *session, struct error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* True when the last error says that there is no such file. */
bool session_is_missing(struct session *session);

#endif
