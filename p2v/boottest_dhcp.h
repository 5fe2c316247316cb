/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The boot test's DHCP server (RFC 2131, RFC 2132): one client, one address, no state. A pure
 * function from a client's message to the answer; the message comes from a guest and is hostile.
 */
#ifndef P2V_BOOTTEST_DHCP_H
#define P2V_BOOTTEST_DHCP_H

#include <stddef.h>
#include <stdint.h>

#define DHCP_MESSAGE_SIZE 300 /* the least that BOOTP relays and old clients take */

struct dhcp_server {
    uint8_t client_mac[6]; /* nobody else is answered */
    uint8_t server[4];     /* also the router; the network is the /24 around it */
    uint8_t lease[4];
};

enum dhcp_answer { DHCP_NO_ANSWER = 0, DHCP_OFFER = 2, DHCP_ACK = 5, DHCP_NAK = 6 };

/*
 * `message` is what follows the UDP header. Fills `reply` unless it returns DHCP_NO_ANSWER. An
 * acknowledgement means that the client asked for exactly this lease.
 */
enum dhcp_answer dhcp_server_answer(const struct dhcp_server *server, const uint8_t *message,
                                    size_t length, uint8_t reply[DHCP_MESSAGE_SIZE]);

#endif
