/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A log for one machine: each line goes to the server's log with the machine's name before it, and
 * with the time into POOL/.rehost/log/NAME.log.
 */
#ifndef P2V_SERVER_MACHINE_LOG_H
#define P2V_SERVER_MACHINE_LOG_H

#include "base/log.h"

#include <stdatomic.h>

/* Lines of one run of the server; an agent that makes us say more is cut short. */
#define MACHINE_LOG_MAX_LINES 10000u

struct machine_log {
    struct log log;     /* first */
    struct log *server; /* may be NULL */
    int fd;             /* -1: no file */
    atomic_uint lines;
    char name[64];
};

/* A file that cannot be opened is left out, and said. */
void machine_log_init(struct machine_log *log, int folder_fd, const char *name, struct log *server);
void machine_log_fini(struct machine_log *log);

#endif
