/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The boot test's network peer: Ethernet, ARP (RFC 826), IPv4 and UDP as far as DHCP needs them,
 * and IPv6 neighbour discovery (RFC 4861) as far as asking for an address needs it.
 */
#include "p2v/boottest_net.h"

#include "base/bytes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define ETHERNET_HEADER 14
#define ETHERNET_LEAST 60 /* without the checksum; cards drop shorter frames */
#define ARP_SIZE 28
#define IPV4_HEADER 20
#define IPV6_HEADER 40
#define UDP_HEADER 8
#define SOLICITATION_SIZE 32 /* with the source link-layer address option */

enum { TYPE_IPV4 = 0x0800, TYPE_ARP = 0x0806, TYPE_IPV6 = 0x86dd };
enum { ARP_REQUEST = 1, ARP_REPLY = 2 };
enum { PROTOCOL_UDP = 17, PROTOCOL_ICMPV6 = 58 };
enum { ICMPV6_SOLICITATION = 135, ICMPV6_ADVERTISEMENT = 136 };
enum { PORT_DHCP_SERVER = 67, PORT_DHCP_CLIENT = 68 };

static const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255};

/* --- what the definition expects ----------------------------------------------------------------
 */

static int parse_mac(const char *text, uint8_t mac[6])
{
    unsigned bytes[6];
    char rest;
    if (!text || sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &bytes[0], &bytes[1], &bytes[2],
                        &bytes[3], &bytes[4], &bytes[5], &rest) != 6)
        return -1;
    for (size_t i = 0; i < 6; i++)
        mac[i] = (uint8_t)bytes[i];
    return 0;
}

static bool parse_address(const char *text, struct net_address *address)
{
    char host[64];
    const char *slash = strchr(text, '/');
    size_t length = slash ? (size_t)(slash - text) : strlen(text);
    *address = (struct net_address){.text = text};
    if (length >= sizeof(host))
        return false;
    memcpy(host, text, length);
    host[length] = '\0';
    if (inet_pton(AF_INET6, host, address->address) == 1)
        address->is_v6 = true;
    else if (inet_pton(AF_INET, host, address->address) != 1)
        return false;
    unsigned bits = address->is_v6 ? 128 : 32;
    unsigned long prefix = slash ? strtoul(slash + 1, NULL, 10) : bits;
    address->prefix = prefix < bits ? (unsigned)prefix : bits;
    return true;
}

static uint32_t mask_of(unsigned prefix)
{
    return prefix == 0 ? 0 : UINT32_MAX << (32 - prefix);
}

static bool is_of_guest(const struct guest *guest, uint32_t wanted)
{
    struct net_address address;
    for (size_t i = 0; i < guest->nic_count; i++)
        for (size_t j = 0; j < guest->nics[i].address_count; j++)
            if (parse_address(guest->nics[i].addresses[j], &address) && !address.is_v6 &&
                load_be32(address.address) == wanted)
                return true;
    return false;
}

/*
 * A neighbour of the address that is not the guest itself: a host drops questions that seem to
 * come from its own addresses. The lowest one, as that often is the router.
 */
static void choose_asker(struct net_address *address, const struct guest *guest)
{
    uint32_t own = load_be32(address->address), network = own & mask_of(address->prefix);
    uint32_t last = network | ~mask_of(address->prefix);
    store_be32(address->asker, own ^ 1);
    if (address->prefix >= 31)
        return;
    for (uint32_t host = network + 1; host < last && host - network < 4096; host++) {
        if (!is_of_guest(guest, host)) {
            store_be32(address->asker, host);
            return;
        }
    }
}

/* 198.18.0.0/15 is for tests of network devices (RFC 2544); one /24 of it for each interface. */
static void choose_lease(struct net_peer *peer, const struct guest *guest, size_t index)
{
    uint32_t network = 0xc6120000 | ((uint32_t)index & 0xff) << 8;
    for (uint32_t host = 0; host < 256; host++)
        if (is_of_guest(guest, network | host))
            network |= 0x10000;
    store_be32(peer->dhcp.server, network | 1);
    store_be32(peer->dhcp.lease, network | 10);
    peer->lease.text = "its lease";
    peer->lease.prefix = 24;
    memcpy(peer->lease.address, peer->dhcp.lease, 4);
    memcpy(peer->lease.asker, peer->dhcp.server, 4);
}

int net_peer_init(struct net_peer *peer, const struct guest *guest, size_t index, struct error *err)
{
    const struct guest_nic *nic = &guest->nics[index];
    *peer = (struct net_peer){.nic = nic};
    if (parse_mac(nic->mac, peer->mac) != 0)
        return error_set(err, EINVAL, "interface %zu: MAC \"%s\"", index, nic->mac ? nic->mac : "");
    memcpy(peer->own_mac, peer->mac, 6);
    peer->own_mac[0] = 0x02; /* locally administered, and never the guest's own */
    peer->own_mac[5] ^= 0x80;
    memcpy(peer->dhcp.client_mac, peer->mac, 6);
    choose_lease(peer, guest, index);
    for (size_t i = 0; i < nic->address_count; i++) {
        struct net_address *address = &peer->addresses[peer->address_count];
        if (strcmp(nic->addresses[i], "dhcp") == 0)
            peer->is_dhcp_wanted = true;
        if (strcmp(nic->addresses[i], "auto") == 0)
            peer->is_auto = true;
        if (!parse_address(nic->addresses[i], address))
            continue;
        if (!address->is_v6)
            choose_asker(address, guest);
        peer->address_count++;
    }
    return 0;
}

/* --- frames out ---------------------------------------------------------------------------------
 */

static uint32_t sum_words(const uint8_t *bytes, size_t length, uint32_t sum)
{
    for (size_t i = 0; i + 1 < length; i += 2)
        sum += load_be16(bytes + i);
    return length % 2 ? sum + ((uint32_t)bytes[length - 1] << 8) : sum;
}

static uint16_t finish_sum(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* Clears the frame up to its least length and writes its header. */
static uint8_t *start_frame(uint8_t frame[NET_REPLY_SIZE], const uint8_t to[6],
                            const uint8_t from[6], uint16_t type)
{
    memset(frame, 0, NET_REPLY_SIZE);
    memcpy(frame, to, 6);
    memcpy(frame + 6, from, 6);
    store_be16(frame + 12, type);
    return frame + ETHERNET_HEADER;
}

static size_t make_arp(const struct net_peer *peer, uint16_t operation, const uint8_t sender[4],
                       const uint8_t target_mac[6], const uint8_t target[4],
                       uint8_t frame[NET_REPLY_SIZE])
{
    static const uint8_t nobody[6] = {0};
    uint8_t *arp = start_frame(frame, target_mac ? target_mac : broadcast, peer->own_mac, TYPE_ARP);
    store_be16(arp, 1);
    store_be16(arp + 2, TYPE_IPV4);
    arp[4] = 6;
    arp[5] = 4;
    store_be16(arp + 6, operation);
    memcpy(arp + 8, peer->own_mac, 6);
    memcpy(arp + 14, sender, 4);
    memcpy(arp + 18, target_mac ? target_mac : nobody, 6);
    memcpy(arp + 24, target, 4);
    return ETHERNET_LEAST;
}

/* Our link-local address, fe80:: and the EUI-64 of our MAC (RFC 4291). */
static void link_local(const struct net_peer *peer, uint8_t address[16])
{
    const uint8_t *mac = peer->own_mac;
    const uint8_t made[16] = {0xfe,          0x80,   0,      0,    0,    0,      0,      0,
                              mac[0] ^ 0x02, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};
    memcpy(address, made, sizeof(made));
}

static size_t make_solicitation(const struct net_peer *peer, const uint8_t target[16],
                                uint8_t frame[NET_REPLY_SIZE])
{
    const uint8_t group_mac[6] = {0x33, 0x33, 0xff, target[13], target[14], target[15]};
    const uint8_t group[16] = {0xff, 2, 0, 0, 0,    0,          0,          0,
                               0,    0, 0, 1, 0xff, target[13], target[14], target[15]};
    uint8_t *ip = start_frame(frame, group_mac, peer->own_mac, TYPE_IPV6);
    ip[0] = 0x60;
    store_be16(ip + 4, SOLICITATION_SIZE);
    ip[6] = PROTOCOL_ICMPV6;
    ip[7] = 255;
    link_local(peer, ip + 8);
    memcpy(ip + 24, group, 16);
    uint8_t *icmp = ip + IPV6_HEADER;
    icmp[0] = ICMPV6_SOLICITATION;
    memcpy(icmp + 8, target, 16);
    icmp[24] = 1; /* our link-layer address, in units of 8 bytes */
    icmp[25] = 1;
    memcpy(icmp + 26, peer->own_mac, 6);
    uint32_t sum = sum_words(ip + 8, 32, SOLICITATION_SIZE + PROTOCOL_ICMPV6);
    store_be16(icmp + 2, finish_sum(sum_words(icmp, SOLICITATION_SIZE, sum)));
    return ETHERNET_HEADER + IPV6_HEADER + SOLICITATION_SIZE;
}

/* Wraps the DHCP message that already lies behind the headers. */
static size_t make_dhcp(const struct net_peer *peer, uint8_t frame[NET_REPLY_SIZE],
                        const uint8_t message[DHCP_MESSAGE_SIZE], bool is_broadcast)
{
    static const uint8_t everybody[4] = {255, 255, 255, 255};
    uint16_t udp_length = UDP_HEADER + DHCP_MESSAGE_SIZE;
    uint8_t *ip =
        start_frame(frame, is_broadcast ? broadcast : peer->mac, peer->own_mac, TYPE_IPV4);
    ip[0] = 0x45;
    store_be16(ip + 2, IPV4_HEADER + udp_length);
    ip[8] = 64;
    ip[9] = PROTOCOL_UDP;
    memcpy(ip + 12, peer->dhcp.server, 4);
    memcpy(ip + 16, is_broadcast ? everybody : peer->dhcp.lease, 4);
    store_be16(ip + 10, finish_sum(sum_words(ip, IPV4_HEADER, 0)));
    uint8_t *udp = ip + IPV4_HEADER;
    store_be16(udp, PORT_DHCP_SERVER);
    store_be16(udp + 2, PORT_DHCP_CLIENT);
    store_be16(udp + 4, udp_length);
    memcpy(udp + UDP_HEADER, message, DHCP_MESSAGE_SIZE);
    uint32_t sum = sum_words(ip + 12, 8, (uint32_t)PROTOCOL_UDP + udp_length);
    uint16_t checksum = finish_sum(sum_words(udp, udp_length, sum));
    store_be16(udp + 6, checksum ? checksum : 0xffff);
    return ETHERNET_HEADER + IPV4_HEADER + udp_length;
}

/* --- frames in ----------------------------------------------------------------------------------
 */

/* Somebody with that MAC says that the address is theirs. */
static void note_answer(struct net_peer *peer, struct net_address *address, const uint8_t mac[6])
{
    if (memcmp(mac, peer->mac, 6) == 0) {
        address->is_answered = true;
    } else {
        address->is_elsewhere = true;
        memcpy(address->other_mac, mac, 6);
    }
}

static struct net_address *find_address(struct net_peer *peer, bool is_v6, const uint8_t *bytes)
{
    size_t length = is_v6 ? 16 : 4;
    for (size_t i = 0; i < peer->address_count; i++)
        if (peer->addresses[i].is_v6 == is_v6 &&
            memcmp(peer->addresses[i].address, bytes, length) == 0)
            return &peer->addresses[i];
    if (!is_v6 && peer->is_leased && memcmp(peer->lease.address, bytes, 4) == 0)
        return &peer->lease;
    return NULL;
}

static bool is_near(const struct net_address *address, uint32_t other)
{
    return !address->is_v6 &&
           ((load_be32(address->address) ^ other) & mask_of(address->prefix)) == 0;
}

/* Neighbours exist, whichever the guest looks for, so that scripts that wait for a router go on. */
static bool is_neighbour(struct net_peer *peer, const uint8_t bytes[4])
{
    if (find_address(peer, false, bytes))
        return false;
    bool near = peer->is_leased && is_near(&peer->lease, load_be32(bytes));
    for (size_t i = 0; i < peer->address_count; i++)
        near = near || is_near(&peer->addresses[i], load_be32(bytes));
    return near;
}

static size_t receive_arp(struct net_peer *peer, const uint8_t *arp, size_t length,
                          uint8_t reply[NET_REPLY_SIZE])
{
    static const uint8_t ethernet_ipv4[6] = {0, 1, TYPE_IPV4 >> 8, TYPE_IPV4 & 0xff, 6, 4};
    if (length < ARP_SIZE || memcmp(arp, ethernet_ipv4, sizeof(ethernet_ipv4)) != 0)
        return 0;
    uint16_t operation = load_be16(arp + 6);
    const uint8_t *sender_mac = arp + 8, *sender = arp + 14, *target = arp + 24;
    if (operation != ARP_REQUEST && operation != ARP_REPLY)
        return 0;
    struct net_address *address = find_address(peer, false, sender);
    if (address)
        note_answer(peer, address, sender_mac);
    /* A probe or an announcement of one's own address must stay without an answer. */
    if (operation != ARP_REQUEST || load_be32(sender) == 0 || memcmp(sender, target, 4) == 0 ||
        !is_neighbour(peer, target))
        return 0;
    return make_arp(peer, ARP_REPLY, target, sender_mac, sender, reply);
}

static size_t receive_dhcp(struct net_peer *peer, const uint8_t *message, size_t length,
                           uint8_t reply[NET_REPLY_SIZE])
{
    uint8_t answer[DHCP_MESSAGE_SIZE];
    enum dhcp_answer kind = dhcp_server_answer(&peer->dhcp, message, length, answer);
    if (kind == DHCP_NO_ANSWER)
        return 0;
    if (kind == DHCP_ACK)
        peer->is_leased = true;
    bool is_broadcast = kind == DHCP_NAK || (message[10] & 0x80);
    return make_dhcp(peer, reply, answer, is_broadcast);
}

static size_t receive_ipv4(struct net_peer *peer, const uint8_t *ip, size_t length,
                           uint8_t reply[NET_REPLY_SIZE])
{
    if (length < IPV4_HEADER || ip[0] >> 4 != 4)
        return 0;
    size_t header = (size_t)(ip[0] & 15) * 4, total = load_be16(ip + 2);
    bool is_fragment = (load_be16(ip + 6) & 0x3fff) != 0;
    if (header < IPV4_HEADER || total > length || total < header + UDP_HEADER || is_fragment ||
        ip[9] != PROTOCOL_UDP)
        return 0;
    const uint8_t *udp = ip + header;
    size_t udp_length = load_be16(udp + 4);
    if (load_be16(udp + 2) != PORT_DHCP_SERVER || udp_length < UDP_HEADER ||
        udp_length > total - header)
        return 0;
    return receive_dhcp(peer, udp + UDP_HEADER, udp_length - UDP_HEADER, reply);
}

static void receive_ipv6(struct net_peer *peer, const uint8_t *ip, size_t length,
                         const uint8_t from[6])
{
    if (length < IPV6_HEADER + 24 || ip[0] >> 4 != 6 || ip[6] != PROTOCOL_ICMPV6 || ip[7] != 255)
        return;
    const uint8_t *icmp = ip + IPV6_HEADER;
    struct net_address *address = find_address(peer, true, icmp + 8);
    if (icmp[0] == ICMPV6_ADVERTISEMENT && address)
        note_answer(peer, address, from);
}

size_t net_peer_receive(struct net_peer *peer, const uint8_t *frame, size_t length,
                        uint8_t reply[NET_REPLY_SIZE])
{
    if (length < ETHERNET_HEADER)
        return 0;
    const uint8_t *from = frame + 6, *payload = frame + ETHERNET_HEADER;
    length -= ETHERNET_HEADER;
    if (memcmp(from, peer->mac, 6) == 0)
        peer->is_seen = true;
    switch (load_be16(frame + 12)) {
    case TYPE_ARP:
        return receive_arp(peer, payload, length, reply);
    case TYPE_IPV4:
        return receive_ipv4(peer, payload, length, reply);
    case TYPE_IPV6:
        receive_ipv6(peer, payload, length, from);
        return 0;
    default:
        return 0;
    }
}

/* --- questions and the outcome ------------------------------------------------------------------
 */

size_t net_peer_questions(const struct net_peer *peer)
{
    return peer->address_count + 1;
}

size_t net_peer_ask(const struct net_peer *peer, size_t index, bool is_anonymous,
                    uint8_t question[NET_REPLY_SIZE])
{
    static const uint8_t anonymous[4] = {0};
    bool is_lease = index == peer->address_count;
    if (index > peer->address_count || (is_lease && !peer->is_leased))
        return 0;
    const struct net_address *address = is_lease ? &peer->lease : &peer->addresses[index];
    if (address->is_answered)
        return 0;
    if (address->is_v6)
        return make_solicitation(peer, address->address, question);
    return make_arp(peer, ARP_REQUEST, is_anonymous ? anonymous : address->asker, NULL,
                    address->address, question);
}

static void describe_missing(const struct net_address *address, char *buffer, size_t size)
{
    const uint8_t *mac = address->other_mac;
    int host = (int)strcspn(address->text, "/");
    if (address->is_elsewhere)
        snprintf(buffer, size, "%.*s (only %02x:%02x:%02x:%02x:%02x:%02x has it)", host,
                 address->text, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
    else
        snprintf(buffer, size, "%.*s", host, address->text);
}

void net_peer_report(const struct net_peer *peer, struct boot_nic_result *result)
{
    result->name = peer->nic->name;
    result->mac = peer->nic->mac;
    result->is_seen = peer->is_seen;
    result->is_dhcp_bound = peer->is_leased && peer->lease.is_answered;
    result->missing[0] = '\0';
    for (size_t i = 0; i < peer->address_count; i++)
        if (!peer->addresses[i].is_answered && !result->missing[0])
            describe_missing(&peer->addresses[i], result->missing, sizeof(result->missing));
    result->is_ok = !result->missing[0] && (result->is_dhcp_bound || !peer->is_dhcp_wanted) &&
                    (result->is_seen || !peer->is_auto);
}
