/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Socket addresses: one TCP connection within a time, and an address as text.
 */
#ifndef P2V_WIRE_ADDRESS_H
#define P2V_WIRE_ADDRESS_H

#include "base/error.h"

#include <stddef.h>

#define ADDRESS_TEXT_SIZE 80

struct addrinfo;

/* A connected socket, or -1. */
int address_connect(const struct addrinfo *address, int timeout_ms, struct error *err);

/* "10.0.0.7:51234", "[2001:db8::7]:51234" of the other side; "?" when it has no such address. */
void address_of_peer(int fd, char text[ADDRESS_TEXT_SIZE]);

#endif
