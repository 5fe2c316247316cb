/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The inside of the receiver, shared by p2v/server/receiver*.c only.
 *
 *     receiver.c          what happens to chunks, and to stable storage
 *     receiver_open.c     taking up what an earlier run left, or starting anew
 *     receiver_update.c   starting anew over a complete machine
 *     receiver_cover.c    whether all of the disk was offered
 *     receiver_sources.c  contents that other machines of the pool have
 *     receiver_finish.c   the manifest
 */
#ifndef P2V_SERVER_RECEIVER_PRIVATE_H
#define P2V_SERVER_RECEIVER_PRIVATE_H

#include "formats/image.h"
#include "formats/ledger.h"
#include "p2v/server/receiver.h"

#include <pthread.h>

/* Beyond so many ranges, what else was skipped counts as zero: a manifest may say so. */
#define RECEIVER_MAX_SKIPPED 65536u

/* Chunks handled in one go on the stack: 64 MiB of disk. */
#define RECEIVER_BATCH 1024u

#define SOURCES_MAX 4

/* An image of another machine, or that it cannot be had. */
struct source {
    uint32_t machine;
    uint16_t disk;
    bool is_known; /* this place in the cache is used */
    struct image *image;
};

/*
 * The last few images looked into. They are opened without locks and closed at every checkpoint,
 * so that they neither hinder their own update nor hold a removed image's space for long.
 */
struct pool_sources {
    struct source items[SOURCES_MAX];
    size_t next; /* to be replaced */
};

/* What was offered or run over in this pass: receiver_cover.c. */
struct receiver_cover {
    struct extents ranges; /* bytes, of whole chunks */
    bool is_unknown;
    bool is_pass_over; /* `ranges` are of a pass that has ended, until the next begins */
};

struct receiver {
    char *folder, *base_folder; /* base_folder: NULL unless updating */
    int folder_fd;
    const char *format;
    char *image_name, *image_path, *ledger_name, *manifest_name;
    char *source;
    size_t disk_index;
    uint64_t size_bytes, chunk_count;
    uint8_t disk_id[32];
    struct chunk_index *index;
    const struct receiver_pool *pool;
    struct log *log;

    struct image *image;

    /* Lock order: commit_lock (sealing and committing take turns), lock. Writing content holds
     * neither: receiver.h says what must not happen meanwhile. */
    pthread_mutex_t commit_lock;
    pthread_mutex_t lock; /* setting and getting of the ledger, and what follows */
    struct ledger *ledger;
    struct disksum digest;  /* over what the ledger says now */
    struct extents skipped; /* bytes */
    struct receiver_cover cover;
    struct pool_sources sources;

    _Atomic bool has_failed; /* what a sync could not write is lost: only opening anew helps */
    _Atomic uint64_t stored_bytes, had_bytes, copied_bytes, unreadable_chunks;
};

/* receiver.c. The sum of one entry, added or taken out again. */
void receiver_count(struct receiver *receiver, uint64_t index, const struct ledger_entry *entry);
void receiver_uncount(struct receiver *receiver, uint64_t index, const struct ledger_entry *entry);
size_t receiver_chunk_length(const struct receiver *receiver, uint64_t index);

/*
 * receiver_open.c: image_repair, waiting for a moment while somebody has the image. A process that
 * is just being started elsewhere in the server has copies of all files, and with them their locks.
 */
int receiver_repair(const struct receiver *receiver, struct error *err);
int receiver_create_image(const struct receiver *receiver, const char *backing,
                          const char *backing_format, struct error *err);
int receiver_remove_file(const struct receiver *receiver, const char *name, struct error *err);

/* receiver_update.c: image and ledger, when there is a base. */
int receiver_start_update(const struct receiver *receiver, struct error *err);

/* receiver_cover.c */
void receiver_cover(struct receiver *receiver, uint64_t first, uint64_t count);

/* receiver_sources.c */
void pool_sources_close(struct pool_sources *sources);
/* Reads a chunk of that content from some machine; false when none has it. */
bool pool_sources_read(struct receiver *receiver, const struct chunk_name *name, void *buffer,
                       size_t length);

#endif
