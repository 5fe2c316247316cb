/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Asks the kernel for links, addresses and routes, and decodes what it answers: rtnetlink(7),
 * linux/if_link.h, linux/if_addr.h. Permanent MACs of kernels that do not tell them there
 * (before 5.6) come from the ETHTOOL_GPERMADDR call.
 */
#include "p2v/agent/inventory_net.h"

#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAC_SIZE 6
#define REPLY_SIZE (64u << 10)
#define REPLY_SECONDS 5
#define PERMANENT_ADDRESS 54 /* IFLA_PERM_ADDRESS, which older headers lack */

void net_fini(struct net *net)
{
    for (size_t i = 0; i < net->link_count; i++) {
        for (size_t k = 0; k < net->links[i].address_count; k++)
            free(net->links[i].addresses[k]);
        for (size_t k = 0; k < net->links[i].leased_count; k++)
            free(net->links[i].leased[k]);
    }
    free(net->links);
    free(net->routes);
    *net = (struct net){0};
}

/* --- attributes: a length, a type, a value, padding --- */

struct attribute {
    unsigned type;
    const uint8_t *value;
    size_t length;
};

/* Takes the next one off [*at, *at + *left); false at the end or at one that does not fit. */
static bool next_attribute(const uint8_t **at, size_t *left, struct attribute *attribute)
{
    struct rtattr head;
    if (*left < sizeof(head))
        return false;
    memcpy(&head, *at, sizeof(head));
    if (head.rta_len < sizeof(head) || head.rta_len > *left)
        return false;
    *attribute = (struct attribute){head.rta_type & NLA_TYPE_MASK, *at + sizeof(head),
                                    head.rta_len - sizeof(head)};
    size_t step = RTA_ALIGN((size_t)head.rta_len);
    step = step > *left ? *left : step;
    *at += step;
    *left -= step;
    return true;
}

static unsigned number_of(const struct attribute *attribute)
{
    uint32_t value = 0;
    if (attribute->length == sizeof(uint16_t)) {
        uint16_t small;
        memcpy(&small, attribute->value, sizeof(small));
        return small;
    }
    if (attribute->length >= sizeof(value))
        memcpy(&value, attribute->value, sizeof(value));
    return value;
}

static void copy_text(const struct attribute *attribute, char *out, size_t size)
{
    size_t length = strnlen((const char *)attribute->value, attribute->length);
    length = length < size ? length : size - 1;
    memcpy(out, attribute->value, length);
    out[length] = '\0';
}

static void copy_mac(const uint8_t *value, size_t length, char out[18])
{
    if (length == MAC_SIZE && !bytes_are_zero(value, length))
        snprintf(out, 18, "%02x:%02x:%02x:%02x:%02x:%02x", value[0], value[1], value[2], value[3],
                 value[4], value[5]);
}

/* --- links --- */

static void decode_kind_data(const struct attribute *data, struct net_link *link)
{
    const uint8_t *at = data->value;
    size_t left = data->length;
    struct attribute attribute;
    while (strcmp(link->kind, "vlan") == 0 && next_attribute(&at, &left, &attribute)) {
        if (attribute.type == IFLA_VLAN_ID)
            link->vlan_id = number_of(&attribute);
    }
}

static void decode_kind(const struct attribute *info, struct net_link *link)
{
    const uint8_t *at = info->value;
    size_t left = info->length;
    struct attribute attribute;
    while (next_attribute(&at, &left, &attribute)) {
        if (attribute.type == IFLA_INFO_KIND)
            copy_text(&attribute, link->kind, sizeof(link->kind));
        else if (attribute.type == IFLA_INFO_DATA)
            decode_kind_data(&attribute, link);
    }
}

static void take_link_attribute(const struct attribute *attribute, struct net_link *link)
{
    switch (attribute->type) {
    case IFLA_IFNAME:
        copy_text(attribute, link->name, sizeof(link->name));
        break;
    case IFLA_ADDRESS:
        copy_mac(attribute->value, attribute->length, link->mac);
        break;
    case PERMANENT_ADDRESS:
        copy_mac(attribute->value, attribute->length, link->permanent_mac);
        break;
    case IFLA_MTU:
        link->mtu = number_of(attribute);
        break;
    case IFLA_MASTER:
        link->master = number_of(attribute);
        break;
    case IFLA_LINK:
        link->lower = number_of(attribute);
        break;
    case IFLA_LINKINFO:
        decode_kind(attribute, link);
        break;
    }
}

static void decode_link(struct net *net, const uint8_t *at, size_t left)
{
    struct ifinfomsg info;
    struct net_link link = {0};
    struct attribute attribute;
    if (left < sizeof(info) || net->link_count == NET_MAX_LINKS)
        return;
    memcpy(&info, at, sizeof(info));
    at += sizeof(info);
    left -= sizeof(info);
    link.index = (unsigned)info.ifi_index;
    link.is_up = (info.ifi_flags & IFF_UP) != 0;
    link.is_loopback = (info.ifi_flags & IFF_LOOPBACK) != 0;
    while (next_attribute(&at, &left, &attribute))
        take_link_attribute(&attribute, &link);
    net->links = memory_grow(net->links, net->link_count + 1, sizeof(link));
    net->links[net->link_count++] = link;
}

/* --- addresses --- */

static struct net_link *link_of(struct net *net, unsigned index)
{
    for (size_t i = 0; i < net->link_count; i++) {
        if (net->links[i].index == index)
            return &net->links[i];
    }
    return NULL;
}

static bool format_address(int family, const struct attribute *attribute, char *out, size_t size)
{
    size_t length = family == AF_INET ? 4 : 16;
    return (family == AF_INET || family == AF_INET6) && attribute->length == length &&
           inet_ntop(family, attribute->value, out, (socklen_t)size);
}

static void add_address(struct net_link *link, const char *text, unsigned prefix, bool is_leased)
{
    size_t *count = is_leased ? &link->leased_count : &link->address_count;
    char **list = is_leased ? link->leased : link->addresses;
    if (*count < NET_MAX_ADDRESSES)
        list[(*count)++] = text_format("%s/%u", text, prefix);
}

static void decode_address(struct net *net, const uint8_t *at, size_t left)
{
    struct ifaddrmsg info;
    struct attribute attribute;
    char text[48] = "";
    if (left < sizeof(info))
        return;
    memcpy(&info, at, sizeof(info));
    at += sizeof(info);
    left -= sizeof(info);
    unsigned flags = info.ifa_flags;
    bool has_local = false;
    while (next_attribute(&at, &left, &attribute)) {
        if (attribute.type == IFA_FLAGS)
            flags = number_of(&attribute);
        /* IFA_ADDRESS is the other end where there are two. */
        if (attribute.type == IFA_LOCAL || (attribute.type == IFA_ADDRESS && !has_local))
            format_address(info.ifa_family, &attribute, text, sizeof(text));
        has_local |= attribute.type == IFA_LOCAL;
    }
    struct net_link *link = link_of(net, info.ifa_index);
    if (link && text[0] && info.ifa_scope != RT_SCOPE_LINK && info.ifa_scope != RT_SCOPE_HOST)
        add_address(link, text, info.ifa_prefixlen, !(flags & IFA_F_PERMANENT));
}

/* --- routes --- */

static bool is_worth_telling(const struct rtmsg *info)
{
    return info->rtm_table == RT_TABLE_MAIN && info->rtm_type == RTN_UNICAST &&
           info->rtm_protocol != RTPROT_KERNEL && !(info->rtm_flags & RTM_F_CLONED);
}

static void decode_route(struct net *net, const uint8_t *at, size_t left)
{
    struct rtmsg info;
    struct attribute attribute;
    struct net_route route = {0};
    char text[48];
    if (left < sizeof(info) || net->route_count == NET_MAX_ROUTES)
        return;
    memcpy(&info, at, sizeof(info));
    at += sizeof(info);
    left -= sizeof(info);
    if (!is_worth_telling(&info))
        return;
    snprintf(route.destination, sizeof(route.destination), "default");
    while (next_attribute(&at, &left, &attribute)) {
        if (attribute.type == RTA_DST &&
            format_address(info.rtm_family, &attribute, text, sizeof(text)))
            snprintf(route.destination, sizeof(route.destination), "%s/%u", text, info.rtm_dst_len);
        else if (attribute.type == RTA_GATEWAY)
            format_address(info.rtm_family, &attribute, route.gateway, sizeof(route.gateway));
        else if (attribute.type == RTA_OIF)
            route.interface = number_of(&attribute);
        else if (attribute.type == RTA_PRIORITY)
            route.metric = number_of(&attribute);
    }
    net->routes = memory_grow(net->routes, net->route_count + 1, sizeof(route));
    net->routes[net->route_count++] = route;
}

/* --- messages --- */

static void decode_message(struct net *net, unsigned type, const uint8_t *at, size_t left)
{
    if (type == RTM_NEWLINK)
        decode_link(net, at, left);
    else if (type == RTM_NEWADDR)
        decode_address(net, at, left);
    else if (type == RTM_NEWROUTE)
        decode_route(net, at, left);
}

/* True at the last message of a dump. */
static bool decode_reply(struct net *net, const uint8_t *at, size_t left, int *cause)
{
    struct nlmsghdr head;
    while (left >= sizeof(head)) {
        memcpy(&head, at, sizeof(head));
        if (head.nlmsg_len < sizeof(head) || head.nlmsg_len > left)
            return false;
        if (head.nlmsg_type == NLMSG_ERROR)
            *cause = EPROTO;
        if (head.nlmsg_type == NLMSG_DONE || head.nlmsg_type == NLMSG_ERROR)
            return true;
        decode_message(net, head.nlmsg_type, at + sizeof(head), head.nlmsg_len - sizeof(head));
        size_t step = NLMSG_ALIGN((size_t)head.nlmsg_len);
        step = step > left ? left : step;
        at += step;
        left -= step;
    }
    return false;
}

void net_decode(struct net *net, const void *data, size_t length)
{
    int cause = 0;
    decode_reply(net, data, length, &cause);
}

static int dump(int fd, unsigned type, struct net *net)
{
    struct {
        struct nlmsghdr head;
        struct rtgenmsg body;
    } request = {{sizeof(request), (uint16_t)type, NLM_F_REQUEST | NLM_F_DUMP, 1, 0}, {AF_UNSPEC}};
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    AUTO_FREE uint8_t *reply = malloc(REPLY_SIZE);
    int cause = 0;
    if (!reply || sendto(fd, &request, sizeof(request), 0, (struct sockaddr *)&kernel,
                         sizeof(kernel)) != (ssize_t)sizeof(request))
        return reply ? errno : ENOMEM;
    for (bool is_done = false; !is_done;) {
        ssize_t got = recv(fd, reply, REPLY_SIZE, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? errno : EPROTO;
        is_done = decode_reply(net, reply, (size_t)got, &cause);
    }
    return cause;
}

static void ask_permanent_mac(int fd, struct net_link *link)
{
    _Alignas(struct ethtool_perm_addr) uint8_t bytes[sizeof(struct ethtool_perm_addr) + 32] = {0};
    struct ethtool_perm_addr *call = (struct ethtool_perm_addr *)bytes;
    struct ifreq request = {.ifr_data = (void *)bytes};
    call->cmd = ETHTOOL_GPERMADDR;
    call->size = 32;
    memcpy(request.ifr_name, link->name, sizeof(link->name));
    if (ioctl(fd, SIOCETHTOOL, &request) == 0 && call->size == MAC_SIZE)
        copy_mac(call->data, MAC_SIZE, link->permanent_mac);
}

int net_read(struct net *net, struct error *err)
{
    static const unsigned dumps[] = {RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE};
    struct timeval patience = {.tv_sec = REPLY_SECONDS};
    *net = (struct net){0};
    AUTO_CLOSE int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return error_set(err, errno, "netlink socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    for (size_t i = 0; i < ARRAY_LENGTH(dumps); i++) {
        int cause = dump(fd, dumps[i], net);
        if (cause)
            return error_set(err, cause, "ask the kernel for the network");
    }
    AUTO_CLOSE int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (size_t i = 0; any >= 0 && i < net->link_count; i++) {
        if (!net->links[i].permanent_mac[0])
            ask_permanent_mac(any, &net->links[i]);
    }
    return 0;
}
