/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An update goes into the machine below it.
 */
#ifndef P2V_FINISH_MERGE_H
#define P2V_FINISH_MERGE_H

#include "p2v/finish_complete.h"

/*
 * Everything that the update's images store goes into the machine's, then its manifests,
 * definition, inventory and report become the machine's, then the update is removed. Until that is
 * done the machine is marked as nothing (MACHINE_MERGE_MARK). `guest` is the machine's definition
 * to be. Afterwards place->folder_fd is the machine's.
 */
int finish_merge(struct finish_place *place, const struct guest *guest, struct log *log,
                 struct error *err);

/* Is there room in the machine for what the update stores? -1 with ENOSPC: nothing was changed. */
int finish_merge_check_space(const struct finish_place *place, size_t disk_count,
                             struct error *err);

#endif
