/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Contents that some machine of the pool has already. The index is a hint and other machines'
 * agents may have lied about what they sent: only what was read and hashed here is used. Whatever
 * goes wrong on the way means that the chunk has to be sent.
 */
#include "base/checked.h"
#include "p2v/machine.h"
#include "p2v/server/receiver_private.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

void pool_sources_close(struct pool_sources *sources)
{
    for (size_t i = 0; i < SOURCES_MAX; i++)
        image_close(sources->items[i].image);
    *sources = (struct pool_sources){0};
}

/* Others may be writing to it: what is read is checked anyway. */
static struct image *open_source(const char *path)
{
    AUTO_FREE char *folder = path_parent(path);
    AUTO_FREE char *pool = path_parent(folder);
    struct image_open_options options = {.backing_folder = pool, .is_unlocked = true};
    const char *dot = strrchr(path, '.');

    options.format = dot ? dot + 1 : "";
    return image_open(path, &options, NULL);
}

static struct image *find_source(struct receiver *receiver, const struct chunk_place *place)
{
    struct pool_sources *sources = &receiver->sources;
    struct source *source;
    char path[PATH_MAX];

    for (size_t i = 0; i < SOURCES_MAX; i++) {
        source = &sources->items[i];
        if (source->is_known && source->machine == place->machine && source->disk == place->disk)
            return source->image;
    }
    source = &sources->items[sources->next++ % SOURCES_MAX];
    image_close(source->image);
    *source = (struct source){.machine = place->machine, .disk = place->disk, .is_known = true};
    if (receiver->pool->find_image(receiver->pool->context, place->machine, place->disk, path,
                                   sizeof(path)))
        source->image = open_source(path);
    return source->image;
}

bool pool_sources_read(struct receiver *receiver, const struct chunk_name *name, void *buffer,
                       size_t length)
{
    struct chunk_place place;
    struct chunk_name found;
    struct image *image;

    if (!receiver->index || !receiver->pool || !chunk_index_find(receiver->index, name, &place))
        return false;
    image = find_source(receiver, &place);
    if (!image || !range_is_inside(place.chunk * CHUNK_SIZE, length, image->source.size_bytes) ||
        block_source_read(&image->source, place.chunk * CHUNK_SIZE, buffer, length, NULL) < 0)
        return false;
    chunk_name_compute(buffer, length, &found);
    return memcmp(&found, name, sizeof(found)) == 0;
}
