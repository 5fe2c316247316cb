/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the agent saw of the machine (inventory.json, docs/inventory.md), for the definition.
 */
#ifndef P2V_FINISH_INVENTORY_H
#define P2V_FINISH_INVENTORY_H

#include "base/error.h"
#include "base/log.h"
#include "p2v/definition.h"
#include "p2v/json.h"
#include "p2v/nics.h"

/*
 * Takes what can be used. The inventory is the agent's word: what is missing, of another type or
 * out of bounds is passed over. An inventory of disks alone gives nothing.
 */
void finish_inventory_hints(const json_t *inventory, struct definition_hints *hints);

/* The machine's network hardware; nics->is_complete when there is any. */
void finish_inventory_nics(const json_t *inventory, struct nics *nics, struct log *log);

#endif
