/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The end of a finish, which is gone through whatever happens: what the fixers wrote goes into the
 * disks, then the folder becomes the machine, or an update goes into the machine below it. Killed
 * at any moment, it is simply done again.
 */
#ifndef P2V_FINISH_COMPLETE_H
#define P2V_FINISH_COMPLETE_H

#include "base/error.h"
#include "base/log.h"
#include "formats/guest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* POOL/NAME.partial or POOL/NAME.update, and what goes with it. The strings are owned. */
struct finish_place {
    char *folder, *final, *parent;
    bool is_update;
    int folder_fd; /* locked exclusively; -1: not open */
    int base_fd;   /* of an update: the machine's, locked exclusively; -1: not open */
};

/* Takes the path apart; opens nothing. After -1 nothing is to be freed. */
int finish_place_init(struct finish_place *place, const char *path, struct error *err);
void finish_place_fini(struct finish_place *place);

/* An image in the folder itself, whatever the definition says. Caller frees the name. */
char *finish_disk_name(const struct finish_place *place, const struct guest *guest, size_t index);

/*
 * `path` has the mark (FINISH_MARK) in it; folder_fd holds the exclusive lock on it and is taken,
 * also on failure. Needs no appliance and no network.
 */
int finish_complete(const char *path, int folder_fd, struct log *log, struct error *err);

/* The same with what is open already. Afterwards folder_fd is the machine's, or -1. */
int finish_complete_place(struct finish_place *place, struct log *log, struct error *err);

#endif
