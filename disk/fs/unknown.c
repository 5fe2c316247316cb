/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Everything without a driver of its own: the whole volume is used. That is no doubt: such a
 * volume is copied as it is, by intent.
 */
#include "disk/fs/drivers.h"

static int unknown_read(const struct block_source *volume, struct usedmap *map, struct error *err)
{
    return extents_add(&map->used, 0, volume->size_bytes, err);
}

const struct usedmap_driver unknown_driver = {
    .name = "unknown",
    .description = "everything else: nothing is skipped but zeroes",
    .types = (const char *const[]){NULL},
    .read = unknown_read,
};
