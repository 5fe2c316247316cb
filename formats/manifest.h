/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The manifest: what a converted disk holds, chunk by chunk (docs/manifest.md). Written only after
 * the data that it claims is on stable storage. verify, resume, delta and reports read it; nothing
 * else is state.
 */
#ifndef FORMATS_MANIFEST_H
#define FORMATS_MANIFEST_H

#include "base/error.h"
#include "base/extents.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A chunk is a qcow2 cluster; the disk's last one may be shorter and is named by its real bytes. */
#define CHUNK_SIZE 65536u
#define CHUNK_NAME_SIZE 32

enum chunk_state {
    CHUNK_SKIPPED = 0, /* not used by the source's file systems: not read, reads as zeroes */
    CHUNK_ZERO = 1,    /* read, nothing but zeroes */
    CHUNK_DATA = 2,    /* has a name */
    CHUNK_UNREADABLE = 3, /* the source could not be read there; holds zeroes */
};

struct chunk_name {
    uint8_t bytes[CHUNK_NAME_SIZE]; /* SHA-256 of the content */
};

/* One disk. {0} is valid for manifest_fini. */
struct manifest {
    uint64_t size_bytes;       /* of the disk */
    uint64_t chunk_count;      /* div_round_up(size_bytes, CHUNK_SIZE) */
    uint8_t *states;           /* enum chunk_state, one per chunk */
    struct chunk_name *names;  /* one per chunk; zeroes unless CHUNK_DATA */
    char image[256];           /* the image's file name, beside the manifest */
    char source[256];          /* what was copied, as the user named it; escaped */

    /*
     * Chunks that the fixers changed after the copy: what the *source* had there. states and names
     * above always describe what the image holds now. Ascending by index.
     */
    struct manifest_change {
        uint64_t index;
        enum chunk_state state;
        struct chunk_name name;
    } *changes;
    size_t change_count, change_capacity;
};

int manifest_init(struct manifest *manifest, uint64_t size_bytes, struct error *err);
void manifest_fini(struct manifest *manifest);

/* SHA-256. Thread-safe. */
void chunk_name_compute(const void *data, size_t length, struct chunk_name *name);

/* Records a chunk of the copy. Different chunks may be recorded by different threads. */
void manifest_set(struct manifest *manifest, uint64_t index, enum chunk_state state,
                  const struct chunk_name *name);

/* Records that a fixer changed a chunk; the first original is kept over repeated changes. */
int manifest_change(struct manifest *manifest, uint64_t index, enum chunk_state state,
                    const struct chunk_name *name, struct error *err);

/* Byte length of a chunk: CHUNK_SIZE, or less for the last one. */
size_t manifest_chunk_length(const struct manifest *manifest, uint64_t index);

/* SHA-256 over all states and names in order: one digest for the disk. */
void manifest_digest(const struct manifest *manifest, struct chunk_name *digest);

/* Written aside, fsync, rename. The caller has synced the image before. */
int manifest_write(const struct manifest *manifest, int folder_fd, const char *name,
                   struct error *err);
int manifest_read(struct manifest *manifest, int folder_fd, const char *name, struct error *err);

/* The decoder alone, for the fuzzer. */
int manifest_decode(struct manifest *manifest, const uint8_t *data, size_t length,
                    struct error *err);

#endif
