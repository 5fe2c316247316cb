/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Used maps: which bytes of a volume mean something to its file system. What a map leaves out is
 * never read, sent or written, so any doubt means 'all used', with the doubt said in words.
 *
 * One driver per kind of volume in disk/fs/NAME.c, collected in usedmap_drivers[].
 */
#ifndef DISK_USEDMAP_H
#define DISK_USEDMAP_H

#include "base/error.h"
#include "base/extents.h"
#include "base/log.h"
#include "base/source.h"
#include "disk/probe.h"

#include <stdbool.h>

struct usedmap {
    struct extents used; /* relative to the volume */
    bool is_certain;     /* false: `used` is the whole volume */
    char doubt[256];     /* why not certain, one printable line; "" when certain */
};
void usedmap_fini(struct usedmap *map);

struct usedmap_driver {
    const char *name;         /* as `rehost filesystems` lists it */
    const char *description;  /* one line: what is skipped, what makes it doubt */
    const char *const *types; /* libblkid TYPE values it takes, NULL-terminated */

    /*
     * Adds what is used to map->used. Anything not understood: calls usedmap_doubt and returns 0.
     * -1 only when reading failed (the caller then treats it as a doubt as well).
     */
    int (*read)(const struct block_source *volume, struct usedmap *map, struct error *err);
};

/* Ends with NULL. The last one is 'unknown', which takes every volume. */
extern const struct usedmap_driver *const usedmap_drivers[];

/* Makes the map doubtful; the first doubt is kept. */
void usedmap_doubt(struct usedmap *map, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The driver for a probed volume; never NULL. */
const struct usedmap_driver *usedmap_driver_for(const struct probe *probe);

/*
 * Reads the map by that driver and completes it: checked to lie inside the volume, and the whole
 * volume where the driver doubted, failed, or returned something impossible. Fails only when out
 * of memory.
 */
int usedmap_read(const struct usedmap_driver *driver, const struct block_source *volume,
                 struct usedmap *map, struct error *err);

#endif
