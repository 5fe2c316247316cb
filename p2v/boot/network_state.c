/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * How the network is, in one helpful line; and what the kernel did by itself: addresses of IPv6
 * that routers announced (/proc/net/if_inet6) and default routes (/proc/net/route, ipv6_route).
 */
#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/boot/network_private.h"

#include <arpa/inet.h>
#include <net/route.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCOPE_GLOBAL 0
#define FLAG_TENTATIVE 0x40u /* linux/if_addr.h */
#define FLAG_FAILED 0x08u
#define MAX_SHOWN_LINKS 8

/* --- what the kernel says --- */

static struct boot_link *find_link(struct boot_network_state *state, const char *name)
{
    for (size_t i = 0; i < state->count; i++) {
        if (strcmp(state->links[i].name, name) == 0)
            return &state->links[i];
    }
    return NULL;
}

/* 32 digits of an address; then number, prefix, scope and flags in hexadecimal, and the name. */
static void take_inet6(const char *line, struct boot_network_state *state)
{
    char digits[33], name[17], address[64] = "", plain[INET6_ADDRSTRLEN];
    unsigned index, bits, scope, flags;
    uint8_t bytes[16];
    if (sscanf(line, "%32[0-9a-f] %x %x %x %x %16s", digits, &index, &bits, &scope, &flags, name) !=
            6 ||
        strlen(digits) != 32 || scope != SCOPE_GLOBAL || flags & (FLAG_TENTATIVE | FLAG_FAILED) ||
        bits > 128)
        return;
    struct boot_link *link = find_link(state, name);
    if (!link || !link->has_carrier || link->address[0])
        return;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        const char pair[3] = {digits[2 * i], digits[2 * i + 1], '\0'};
        bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    inet_ntop(AF_INET6, bytes, plain, sizeof(plain));
    snprintf(address, sizeof(address), "%s/%u", plain, bits);
    memcpy(link->address, address, sizeof(link->address));
    snprintf(link->state, sizeof(link->state), "%.48s announced", address);
}

static void take_route(const char *line, struct boot_network_state *state)
{
    char name[17];
    unsigned destination, gateway, flags, mask;
    if (sscanf(line, "%16s %x %x %x %*s %*s %*s %x", name, &destination, &gateway, &flags, &mask) ==
            5 &&
        destination == 0 && mask == 0 && flags & RTF_UP && !(flags & RTF_REJECT))
        state->has_route = true;
}

/* destination, its length, source, its length, gateway, metric, two counts, flags, name */
static void take_route6(const char *line, struct boot_network_state *state)
{
    char destination[33], name[17];
    unsigned length, flags;
    if (sscanf(line, "%32s %x %*s %*s %*s %*s %*s %*s %x %16s", destination, &length, &flags,
               name) == 4 &&
        length == 0 && strspn(destination, "0") == 32 && flags & RTF_UP && !(flags & RTF_REJECT) &&
        strcmp(name, "lo") != 0)
        state->has_route = true;
}

static void each_line(const char *root, const char *path, struct boot_network_state *state,
                      void (*take)(const char *line, struct boot_network_state *state))
{
    AUTO_FREE char *text = inventory_text(root, "%s", path);
    char *rest = text;
    while (rest) {
        const char *line = strsep(&rest, "\n");
        take(line, state);
    }
}

void network_read_kernel(const char *root, struct boot_network_state *state)
{
    each_line(root, "/proc/net/if_inet6", state, take_inet6);
    each_line(root, "/proc/net/route", state, take_route);
    each_line(root, "/proc/net/ipv6_route", state, take_route6);
}

/* --- what is wrong --- */

struct names {
    char text[120];
    size_t count;
};

static void add_name(struct names *names, const char *name)
{
    size_t length = strlen(names->text);
    if (names->count < MAX_SHOWN_LINKS && length + strlen(name) + 3 < sizeof(names->text))
        snprintf(names->text + length, sizeof(names->text) - length, "%s%s", length ? ", " : "",
                 name);
    names->count++;
}

static void say(struct boot_network_state *state, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(struct boot_network_state *state, const char *format, ...)
{
    va_list arguments;
    if (state->problem[0])
        return;
    va_start(arguments, format);
    vsnprintf(state->problem, sizeof(state->problem), format, arguments);
    va_end(arguments);
}

static bool is_here(const struct boot_network_state *state, const char *name_or_mac)
{
    for (size_t i = 0; i < state->count; i++) {
        if (strcmp(state->links[i].name, name_or_mac) == 0 ||
            strcmp(state->links[i].mac, name_or_mac) == 0)
            return true;
    }
    return false;
}

static void say_missing(const char *name, struct boot_network_state *state)
{
    struct names names = {0};
    for (size_t i = 0; i < state->count; i++)
        add_name(&names, state->links[i].name);
    if (!is_here(state, name))
        say(state, "there is no link %s as rehost.net= names it; there %s %s", name,
            state->count == 1 ? "is" : "are", names.count ? names.text : "none");
}

static void check_named(const struct boot_net_plan *plan, struct boot_network_state *state)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct boot_net_entry *entry = &plan->entries[i];
        for (size_t k = 0; k < entry->member_count; k++)
            say_missing(entry->members[k], state);
        if (entry->member_count == 0 && (entry->link[0] || entry->mac[0]))
            say_missing(entry->link[0] ? entry->link : entry->mac, state);
    }
}

static void check_cables(const struct network_port *ports, size_t count, int64_t now_ms,
                         struct boot_network_state *state)
{
    struct names names = {0};
    for (size_t i = 0; i < count; i++) {
        if (ports[i].is_used && (ports[i].has_carrier || network_is_new(&ports[i], now_ms)))
            return;
        if (ports[i].is_used)
            add_name(&names, ports[i].name);
    }
    if (names.count > 0)
        say(state, "no cable in %s%s", names.count > 1 ? "any of " : "", names.text);
}

static void check_answers(const struct network_port *ports, size_t count, int64_t now_ms,
                          struct boot_network_state *state)
{
    for (size_t i = 0; i < count; i++) {
        const struct network_port *port = &ports[i];
        if (port->is_configured && port->entry.is_dhcp && !port->address.address[0] &&
            now_ms - port->asking_ms >= NETWORK_PATIENCE_SECONDS * 1000)
            say(state,
                "%s: no DHCP server answered for %lld s; set "
                "rehost.net=%s,ADDRESS/PREFIX,gw=GATEWAY",
                port->name, (long long)((now_ms - port->asking_ms) / 1000), port->name);
    }
}

/* A server in the same network needs no route, and one that is named by its address no DNS. */
static void check_way(const struct boot_net_plan *plan, const struct network_port *ports,
                      size_t count, struct boot_network_state *state)
{
    char network[64] = "";
    bool has_dns = false, is_address = network_is_address(plan->server);
    for (size_t i = 0; i < state->count; i++) {
        if (!state->links[i].address[0])
            continue;
        if (is_address && network_contains(state->links[i].address, plan->server))
            return;
        if (!network[0])
            network_of(state->links[i].address, network, sizeof(network));
    }
    for (size_t i = 0; i < count; i++)
        has_dns = has_dns || ports[i].entry.dns[0][0] || ports[i].address.dns[0][0];
    if (!state->has_route && is_address)
        say(state, "no default route: %.80s is not in %s", plan->server, network);
    else if (!state->has_route)
        say(state, "no default route: only %s can be reached", network);
    if (!is_address && plan->server[0] && !has_dns)
        say(state, "no DNS server to look %.80s up: name the server by its address", plan->server);
}

void network_explain(const struct boot_net_plan *plan, const struct network_port *ports,
                     size_t port_count, int64_t now_ms, struct boot_network_state *state)
{
    state->problem[0] = '\0';
    if (state->count == 0)
        say(state, "no network card that this system has a driver for");
    if (state->is_up) {
        check_way(plan, ports, port_count, state);
        return;
    }
    check_named(plan, state);
    check_cables(ports, port_count, now_ms, state);
    check_answers(ports, port_count, now_ms, state);
}
