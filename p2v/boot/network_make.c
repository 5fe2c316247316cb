/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Bonds and VLANs: made once their links are there, taken away when no longer asked for.
 */
#include "base/child.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/boot/network_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODPROBE_MS 10000
#define MII_INTERVAL_MS "100"

/* The link under the VLAN, or the bond. */
static void base_interface(const struct boot_net_entry *entry, const struct network_link *links,
                           size_t count, char name[NETWORK_INTERFACE_SIZE])
{
    const struct network_link *link = NULL;
    name[0] = '\0';
    if (entry->link[0] || entry->mac[0])
        link = network_link_find(links, count, entry->link[0] ? entry->link : entry->mac);
    if (link && link->is_ready)
        memcpy(name, link->name, NETWORK_INTERFACE_SIZE);
}

void network_entry_interface(const struct boot_net_entry *entry, const struct network_link *links,
                             size_t count, char name[NETWORK_INTERFACE_SIZE])
{
    char base[NETWORK_INTERFACE_SIZE], whole[NETWORK_INTERFACE_SIZE + 8];
    base_interface(entry, links, count, base);
    snprintf(whole, sizeof(whole), entry->vlan && base[0] ? "%s.%u" : "%s", base, entry->vlan);
    name[0] = '\0';
    if (network_link_find(links, count, whole))
        snprintf(name, NETWORK_INTERFACE_SIZE, "%.15s", whole);
}

static bool is_made(const struct network_made *made, const char *name)
{
    for (size_t i = 0; i < made->count; i++) {
        if (strcmp(made->names[i], name) == 0)
            return true;
    }
    return false;
}

/* Tried once: what failed is told, and would fail again. */
static bool note_made(struct network_made *made, const char *name)
{
    if (is_made(made, name) || made->count == 2 * BOOT_MAX_LINKS)
        return false;
    snprintf(made->names[made->count++], NETWORK_INTERFACE_SIZE, "%.15s", name);
    return true;
}

/* --- bonds --- */

/* Without the parameter the module makes a "bond0" of its own, which is then in the way. */
static void load_bonding(void)
{
    const char *const argv[] = {"modprobe", "bonding", "max_bonds=0", NULL};
    struct child_limits limits = {.timeout_ms = MODPROBE_MS};
    child_run(argv, NULL, NULL, NULL, &limits, NULL);
}

static void make_bond(const struct boot_net_entry *entry, struct network_made *made,
                      const struct network_tools *tools)
{
    const char *mode = entry->bond_mode[0] ? entry->bond_mode : "balance-rr";
    if (!note_made(made, entry->link))
        return;
    load_bonding();
    if (IP(tools, "link", "add", "name", entry->link, "type", "bond", "mode", mode, "miimon",
           MII_INTERVAL_MS) != 0)
        log_warning(tools->log, "the bond %s cannot be made", entry->link);
}

static void add_member(const char *bond, const char *member, const struct network_tools *tools)
{
    if (inventory_has(tools->root, "/sys/class/net/%s/master", member))
        return;
    IP(tools, "link", "set", "dev", member, "down");
    IP(tools, "link", "set", "dev", member, "master", bond);
    IP(tools, "link", "set", "dev", member, "up");
}

static void make_members(const struct boot_net_entry *entry, const struct network_link *links,
                         size_t count, struct network_made *made, const struct network_tools *tools)
{
    make_bond(entry, made, tools);
    if (!network_link_find(links, count, entry->link))
        return; /* the next turn sees it */
    for (size_t i = 0; i < entry->member_count; i++) {
        const struct network_link *member = network_link_find(links, count, entry->members[i]);
        if (member && member->is_ready)
            add_member(entry->link, member->name, tools);
    }
}

/* --- VLANs --- */

static void make_vlan(const struct boot_net_entry *entry, const struct network_link *links,
                      size_t count, struct network_made *made, const struct network_tools *tools)
{
    char base[NETWORK_INTERFACE_SIZE], name[NETWORK_INTERFACE_SIZE + 8], number[16];
    base_interface(entry, links, count, base);
    snprintf(name, sizeof(name), "%s.%u", base, entry->vlan);
    snprintf(number, sizeof(number), "%u", entry->vlan);
    if (!base[0] || !network_is_interface(name) || network_link_find(links, count, name) ||
        !note_made(made, name))
        return;
    IP(tools, "link", "set", "dev", base, "up");
    if (IP(tools, "link", "add", "link", base, "name", name, "type", "vlan", "id", number) != 0)
        log_warning(tools->log, "the VLAN %s cannot be made", name);
}

/* --- both --- */

static bool is_wanted(const struct boot_net_plan *plan, const struct network_link *links,
                      size_t count, const char *name)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct boot_net_entry *entry = &plan->entries[i];
        char base[NETWORK_INTERFACE_SIZE], whole[NETWORK_INTERFACE_SIZE + 8];
        base_interface(entry, links, count, base);
        snprintf(whole, sizeof(whole), "%s.%u", base, entry->vlan);
        if ((entry->member_count > 0 && strcmp(entry->link, name) == 0) ||
            (entry->vlan > 0 && strcmp(whole, name) == 0))
            return true;
    }
    return false;
}

static void drop_unwanted(const struct boot_net_plan *plan, const struct network_link *links,
                          size_t count, struct network_made *made,
                          const struct network_tools *tools)
{
    for (size_t i = made->count; i-- > 0;) {
        if (is_wanted(plan, links, count, made->names[i]))
            continue;
        if (network_link_find(links, count, made->names[i]))
            IP(tools, "link", "del", "dev", made->names[i]);
        memmove(made->names[i], made->names[i + 1], (made->count - i - 1) * sizeof(made->names[0]));
        made->count--;
    }
}

void network_make(const struct boot_net_plan *plan, const struct network_link *links, size_t count,
                  struct network_made *made, const struct network_tools *tools)
{
    drop_unwanted(plan, links, count, made, tools);
    for (size_t i = 0; i < plan->count; i++) {
        const struct boot_net_entry *entry = &plan->entries[i];
        if (entry->member_count > 0)
            make_members(entry, links, count, made, tools);
        if (entry->vlan > 0)
            make_vlan(entry, links, count, made, tools);
    }
}
