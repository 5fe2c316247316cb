/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Where in the pool a content may be found: a hash table of fixed size in a file, from a chunk's
 * name to a machine, disk and chunk. A hint and nothing more: it may forget (a full bucket drops an
 * old entry), be stale, or be lost, without harm, since whoever uses it reads the chunk and checks
 * its content.
 */
#ifndef P2V_SERVER_CHUNK_INDEX_H
#define P2V_SERVER_CHUNK_INDEX_H

#include "base/error.h"
#include "base/own.h"
#include "formats/manifest.h"

#include <stdbool.h>
#include <stdint.h>

struct chunk_index;

struct chunk_place {
    uint32_t machine; /* the database's number of the machine */
    uint16_t disk;
    uint64_t chunk; /* below 2^48 */
};

/* Opens or makes it (sparse); a file of another version or size is replaced. Thread-safe. */
struct chunk_index *chunk_index_open(int folder_fd, const char *name, uint64_t slots,
                                     struct error *err);
void chunk_index_close(struct chunk_index *index);
OWN_DEFINE_PTR(chunk_index, chunk_index_close)

/* Failing to read or write is 'not there' and 'forgotten'. */
bool chunk_index_find(struct chunk_index *index, const struct chunk_name *name,
                      struct chunk_place *place);
void chunk_index_add(struct chunk_index *index, const struct chunk_name *name,
                     const struct chunk_place *place);

#endif
