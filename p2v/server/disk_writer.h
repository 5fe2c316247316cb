/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Writing what arrived behind the back of the connection's thread: while one frame's chunks are on
 * their way to the disk, the next ones are received and decrypted. A short queue, in order; one
 * that finds no room is tried again until there is some. Knows neither frames nor the image.
 */
#ifndef P2V_SERVER_DISK_WRITER_H
#define P2V_SERVER_DISK_WRITER_H

#include "base/error.h"
#include "base/own.h"
#include "formats/manifest.h"
#include "p2v/wire/frame.h"
#include "p2v/wire/link.h"

#include <stdbool.h>
#include <stdint.h>

/* Writes that may wait when another frame is received; each has at most a frame's memory. */
#define DISK_WRITER_DEPTH 3u

struct disk_writer;

struct disk_write {
    uint64_t sequence; /* of the OFFER */
    uint64_t first;
    size_t count, length;
    struct chunk_name names[WIRE_MAX_DATA];
    const uint8_t *data;       /* in `memory` */
    struct link_memory memory; /* the writer's from then on */
};

/* Called by the writer's thread, which holds no lock then. */
struct disk_writer_calls {
    int (*write)(void *context, const struct disk_write *write, struct error *err);
    void (*set_paused)(void *context, bool is_paused);      /* no room, room again */
    void (*fail)(void *context, const struct error *error); /* nothing is written any more */
    void *context;
};

/* `retry_ms`: between two tries to write what finds no room. */
struct disk_writer *disk_writer_start(const struct disk_writer_calls *calls, int retry_ms,
                                      struct error *err);

/* Ends the thread when what is left is written; what finds no room is given up. */
void disk_writer_stop(struct disk_writer *writer);
void disk_writer_free(struct disk_writer *writer);
OWN_DEFINE_PTR(disk_writer, disk_writer_free)

/* Memory that was written, to be filled again, or {0}. */
struct link_memory disk_writer_spare(struct disk_writer *writer);

/* Never waits: who calls this has made sure by disk_writer_wait that there is a place. After a
 * failure it is not written any more. */
void disk_writer_push(struct disk_writer *writer, const struct disk_write *write);

/* Until no more than `most` are not written yet, or writing failed: true; false after the time. */
bool disk_writer_wait(struct disk_writer *writer, size_t most, int timeout_ms);

/* EIO when writing failed. */
int disk_writer_check(struct disk_writer *writer, struct error *err);

bool disk_writer_is_paused(struct disk_writer *writer);

/* Something of [first, first + count) is not written yet. */
bool disk_writer_touches(struct disk_writer *writer, uint64_t first, uint64_t count);

/* What is not written yet: its bytes, and its first sequence (`none` when there is nothing). */
uint64_t disk_writer_left(struct disk_writer *writer, uint64_t none, uint64_t *sequence);

#endif
