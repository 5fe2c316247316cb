/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What who sends a machine wants its guest to be, where that is not what the machine was: name,
 * memory, virtual CPUs, networks. From options and boot menus on the agent's side; `wanted` of the
 * inventory (docs/inventory.md) on its way; hostile on the server's side.
 */
#ifndef P2V_WISHES_H
#define P2V_WISHES_H

#include "base/error.h"
#include "base/log.h"
#include "formats/guest.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Nothing that we convert starts with less. */
#define WISHES_MIN_MEMORY ((uint64_t)16 << 20)
#define WISHES_MAX_VCPUS 512u /* of one socket: docs/guest.md */
#define WISHES_MAX_NETWORK 63 /* bytes of a network's name */

struct wished_network {
    char nic[16]; /* the machine's, as the agent calls it; "": all that are not named */
    char network[WISHES_MAX_NETWORK + 1];
};

struct wishes {
    char name[64];         /* "": as its system calls itself */
    uint64_t memory_bytes; /* 0: as the machine */
    unsigned vcpus;        /* 0: as the machine */
    struct wished_network networks[GUEST_MAX_NICS + 1];
    size_t network_count;
};

/* These check what a person has asked for; the error names it. */
int wishes_set_name(struct wishes *wishes, const char *name, struct error *err);
int wishes_set_memory(struct wishes *wishes, uint64_t bytes, struct error *err);
int wishes_set_vcpus(struct wishes *wishes, unsigned count, struct error *err);

/* "eth0:wired" or "wired". */
int wishes_add_network(struct wishes *wishes, const char *text, struct error *err);

/* New reference; NULL when nothing is wanted. */
json_t *wishes_to_json(const struct wishes *wishes);

/*
 * `wanted`, which may be NULL or anything. What cannot be is left out with a warning, and false is
 * returned; what of it is of another type, silently.
 */
bool wishes_from_json(const json_t *wanted, struct wishes *wishes, struct log *log);

#endif
