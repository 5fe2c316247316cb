/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Speaking to machines that run: rehost-vm on its control socket (docs/vm-control.md), QEMU on its
 * QMP socket. The sockets lie in one folder of the user's: NAME.sock, or NAME.qmp with
 * NAME.console.
 */
#ifndef P2V_VM_SOCKET_H
#define P2V_VM_SOCKET_H

#include "base/error.h"
#include "base/own.h"
#include "base/text.h"
#include "formats/guest.h"

#include <jansson.h>
#include <stddef.h>

#define VM_SOCKET ".sock"
#define VM_QMP ".qmp"
#define VM_CONSOLE ".console"
#define VM_LOG ".log" /* what a detached machine's program said */

/* /run/rehost for root, else $XDG_RUNTIME_DIR/rehost; made, mode 0700. It must be our own. Caller
 * frees. */
char *vm_folder(struct error *err);

struct vm_socket {
    const struct vm_driver *driver;
    char *folder, *name;
    int fd;
    struct text heard; /* and not yet used */
};

/* ENOENT: no such machine runs. A socket that nobody listens on any more is removed. */
int vm_socket_open(struct vm_socket *vm, const char *folder, const char *name, struct error *err);
void vm_socket_fini(struct vm_socket *vm);

enum vm_action { VM_PAUSE, VM_RESUME, VM_POWERDOWN, VM_RESET, VM_STOP };

/* ENOTSUP: not with this program. */
int vm_socket_do(struct vm_socket *vm, enum vm_action action, struct error *err);
int vm_socket_limit(struct vm_socket *vm, const char *limit, uint64_t value, struct error *err);

/* What docs/vm-control.md has under stats, and "program". Caller drops. */
json_t *vm_socket_stats(struct vm_socket *vm, struct error *err);

/* The console, a stream; the caller closes it. -1: an error. What was read too far is in `heard`.
 */
int vm_socket_console(struct vm_socket *vm, struct error *err);

/* The names of what may run, without the dead: a sorted list, of `count`; caller frees each and it.
 */
char **vm_list(const char *folder, size_t *count, struct error *err);

/*
 * The terminal becomes the machine's console until ^] or the other end closes: 1 or 0. `shown` is
 * printed first. Works without a terminal too: then stdin's end is no end.
 */
int vm_console(int fd, const struct text *shown, struct error *err);

#endif
