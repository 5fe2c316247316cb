/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Ethernet links as /sys/class/net shows them, and which of them a name or a
 * MAC stands for.
 */
#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/boot/network_private.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARPHRD_ETHER_TEXT "1" /* linux/if_arp.h */
#define MAX_MEGABITS 10000000

/* One that is set up cannot be renamed any more: udev goes first, where there
 * is one. */
static bool is_ready(const char *root, const char *name)
{
    if (!inventory_has(root, "/run/udev"))
        return true;
    uint64_t index = inventory_number(root, 0, "/sys/class/net/%s/ifindex", name);
    return inventory_has(root, "/run/udev/data/n%llu", (unsigned long long)index);
}

/* A member of a bond shows the bond's MAC, and its own elsewhere. */
static void read_mac(const char *root, const char *name, char mac[18])
{
    AUTO_FREE char *own = inventory_text(root, "/sys/class/net/%s/bonding_slave/perm_hwaddr", name);
    AUTO_FREE char *shown = inventory_text(root, "/sys/class/net/%s/address", name);
    const char *text = own[0] ? own : shown;
    mac[0] = '\0';
    for (size_t i = 0; network_is_mac(text, strlen(text)) && i < 18; i++)
        mac[i] = (char)tolower((unsigned char)text[i]);
}

static bool read_link(const char *root, const char *name, struct network_link *link)
{
    AUTO_FREE char *type = inventory_text(root, "/sys/class/net/%s/type", name);
    if (!network_is_interface(name) || strcmp(type, ARPHRD_ETHER_TEXT) != 0 ||
        inventory_has(root, "/sys/class/net/%s/wireless", name))
        return false;
    *link = (struct network_link){.is_ready = is_ready(root, name)};
    snprintf(link->name, sizeof(link->name), "%s", name);
    read_mac(root, name, link->mac);
    link->is_hardware = inventory_has(root, "/sys/class/net/%s/device", name);
    AUTO_FREE char *driver = inventory_link_name(root, "/sys/class/net/%s/device/driver", name);
    snprintf(link->driver, sizeof(link->driver), "%.31s", driver);
    link->has_carrier = inventory_number(root, 0, "/sys/class/net/%s/carrier", name) == 1;
    uint64_t speed = inventory_number(root, 0, "/sys/class/net/%s/speed", name);
    link->megabits = speed <= MAX_MEGABITS ? (unsigned)speed : 0;
    return true;
}

size_t network_links_read(const char *root, struct network_link *links, size_t max)
{
    size_t count = 0;
    char **names = inventory_names(root, "/sys/class/net");
    for (size_t i = 0; names && names[i] && count < max; i++)
        count += read_link(root, names[i], &links[count]);
    inventory_names_free(names);
    return count;
}

const struct network_link *network_link_find(const struct network_link *links, size_t count,
                                             const char *name_or_mac)
{
    for (size_t i = 0; i < count; i++) {
        bool is_mac = links[i].is_hardware && strcmp(links[i].mac, name_or_mac) == 0;
        if (is_mac || strcmp(links[i].name, name_or_mac) == 0)
            return &links[i];
    }
    return NULL;
}
