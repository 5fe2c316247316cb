/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What this machine is, as JSON (docs/inventory.md): firmware, CPUs, memory, identity, disks with
 * what is on them, network, clock. Of the same shape as the inventory.json of an offline
 * conversion, which knows only the disks.
 */
#ifndef P2V_AGENT_INVENTORY_H
#define P2V_AGENT_INVENTORY_H

#include "base/error.h"
#include "base/log.h"
#include "p2v/agent/disks.h"
#include "p2v/agent/live.h"
#include "p2v/sources.h"
#include "p2v/wishes.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* One disk that is sent; all borrowed. */
struct inventory_disk {
    const char *name;
    const struct source *source;
    const struct machine_disk *device; /* NULL: an image file */
    const struct live *live;           /* NULL: an image file */
};

struct inventory_options {
    const char *root; /* "" for this machine */
    /* False: the disks are images of some other machine; nothing but them is told. */
    bool is_this_machine;
    const struct inventory_disk *disks;
    size_t disk_count;
    const struct wishes *wishes; /* for the guest; NULL: none */
    struct log *log;
};

/* New reference. What cannot be found out is null or missing; that is never an error. */
json_t *inventory_new(const struct inventory_options *options);

/*
 * The text for the wire, at most WIRE_MAX_INVENTORY bytes: of an inventory that is larger, routes,
 * further interfaces and volumes are left out, in this order. Caller frees.
 */
char *inventory_format(json_t *inventory, struct log *log);

/* A file that says, by being there, that Rehost's boot medium is running (p2v/boot). */
#define INVENTORY_MEDIUM_MARK "/run/rehost/medium"

/* Parts of it, for tests. "cpu" and "memory_bytes"; the rest of the machine but its network. */
void inventory_add_processors(const char *root, json_t *inventory);
void inventory_add_machine(const char *root, json_t *inventory);

#endif
