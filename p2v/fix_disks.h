/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The disks of a machine with a throw-away overlay over each, for the fixers to write to. Overlays
 * that are neither committed nor kept are removed.
 */
#ifndef P2V_FIX_DISKS_H
#define P2V_FIX_DISKS_H

#include "base/error.h"
#include "bootfix/bootfix.h"
#include "formats/guest.h"
#include "formats/manifest.h"
#include "p2v/overlay.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fix_disk {
    struct overlay overlay; /* its strings are the following */
    char *overlay_path, *base_path, *base_name, *folder;
    bool is_made;   /* the overlay is there and ours to remove */
    bool is_sealed; /* it has the name that the next run finds */
};

/* {0} is the empty set. */
struct fix_disks {
    struct fix_disk items[GUEST_MAX_DISKS];
    struct bootfix_disk disks[GUEST_MAX_DISKS]; /* the overlays, for bootfix_open */
    size_t count;
    /* Where what lies below the disks is looked for; NULL: in each disk's own folder. Borrowed. */
    const char *chain_folder;
};
void fix_disks_fini(struct fix_disks *disks);

/* Removes the overlays' files only; from any thread, for an end by force. */
void fix_disks_remove(void *disks);

/*
 * Makes an overlay for folder/name, beside it or, where `beside` is not NULL, in that other folder
 * (it then names its base by an absolute path).
 */
int fix_disks_add(struct fix_disks *disks, const char *folder, const char *name, const char *format,
                  const char *beside, struct error *err);

/* Writes what the fixers changed into the disk itself; see overlay_commit. */
int fix_disks_commit(struct fix_disks *disks, size_t index, struct manifest *manifest,
                     uint64_t *changed_bytes, struct error *err);

/*
 * Changing disks in place has a moment from which it is finished whatever happens: seal makes the
 * overlays permanent under names that the next run finds (disk 0's last: it is the mark), then each
 * is committed, then finish removes them (disk 0's last again). attach takes the sealed overlay of
 * an interrupted run, 1 when there was one; committing it again does no harm.
 */
int fix_disks_seal(struct fix_disks *disks, struct error *err);
void fix_disks_finish(struct fix_disks *disks);
int fix_disks_attach(struct fix_disks *disks, const char *folder, const char *name,
                     const char *format, struct error *err);

/* True when the disk with index 0 has a sealed overlay: an interrupted fix is to be finished. */
bool fix_disks_are_sealed(const char *folder, const char *first_name);

/*
 * Gives the overlay a name of its own, replacing what is there. 1 when done; 0 when the fixers did
 * not touch this disk, so that there is nothing to keep.
 */
int fix_disks_keep(struct fix_disks *disks, size_t index, const char *path, struct error *err);

#endif
