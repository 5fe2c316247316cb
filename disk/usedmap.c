/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The table of used-map drivers, and what holds for every map: it lies inside its volume, and a
 * doubt makes it the whole volume.
 */
#include "disk/usedmap.h"

#include "base/checked.h"
#include "base/own.h"
#include "base/text.h"
#include "disk/fs/drivers.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const struct usedmap_driver *const usedmap_drivers[] = {
    &ext_driver,
    &swap_driver,
    &unknown_driver,
    NULL,
};

void usedmap_fini(struct usedmap *map)
{
    extents_fini(&map->used);
    *map = (struct usedmap){0};
}

/* Doubts may quote what a guest wrote; they are cut where the text no longer fits. */
void usedmap_doubt(struct usedmap *map, const char *format, ...)
{
    AUTO(text) escaped = {0};
    char line[sizeof(map->doubt)];
    va_list arguments;

    map->is_certain = false;
    if (map->doubt[0] != '\0')
        return;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    text_add_escaped(&escaped, line, strlen(line));
    snprintf(map->doubt, sizeof(map->doubt), "%s", text_string(&escaped));
}

static bool takes_type(const struct usedmap_driver *driver, const char *type)
{
    for (const char *const *name = driver->types; *name; name++) {
        if (strcmp(*name, type) == 0)
            return true;
    }
    return false;
}

const struct usedmap_driver *usedmap_driver_for(const struct probe *probe)
{
    for (size_t i = 0; usedmap_drivers[i]; i++) {
        if (!probe->is_ambiguous && takes_type(usedmap_drivers[i], probe->type))
            return usedmap_drivers[i];
    }
    return &unknown_driver;
}

static bool is_inside(const struct extents *used, uint64_t size)
{
    if (used->count == 0)
        return true;
    const struct extent *last = &used->items[used->count - 1];
    return range_is_inside(last->offset, last->length, size);
}

int usedmap_read(const struct usedmap_driver *driver, const struct block_source *volume,
                 struct usedmap *map, struct error *err)
{
    struct error cause = {0};

    *map = (struct usedmap){.is_certain = true};
    if (driver->read(volume, map, &cause) < 0)
        usedmap_doubt(map, "%s", cause.text);
    if (map->is_certain && !is_inside(&map->used, volume->size_bytes))
        usedmap_doubt(map, "the used map leaves the volume");
    if (map->is_certain)
        return 0;
    extents_fini(&map->used);
    map->used = (struct extents){0};
    return extents_add(&map->used, 0, volume->size_bytes, err);
}
