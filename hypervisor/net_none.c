/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A network card without a cable: its link is down and stays so.
 */
#include "hypervisor/net_backend.h"

#include <errno.h>
#include <stdlib.h>

static void none_close(struct net_backend *backend)
{
    free(backend);
}

/* Without a descriptor nothing is received or sent. */
static const struct net_backend_ops none_ops = {.name = "none", .close = none_close};

struct net_backend *net_none_open(const char *rest, struct log *log, struct error *err)
{
    (void)rest, (void)log;
    struct net_backend *backend = calloc(1, sizeof(*backend));
    if (!backend) {
        error_set(err, ENOMEM, "a network card");
        return NULL;
    }
    backend->ops = &none_ops;
    backend->fd = -1;
    return backend;
}
