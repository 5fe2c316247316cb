/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A link may be up and lead nowhere: the cable was pulled behind a switch, or the card does not
 * tell. Then the kernel finds nobody at the gateway's address (/proc/net/arp), and another link
 * that has an address is the better way.
 */
#include "base/own.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/boot/network_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct neighbours {
    bool is_gateway_missing; /* asked for, and did not answer */
    bool has_server;
    size_t missing, present; /* of all on the link */
};

static void take_line(const char *line, const struct network_port *port, const char *server,
                      struct neighbours *found)
{
    char address[40], device[17];
    unsigned type, flags;
    if (sscanf(line, "%39s %x %x %*s %*s %16s", address, &type, &flags, device) != 4 ||
        strcmp(device, port->name) != 0)
        return;
    bool is_present = flags != 0;
    found->missing += !is_present;
    found->present += is_present;
    found->has_server = found->has_server || (is_present && strcmp(address, server) == 0);
    if (!is_present && strcmp(address, port->address.gateway) == 0)
        found->is_gateway_missing = true;
}

bool network_port_is_silent(const char *root, const struct network_port *port, const char *server)
{
    struct neighbours found = {0};
    AUTO_FREE char *text = inventory_text(root, "/proc/net/arp");
    char *rest = text;
    while (rest) {
        const char *line = strsep(&rest, "\n");
        take_line(line, port, server, &found);
    }
    if (found.has_server)
        return false;
    return found.is_gateway_missing || (found.missing > 0 && found.present == 0);
}
