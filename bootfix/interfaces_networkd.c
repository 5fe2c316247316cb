/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * systemd-networkd's files in /etc/systemd/network, and what udev knows of MAC addresses.
 */
#include "base/own.h"
#include "bootfix/interface_list.h"
#include "bootfix/keyfile.h"
#include "bootfix/udev_rule.h"

#define FOLDER "/etc/systemd/network"

static void read_entry(struct system_interface *interface, const struct keyfile *entry)
{
    struct span word, rest = entry->value;
    if (keyfile_is(entry, "Match", "MACAddress") && span_next_word(&rest, &word)) {
        interface_set_mac(interface, word);
    } else if (keyfile_is(entry, "Network", "DHCP")) {
        bool is_on = span_is(rest, "yes") || span_is(rest, "true") || span_is(rest, "ipv4") ||
                     span_is(rest, "both") || span_is(rest, "1") || span_is(rest, "on");
        if (is_on)
            interface_add_address(interface, (struct span){"dhcp", 4});
    } else if (keyfile_is(entry, "Network", "Address") || keyfile_is(entry, "Address", "Address")) {
        interface_add_address(interface, rest);
    }
}

static void read_network(struct interface_list *list, const char *path, const char *text)
{
    struct span names, name;
    if (!keyfile_find(text, "Match", "Name", &names))
        return;
    while (span_next_word(&names, &name)) {
        /* a pattern, or "!name", is no valid name, and is not added */
        struct system_interface *interface = interface_list_add(list, name, path);
        struct keyfile entry = {.position = text};
        while (interface && keyfile_next(&entry))
            read_entry(interface, &entry);
    }
}

static void read_netdev(struct interface_list *list, const char *path, const char *text)
{
    (void)path;
    struct span name;
    if (keyfile_find(text, "NetDev", "Name", &name))
        interface_list_add_virtual(list, name);
}

int interfaces_read_networkd(struct interface_list *list, struct error *err)
{
    if (interface_list_each(list, FOLDER, ".netdev", read_netdev, err) < 0)
        return -1;
    return interface_list_each(list, FOLDER, ".network", read_network, err);
}

static void read_link(struct interface_list *list, const char *path, const char *text)
{
    (void)path;
    struct span name, mac;
    if (!keyfile_find(text, "Link", "Name", &name))
        return;
    struct system_interface *interface = interface_list_find(list, name);
    if (interface && (keyfile_find(text, "Match", "MACAddress", &mac) ||
                      keyfile_find(text, "Match", "PermanentMACAddress", &mac)))
        interface_set_mac(interface, mac);
}

static void read_rules(struct interface_list *list, const char *path, const char *text)
{
    (void)path;
    struct span line, name, mac;
    for (const char *position = text; span_next_line(&position, &line);) {
        if (span_starts_with(span_trim(line), "#") || !udev_rule_find(line, "NAME", &name) ||
            (!udev_rule_find(line, "ATTR{address}", &mac) &&
             !udev_rule_find(line, "SYSFS{address}", &mac)))
            continue;
        struct system_interface *interface = interface_list_find(list, name);
        if (interface)
            interface_set_mac(interface, mac);
    }
}

int interfaces_read_macs(struct interface_list *list, struct error *err)
{
    if (interface_list_each(list, FOLDER, ".link", read_link, err) < 0)
        return -1;
    return interface_list_each(list, "/etc/udev/rules.d", "-net.rules", read_rules, err);
}
