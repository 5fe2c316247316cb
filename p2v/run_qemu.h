/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * `rehost run` where rehost-vm cannot: QEMU with the same definition, its console and QMP sockets
 * beside those of others (p2v/vm_socket.h).
 */
#ifndef P2V_RUN_QEMU_H
#define P2V_RUN_QEMU_H

#include "base/error.h"
#include "p2v/boottest_qemu.h"

#include <stdbool.h>

struct run_qemu {
    const struct guest *guest;
    const char *folder; /* that its paths are relative to, absolute */
    const char *sockets;
    const char *network; /* "user", "tap:NAME", "none"; NULL: the definition's, or user */
    int console_fd;      /* the console's other end, borrowed; -1: a socket for whoever comes */
    bool is_kvm, is_snapshot;
};

/* What it leaves out of the definition, in words; "" when nothing. Static. */
const char *run_qemu_misses(const struct guest *guest);

/* Opens what has to be inherited (close them with run_qemu_close) and makes QEMU's arguments. */
int run_qemu_open(const struct run_qemu *run, struct qemu_machine *machine,
                  struct qemu_arguments *arguments, struct error *err);
void run_qemu_close(struct qemu_machine *machine);

#endif
