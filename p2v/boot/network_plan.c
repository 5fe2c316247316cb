/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rehost.net= and the kernel's ip= in words (Documentation/admin-guide/nfs/nfsroot.rst). Pure.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/boot/network_private.h"
#include "p2v/wire/link.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_VALUE 512
#define MAX_VLAN 4094
#define MAC_LENGTH 17

/* --- the link: NAME, MAC, with .VLAN, or BOND:MEMBER+MEMBER:MODE --- */

static void lower(char *text)
{
    for (; *text; text++)
        *text = (char)tolower((unsigned char)*text);
}

/* Takes ".42" off the end. A name that ends otherwise is left as it is. */
static int take_vlan(char *name, unsigned *vlan, struct error *err)
{
    char *dot = strrchr(name, '.');
    if (!dot || !dot[1] || dot[1 + strspn(dot + 1, "0123456789")])
        return 0;
    unsigned long number = strtoul(dot + 1, NULL, 10);
    if (number < 1 || number > MAX_VLAN || strlen(dot) > 5)
        return error_set(err, EINVAL, "'%s': a VLAN is a number of 1 to %d", name, MAX_VLAN);
    *vlan = (unsigned)number;
    *dot = '\0';
    return 0;
}

/* "eno1.4094" has to fit as a name too. */
static int set_link(const char *text, struct boot_net_entry *entry, struct error *err)
{
    char name[64], whole[96];
    if (strlen(text) >= sizeof(name))
        return error_set(err, EINVAL, "'%.80s' is too long", text);
    memcpy(name, text, strlen(text) + 1);
    if (take_vlan(name, &entry->vlan, err) != 0)
        return -1;
    if (network_is_mac(name, strlen(name))) {
        lower(name);
        memcpy(entry->mac, name, sizeof(entry->mac));
        return 0;
    }
    snprintf(whole, sizeof(whole), entry->vlan ? "%s.%u" : "%s", name, entry->vlan);
    if (!network_is_interface(whole))
        return error_set(err, EINVAL, "'%.80s' is neither an interface nor a MAC", text);
    snprintf(entry->link, sizeof(entry->link), "%.15s", name);
    return 0;
}

static bool is_bond_mode(const char *mode)
{
    static const char *const modes[] = {"balance-rr", "active-backup", "balance-xor", "broadcast",
                                        "802.3ad",    "balance-tlb",   "balance-alb"};
    return text_is_one_of(mode, modes, ARRAY_LENGTH(modes));
}

/* One of "eno1+52:54:00:12:34:56:802.3ad"; returns how long it is. */
static size_t member_length(const char *text)
{
    if (strlen(text) >= MAC_LENGTH && network_is_mac(text, MAC_LENGTH))
        return MAC_LENGTH;
    return strcspn(text, "+:");
}

static int set_members(const char *text, struct boot_net_entry *entry, struct error *err)
{
    for (;;) {
        char member[32] = "";
        size_t length = member_length(text);
        snprintf(member, sizeof(member), "%.*s", (int)(length < 31 ? length : 31), text);
        if (!network_is_interface(member) && !network_is_mac(member, strlen(member)))
            return error_set(err, EINVAL, "'%.80s': not an interface of a bond", text);
        if (entry->member_count == ARRAY_LENGTH(entry->members))
            return error_set(err, E2BIG, "more than %zu in a bond", ARRAY_LENGTH(entry->members));
        if (network_is_mac(member, strlen(member)))
            lower(member);
        memcpy(entry->members[entry->member_count++], member, sizeof(member));
        text += length;
        if (*text != '+')
            break;
        text++;
    }
    if (*text == '\0')
        return 0;
    if (*text != ':' || !is_bond_mode(text + 1))
        return error_set(err, EINVAL, "'%.80s' is no mode of a bond (as active-backup, 802.3ad)",
                         text);
    snprintf(entry->bond_mode, sizeof(entry->bond_mode), "%.15s", text + 1);
    return 0;
}

static int set_bond_or_link(const char *text, struct boot_net_entry *entry, struct error *err)
{
    const char *colon = strchr(text, ':');
    size_t length = strlen(text);
    bool is_mac = length >= MAC_LENGTH && network_is_mac(text, MAC_LENGTH) &&
                  (text[MAC_LENGTH] == '\0' || text[MAC_LENGTH] == '.');
    if (!colon || is_mac)
        return set_link(text, entry, err);
    AUTO_FREE char *name = strndup(text, (size_t)(colon - text));
    if (!name || set_link(name, entry, err) != 0)
        return -1;
    return set_members(colon + 1, entry, err);
}

/* --- what is behind it --- */

static int set_gateway(const char *text, struct boot_net_entry *entry, struct error *err)
{
    if (!network_is_address(text) || strlen(text) >= sizeof(entry->gateway))
        return error_set(err, EINVAL, "gw='%.80s' is no address", text);
    snprintf(entry->gateway, sizeof(entry->gateway), "%s", text);
    return 0;
}

static int add_dns(const char *text, struct boot_net_entry *entry, struct error *err)
{
    if (!network_is_address(text) || strlen(text) >= sizeof(entry->dns[0]))
        return error_set(err, EINVAL, "dns='%.80s' is no address", text);
    for (size_t i = 0; i < ARRAY_LENGTH(entry->dns); i++) {
        if (entry->dns[i][0] == '\0') {
            snprintf(entry->dns[i], sizeof(entry->dns[i]), "%s", text);
            return 0;
        }
    }
    return error_set(err, E2BIG, "more than %d DNS servers", NETWORK_MAX_DNS);
}

static int set_address(const char *text, struct boot_net_entry *entry, struct error *err)
{
    if (entry->address[0] || entry->is_dhcp)
        return error_set(err, EINVAL, "'%.80s': there is one address, or dhcp", text);
    if (strcmp(text, "dhcp") == 0) {
        entry->is_dhcp = true;
        return 0;
    }
    if (!network_is_host_address(text) || strlen(text) >= sizeof(entry->address))
        return error_set(err, EINVAL, "'%.80s' is not dhcp, and no ADDRESS/PREFIX", text);
    snprintf(entry->address, sizeof(entry->address), "%s", text);
    return 0;
}

static int set_part(const char *text, struct boot_net_entry *entry, struct error *err)
{
    if (text_starts_with(text, "gw="))
        return set_gateway(text + 3, entry, err);
    if (text_starts_with(text, "dns="))
        return add_dns(text + 4, entry, err);
    return set_address(text, entry, err);
}

/* A gateway that nobody can reach is a slip of the hand, but for a host all by itself. */
static int check_whole(const struct boot_net_entry *entry, struct error *err)
{
    if (!entry->is_dhcp && !entry->address[0])
        return error_set(err, EINVAL, "neither dhcp nor ADDRESS/PREFIX");
    if (entry->is_dhcp && entry->gateway[0])
        return error_set(err, EINVAL, "gw= with dhcp");
    bool is_alone = text_ends_with(entry->address, "/32") || text_ends_with(entry->address, "/128");
    if (entry->gateway[0] && !is_alone && !network_contains(entry->address, entry->gateway)) {
        char network[64];
        network_of(entry->address, network, sizeof(network));
        return error_set(err, EINVAL, "the gateway %s is not in %s", entry->gateway, network);
    }
    return 0;
}

static bool is_without_link(const char *part)
{
    return strcmp(part, "dhcp") == 0 || network_is_host_address(part);
}

int boot_network_parse(const char *value, struct boot_net_entry *entry, struct error *err)
{
    memset(entry, 0, sizeof(*entry));
    if (strlen(value) > MAX_VALUE)
        return error_set(err, EINVAL, "'%.80s…' is too long", value);
    AUTO_FREE char *copy = text_copy(value);
    char *rest = copy;
    for (size_t i = 0; rest; i++) {
        char *part = strsep(&rest, ",");
        bool is_link = i == 0 && !is_without_link(part);
        if ((is_link ? set_bond_or_link(part, entry, err) : set_part(part, entry, err)) != 0)
            return -1;
    }
    return check_whole(entry, err);
}

/* --- ip=CLIENT:SERVER:GATEWAY:NETMASK:HOSTNAME:DEVICE:AUTOCONF:DNS0:DNS1:NTP0 --- */

enum ip_field {
    IP_CLIENT,
    IP_SERVER,
    IP_GATEWAY,
    IP_NETMASK,
    IP_HOSTNAME,
    IP_DEVICE,
    IP_AUTOCONF,
    IP_DNS0,
    IP_DNS1,
    IP_NTP0,
    IP_FIELDS
};

/* The kernel's words, and those that dracut has beside them. */
static bool is_autoconf(const char *word)
{
    static const char *const words[] = {"dhcp",    "on",          "any",  "both",  "bootp",
                                        "rarp",    "off",         "none", "dhcp6", "auto6",
                                        "either6", "single-dhcp", "ibft"};
    return text_is_one_of(word, words, ARRAY_LENGTH(words));
}

/* Without a netmask the kernel goes by the classes that there were before 1993. */
static int class_bits(const char *address)
{
    unsigned long first = strtoul(address, NULL, 10);
    return first < 128 ? 8 : first < 192 ? 16 : 24;
}

static int set_client(char *const fields[IP_FIELDS], struct boot_net_entry *entry,
                      struct error *err)
{
    const char *mask = fields[IP_NETMASK];
    bool is_number = mask[0] && strspn(mask, "0123456789") == strlen(mask) && strlen(mask) < 3;
    int bits = !mask[0]    ? class_bits(fields[IP_CLIENT])
               : is_number ? (int)strtoul(mask, NULL, 10)
                           : network_mask_bits(mask);
    AUTO_FREE char *address = text_format("%s/%d", fields[IP_CLIENT], bits);
    if (set_address(address, entry, err) != 0)
        return -1;
    const char *gateway = fields[IP_GATEWAY];
    return gateway[0] && strcmp(gateway, "0.0.0.0") != 0 ? set_gateway(gateway, entry, err) : 0;
}

/* "eth0:dhcp", as dracut has it beside the kernel's forms. */
static bool is_short_form(char *const fields[IP_FIELDS], size_t count)
{
    return count == 2 && !network_is_address(fields[0]) && network_is_interface(fields[0]) &&
           is_autoconf(fields[1]);
}

static int set_fields(char *fields[IP_FIELDS], size_t count, struct boot_net_entry *entry,
                      struct error *err)
{
    if (is_short_form(fields, count)) {
        fields[IP_DEVICE] = fields[0];
        fields[IP_AUTOCONF] = fields[1];
        fields[0] = fields[1] = fields[2]; /* "" */
    } else if (count == 1 && is_autoconf(fields[0])) {
        fields[IP_AUTOCONF] = fields[0];
        fields[0] = fields[1];
    }
    if (fields[IP_AUTOCONF][0] && !is_autoconf(fields[IP_AUTOCONF]))
        return error_set(err, EINVAL, "'%.80s' is no way to get an address", fields[IP_AUTOCONF]);
    if (fields[IP_DEVICE][0] && set_link(fields[IP_DEVICE], entry, err) != 0)
        return -1;
    for (int i = IP_DNS0; i <= IP_DNS1; i++) {
        if (fields[i][0] && strcmp(fields[i], "0.0.0.0") != 0 &&
            add_dns(fields[i], entry, err) != 0)
            return -1;
    }
    if (fields[IP_CLIENT][0] && strcmp(fields[IP_CLIENT], "0.0.0.0") != 0)
        return set_client(fields, entry, err);
    entry->is_dhcp = true; /* "off" too: we cannot do without */
    return 0;
}

int boot_network_parse_ip(const char *value, struct boot_net_entry *entry, struct error *err)
{
    char nothing[] = "", *fields[IP_FIELDS];
    memset(entry, 0, sizeof(*entry));
    for (size_t i = 0; i < IP_FIELDS; i++)
        fields[i] = nothing;
    if (strlen(value) > MAX_VALUE || strchr(value, '['))
        return error_set(err, EINVAL, "'%.80s' is too long, or IPv6 (which rehost.net= takes)",
                         value);
    AUTO_FREE char *copy = text_copy(value);
    char *rest = copy;
    size_t count = 0;
    while (rest) {
        if (count == IP_FIELDS)
            return error_set(err, EINVAL, "'%.80s' has more than %d fields", value, IP_FIELDS);
        fields[count++] = strsep(&rest, ":");
    }
    return set_fields(fields, count, entry, err) == 0 ? check_whole(entry, err) : -1;
}

/* --- all of them --- */

/* DHCP wherever a link comes up is what is done anyway. */
static bool says_nothing(const struct boot_net_entry *entry)
{
    return entry->is_dhcp && !entry->link[0] && !entry->mac[0] && !entry->dns[0][0];
}

static int add_entries(const struct boot_names *names, const char *parameter,
                       int (*parse)(const char *, struct boot_net_entry *, struct error *),
                       struct boot_net_plan *plan, struct error *err)
{
    for (size_t i = 0; i < names->count; i++) {
        if (plan->count == BOOT_MAX_LINKS)
            return error_set(err, E2BIG, "%s: more than %d links", parameter, BOOT_MAX_LINKS);
        if (parse(names->items[i], &plan->entries[plan->count++], err) != 0)
            return error_wrap(err, "%s", parameter);
    }
    return 0;
}

int boot_network_plan(const struct boot_settings *settings, struct boot_net_plan *plan,
                      struct error *err)
{
    struct link_address server;
    memset(plan, 0, sizeof(*plan));
    if (settings->server && link_address_parse(settings->server, &server, NULL) == 0)
        snprintf(plan->server, sizeof(plan->server), "%s", server.host);
    if (add_entries(&settings->net, "rehost.net", boot_network_parse, plan, err) != 0 ||
        add_entries(&settings->ip, "ip", boot_network_parse_ip, plan, err) != 0)
        return -1;
    if (plan->count == 1 && says_nothing(&plan->entries[0]))
        plan->count = 0;
    return 0;
}
