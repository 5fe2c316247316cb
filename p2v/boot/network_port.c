/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One interface: its address, its routes and its udhcpc, set up and withdrawn.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/boot/network_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define COMMAND_MS 10000
#define CLIENT_PAUSE_MS 3000 /* before an udhcpc that ended is started again */
#define MAX_WORDS 16

/* --- ip --- */

static void tell_failure(const struct network_tools *tools, const char *const argv[],
                         const struct text *errors, const struct error *err)
{
    AUTO(text) line = {0};
    for (size_t i = 0; argv[i]; i++)
        text_addf(&line, "%s ", argv[i]);
    text_add(&line, ": ");
    text_add_escaped(&line, text_string(errors), strcspn(text_string(errors), "\n"));
    log_detail(tools->log, "%s%s", text_string(&line), err->text);
}

int network_ip(const struct network_tools *tools, const char *const words[])
{
    const char *argv[MAX_WORDS + 1] = {"ip"};
    struct child_limits limits = {.timeout_ms = COMMAND_MS, .output_bytes = 64 * KIB};
    struct error err = {0};
    AUTO(text) errors = {0};
    for (size_t i = 0; words[i] && i + 1 < MAX_WORDS; i++)
        argv[i + 1] = words[i];
    int status = child_run(argv, NULL, NULL, &errors, &limits, &err);
    if (status != 0)
        tell_failure(tools, argv, &errors, &err);
    return status == 0 ? 0 : -1;
}

/* --- addresses and routes --- */

static const char *family(const char *address)
{
    return network_is_ipv6(address) ? "-6" : "-4";
}

/* The metric makes two links of one network possible: the first one is used. */
static void add_route(const struct network_port *port, const struct network_tools *tools)
{
    const char *gateway = port->address.gateway;
    char metric[16];
    snprintf(metric, sizeof(metric), "%u", port->metric);
    if (network_contains(port->address.address, gateway))
        IP(tools, family(gateway), "route", "replace", "default", "via", gateway, "dev", port->name,
           "metric", metric);
    else
        IP(tools, family(gateway), "route", "replace", "default", "via", gateway, "dev", port->name,
           "metric", metric, "onlink");
}

static void add_address(struct network_port *port, const struct network_lease *lease,
                        const struct network_tools *tools)
{
    char metric[16];
    snprintf(metric, sizeof(metric), "%u", port->metric);
    port->address = *lease;
    if (network_is_ipv6(lease->address))
        IP(tools, "-6", "address", "replace", lease->address, "dev", port->name, "metric", metric,
           "nodad");
    else
        IP(tools, "-4", "address", "replace", lease->address, "broadcast", "+", "dev", port->name,
           "metric", metric);
    if (lease->gateway[0])
        add_route(port, tools);
    log_info(tools->log, "%s has the address %s%s%s", port->name, lease->address,
             lease->gateway[0] ? ", gateway " : "", lease->gateway);
}

/* Addresses that the kernel took for IPv6 are its own affair. */
static void drop_address(struct network_port *port, const struct network_tools *tools)
{
    char metric[16];
    if (!port->address.address[0])
        return;
    snprintf(metric, sizeof(metric), "%u", port->metric);
    if (port->address.gateway[0])
        IP(tools, family(port->address.gateway), "route", "del", "default", "dev", port->name,
           "metric", metric);
    IP(tools, family(port->address.address), "address", "del", port->address.address, "dev",
       port->name);
    network_cut_connections(port->address.address);
    log_info(tools->log, "%s has no address any more (it had %s)", port->name,
             port->address.address);
    port->address = (struct network_lease){0};
}

/* --- DHCP --- */

/* A client that found nobody asks again every few seconds, for ever. */
static void start_client(struct network_port *port, const struct network_tools *tools)
{
    AUTO_FREE char *script = text_format("%s/" NETWORK_LEASE_NAME, tools->folder);
    const char *const argv[] = {"busybox", "udhcpc", "-f", "-i", port->name, "-s", script,
                                "-t",      "4",      "-T", "2",  "-A",       "3",  NULL};
    struct error err = {0};
    port->client_ms = clock_ms();
    int result = child_start(&port->client, argv + 1, &CHILD_STDIO_NONE, &err);
    if (result != 0 && err.errnum == ENOENT)
        result = child_start(&port->client, argv, &CHILD_STDIO_NONE, &err);
    if (result != 0)
        log_warning(tools->log, "%s: %s", port->name, err.text);
}

static bool is_same_lease(const struct network_lease *one, const struct network_lease *other)
{
    return memcmp(one, other, sizeof(*one)) == 0;
}

static void read_lease(struct network_port *port, const struct network_tools *tools)
{
    AUTO_FREE char *path = network_lease_path(tools->folder, port->name);
    size_t length;
    AUTO_FREE char *text = inventory_read(path, &length);
    struct network_lease lease = {0};
    if (text && !network_lease_parse(text, &lease))
        log_detail(tools->log, "%s: the DHCP server gave no address that can be used", port->name);
    if (is_same_lease(&lease, &port->address))
        return;
    drop_address(port, tools);
    if (lease.address[0])
        add_address(port, &lease, tools);
    else
        port->asking_ms = clock_ms();
}

void network_port_poll(struct network_port *port, const struct network_tools *tools)
{
    int status;
    if (!port->is_configured || !port->entry.is_dhcp)
        return;
    if (port->client.pid > 0)
        child_wait(&port->client, 0, &status, NULL);
    if (port->client.pid <= 0 && clock_ms() - port->client_ms >= CLIENT_PAUSE_MS)
        start_client(port, tools);
    read_lease(port, tools);
}

/* --- both --- */

bool network_is_new(const struct network_port *port, int64_t now_ms)
{
    return port->is_up && now_ms - port->up_ms < NETWORK_LINK_SECONDS * 1000;
}

void network_port_configure(struct network_port *port, const struct boot_net_entry *entry,
                            const struct network_tools *tools)
{
    memcpy(&port->entry, entry, sizeof(port->entry));
    port->is_configured = true;
    port->asking_ms = clock_ms();
    if (entry->is_dhcp) {
        AUTO_FREE char *path = network_lease_path(tools->folder, port->name);
        unlink(path);
        start_client(port, tools);
        return;
    }
    struct network_lease fixed = {0};
    memcpy(fixed.address, entry->address, sizeof(fixed.address));
    memcpy(fixed.gateway, entry->gateway, sizeof(fixed.gateway));
    memcpy(fixed.dns, entry->dns, sizeof(fixed.dns));
    add_address(port, &fixed, tools);
}

void network_port_withdraw(struct network_port *port, const struct network_tools *tools)
{
    child_stop(&port->client);
    drop_address(port, tools);
    port->is_configured = false;
}
