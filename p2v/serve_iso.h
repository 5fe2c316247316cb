/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * `rehost serve --iso`: a boot medium that knows this server, with a token of its own.
 */
#ifndef P2V_SERVE_ISO_H
#define P2V_SERVE_ISO_H

#include "base/error.h"
#include "base/log.h"
#include "p2v/server/server.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct serve_iso {
    const char *output;
    const char *address; /* HOST[:PORT] by which agents reach this server; NULL: found out */
    bool is_forced;
    const atomic_bool *stop;
    struct log *log;
};

/* Creates a token for one machine, makes the ISO, and says so on standard output. */
int serve_iso_make(struct server *server, const struct serve_iso *wanted, struct error *err);

#endif
