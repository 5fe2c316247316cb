/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The list of a guest's network interfaces; what fills it is in interfaces_*.c, one file for each
 * way of configuring a network.
 */
#include "bootfix/interfaces.h"

#include "base/bytes.h"
#include "base/own.h"
#include "bootfix/interface_list.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LENGTH 15 /* IFNAMSIZ without the NUL */

bool interface_name_is_valid(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length > NAME_MAX_LENGTH || name[0] == '.' || name[0] == '-')
        return false;
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i]))
            return false;
    return true;
}

bool interface_parse_mac(const char *text, size_t length, char mac[18])
{
    if (length != 17)
        return false;
    for (size_t i = 0; i < length; i++) {
        bool is_separator = i % 3 == 2;
        if (is_separator ? text[i] != ':' && text[i] != '-' : !isxdigit((unsigned char)text[i]))
            return false;
        mac[i] = is_separator ? ':' : (char)tolower((unsigned char)text[i]);
    }
    mac[17] = '\0';
    return true;
}

/* "bond0", "br12": a prefix and nothing but digits behind it. */
static bool is_numbered(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(name, prefix, length) == 0 && isdigit((unsigned char)name[length]) &&
           strspn(name + length, "0123456789") == strlen(name + length);
}

/* Names that no Ethernet card has. Radio is left out, too: a virtual machine has none. */
static bool is_virtual_name(const char *name)
{
    static const char *const numbered[] = {
        "bond", "br",  "team",  "vlan", "dummy",  "tun", "tap",    "wg",     "ppp", "veth", "vxlan",
        "sit",  "gre", "virbr", "wlan", "gretap", "ovs", "ip6tnl", "docker", "ifb", "vmbr"};
    static const char *const prefixes[] = {"br-", "wl", "ww", "docker", "virbr", "veth"};
    for (size_t i = 0; i < ARRAY_LENGTH(numbered); i++)
        if (is_numbered(name, numbered[i]))
            return true;
    for (size_t i = 0; i < ARRAY_LENGTH(prefixes); i++)
        if (text_starts_with(name, prefixes[i]))
            return true;
    return strcmp(name, "lo") == 0;
}

struct system_interface *interface_list_find(struct interface_list *list, struct span name)
{
    for (size_t i = 0; i < list->count; i++)
        if (span_is(name, list->items[i].name))
            return &list->items[i];
    return NULL;
}

struct system_interface *interface_list_add(struct interface_list *list, struct span name,
                                            const char *config)
{
    struct system_interface *found = interface_list_find(list, name);
    if (found || list->count == INTERFACES_MAX || name.length > NAME_MAX_LENGTH)
        return found;
    AUTO_FREE char *copy = span_copy(name);
    if (!interface_name_is_valid(copy) || is_virtual_name(copy))
        return NULL;
    found = &list->items[list->count++];
    found->name = take_ptr(&copy);
    found->config = text_copy(config);
    return found;
}

void interface_list_add_virtual(struct interface_list *list, struct span name)
{
    if (list->virtual_count < INTERFACES_MAX && name.length <= NAME_MAX_LENGTH)
        list->virtual_names[list->virtual_count++] = span_copy(name);
}

static bool is_address(struct span text)
{
    unsigned char bytes[sizeof(struct in6_addr)];
    char copy[INET6_ADDRSTRLEN];
    const char *slash = text.length ? memchr(text.start, '/', text.length) : NULL;
    size_t length = slash ? (size_t)(slash - text.start) : text.length;
    unsigned prefix;
    if (length == 0 || length >= sizeof(copy))
        return false;
    memcpy(copy, text.start, length);
    copy[length] = '\0';
    if (slash && (!span_number(span_skip(text, length + 1), &prefix) || prefix > 128))
        return false;
    return inet_pton(AF_INET, copy, bytes) == 1 || inet_pton(AF_INET6, copy, bytes) == 1;
}

void interface_add_address(struct system_interface *interface, struct span address)
{
    if (interface->address_count == ARRAY_LENGTH(interface->addresses) ||
        (!span_is(address, "dhcp") && !is_address(address)))
        return;
    for (size_t i = 0; i < interface->address_count; i++)
        if (span_is(address, interface->addresses[i]))
            return;
    interface->addresses[interface->address_count++] = span_copy(address);
}

void interface_set_mac(struct system_interface *interface, struct span mac)
{
    char parsed[18];
    if (!interface->mac && interface_parse_mac(mac.start, mac.length, parsed))
        interface->mac = text_copy(parsed);
}

int interface_list_read(struct interface_list *list, const char *path, char **text,
                        struct error *err)
{
    size_t length;
    struct files_stat stat;
    *text = NULL;
    if (list->file_count >= INTERFACES_MAX_FILES)
        return 0;
    list->file_count++;
    int found = files_stat(list->files, path, &stat, err);
    if (found != 1 || stat.size_bytes > FILES_MAX_CONFIG)
        return found < 0 ? -1 : 0;
    return files_read(list->files, path, FILES_MAX_CONFIG, text, &length, err);
}

int interface_list_each(struct interface_list *list, const char *folder, const char *suffix,
                        interface_reader *read, struct error *err)
{
    char **names = NULL;
    int result = files_list(list->files, folder, &names, err);
    for (size_t i = 0; result >= 0 && names && names[i]; i++) {
        if (!text_ends_with(names[i], suffix))
            continue;
        AUTO_FREE char *path = text_format("%s/%s", folder, names[i]);
        AUTO_FREE char *text = NULL;
        result = interface_list_read(list, path, &text, err);
        if (result == 1)
            read(list, path, text);
    }
    files_free_names(names);
    return result < 0 ? -1 : 0;
}

static bool is_made_by_software(const struct interface_list *list, const char *name)
{
    for (size_t i = 0; i < list->virtual_count; i++)
        if (strcmp(list->virtual_names[i], name) == 0)
            return true;
    return false;
}

static void remove_virtual(struct interface_list *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        struct system_interface item = list->items[i];
        if (is_made_by_software(list, item.name)) {
            system_interface_fini(&item);
            continue;
        }
        list->items[kept++] = item;
    }
    list->count = kept;
}

static int compare_interfaces(const void *a, const void *b)
{
    const struct system_interface *one = a, *other = b;
    return strverscmp(one->name, other->name);
}

int interfaces_read(struct files *files, struct system *system, struct error *err)
{
    struct interface_list list = {
        .files = files,
        .items = memory_new(INTERFACES_MAX, sizeof(struct system_interface)),
    };
    int result = 0;
    if (interfaces_read_ifupdown(&list, err) < 0 || interfaces_read_networkd(&list, err) < 0 ||
        interfaces_read_netplan(&list, err) < 0 || interfaces_read_networkmanager(&list, err) < 0 ||
        interfaces_read_macs(&list, err) < 0)
        result = error_wrap(err, "read the network configuration");
    remove_virtual(&list);
    qsort(list.items, list.count, sizeof(*list.items), compare_interfaces);
    for (size_t i = 0; i < list.virtual_count; i++)
        free(list.virtual_names[i]);
    for (size_t i = 0; i < system->interface_count; i++)
        system_interface_fini(&system->interfaces[i]);
    free(system->interfaces);
    system->interfaces = list.items;
    system->interface_count = list.count;
    return result;
}
