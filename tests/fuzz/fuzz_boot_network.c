/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Any rehost.net=, any ip= and any lease: what comes out of them are words that `ip` may be given.
 */
#include "base/own.h"
#include "p2v/boot/network_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_link(const char *name)
{
    assert(name[0] == '\0' || network_is_interface(name) || network_is_mac(name, strlen(name)));
}

static void check_addresses(const char *address, const char *gateway, const char dns[3][64])
{
    assert(address[0] == '\0' || network_is_host_address(address));
    assert(gateway[0] == '\0' || network_is_address(gateway));
    for (int i = 0; i < 3; i++)
        assert(dns[i][0] == '\0' || network_is_address(dns[i]));
}

static void check_entry(const struct boot_net_entry *entry)
{
    check_link(entry->link);
    check_link(entry->mac);
    assert(entry->member_count <= 8 && entry->vlan <= 4094);
    assert(entry->is_dhcp != (entry->address[0] != '\0'));
    for (size_t i = 0; i < entry->member_count; i++)
        check_link(entry->members[i]);
    check_addresses(entry->address, entry->gateway, entry->dns);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct boot_net_entry entry;
    struct network_lease lease;
    struct error err = {0};
    AUTO_FREE char *text = calloc(1, size + 1);
    memcpy(text, data, size);
    if (boot_network_parse(text, &entry, &err) == 0)
        check_entry(&entry);
    if (boot_network_parse_ip(text, &entry, &err) == 0)
        check_entry(&entry);
    bool is_lease = network_lease_parse(text, &lease);
    assert(is_lease == (lease.address[0] != '\0'));
    check_addresses(lease.address, lease.gateway, lease.dns);
    return 0;
}
