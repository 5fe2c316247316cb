/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One start of a machine in QEMU: its files, sockets and process, and the loop that listens to its
 * console and its network until it is clear what becomes of it. Judges nothing.
 */
#ifndef P2V_BOOTTEST_SESSION_H
#define P2V_BOOTTEST_SESSION_H

#include "base/child.h"
#include "p2v/boottest.h"
#include "p2v/boottest_console.h"
#include "p2v/boottest_net.h"
#include "p2v/boottest_qemu.h"

#include <stdint.h>

enum boot_end {
    BOOT_END_NONE,    /* still running */
    BOOT_END_LOGIN,   /* a login prompt, and the network had its time */
    BOOT_END_STOPPED, /* as the console says */
    BOOT_END_EXITED,  /* QEMU ended: power-off, restart, or a fault of QEMU's */
    BOOT_END_SILENT,  /* the network is up, but the console stays without a prompt */
    BOOT_END_TIMEOUT,
    BOOT_END_NO_START, /* nothing started within the time that a working KVM needs many times over
                        */
    BOOT_END_INTERRUPTED,
};

/* How long what may take; in milliseconds. */
struct boot_pace {
    int64_t whole;   /* until the login prompt */
    int64_t network; /* for the network after that */
    int64_t settle;  /* for late failures after that, when the network is up */
    int64_t silence; /* of the console, when only the network is up */
    int64_t start;   /* until the kernel starts or a frame is sent; 0: no limit */
};

struct boot_session {
    const struct guest *guest; /* borrowed, as the next two */
    const struct boot_options *options;
    const char *folder; /* absolute */
    bool is_kvm;
    struct boot_pace pace;

    struct qemu_machine machine; /* owns its descriptors */
    struct child child;
    int exit_status;           /* as waitpid's, with BOOT_END_EXITED */
    int console_fd, errors_fd; /* what QEMU writes on stdout and stderr */
    struct text errors;        /* the first of what it wrote on stderr */
    struct boot_console console;
    int network_fds[GUEST_MAX_NICS];
    struct net_peer peers[GUEST_MAX_NICS];
    size_t peer_count;

    int64_t started_ms, login_ms, stopped_ms, network_ms, heard_ms, asked_ms; /* 0: not yet */

    unsigned rounds;  /* of questions */
    unsigned starved; /* percent of its time that QEMU waited for a processor; 0: unknown */
};

/* NULL-safe fini; a session is large, so it lives on the heap. */
struct boot_session *boot_session_new(const struct guest *guest, const char *folder,
                                      const struct boot_options *options, bool is_kvm);
void boot_session_free(struct boot_session *session);
OWN_DEFINE_PTR(boot_session, boot_session_free)

/* Opens everything and starts QEMU. */
int boot_session_start(struct boot_session *session, struct error *err);

/* Until the end; QEMU is stopped when it returns. -1: the watching itself failed. */
int boot_session_watch(struct boot_session *session, enum boot_end *end, struct error *err);

double boot_session_seconds(const struct boot_session *session);

#endif
