/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For groups of tests of the wire: a server's and an agent's key, made once for all of them.
 */
#ifndef TESTS_WIRE_IDENTITIES_H
#define TESTS_WIRE_IDENTITIES_H

#include "p2v/wire/tls.h"

static struct tls_identity *server_identity, *client_identity;
static uint8_t pin[TLS_IDENTITY_SIZE];

static inline int set_up(void **state)
{
    (void)state;
    server_identity = tls_identity_new(NULL);
    client_identity = tls_identity_new(NULL);
    if (!server_identity || !client_identity)
        return -1;
    tls_identity_hash(server_identity, pin);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    tls_identity_free(server_identity);
    tls_identity_free(client_identity);
    return 0;
}

#endif
