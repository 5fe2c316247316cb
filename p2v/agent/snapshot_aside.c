/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Keeps pieces of at most a MiB; those of zeroes, of which an EFI system partition has many, cost
 * nothing.
 */
#include "p2v/agent/snapshot_aside.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"

#include <errno.h>
#include <stdlib.h>

#define PIECE_BYTES MIB

/* Reading takes time while services wait: no more than this, however much of it is zeroes. */
#define MAX_PIECES 4096u

static const uint8_t zeroes[PIECE_BYTES];

void snapshot_aside_fini(struct snapshot_aside *aside)
{
    for (size_t i = 0; i < aside->count; i++) {
        free(aside->pieces[i]->data);
        free(aside->pieces[i]);
    }
    free(aside->pieces);
    *aside = (struct snapshot_aside){0};
}

/* Takes the data. */
static void keep(struct snapshot_aside *aside, size_t disk, uint64_t offset, void *data,
                 size_t length)
{
    struct aside_piece *piece = memory_new(1, sizeof(*piece));
    *piece = (struct aside_piece){.disk = disk, .offset = offset, .data = data};
    block_memory_init(&piece->memory, data ? data : zeroes, length);
    aside->pieces = memory_grow(aside->pieces, aside->count + 1, sizeof(struct aside_piece *));
    aside->pieces[aside->count++] = piece;
}

static int add_piece(struct snapshot_aside *aside, size_t disk, const struct block_source *block,
                     uint64_t offset, size_t length, struct error *err)
{
    if (aside->count == MAX_PIECES)
        return 0;
    void *data = malloc(length);
    if (!data)
        return error_set(err, ENOMEM, "put %zu bytes aside", length);
    if (block_source_read(block, offset, data, length, err) != 0) {
        free(data);
        return -1;
    }
    if (bytes_are_zero(data, length)) {
        free(data);
        data = NULL;
    } else if (length > aside->left_bytes) {
        free(data);
        return 0;
    } else {
        aside->left_bytes -= length;
    }
    keep(aside, disk, offset, data, length);
    return 1;
}

int snapshot_aside_add(struct snapshot_aside *aside, size_t disk, const struct block_source *block,
                       uint64_t offset, uint64_t length, struct error *err)
{
    int result = 1;
    for (uint64_t done = 0, piece; result == 1 && done < length; done += piece) {
        piece = min_u64(PIECE_BYTES - (offset + done) % PIECE_BYTES, length - done);
        result = add_piece(aside, disk, block, offset + done, (size_t)piece, err);
    }
    return result;
}
