/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The boot medium's network: DHCP on every link that comes up, or what `rehost.net=` and `ip=` ask
 * for: static addresses, VLANs, bonds. Links are watched for as long as it runs, so that a cable
 * moved to another port is followed. The work is done by `ip` and busybox's `udhcpc` as children.
 *
 *   rehost.net=eno1,192.0.2.5/24,gw=192.0.2.1,dns=192.0.2.53     static, by name or by MAC
 *   rehost.net=192.0.2.5/24,gw=192.0.2.1                         on whichever link has a cable
 *   rehost.net=dhcp                                              on all of them, as without any
 *   rehost.net=eno1,dhcp      rehost.net=eno1.42,dhcp            a VLAN
 *   rehost.net=bond0:eno1+eno2:802.3ad,dhcp                      a bond, with its mode
 *   rehost.net=bond0.42:eno1+eno2,dhcp                           a VLAN on it
 */
#ifndef P2V_BOOT_NETWORK_H
#define P2V_BOOT_NETWORK_H

#include "base/error.h"
#include "base/log.h"
#include "base/own.h"
#include "p2v/boot/settings.h"

#include <stdbool.h>
#include <stddef.h>

#define BOOT_MAX_LINKS 32

/* What is to be set up; pure. No entries: DHCP wherever a link comes up. */
struct boot_net_entry {
    char link[32];       /* "eno1", or "" when `mac` names it; both "": any with a cable */
    char mac[18];        /* "" or lower case */
    char members[8][32]; /* of a bond */
    size_t member_count; /* 0: no bond */
    char bond_mode[16];  /* "802.3ad"; "" the kernel's default */
    unsigned vlan;       /* 0: none; the interface is then link.vlan */
    bool is_dhcp;
    char address[64]; /* "192.0.2.5/24", IPv6 too */
    char gateway[64]; /* "" none */
    char dns[3][64];
};
struct boot_net_plan {
    struct boot_net_entry entries[BOOT_MAX_LINKS];
    size_t count;
    char server[256]; /* the one to be reached, without its port: for what is said; "" not known */
};
int boot_network_plan(const struct boot_settings *settings, struct boot_net_plan *plan,
                      struct error *err);

/* One rehost.net= value, or one of the kernel's ip= (Documentation/admin-guide/nfs/nfsroot). */
int boot_network_parse(const char *value, struct boot_net_entry *entry, struct error *err);
int boot_network_parse_ip(const char *value, struct boot_net_entry *entry, struct error *err);

/* What is so now; for the screen. */
struct boot_link {
    char name[32], mac[18], driver[32];
    bool has_carrier;
    unsigned megabits; /* 0: not known */
    char address[64];  /* "192.0.2.17/24"; "" none yet */
    char state[64];    /* "no cable", "asking for an address", "192.0.2.17/24 by DHCP" */
};
struct boot_network_state {
    struct boot_link links[BOOT_MAX_LINKS];
    size_t count;
    bool is_up;        /* some link has an address */
    bool has_route;    /* a default route */
    char problem[200]; /* one helpful line when it is not usable; "" */
};

struct boot_network;

/* `root` is "" or a test's folder with sys/; a test's `ip` and `udhcpc` are found in PATH. */
struct boot_network *boot_network_start(const struct boot_net_plan *plan, const char *root,
                                        struct log *log, struct error *err);
void boot_network_state(struct boot_network *network, struct boot_network_state *state);

/* Another plan, from the screen's form: what is up is taken down where it contradicts. */
int boot_network_change(struct boot_network *network, const struct boot_net_plan *plan,
                        struct error *err);

/* Stops watching; addresses stay. */
void boot_network_stop(struct boot_network *network);

/*
 * udhcpc starts a program for what a DHCP server said: this one again, under another name, which
 * writes it down for the process that watches. True when argv is of such a call.
 */
bool boot_network_is_lease_call(int argc, char *const argv[]);
int boot_network_write_lease(char *const argv[]); /* what to exit with */
OWN_DEFINE_PTR(boot_network, boot_network_stop)

#endif
