/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * LVM's tools: reports, making and removing snapshots. Private to snapshot*.c.
 */
#ifndef P2V_AGENT_SNAPSHOT_LVM_H
#define P2V_AGENT_SNAPSHOT_LVM_H

#include "base/error.h"
#include "base/text.h"
#include "p2v/agent/snapshot_plan.h"

/* As snapshot_plan_read takes them; both texts are empty. ENOENT: the tools are not there. */
int snapshot_lvm_report(struct text *lvs, struct text *pvs, struct error *err);

/* SNAPSHOT_NAME and the number; tagged. */
int snapshot_lvm_create(const struct snapshot_volume *volume, size_t number, struct error *err);

/* Ours, whatever state it is in. */
int snapshot_lvm_remove(const struct snapshot_own *own, struct error *err);

/* Those that there are now. */
int snapshot_lvm_list(struct snapshot_owns *owns, struct error *err);

#endif
