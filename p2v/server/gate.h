/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Who may stand before the door: connections that have not been admitted yet. They are few whatever
 * arrives, and a flood from one address displaces itself, not those who come from elsewhere. Pure
 * book-keeping; the caller's lock.
 */
#ifndef P2V_SERVER_GATE_H
#define P2V_SERVER_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GATE_MAX 64
#define GATE_MAX_PER_ADDRESS 8

/* Younger ones than this are not counted for their address: a machine of many disks, or a rack
 * behind one address, may knock many times at once. */
#define GATE_GRACE_MS 500

/* An IPv4 address, or the /64 that an IPv6 address is in. */
struct gate_address {
    uint8_t bytes[8];
    bool is_ipv6;
};

struct sockaddr;
void gate_address_of(const struct sockaddr *address, struct gate_address *out);
bool gate_address_is_same(const struct gate_address *a, const struct gate_address *b);

struct gate {
    struct gate_entry {
        void *who;
        struct gate_address address;
        int64_t since_ms;
    } entries[GATE_MAX]; /* oldest first */
    size_t count;
};

/*
 * Who has to go before one more from `address` may enter: the oldest of an address that has too
 * many, or when all places are taken the oldest of the most crowded address. Removed here already;
 * NULL: nobody, there is room. Call until it gives NULL.
 */
void *gate_displace(struct gate *gate, const struct gate_address *address, int64_t now_ms);

void gate_enter(struct gate *gate, void *who, const struct gate_address *address, int64_t now_ms);
void gate_leave(struct gate *gate, const void *who); /* who is not in there: nothing */

#endif
