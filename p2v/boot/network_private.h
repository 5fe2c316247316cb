/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The parts of the boot medium's network: links in sysfs, leases, commands, what is said. Private
 * to network*.c.
 */
#ifndef P2V_BOOT_NETWORK_PRIVATE_H
#define P2V_BOOT_NETWORK_PRIVATE_H

#include "base/child.h"
#include "p2v/boot/network.h"

#include <stdint.h>

#define NETWORK_INTERFACE_SIZE 16 /* IFNAMSIZ */
#define NETWORK_MAX_DNS 3
#define NETWORK_LEASE_NAME "udhcpc-lease" /* what this program is called for udhcpc */
#define NETWORK_PATIENCE_SECONDS 30       /* until a DHCP server's silence is a problem */
#define NETWORK_LINK_SECONDS 5            /* that two ends of a cable may take to find each other */

/* --- addresses as text (network_address.c) --- */

bool network_is_interface(const char *name);
bool network_is_mac(const char *text, size_t length);
bool network_is_address(const char *text); /* IPv4 or IPv6 */
bool network_is_ipv6(const char *text);

/* "192.0.2.5/24", "2001:db8::5/64": an address that a host can have. */
bool network_is_host_address(const char *text);

/* `address` is in the network of "192.0.2.5/24"; false for the other family. */
bool network_contains(const char *host_address, const char *address);

/* "192.0.2.0/24" of "192.0.2.5/24". */
void network_of(const char *host_address, char *network, size_t size);

/* Bits of "255.255.255.0"; -1 when it is no mask. */
int network_mask_bits(const char *mask);

/* --- links (network_links.c) --- */

struct network_link {
    char name[NETWORK_INTERFACE_SIZE], mac[18], driver[32];
    bool is_hardware;
    bool is_ready; /* udev is through with it: it keeps its name */
    bool has_carrier;
    unsigned megabits;
};

/* What /sys/class/net has of Ethernet, in the order of names; those beyond `max` are left out. */
size_t network_links_read(const char *root, struct network_link *links, size_t max);

/* --- leases (network_lease.c) --- */

struct network_lease {
    char address[64]; /* "192.0.2.17/24"; "" none */
    char gateway[64];
    char dns[NETWORK_MAX_DNS][64];
};

/* What the call of udhcpc wrote down: "ip=…\nmask=…\n…". False when it gives no usable address. */
bool network_lease_parse(const char *text, struct network_lease *lease);

/* The file in which a call leaves it; caller frees. */
char *network_lease_path(const char *folder, const char *interface);

/* --- one interface that is configured (network_port.c) --- */

struct network_port {
    char name[NETWORK_INTERFACE_SIZE];
    bool is_used;                 /* this turn */
    bool is_up;                   /* `ip link set up` was done */
    int64_t up_ms;                /* when */
    bool has_carrier;             /* and had it for the time being, see FLAP_MS of network.c */
    int64_t carrier_ms;           /* when it was there last */
    bool is_configured;           /* as `entry` says */
    struct boot_net_entry entry;  /* a copy */
    struct network_lease address; /* what is set up now */
    struct child client;          /* udhcpc */
    int64_t asking_ms;            /* since when */
    int64_t client_ms;            /* when udhcpc was started last */
    unsigned metric;
    int64_t silent_ms; /* since when nobody answers behind it; 0: somebody does */
    int64_t rest_ms;   /* not used until then */
};

struct network_tools {
    const char *root;
    const char *folder; /* for leases: root/run/rehost */
    struct log *log;
};

/* `ip` with up to 15 words, NULL at the end; a failure is told in the log. */
int network_ip(const struct network_tools *tools, const char *const words[]);
#define IP(tools, ...) network_ip(tools, (const char *const[]){__VA_ARGS__, NULL})

/* Sets up what the entry says, or takes all of it down again. */
void network_port_configure(struct network_port *port, const struct boot_net_entry *entry,
                            const struct network_tools *tools);
void network_port_withdraw(struct network_port *port, const struct network_tools *tools);

/* It was just switched on: no cable is to be seen yet. */
bool network_is_new(const struct network_port *port, int64_t now_ms);

/* The kernel asks for the gateway, or for whoever there is, and nobody answers. */
bool network_port_is_silent(const char *root, const struct network_port *port, const char *server);

/* Ends this process's TCP connections that have the address; see network_cut.c. */
void network_cut_connections(const char *host_address);

/* Looks for what udhcpc got, and after udhcpc itself. */
void network_port_poll(struct network_port *port, const struct network_tools *tools);

/* --- links that are made: bonds and VLANs (network_make.c) --- */

struct network_made {
    char names[2 * BOOT_MAX_LINKS][NETWORK_INTERFACE_SIZE];
    size_t count;
};

/* "eno1.42", "bond0": the interface that an entry configures; "" when there is none yet. */
void network_entry_interface(const struct boot_net_entry *entry, const struct network_link *links,
                             size_t count, char name[NETWORK_INTERFACE_SIZE]);

/* The link that a name or a MAC stands for, or NULL. */
const struct network_link *network_link_find(const struct network_link *links, size_t count,
                                             const char *name_or_mac);

/* Makes what the plan's entries need and is not there; takes away what they no longer need. */
void network_make(const struct boot_net_plan *plan, const struct network_link *links, size_t count,
                  struct network_made *made, const struct network_tools *tools);

/* --- what is said (network_state.c) --- */

/* Addresses that the kernel took by itself (SLAAC), and whether there is a default route. */
void network_read_kernel(const char *root, struct boot_network_state *state);

/* One helpful line, from the state and how long udhcpc has been asking without an answer. */
void network_explain(const struct boot_net_plan *plan, const struct network_port *ports,
                     size_t port_count, int64_t now_ms, struct boot_network_state *state);

#endif
