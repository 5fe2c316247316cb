/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * /etc/network/interfaces and what it sources: interfaces(5).
 */
#include "base/own.h"
#include "bootfix/interface_list.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct stanza {
    struct span name;                   /* of the iface stanza that options belong to */
    struct system_interface *interface; /* NULL: none, or one that is made by software */
    bool has_open_address;              /* the last address waits for a netmask */
};

static int read_file(struct interface_list *list, const char *path, unsigned depth,
                     struct error *err);

/* A backslash at the end of a line continues it. */
static void join_lines(char *text)
{
    for (char *at = text; (at = strstr(at, "\\\n"));) {
        *at++ = ' ';
        *at++ = ' ';
    }
}

/* "eth0.100" needs eth0, "eth0:1" is eth0: the name of the card. */
static struct span card_name(struct span name)
{
    size_t length = 0;
    while (length < name.length && name.start[length] != ':' && name.start[length] != '.')
        length++;
    return (struct span){name.start, length};
}

static void add_cards(struct interface_list *list, struct span names, const char *path)
{
    struct span word;
    while (span_next_word(&names, &word)) {
        bool is_name = !span_is(word, "none") && !span_is(word, "all") && !span_is(word, "regex") &&
                       !span_contains(word, "*");
        if (is_name)
            interface_list_add(list, card_name(word), path);
    }
}

static bool is_ethernet_method(struct span method)
{
    static const char *const others[] = {"loopback", "tunnel", "v4tunnel", "6to4",
                                         "ppp",      "wvdial", "can"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (span_is(method, others[i]))
            return false;
    return true;
}

/* iface NAME [FAMILY [METHOD]] */
static void start_stanza(struct interface_list *list, struct stanza *stanza, struct span rest,
                         const char *path)
{
    struct span name, family, method = {"", 0};
    *stanza = (struct stanza){0};
    if (!span_next_word(&rest, &name))
        return;
    stanza->name = name;
    bool has_method = span_next_word(&rest, &family) && span_next_word(&rest, &method);
    struct span card = card_name(name);
    bool is_alias = memchr(name.start, ':', name.length) != NULL;
    struct system_interface *interface =
        is_ethernet_method(method) ? interface_list_add(list, card, path) : NULL;
    if (card.length != name.length && !is_alias)
        return; /* a VLAN: its addresses are not the card's */
    stanza->interface = interface;
    if (interface && has_method && span_is(family, "inet") && span_is(method, "dhcp"))
        interface_add_address(interface, method);
}

static unsigned count_bits(uint32_t mask)
{
    unsigned bits = 0;
    for (; mask & 0x80000000u; mask <<= 1)
        bits++;
    return mask == 0 ? bits : 0; /* holes: no mask */
}

/* The length of "255.255.255.0" or "24"; 0 for what is neither. */
static unsigned prefix_length(struct span mask)
{
    unsigned length;
    struct in_addr address;
    if (span_number(mask, &length))
        return length <= 128 ? length : 0;
    AUTO_FREE char *copy = span_copy(mask);
    return inet_pton(AF_INET, copy, &address) == 1 ? count_bits(ntohl(address.s_addr)) : 0;
}

static void add_netmask(struct stanza *stanza, struct span mask)
{
    unsigned length = prefix_length(mask);
    struct system_interface *interface = stanza->interface;
    if (!stanza->has_open_address || length == 0 || interface->address_count == 0)
        return;
    char **last = &interface->addresses[interface->address_count - 1];
    char *whole = text_format("%s/%u", *last, length);
    free(*last);
    *last = whole;
    stanza->has_open_address = false;
}

static void add_address(struct stanza *stanza, struct span address)
{
    size_t before = stanza->interface->address_count;
    interface_add_address(stanza->interface, address);
    stanza->has_open_address =
        stanza->interface->address_count > before && !memchr(address.start, '/', address.length);
}

static bool is_option(struct span word, const char *name)
{
    /* ifupdown takes dashes and underscores alike */
    if (word.length != strlen(name))
        return false;
    for (size_t i = 0; i < word.length; i++)
        if (word.start[i] != name[i] && !(name[i] == '-' && word.start[i] == '_'))
            return false;
    return true;
}

static void read_option(struct interface_list *list, struct stanza *stanza, struct span option,
                        struct span rest, const char *path)
{
    struct span value = span_trim(rest);
    if (is_option(option, "bond-slaves") || is_option(option, "slaves") ||
        is_option(option, "bridge-ports")) {
        interface_list_add_virtual(list, stanza->name);
        add_cards(list, value, path);
    } else if (is_option(option, "vlan-raw-device")) {
        interface_list_add_virtual(list, stanza->name);
        add_cards(list, value, path);
    } else if (stanza->interface && span_is(option, "address")) {
        add_address(stanza, value);
    } else if (stanza->interface && span_is(option, "netmask")) {
        add_netmask(stanza, value);
    } else if (stanza->interface && span_is(option, "hwaddress")) {
        struct span word;
        while (span_next_word(&value, &word))
            interface_set_mac(stanza->interface, word);
    }
}

/* Names that run-parts would take. */
static bool is_plain_name(const char *name)
{
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && *name != '_' && *name != '-')
            return false;
    return true;
}

static int read_folder(struct interface_list *list, const char *folder, const char *pattern,
                       unsigned depth, struct error *err)
{
    char **names = NULL;
    int result = files_list(list->files, folder, &names, err);
    for (size_t i = 0; result >= 0 && names && names[i]; i++) {
        if (pattern ? fnmatch(pattern, names[i], FNM_PERIOD) != 0 : !is_plain_name(names[i]))
            continue;
        AUTO_FREE char *path = text_format("%s/%s", folder, names[i]);
        result = read_file(list, path, depth, err);
    }
    files_free_names(names);
    return result < 0 ? -1 : 0;
}

/* Relative to the folder of the file that names it; a wildcard only in the last component. */
static int read_source(struct interface_list *list, struct span name, const char *from,
                       bool is_folder, unsigned depth, struct error *err)
{
    if (name.length > FILES_MAX_PATH || name.length == 0)
        return 0;
    const char *slash = strrchr(from, '/');
    AUTO_FREE char *path = *name.start == '/' ? span_copy(name)
                                              : text_format("%.*s/%.*s", (int)(slash - from), from,
                                                            (int)name.length, name.start);
    if (is_folder)
        return strpbrk(path, "*?[") ? 0 : read_folder(list, path, NULL, depth, err);
    if (!strpbrk(path, "*?["))
        return read_file(list, path, depth, err);
    char *last = strrchr(path, '/');
    *last = '\0';
    if (strpbrk(path, "*?["))
        return 0;
    return read_folder(list, path[0] ? path : "/", last + 1, depth, err);
}

static int read_sources(struct interface_list *list, struct span names, const char *from,
                        bool is_folder, unsigned depth, struct error *err)
{
    struct span name;
    while (span_next_word(&names, &name))
        if (read_source(list, name, from, is_folder, depth + 1, err) < 0)
            return -1;
    return 0;
}

static bool is_stanza_word(struct span word)
{
    return span_is(word, "auto") || span_starts_with(word, "allow-") || span_is(word, "mapping") ||
           span_is(word, "rename") || span_is(word, "template") || span_is(word, "no-auto-down") ||
           span_is(word, "no-scripts");
}

static int read_line(struct interface_list *list, struct stanza *stanza, struct span line,
                     const char *path, unsigned depth, struct error *err)
{
    struct span word;
    if (!span_next_word(&line, &word) || *word.start == '#')
        return 0;
    bool is_folder = span_is(word, "source-directory") || span_is(word, "source-dir");
    if (span_is(word, "source") || is_folder) {
        *stanza = (struct stanza){0};
        return read_sources(list, line, path, is_folder, depth, err);
    }
    if (span_is(word, "iface"))
        start_stanza(list, stanza, line, path);
    else if (is_stanza_word(word))
        *stanza = (struct stanza){0};
    else if (stanza->name.length)
        read_option(list, stanza, word, line, path);
    return 0;
}

static int read_file(struct interface_list *list, const char *path, unsigned depth,
                     struct error *err)
{
    AUTO_FREE char *text = NULL;
    struct stanza stanza = {0};
    struct span line;
    if (depth > INTERFACES_MAX_DEPTH)
        return 0;
    int found = interface_list_read(list, path, &text, err);
    if (found != 1)
        return found;
    join_lines(text);
    for (const char *position = text; span_next_line(&position, &line);)
        if (read_line(list, &stanza, line, path, depth, err) < 0)
            return -1;
    return 0;
}

int interfaces_read_ifupdown(struct interface_list *list, struct error *err)
{
    return read_file(list, "/etc/network/interfaces", 0, err);
}
