/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The manifest: what a converted disk holds, chunk by chunk (docs/manifest.md). Written only after
 * the data that it claims is on stable storage. verify, resume, delta and reports read it; nothing
 * else is state.
 */
#ifndef FORMATS_MANIFEST_H
#define FORMATS_MANIFEST_H

#include "base/error.h"
#include "base/own.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A chunk is a qcow2 cluster; the disk's last one may be shorter and is named by its real bytes. */
#define CHUNK_SIZE 65536u
#define CHUNK_NAME_SIZE 32

enum chunk_state {
    CHUNK_SKIPPED = 0,    /* not used by the source's file systems: not read, reads as zeroes */
    CHUNK_ZERO = 1,       /* read, nothing but zeroes */
    CHUNK_DATA = 2,       /* has a name */
    CHUNK_UNREADABLE = 3, /* the source could not be read there; holds zeroes */
};

struct chunk_name {
    uint8_t bytes[CHUNK_NAME_SIZE]; /* SHA-256 of the content */
};

/*
 * States and names are kept in blocks of 4096 chunks (256 MiB of disk), made when something is
 * recorded there and names only for a block with data: memory follows what is used, not the size
 * of the disk. Read them with manifest_state and manifest_name.
 */
#define MANIFEST_BLOCK_CHUNKS 4096u
struct manifest_block;

/* Largest disk taken, 64 TiB, as IMAGE_MAX_SIZE. */
#define MANIFEST_MAX_SIZE ((uint64_t)64 << 40)

/* Most chunks that fixers may have changed: 64 GiB of disk. */
#define MANIFEST_MAX_CHANGES ((size_t)1 << 20)

/* One disk. {0} is valid for manifest_fini. */
struct manifest {
    uint64_t size_bytes;            /* of the disk */
    uint64_t chunk_count;           /* div_round_up(size_bytes, CHUNK_SIZE) */
    struct manifest_block **blocks; /* one per 4096 chunks; NULL: nothing but CHUNK_SKIPPED */
    char image[256];                /* the image's file name, beside the manifest */
    char source[256];               /* what was copied, as the user named it; escaped */

    /*
     * Chunks that the fixers changed after the copy: what the *source* had there. manifest_state
     * and manifest_name always tell what the image holds now. Ascending by index.
     */
    struct manifest_change {
        uint64_t index;
        enum chunk_state state;
        struct chunk_name name;
    } * changes;
    size_t change_count, change_capacity;
};

int manifest_init(struct manifest *manifest, uint64_t size_bytes, struct error *err);
void manifest_fini(struct manifest *manifest); /* afterwards it is {0} again */

/* SHA-256. Thread-safe. */
void chunk_name_compute(const void *data, size_t length, struct chunk_name *name);

/*
 * Records a chunk of the copy; `name` is needed for CHUNK_DATA and ignored for the others.
 * Different chunks may be recorded by different threads.
 */
void manifest_set(struct manifest *manifest, uint64_t index, enum chunk_state state,
                  const struct chunk_name *name);

/* Records `count` chunks from `index` on that have no name (any state but CHUNK_DATA). */
void manifest_set_run(struct manifest *manifest, uint64_t index, uint64_t count,
                      enum chunk_state state);

/* What the image holds at a chunk. */
enum chunk_state manifest_state(const struct manifest *manifest, uint64_t index);

/*
 * The first chunk from `index` on with anything recorded near it; chunk_count behind the last. All
 * that are passed over are CHUNK_SKIPPED: most of a large disk costs nothing to walk.
 */
uint64_t manifest_next(const struct manifest *manifest, uint64_t index);

/* The chunk's name, all zeroes unless CHUNK_DATA. Never NULL; borrowed until the next change. */
const struct chunk_name *manifest_name(const struct manifest *manifest, uint64_t index);

/*
 * Records that a fixer made a chunk what `state` and `name` say. What was there before goes into
 * `changes`; the first original is kept over repeated changes, and a chunk that is its original
 * again leaves the list. Not for several threads at once.
 */
int manifest_change(struct manifest *manifest, uint64_t index, enum chunk_state state,
                    const struct chunk_name *name, struct error *err);

/* Byte length of a chunk: CHUNK_SIZE, or less for the last one. */
size_t manifest_chunk_length(const struct manifest *manifest, uint64_t index);

/* SHA-256 over the size, all states and all names in order: one digest for the disk. */
void manifest_digest(const struct manifest *manifest, struct chunk_name *digest);

/* Written aside, fsync, rename. The caller has synced the image before. */
int manifest_write(const struct manifest *manifest, int folder_fd, const char *name,
                   struct error *err);

/*
 * As manifest_write, with all chunks from elsewhere: of `manifest` only the size, the texts and the
 * changes count, and a disk of any size costs no memory. Asked for in ascending order, twice.
 */
struct manifest_contents {
    /* The state of the chunk, and of how many from it on at least. */
    int (*run)(void *context, uint64_t index, enum chunk_state *state, uint64_t *length,
               struct error *err);
    /* The names of consecutive chunks with data. */
    int (*names)(void *context, uint64_t first, size_t count, struct chunk_name *names,
                 struct error *err);
    void *context;
};
int manifest_write_contents(const struct manifest *manifest,
                            const struct manifest_contents *contents, int folder_fd,
                            const char *name, struct error *err);

/* Fills an empty manifest; after -1 it is empty again. */
int manifest_read(struct manifest *manifest, int folder_fd, const char *name, struct error *err);

/*
 * As manifest_read, but what it says goes to the calls, in the file's order: of `manifest` only the
 * size and the texts are filled, and a disk of any size costs no memory. Nothing that was told
 * holds unless this returns 0: the closing sum comes last.
 */
struct manifest_visitor {
    /* Before all others, with the size and the texts; may be NULL. */
    int (*begin)(void *context, const struct manifest *manifest, struct error *err);
    int (*run)(void *context, uint64_t first, uint64_t count, enum chunk_state state,
               struct error *err); /* any state but CHUNK_DATA */
    int (*names)(void *context, uint64_t first, size_t count, const struct chunk_name *names,
                 struct error *err); /* chunks with data, next to each other */
    /* After all chunks; `count` are there in all. */
    int (*change)(void *context, const struct manifest_change *change, uint64_t count,
                  struct error *err);
    void *context;
};
int manifest_visit(struct manifest *manifest, const struct manifest_visitor *visitor, int folder_fd,
                   const char *name, struct error *err);

/* The decoder alone, as manifest_read. */
int manifest_decode(struct manifest *manifest, const uint8_t *data, size_t length,
                    struct error *err);

#endif
