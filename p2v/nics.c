/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Chooses the interfaces of the definition and their MACs.
 */
#include "p2v/nics.h"

#include "base/bytes.h"
#include "base/text.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The name that seeds the MAC of a machine's only, nameless NIC. */
#define NIC_NAMELESS "nic0"

static void nic_fini(struct nic *nic)
{
    free(nic->name);
    for (size_t i = 0; i < nic->address_count; i++)
        free(nic->addresses[i]);
}

void nics_fini(struct nics *nics)
{
    for (size_t i = 0; i < nics->count; i++)
        nic_fini(&nics->items[i]);
    nics->count = 0;
    nics->is_complete = false;
}

const char *nic_origin_name(enum nic_origin origin)
{
    static const char *const names[] = {"given", "configured", "generated"};
    return names[origin];
}

bool nic_name_is_valid(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length > NIC_MAX_NAME || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i]))
            return false;
    }
    return true;
}

bool nic_name_is_physical(const char *name)
{
    static const char *const prefixes[] = {
        "bond", "br",  "team", "vlan",  "virbr", "vmbr", "veth",    "docker", "tun", "tap", "wg",
        "ppp",  "sit", "gre",  "vxlan", "dummy", "ifb",  "macvlan", "ipvlan", "vrf", "ovs", "lxc"};
    if (!nic_name_is_valid(name) || strcmp(name, "lo") == 0 || strchr(name, '.'))
        return false;
    for (size_t i = 0; i < ARRAY_LENGTH(prefixes); i++) {
        if (text_starts_with(name, prefixes[i]))
            return false;
    }
    return true;
}

/* The index of the NIC of that name; count when there is none. */
static size_t find_name(const struct nics *nics, const char *name)
{
    size_t i = 0;
    while (i < nics->count && !(nics->items[i].name && strcmp(nics->items[i].name, name) == 0))
        i++;
    return i;
}

static bool has_mac(const struct nics *nics, const char *mac)
{
    for (size_t i = 0; i < nics->count; i++) {
        if (strcasecmp(nics->items[i].mac, mac) == 0)
            return true;
    }
    return false;
}

static void set_mac(struct nic *nic, const char *mac, enum nic_origin origin)
{
    for (size_t i = 0; i < sizeof(nic->mac) - 1; i++)
        nic->mac[i] = (char)tolower((unsigned char)mac[i]);
    nic->mac[sizeof(nic->mac) - 1] = '\0';
    nic->origin = origin;
}

static int parse_one(const char *text, struct nics *nics, struct error *err)
{
    const char *equals = strchr(text, '=');
    if (!equals)
        return error_set(err, 0, "--nic: '%s' is not NAME=MAC", text);
    AUTO_FREE char *name = text_format("%.*s", (int)(equals - text), text);
    if (!nic_name_is_valid(name))
        return error_set(err, 0, "--nic: '%s' is not the name of an interface", name);
    if (!guest_mac_is_valid(equals + 1))
        return error_set(err, 0, "--nic: '%s' is not a MAC of one interface", equals + 1);
    if (find_name(nics, name) < nics->count)
        return error_set(err, 0, "--nic: %s is given twice", name);
    if (has_mac(nics, equals + 1))
        return error_set(err, 0, "--nic: %s is given twice", equals + 1);
    if (nics->count == GUEST_MAX_NICS)
        return error_set(err, 0, "--nic: more than %d interfaces", GUEST_MAX_NICS);
    struct nic *nic = &nics->items[nics->count++];
    *nic = (struct nic){.name = take_ptr(&name)};
    set_mac(nic, equals + 1, NIC_GIVEN);
    return 0;
}

int nics_parse(const struct option_list *given, struct nics *nics, struct error *err)
{
    *nics = (struct nics){0};
    for (size_t i = 0; i < given->count; i++) {
        if (parse_one(given->items[i], nics, err) != 0) {
            nics_fini(nics);
            return -1;
        }
    }
    return 0;
}

static void add_addresses(struct nic *nic, const struct system_interface *interface)
{
    for (size_t i = 0; i < interface->address_count && nic->address_count < GUEST_MAX_ADDRESSES;
         i++)
        nic->addresses[nic->address_count++] = text_copy(interface->addresses[i]);
}

static void generate_mac(struct nic *nic, const char *machine_id)
{
    char mac[18];
    guest_make_mac(machine_id, nic->name ? nic->name : NIC_NAMELESS, mac);
    set_mac(nic, mac, NIC_GENERATED);
}

/* --- given ones that were seen on the machine --- */

static size_t find_mac(const struct nics *nics, const char *mac)
{
    size_t i = 0;
    while (i < nics->count && !(mac && strcasecmp(nics->items[i].mac, mac) == 0))
        i++;
    return i;
}

static bool is_configured(const struct system *system, const char *name)
{
    for (size_t i = 0; i < system->interface_count; i++) {
        if (strcmp(system->interfaces[i].name, name) == 0)
            return true;
    }
    return false;
}

static void rename_given(struct nics *given, size_t index, const char *name, struct log *log)
{
    struct nic *nic = &given->items[index];
    log_info(log, "interface %s (%s) is the system's %s", nic->name, nic->mac, name);
    free(nic->name);
    nic->name = text_copy(name);
}

/* The only configured interface that nobody has, and the only NIC that nobody configures. */
static void match_last(const struct system *system, struct nics *given, struct log *log)
{
    const char *name = NULL;
    size_t index = given->count, left = 0;
    for (size_t i = 0; i < system->interface_count; i++) {
        const char *other = system->interfaces[i].name;
        if (!nic_name_is_physical(other) || find_name(given, other) < given->count ||
            (name && strcmp(name, other) == 0))
            continue;
        if (name)
            return;
        name = other;
    }
    for (size_t i = 0; i < given->count; i++) {
        if (is_configured(system, given->items[i].name))
            continue;
        index = i;
        left++;
    }
    if (name && left == 1)
        rename_given(given, index, name, log);
}

static void match_names(const struct system *system, struct nics *given, struct log *log)
{
    for (size_t i = 0; i < system->interface_count; i++) {
        const struct system_interface *interface = &system->interfaces[i];
        size_t index = find_mac(given, interface->mac);
        if (index < given->count && nic_name_is_physical(interface->name) &&
            find_name(given, interface->name) == given->count)
            rename_given(given, index, interface->name, log);
    }
    match_last(system, given, log);
}

static void copy_given(const struct nics *given, struct nics *copy)
{
    *copy = (struct nics){.count = given->count, .is_complete = given->is_complete};
    for (size_t i = 0; i < given->count; i++) {
        copy->items[i] = (struct nic){.name = text_copy(given->items[i].name)};
        set_mac(&copy->items[i], given->items[i].mac, given->items[i].origin);
    }
}

/* --- */

/* An interface may be configured in several places (IPv4 and IPv6 stanzas): its addresses join. */
static void add_configured(struct nics *nics, const struct system_interface *interface,
                           const struct nics *given, const char *machine_id, struct log *log)
{
    size_t index = find_name(nics, interface->name);
    if (index < nics->count) {
        add_addresses(&nics->items[index], interface);
        return;
    }
    if (given->is_complete && find_name(given, interface->name) == given->count) {
        log_info(log, "interface %s is configured, but the machine has none", interface->name);
        return;
    }
    if (nics->count == GUEST_MAX_NICS) {
        log_warning(log, "interface %s is left out: more than %d", interface->name, GUEST_MAX_NICS);
        return;
    }
    struct nic *nic = &nics->items[nics->count];
    *nic = (struct nic){.name = text_copy(interface->name)};
    size_t wanted = find_name(given, interface->name);
    bool is_known = interface->mac && guest_mac_is_valid(interface->mac) &&
                    !has_mac(nics, interface->mac) && !has_mac(given, interface->mac);
    if (wanted < given->count)
        set_mac(nic, given->items[wanted].mac, NIC_GIVEN);
    else if (is_known)
        set_mac(nic, interface->mac, NIC_CONFIGURED);
    else
        generate_mac(nic, machine_id);
    add_addresses(nic, interface);
    nics->count++;
}

static void add_given(struct nics *nics, const struct nic *given)
{
    if (find_name(nics, given->name) < nics->count || nics->count == GUEST_MAX_NICS)
        return;
    struct nic *nic = &nics->items[nics->count++];
    *nic = (struct nic){.name = text_copy(given->name)};
    set_mac(nic, given->mac, NIC_GIVEN);
}

static void choose(const struct system *system, const struct nics *given, const char *machine_id,
                   struct nics *nics, struct log *log)
{
    *nics = (struct nics){0};
    for (size_t i = 0; system && i < system->interface_count; i++) {
        const struct system_interface *interface = &system->interfaces[i];
        if (nic_name_is_physical(interface->name))
            add_configured(nics, interface, given, machine_id, log);
    }
    for (size_t i = 0; i < given->count; i++)
        add_given(nics, &given->items[i]);
    if (nics->count == 0)
        generate_mac(&nics->items[nics->count++], machine_id);
}

void nics_choose(const struct system *system, const struct nics *given, const char *machine_id,
                 struct nics *nics, struct log *log)
{
    if (!system || !given->is_complete) {
        choose(system, given, machine_id, nics, log);
        return;
    }
    struct nics *seen = memory_new(1, sizeof(*seen));
    copy_given(given, seen);
    match_names(system, seen, log);
    choose(system, seen, machine_id, nics, log);
    nics_fini(seen);
    free(seen);
}

size_t nics_for_fix(const struct nics *nics, struct fix_nic fix[GUEST_MAX_NICS])
{
    size_t count = 0;
    for (size_t i = 0; i < nics->count; i++) {
        if (nics->items[i].name)
            fix[count++] = (struct fix_nic){nics->items[i].name, nics->items[i].mac};
    }
    return count;
}
