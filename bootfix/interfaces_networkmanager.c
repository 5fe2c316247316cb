/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * NetworkManager's keyfiles in /etc/NetworkManager/system-connections.
 */
#include "bootfix/interface_list.h"
#include "bootfix/keyfile.h"

#include <ctype.h>
#include <string.h>

static bool is_ethernet(const char *text)
{
    struct span type;
    return keyfile_find(text, "connection", "type", &type) &&
           (span_is(type, "ethernet") || span_is(type, "802-3-ethernet"));
}

/* "address1=192.0.2.10/24,192.0.2.1": the gateway is not of interest here. */
static void read_address(struct system_interface *interface, const struct keyfile *entry)
{
    bool is_ip = span_is(entry->section, "ipv4") || span_is(entry->section, "ipv6");
    bool is_address = entry->key.length > 7 && span_starts_with(entry->key, "address") &&
                      isdigit((unsigned char)entry->key.start[7]);
    if (!is_ip || !is_address)
        return;
    struct span address = entry->value, gateway;
    span_split(entry->value, ',', &address, &gateway);
    interface_add_address(interface, address);
}

static void read_connection(struct interface_list *list, const char *path, const char *text)
{
    struct span name;
    struct keyfile entry = {.position = text};
    bool has_name = keyfile_find(text, "connection", "interface-name", &name);
    if (!is_ethernet(text)) {
        if (has_name)
            interface_list_add_virtual(list, name);
        if (keyfile_find(text, "vlan", "parent", &name))
            interface_list_add(list, name, path); /* a UUID is no name, and is refused */
        return;
    }
    struct system_interface *interface = has_name ? interface_list_add(list, name, path) : NULL;
    while (interface && keyfile_next(&entry)) {
        if (keyfile_is(&entry, "ethernet", "mac-address") ||
            keyfile_is(&entry, "802-3-ethernet", "mac-address"))
            interface_set_mac(interface, entry.value);
        else if (keyfile_is(&entry, "ipv4", "method") && span_is(entry.value, "auto"))
            interface_add_address(interface, (struct span){"dhcp", 4});
        else
            read_address(interface, &entry);
    }
}

int interfaces_read_networkmanager(struct interface_list *list, struct error *err)
{
    return interface_list_each(list, "/etc/NetworkManager/system-connections", "", read_connection,
                               err);
}
