/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Which key a server has, for a person to compare with what `rehost serve` prints, where no pin was
 * given beforehand.
 */
#ifndef P2V_WIRE_ASK_PIN_H
#define P2V_WIRE_ASK_PIN_H

#include "p2v/wire/link.h"

/*
 * Does a handshake with a key made for it and thrown away after, and hangs up: nothing is sent that
 * tells who we are. The server has proved that it has the key, and speaks our protocol. Tries all
 * addresses of the name, at most timeout_ms each. Whether the key is the right one is not known:
 * who connects next has to give it as the pin.
 */
int ask_pin(const struct link_address *address, int timeout_ms, uint8_t pin[TLS_IDENTITY_SIZE],
            struct error *err);

#endif
