/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Overlays over a converted disk: fixers write into one, and what they wrote goes into the disk
 * itself only when all of it succeeded.
 */
#ifndef P2V_OVERLAY_H
#define P2V_OVERLAY_H

#include "base/error.h"
#include "formats/manifest.h"

#include <stdint.h>

struct overlay {
    const char *path;
    const char *base_path; /* the disk below, as this process reaches it */
    const char *base_format;
    const char *base_name; /* how the overlay names it: relative to the overlay's folder */
    const char *folder;    /* in which the base lies */
};

/* A new qcow2 overlay of the base's size, complete on disk. */
int overlay_create(const struct overlay *overlay, struct error *err);

/*
 * Writes into the base what differs from it, records that in the manifest (NULL: there is none),
 * and flushes. *changed_bytes says how much. The manifest is not written.
 */
int overlay_commit(const struct overlay *overlay, struct manifest *manifest,
                   uint64_t *changed_bytes, struct error *err);

#endif
