/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The places before admission: at most 64, and who gives way. With so few, walking them is cheap.
 */
#include "p2v/server/gate.h"

#include <assert.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

void gate_address_of(const struct sockaddr *address, struct gate_address *out)
{
    *out = (struct gate_address){.is_ipv6 = false};
    if (address->sa_family == AF_INET) {
        memcpy(out->bytes, &((const struct sockaddr_in *)address)->sin_addr, 4);
    } else if (address->sa_family == AF_INET6) {
        const struct in6_addr *ip = &((const struct sockaddr_in6 *)address)->sin6_addr;
        out->is_ipv6 = !IN6_IS_ADDR_V4MAPPED(ip);
        memcpy(out->bytes, out->is_ipv6 ? ip->s6_addr : ip->s6_addr + 12, out->is_ipv6 ? 8 : 4);
    }
}

bool gate_address_is_same(const struct gate_address *a, const struct gate_address *b)
{
    return a->is_ipv6 == b->is_ipv6 && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* Those of an address that came before `before_ms`. */
static size_t count_of(const struct gate *gate, const struct gate_address *address,
                       int64_t before_ms)
{
    size_t count = 0;
    for (size_t i = 0; i < gate->count; i++)
        count += gate->entries[i].since_ms < before_ms &&
                 gate_address_is_same(&gate->entries[i].address, address);
    return count;
}

static void remove_at(struct gate *gate, size_t index)
{
    gate->count--;
    memmove(&gate->entries[index], &gate->entries[index + 1],
            (gate->count - index) * sizeof(gate->entries[0]));
}

static void *remove_oldest(struct gate *gate, const struct gate_address *address)
{
    for (size_t i = 0; i < gate->count; i++) {
        if (gate_address_is_same(&gate->entries[i].address, address)) {
            void *who = gate->entries[i].who;
            remove_at(gate, i);
            return who;
        }
    }
    return NULL;
}

static struct gate_address most_crowded(const struct gate *gate)
{
    size_t most = 0;
    struct gate_address found = {.is_ipv6 = false};
    for (size_t i = 0; i < gate->count; i++) {
        size_t count = count_of(gate, &gate->entries[i].address, INT64_MAX);
        if (count > most) {
            most = count;
            found = gate->entries[i].address;
        }
    }
    return found;
}

void *gate_displace(struct gate *gate, const struct gate_address *address, int64_t now_ms)
{
    if (count_of(gate, address, now_ms - GATE_GRACE_MS) >= GATE_MAX_PER_ADDRESS)
        return remove_oldest(gate, address);
    if (gate->count < GATE_MAX)
        return NULL;
    struct gate_address crowded = most_crowded(gate);
    return remove_oldest(gate, &crowded);
}

void gate_enter(struct gate *gate, void *who, const struct gate_address *address, int64_t now_ms)
{
    assert(gate->count < GATE_MAX);
    gate->entries[gate->count++] = (struct gate_entry){who, *address, now_ms};
}

void gate_leave(struct gate *gate, const void *who)
{
    for (size_t i = 0; i < gate->count; i++) {
        if (gate->entries[i].who == who) {
            remove_at(gate, i);
            return;
        }
    }
}
