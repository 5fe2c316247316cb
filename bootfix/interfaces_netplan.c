/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * netplan's /etc/netplan/NAME.yaml: block-style YAML as netplan's own documentation and installers
 * write it, by indentation. Flow mappings, anchors and tabs are not understood and name nothing.
 */
#include "bootfix/interface_list.h"

#include <string.h>

#define MAX_LEVELS 8

struct level {
    size_t indent;
    struct span key;
};

struct walk {
    struct level levels[MAX_LEVELS];
    size_t depth;
    struct interface_list *list;
    const char *path;
};

static struct span unquote(struct span text)
{
    text = span_trim(text);
    if (text.length >= 2 && (*text.start == '"' || *text.start == '\'') &&
        text.start[text.length - 1] == *text.start)
        return (struct span){text.start + 1, text.length - 2};
    return text;
}

static size_t indent_of(struct span line)
{
    size_t indent = 0;
    while (indent < line.length && line.start[indent] == ' ')
        indent++;
    return indent;
}

/* network: ethernets: NAME: … */
static struct system_interface *current(struct walk *walk)
{
    const struct level *levels = walk->levels;
    if (walk->depth < 3 || !span_is(levels[0].key, "network") ||
        !span_is(levels[1].key, "ethernets"))
        return NULL;
    return interface_list_find(walk->list, levels[2].key);
}

/* "[192.0.2.10/24, '2001:db8::1/64']" */
static void read_flow(struct system_interface *interface, struct span value)
{
    struct span one, rest = span_skip(value, 1);
    if (rest.length && rest.start[rest.length - 1] == ']')
        rest.length--;
    while (span_split(rest, ',', &one, &rest))
        interface_add_address(interface, unquote(one));
    interface_add_address(interface, unquote(rest));
}

static void read_scalar(struct walk *walk, struct span key, struct span value)
{
    struct system_interface *interface = current(walk);
    if (!interface)
        return;
    if (walk->depth == 4 && span_is(key, "dhcp4") &&
        (span_is(value, "true") || span_is(value, "yes")))
        interface_add_address(interface, (struct span){"dhcp", 4});
    else if (span_is(key, "macaddress"))
        interface_set_mac(interface, value);
    else if (walk->depth == 4 && span_is(key, "addresses") && span_starts_with(value, "["))
        read_flow(interface, value);
}

static void enter_key(struct walk *walk, size_t indent, struct span key)
{
    while (walk->depth && walk->levels[walk->depth - 1].indent >= indent)
        walk->depth--;
    if (walk->depth == MAX_LEVELS)
        return;
    walk->levels[walk->depth++] = (struct level){indent, key};
    const struct level *levels = walk->levels;
    if (walk->depth != 3 || !span_is(levels[0].key, "network"))
        return;
    if (span_is(levels[1].key, "ethernets"))
        interface_list_add(walk->list, key, walk->path);
    else if (span_is(levels[1].key, "bonds") || span_is(levels[1].key, "bridges") ||
             span_is(levels[1].key, "vlans") || span_is(levels[1].key, "tunnels"))
        interface_list_add_virtual(walk->list, key);
}

static void read_item(struct walk *walk, struct span value)
{
    struct system_interface *interface = current(walk);
    if (interface && walk->depth == 4 && span_is(walk->levels[3].key, "addresses"))
        interface_add_address(interface, unquote(value));
}

static void read_netplan(struct interface_list *list, const char *path, const char *text)
{
    struct walk walk = {.list = list, .path = path};
    struct span line, key, value;
    for (const char *position = text; span_next_line(&position, &line);) {
        struct span trimmed = span_trim(line);
        if (trimmed.length == 0 || *trimmed.start == '#')
            continue;
        if (span_starts_with(trimmed, "- ")) {
            read_item(&walk, span_skip(trimmed, 2));
        } else if (span_split(trimmed, ':', &key, &value)) {
            enter_key(&walk, indent_of(line), unquote(key));
            if (value.length)
                read_scalar(&walk, key, unquote(value));
        }
    }
}

int interfaces_read_netplan(struct interface_list *list, struct error *err)
{
    return interface_list_each(list, "/etc/netplan", ".yaml", read_netplan, err);
}
