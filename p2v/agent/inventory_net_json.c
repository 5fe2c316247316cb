/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The network as JSON: hardware, bonds, VLANs, bridges and the rest apart, each with its own
 * addresses. Drivers, PCI places and the settings of bonds come from sysfs.
 */
#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/agent/inventory_net.h"
#include "p2v/json.h"

#include <stdlib.h>
#include <string.h>

#define MAX_NAME_SERVERS 16

static void set_if_any(json_t *object, const char *key, const char *text)
{
    json_set_text(object, key, text[0] ? text : NULL);
}

static const struct net_link *find_link(const struct net *net, unsigned index)
{
    for (size_t i = 0; index && i < net->link_count; i++) {
        if (net->links[i].index == index)
            return &net->links[i];
    }
    return NULL;
}

static json_t *texts_json(char *const *texts, size_t count)
{
    json_t *json = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(json, json_text(texts[i]));
    return json;
}

/* As guest.json has it: static ones as they are, "dhcp" and "auto" for those that were given. */
static json_t *addresses_json(const struct net_link *link)
{
    json_t *json = texts_json(link->addresses, link->address_count);
    bool has_dhcp = false, has_auto = false;
    for (size_t i = 0; i < link->leased_count; i++) {
        bool is_v6 = strchr(link->leased[i], ':') != NULL;
        has_auto |= is_v6;
        has_dhcp |= !is_v6;
    }
    if (has_dhcp)
        json_array_append_new(json, json_string("dhcp"));
    if (has_auto)
        json_array_append_new(json, json_string("auto"));
    return json;
}

static json_t *link_json(const struct net *net, const struct net_link *link)
{
    json_t *json = json_object();
    const struct net_link *master = find_link(net, link->master);
    bool is_changed = link->permanent_mac[0] && strcmp(link->permanent_mac, link->mac) != 0;
    json_set_text(json, "name", link->name);
    set_if_any(json, "mac", link->permanent_mac[0] ? link->permanent_mac : link->mac);
    json_set_text(json, "mac_origin", link->permanent_mac[0] ? "permanent" : "current");
    if (is_changed)
        json_set_text(json, "current_mac", link->mac);
    json_set_bool(json, "is_up", link->is_up);
    json_object_set_new(json, "mtu", json_integer(link->mtu));
    json_object_set_new(json, "addresses", addresses_json(link));
    json_object_set_new(json, "leased", texts_json(link->leased, link->leased_count));
    if (master)
        json_set_text(json, "master", master->name);
    return json;
}

/* --- the kinds --- */

static void add_hardware(const char *root, const struct net_link *link, json_t *json)
{
    AUTO_FREE char *driver =
        inventory_link_name(root, "/sys/class/net/%s/device/driver", link->name);
    AUTO_FREE char *place = inventory_link_name(root, "/sys/class/net/%s/device", link->name);
    AUTO_FREE char *bus =
        inventory_link_name(root, "/sys/class/net/%s/device/subsystem", link->name);
    AUTO_FREE char *path = inventory_link(root, "/sys/class/net/%s/device", link->name);
    set_if_any(json, "driver", driver);
    set_if_any(json, "bus", bus);
    set_if_any(json, "address", place);
    set_if_any(json, "path", path);
    json_set_bool(json, "is_virtual_function",
                  inventory_has(root, "/sys/class/net/%s/device/physfn", link->name));
}

static json_t *members_json(const struct net *net, unsigned master)
{
    json_t *json = json_array();
    for (size_t i = 0; i < net->link_count; i++) {
        if (net->links[i].master == master)
            json_array_append_new(json, json_text(net->links[i].name));
    }
    return json;
}

static void add_bond(const struct net *net, const char *root, const struct net_link *link,
                     json_t *json)
{
    static const char *const settings[] = {"mode",      "primary",          "miimon",
                                           "lacp_rate", "xmit_hash_policy", NULL};
    json_object_set_new(json, "members", members_json(net, link->index));
    for (size_t i = 0; settings[i]; i++) {
        AUTO_FREE char *text =
            inventory_text(root, "/sys/class/net/%s/bonding/%s", link->name, settings[i]);
        text[strcspn(text, " ")] = '\0'; /* "802.3ad 4" */
        set_if_any(json, settings[i], text);
    }
}

static void add_bridge(const struct net *net, const char *root, const struct net_link *link,
                       json_t *json)
{
    json_object_set_new(json, "members", members_json(net, link->index));
    json_set_bool(json, "stp",
                  inventory_number(root, 0, "/sys/class/net/%s/bridge/stp_state", link->name) != 0);
}

static void add_vlan(const struct net *net, const struct net_link *link, json_t *json)
{
    const struct net_link *lower = find_link(net, link->lower);
    json_object_set_new(json, "id", json_integer(link->vlan_id));
    json_set_text(json, "link", lower ? lower->name : NULL);
}

/* Into the list that it belongs to; a container's end of a wire is nobody's configuration. */
static void add_link(const struct net *net, const char *root, const struct net_link *link,
                     json_t *inventory)
{
    const char *list = "interfaces";
    bool is_hardware = inventory_has(root, "/sys/class/net/%s/device", link->name);
    if (link->is_loopback || (strcmp(link->kind, "veth") == 0 && !link->address_count))
        return;
    json_t *json = link_json(net, link);
    if (strcmp(link->kind, "bond") == 0) {
        list = "bonds";
        add_bond(net, root, link, json);
    } else if (strcmp(link->kind, "vlan") == 0) {
        list = "vlans";
        add_vlan(net, link, json);
    } else if (strcmp(link->kind, "bridge") == 0) {
        list = "bridges";
        add_bridge(net, root, link, json);
    } else if (is_hardware) {
        list = "nics";
        add_hardware(root, link, json);
    } else {
        set_if_any(json, "kind", link->kind);
    }
    json_array_append_new(json_object_get(inventory, list), json);
}

/* --- routes and names --- */

static json_t *route_json(const struct net *net, const struct net_route *route)
{
    json_t *json = json_object();
    const struct net_link *link = find_link(net, route->interface);
    json_set_text(json, "destination", route->destination);
    set_if_any(json, "gateway", route->gateway);
    json_set_text(json, "interface", link ? link->name : NULL);
    json_object_set_new(json, "metric", json_integer(route->metric));
    return json;
}

/* resolv.conf(5) */
static void read_resolver(const char *root, const char *path, json_t *servers, json_t *search)
{
    AUTO_FREE char *data = inventory_text(root, "%s", path);
    char *place = NULL;
    for (char *line = strtok_r(data, "\n", &place); line; line = strtok_r(NULL, "\n", &place)) {
        char *inner = NULL;
        const char *key = strtok_r(line, " \t", &inner);
        json_t *list = !key                             ? NULL
                       : strcmp(key, "nameserver") == 0 ? servers
                       : strcmp(key, "search") == 0     ? search
                                                        : NULL;
        for (const char *word = strtok_r(NULL, " \t", &inner); list && word;
             word = strtok_r(NULL, " \t", &inner)) {
            if (json_array_size(list) < MAX_NAME_SERVERS)
                json_array_append_new(list, json_text(word));
        }
    }
}

/* systemd-resolved shows itself in /etc/resolv.conf and keeps the real servers elsewhere. */
static json_t *dns_json(const char *root)
{
    const char *path = "/etc/resolv.conf", *resolved = "/run/systemd/resolve/resolv.conf";
    json_t *json = json_object(), *servers = json_array(), *search = json_array();
    AUTO_FREE char *text = inventory_text(root, "%s", path);
    if (strstr(text, "127.0.0.53") && inventory_has(root, "%s", resolved))
        path = resolved;
    read_resolver(root, path, servers, search);
    json_object_set_new(json, "servers", servers);
    json_object_set_new(json, "search", search);
    return json;
}

void net_render(const struct net *net, const char *root, json_t *inventory)
{
    static const char *const lists[] = {"nics",       "bonds",  "vlans", "bridges",
                                        "interfaces", "routes", NULL};
    for (size_t i = 0; lists[i]; i++)
        json_object_set_new(inventory, lists[i], json_array());
    for (size_t i = 0; i < net->link_count; i++)
        add_link(net, root, &net->links[i], inventory);
    for (size_t i = 0; i < net->route_count; i++)
        json_array_append_new(json_object_get(inventory, "routes"),
                              route_json(net, &net->routes[i]));
    json_object_set_new(inventory, "dns", dns_json(root));
}
