/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Which network interfaces the converted machine gets, and with which MACs: those that the guest's
 * configuration names, under the names it expects.
 */
#ifndef P2V_NICS_H
#define P2V_NICS_H

#include "base/error.h"
#include "base/log.h"
#include "bootfix/fixer.h"
#include "bootfix/system.h"
#include "formats/guest.h"
#include "p2v/options.h"

#include <stdbool.h>
#include <stddef.h>

#define NIC_MAX_NAME 15 /* IFNAMSIZ without the NUL */

enum nic_origin {
    NIC_GIVEN,      /* --nic */
    NIC_CONFIGURED, /* the guest's configuration tells the MAC */
    NIC_GENERATED,  /* nobody knows it; derived from the machine and the name */
};

struct nic {
    char *name; /* NULL: the one NIC of a machine that names none */
    char mac[18];
    enum nic_origin origin;
    char *addresses[GUEST_MAX_ADDRESSES];
    size_t address_count;
};

/* {0} is valid for nics_fini. */
struct nics {
    struct nic items[GUEST_MAX_NICS];
    size_t count;
    bool is_complete; /* of given ones: they are the machine's hardware, and there is no other */
};
void nics_fini(struct nics *nics);

/* NAME=MAC texts of --nic. Bad names, bad MACs and duplicates are errors (of usage). */
int nics_parse(const struct option_list *given, struct nics *nics, struct error *err);

/*
 * The given ones first decide MACs of interfaces that the system configures; those that it does not
 * know are added behind. `system` may be NULL; `machine_id` seeds generated MACs.
 *
 * Given ones that are complete were seen on the machine, perhaps under other names (a boot medium
 * has its own): the system's names count, for a MAC that it tells, and when one interface alone is
 * left on each side. What it configures beyond them is left out.
 */
void nics_choose(const struct system *system, const struct nics *given, const char *machine_id,
                 struct nics *nics, struct log *log);

/* False for what is no hardware: lo, bonds, bridges, VLANs, tunnels and the like. */
bool nic_name_is_physical(const char *name);
bool nic_name_is_valid(const char *name);

/* For the fixers; only NICs that have a name. Borrows from nics. Returns how many. */
size_t nics_for_fix(const struct nics *nics, struct fix_nic fix[GUEST_MAX_NICS]);

const char *nic_origin_name(enum nic_origin origin); /* "given", "configured", "generated" */

#endif
