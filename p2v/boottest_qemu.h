/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QEMU's command line, for the boot test and for `rehost run`. Builds the arguments only: the
 * descriptors named in it are opened and inherited by whoever starts QEMU. In the boot test no
 * device gives the guest a way out of the process.
 */
#ifndef P2V_BOOTTEST_QEMU_H
#define P2V_BOOTTEST_QEMU_H

#include "base/error.h"
#include "base/own.h"
#include "formats/guest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QEMU_PROGRAM "qemu-system-x86_64"

/* How a machine runs for good, beside the boot test. */
struct qemu_run {
    const char *folder; /* that the disks' paths are relative to, absolute */
    const char
        *network; /* "user", "tap:NAME", "none", for every card; NULL: each its own, or user */
    const char *qmp_path, *console_path; /* sockets, made by QEMU */
    int console_fd;                      /* a connected one instead of the path; -1: the path */
};

struct qemu_machine {
    const struct guest *guest;
    const char *accelerator; /* "kvm", "tcg" */
    uint64_t memory_bytes;
    unsigned cpus;
    const struct qemu_run *run;    /* NULL: the boot test */
    int disk_fds[GUEST_MAX_DISKS]; /* qcow2 overlays, read-write; -1 with `run`: the disk itself */
    int network_fds[GUEST_MAX_NICS]; /* our datagram sockets' other ends; not with `run` */
    const char *firmware_path;       /* UEFI code; NULL: BIOS */
    int variables_fd;                /* UEFI variables, read-write; -1: BIOS */
};

/* Strings owned by the list; `items` ends with NULL and can be given to child_start. */
struct qemu_arguments {
    char **items;
    size_t count;
};
void qemu_arguments_fini(struct qemu_arguments *arguments);

/* Fails for hardware that cannot be built: more IDE disks than IDE takes, another architecture. */
int qemu_arguments_make(struct qemu_arguments *arguments, const struct qemu_machine *machine,
                        struct error *err);

/* How much memory the test gives the guest: what it has, at most what the test and the host can. */
uint64_t qemu_choose_memory(uint64_t guest_bytes, uint64_t available_bytes);

#endif
