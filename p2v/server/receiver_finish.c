/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The end of a disk's transfer: everything on stable storage, the image without leaked clusters,
 * the manifest made of the ledger, of which only a little is in memory at a time, and the pool's
 * index.
 */
#include "base/checked.h"
#include "base/text.h"
#include "p2v/server/receiver_private.h"

#include <errno.h>
#include <stdio.h>

/* Walks the ledger in ascending order, a batch of records at a time. */
struct finish {
    struct receiver *receiver;
    struct ledger_entry entries[RECEIVER_BATCH];
    uint64_t first; /* of the chunks in `entries` */
    size_t count;
    size_t skipped; /* extents that end before what is asked for */
    uint64_t last;  /* that was asked for */
};

/* What was not skipped and has no record was read and found to be zero. */
static enum chunk_state state_of_empty(struct finish *finish, uint64_t index, uint64_t *end)
{
    const struct extents *skipped = &finish->receiver->skipped;

    for (; finish->skipped < skipped->count; finish->skipped++) {
        const struct extent *extent = &skipped->items[finish->skipped];
        uint64_t first = extent->offset / CHUNK_SIZE;
        uint64_t behind = div_round_up(extent->offset + extent->length, CHUNK_SIZE);

        if (index >= behind)
            continue;
        *end = min_u64(*end, index < first ? first : behind);
        return index < first ? CHUNK_ZERO : CHUNK_SKIPPED;
    }
    return CHUNK_ZERO;
}

/* The records from `index` on, or the first chunk behind it that has one. */
static int load_entries(struct finish *finish, uint64_t index, uint64_t *next, struct error *err)
{
    uint64_t left = finish->receiver->chunk_count - index;

    finish->first = index;
    finish->count = 0;
    if (ledger_next(finish->receiver->ledger, index, left, next, err) < 0)
        return -1;
    if (*next > index)
        return 0;
    finish->count = (size_t)min_u64(left, RECEIVER_BATCH);
    return ledger_get(finish->receiver->ledger, index, finish->count, finish->entries, err);
}

/* Chunks from `index` on whose records are in memory and say the same. */
static uint64_t end_of_entries(const struct finish *finish, uint64_t index)
{
    size_t at = (size_t)(index - finish->first), end = at + 1;

    while (end < finish->count && finish->entries[end].state == finish->entries[at].state)
        end++;
    return finish->first + end;
}

static int find_run(void *context, uint64_t index, enum chunk_state *state, uint64_t *length,
                    struct error *err)
{
    struct finish *finish = context;
    enum ledger_state recorded = LEDGER_ZERO;
    uint64_t end;

    if (index < finish->last)
        finish->skipped = 0; /* from the beginning, once more */
    finish->last = index;
    if ((index < finish->first || index - finish->first >= finish->count) &&
        load_entries(finish, index, &end, err) < 0)
        return -1;
    if (finish->count > 0) {
        recorded = finish->entries[index - finish->first].state;
        end = end_of_entries(finish, index);
    }
    if (recorded == LEDGER_OTHER)
        return error_set(err, 0, "chunk %llu of %s was never received", (unsigned long long)index,
                         finish->receiver->image_name);
    if (recorded == LEDGER_ZERO)
        *state = state_of_empty(finish, index, &end);
    else
        *state = recorded == LEDGER_DATA ? CHUNK_DATA : CHUNK_UNREADABLE;
    *length = end - index;
    return 0;
}

static int read_names(void *context, uint64_t first, size_t count, struct chunk_name *names,
                      struct error *err)
{
    const struct finish *finish = context;
    struct ledger_entry entries[RECEIVER_BATCH];

    if (count > RECEIVER_BATCH)
        return error_set(err, EINVAL, "%zu names at once", count);
    if (ledger_get(finish->receiver->ledger, first, count, entries, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        names[i] = entries[i].name;
    return 0;
}

static int write_manifest(struct receiver *receiver, struct error *err)
{
    AUTO(manifest) manifest = {0};
    AUTO_FREE struct finish *finish = memory_new(1, sizeof(*finish));
    const struct manifest_contents contents = {find_run, read_names, finish};

    finish->receiver = receiver;
    if (manifest_init(&manifest, receiver->size_bytes, err) < 0)
        return -1;
    snprintf(manifest.image, sizeof(manifest.image), "%s", receiver->image_name);
    snprintf(manifest.source, sizeof(manifest.source), "%s", receiver->source);
    return manifest_write_contents(&manifest, &contents, receiver->folder_fd,
                                   receiver->manifest_name, err);
}

struct indexing {
    struct receiver *receiver;
    uint32_t machine;
};

static int add_to_index(void *context, uint64_t index, const struct ledger_entry *entry,
                        struct error *err)
{
    const struct indexing *indexing = context;
    struct chunk_place place = {.machine = indexing->machine,
                                .disk = (uint16_t)indexing->receiver->disk_index,
                                .chunk = index};

    (void)err;
    if (entry->state == LEDGER_DATA)
        chunk_index_add(indexing->receiver->index, &entry->name, &place);
    return 0;
}

/* Failed writes and overwritten names leave clusters that nothing refers to. */
static int tidy_image(struct receiver *receiver, struct error *err)
{
    image_close(take_ptr(&receiver->image));
    atomic_store(&receiver->has_failed, true); /* nothing may be received any more */
    return receiver_repair(receiver, err);
}

int receiver_finish(struct receiver *receiver, uint32_t machine, struct error *err)
{
    struct indexing indexing = {receiver, machine};

    receiver_seal(receiver);
    if (receiver_commit(receiver, err) < 0 || tidy_image(receiver, err) < 0 ||
        write_manifest(receiver, err) < 0)
        return error_wrap(err, "finish %s", receiver->image_path);
    if (receiver->index)
        ledger_visit(receiver->ledger, add_to_index, &indexing, NULL);
    return 0;
}
