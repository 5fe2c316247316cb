/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Asks a server for its key. The only place that connects without a pin.
 */
#include "p2v/wire/ask_pin.h"

int ask_pin(const struct link_address *address, int timeout_ms, uint8_t pin[TLS_IDENTITY_SIZE],
            struct error *err)
{
    AUTO_PTR(tls_identity) passing = tls_identity_new(err);
    AUTO_PTR(link) link = passing ? link_connect(address, passing, NULL, timeout_ms, err) : NULL;
    if (!link)
        return -1;
    link_peer_hash(link, pin);
    return 0;
}
