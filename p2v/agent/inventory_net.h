/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The network as it is configured now: interfaces with their permanent MACs and drivers, bonds,
 * VLANs, bridges, addresses, routes. Asked of the kernel (rtnetlink(7)); the replies are decoded
 * with every length checked, as if they came from outside.
 */
#ifndef P2V_AGENT_INVENTORY_NET_H
#define P2V_AGENT_INVENTORY_NET_H

#include "base/error.h"

#include <jansson.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NET_MAX_LINKS 1024u
#define NET_MAX_ADDRESSES 64u
#define NET_MAX_ROUTES 1024u

struct net_link {
    unsigned index, master, lower; /* interface numbers; 0: none */
    char name[IF_NAMESIZE];
    char kind[16];                   /* "bond", "vlan", "bridge", "dummy", …; "" of hardware */
    char mac[18], permanent_mac[18]; /* "52:54:00:12:34:56"; "" when it has none */
    unsigned mtu, vlan_id;           /* vlan_id: of kind "vlan" */
    bool is_up, is_loopback;
    char *addresses[NET_MAX_ADDRESSES]; /* "192.0.2.10/24"; static ones */
    size_t address_count;
    char *leased[NET_MAX_ADDRESSES]; /* those that have a lifetime: by DHCP or announced */
    size_t leased_count;
};

struct net_route {
    char destination[64]; /* "10.0.0.0/8", "default" */
    char gateway[48];     /* "" when it is on the link */
    unsigned interface, metric;
};

struct net {
    struct net_link *links;
    size_t link_count;
    struct net_route *routes;
    size_t route_count;
};
void net_fini(struct net *net);

/* Everything of this network namespace. */
int net_read(struct net *net, struct error *err);

/* One reply of the kernel, which may hold several messages: adds what it tells. */
void net_decode(struct net *net, const void *data, size_t length);

/* Adds "nics", "bonds", "vlans", "bridges", "interfaces", "routes" and "dns". */
void net_render(const struct net *net, const char *root, json_t *inventory);

#endif
