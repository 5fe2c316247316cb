/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The pipeline's insides, shared by disk_pipeline.c and pipeline_*.c and by nobody
 * else.
 *
 * A unit is a buffer of 1 MiB of disk; a piece is one of its chunks on its way. Pieces leave in the
 * order in which they were named:
 *
 *     pieces:  sent | [send … wanted or not) [want … offered) [offered … named) | free
 */
#ifndef P2V_AGENT_PIPELINE_PARTS_H
#define P2V_AGENT_PIPELINE_PARTS_H

#include "base/text.h"
#include "p2v/agent/disk_pipeline.h"
#include "p2v/agent/disk_reader.h"
#include "p2v/copy_work.h"

#include <pthread.h>

/* Chunks in one OFFER when there is more to say, and bytes of frames kept to be sent. An offer
 * becomes safe as a whole: several have to fit into the window. */
#define OFFER_CHUNKS 64u
#define OFFERS_IN_WINDOW 4u
#define MAX_FRAMES_BYTES (256u << 10)

/* Wanted and not sent: enough to keep a link of 1 Gb/s busy for the 50 ms until the next answers
 * come, few enough to stay in the cores' caches. What waits for its answer is not counted. */
#define BACKLOG_CHUNKS (8u << 4)

struct unit {
    uint8_t *buffer; /* made when first used */
    struct extent range;
    unsigned refs; /* pieces, and 1 until it is published */
    bool is_named; /* read and named: may be published */
    bool is_repair;
    uint16_t zero, bad; /* a bit for each chunk */
    struct chunk_name names[DISK_UNIT_CHUNKS];
    struct unit *next_free;
};

enum piece_state { PIECE_NAMED, PIECE_DROPPED, PIECE_WANTED, PIECE_TAKEN, PIECE_READY };

struct piece {
    struct unit *unit;
    uint8_t *data;
    uint64_t chunk, sequence;
    uint32_t length;       /* of the chunk */
    uint32_t frame_length; /* with `joined`: of the frame in place of the chunks */
    uint8_t joined;        /* this and so many less one behind it are one zstd frame; 0: not */
    enum piece_state state;
};

/* A run that may still grow. */
struct open_run {
    uint64_t first, count; /* 0: none */
    enum chunk_state state;
};

struct disk_pipeline {
    struct pipeline_options options;
    const struct extents *used;
    struct disk_reader reader;
    struct pipeline_pass run;
    uint64_t size_bytes; /* rounded up to 512, as images are */
    uint64_t chunk_count;

    /* Lock order: cursor_lock, lock. */
    pthread_mutex_t cursor_lock;
    struct copy_cursor cursor;
    struct copy_read_ahead ahead;

    pthread_mutex_t lock; /* everything below */
    pthread_cond_t can_read, can_send, can_compress;
    atomic_bool is_ended; /* set under the lock, looked at also without */
    enum pipeline_end end;
    enum wire_error_code code;
    struct error error; /* the first failure */

    unsigned unit_count;
    struct unit *units;
    struct unit *free_units; /* the one used last first: its memory is warm */
    struct unit **order;     /* ring of unit_count: being read or named, in the disk's order */
    unsigned order_head, order_count;
    unsigned readers;    /* that have not ended */
    bool is_read;        /* everything was published */
    struct extents dead; /* chunks that stay unreadable */
    struct extents unreadable;

    struct piece *pieces; /* ring of piece_mask + 1 */
    uint64_t piece_mask;
    uint64_t send_at, compress_at, want_at, offered_at, named_at;
    unsigned backlog; /* pieces wanted and not sent */

    uint64_t position; /* chunks below were published */
    struct open_run open_run;
    struct chunk_name names[OFFER_CHUNKS];
    uint64_t names_first;
    unsigned name_count, most_names;
    struct text frames; /* to be sent */
    bool is_pass_sent;

    struct pipeline_counts counts;
    uint64_t used_bytes; /* of the widened ranges */
    size_t safe_index;   /* in cursor.chunks: safe_before bytes are before it */
    uint64_t safe_before;
};

static inline struct piece *pipeline_piece(struct disk_pipeline *pipeline, uint64_t index)
{
    return &pipeline->pieces[index & pipeline->piece_mask];
}

/* disk_pipeline.c. The first failure counts; everything is woken, the link is shut. */
void pipeline_fail_locked(struct disk_pipeline *pipeline, enum pipeline_end end,
                          const struct error *error);
void pipeline_fail(struct disk_pipeline *pipeline, enum pipeline_end end,
                   const struct error *error);
void pipeline_release_locked(struct disk_pipeline *pipeline, struct unit *unit);
/* After a piece of work: waits as --cpu-limit asks for. */
void pipeline_pace(struct disk_pipeline *pipeline, struct cpu_clock *clock);
void pipeline_skip_dropped_locked(struct disk_pipeline *pipeline);

/* pipeline_publish.c: units into offers, in order. */
void pipeline_publish_locked(struct disk_pipeline *pipeline);
int pipeline_flush_locked(struct disk_pipeline *pipeline, struct error *err);
int pipeline_add_run_locked(struct disk_pipeline *pipeline, uint64_t first, uint64_t count,
                            enum chunk_state state, struct error *err);

/* pipeline_receive.c: the caller's thread, until the run has ended. */
void pipeline_receive(struct disk_pipeline *pipeline);

/* pipeline_read.c, pipeline_send.c: the threads. */
void *pipeline_read_thread(void *argument);
void *pipeline_send_thread(void *argument);
void *pipeline_compress_thread(void *argument);

#endif
