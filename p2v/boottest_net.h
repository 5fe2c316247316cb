/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The boot test's network peer: what stands at the other end of one interface of the guest. It
 * offers a DHCP lease, answers ARP for the interface's neighbours, and asks (ARP, neighbour
 * solicitation) for the addresses that the interface should have. Nothing is forwarded anywhere.
 *
 * A pure decoder and encoder of Ethernet frames; whoever owns the socket calls it. Frames come
 * from a guest and are hostile.
 */
#ifndef P2V_BOOTTEST_NET_H
#define P2V_BOOTTEST_NET_H

#include "formats/guest.h"
#include "p2v/boottest.h"
#include "p2v/boottest_dhcp.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NET_REPLY_SIZE 400    /* no frame of ours is larger */
#define NET_FRAME_LIMIT 65600 /* larger frames of a guest are cut */

struct net_address {
    const char *text; /* as in the definition, borrowed: "192.0.2.10/24" */
    bool is_v6;
    uint8_t address[16]; /* 4 or 16 bytes */
    unsigned prefix;
    uint8_t asker[4]; /* IPv4: who we are when we ask */
    bool is_answered;
    bool is_elsewhere; /* another MAC answered */
    uint8_t other_mac[6];
};

struct net_peer {
    const struct guest_nic *nic; /* borrowed */
    uint8_t mac[6];              /* the interface's */
    uint8_t own_mac[6];
    struct net_address addresses[GUEST_MAX_ADDRESSES];
    size_t address_count;
    bool is_dhcp_wanted;
    bool is_auto;   /* an address is made up from what a router says; not checked */
    bool is_seen;   /* a frame came from the interface */
    bool is_leased; /* the lease was acknowledged */
    struct dhcp_server dhcp;
    struct net_address lease; /* a further address to ask for, once is_leased */
};

/* The peer of guest->nics[index]; the guest is borrowed. Addresses it cannot check are left out. */
int net_peer_init(struct net_peer *peer, const struct guest *guest, size_t index,
                  struct error *err);

/* Takes a frame of the guest's. Returns the length of the frame to send back, 0: none. */
size_t net_peer_receive(struct net_peer *peer, const uint8_t *frame, size_t length,
                        uint8_t reply[NET_REPLY_SIZE]);

/*
 * The question for address `index` (0 to net_peer_questions() - 1) as a frame; 0 when it needs no
 * asking any more. An anonymous ARP question (sender 0.0.0.0) is answered even by a host whose
 * reverse-path filter drops the other kind; but a host that is about to take the address would see
 * a conflict in it, so it is not for the time while the machine still boots.
 */
size_t net_peer_ask(const struct net_peer *peer, size_t index, bool is_anonymous,
                    uint8_t question[NET_REPLY_SIZE]);
size_t net_peer_questions(const struct net_peer *peer);

/* All but kernel_name. */
void net_peer_report(const struct net_peer *peer, struct boot_nic_result *result);

#endif
