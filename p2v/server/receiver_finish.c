/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The end of a disk's transfer: everything on stable storage, the image without leaked clusters,
 * the manifest made of the ledger, whose names are never in memory all at once, and the pool's
 * index.
 */
#include "base/checked.h"
#include "base/text.h"
#include "p2v/server/receiver_private.h"

#include <errno.h>
#include <stdio.h>

struct finish {
    struct receiver *receiver;
    struct manifest *manifest;
};

static int record(void *context, uint64_t index, const struct ledger_entry *entry,
                  struct error *err)
{
    const struct finish *finish = context;

    if (entry->state == LEDGER_OTHER)
        return error_set(err, 0, "chunk %llu of %s was never received", (unsigned long long)index,
                         finish->receiver->image_name);
    if (entry->state == LEDGER_DATA)
        manifest_set_unnamed(finish->manifest, index);
    else
        manifest_set(finish->manifest, index, CHUNK_UNREADABLE, NULL);
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

/* What was not skipped and has no record was read and found to be zero. */
static void record_zeroes(const struct finish *finish)
{
    const struct extents *skipped = &finish->receiver->skipped;
    uint64_t at = 0, end = finish->receiver->chunk_count;

    for (size_t i = 0; i < skipped->count; i++) {
        const struct extent *extent = &skipped->items[i];
        uint64_t first = extent->offset / CHUNK_SIZE;

        if (first > at)
            manifest_set_run(finish->manifest, at, first - at, CHUNK_ZERO);
        at = div_round_up(extent->offset + extent->length, CHUNK_SIZE);
    }
    if (end > at)
        manifest_set_run(finish->manifest, at, end - at, CHUNK_ZERO);
}

static int write_manifest(struct receiver *receiver, struct error *err)
{
    AUTO(manifest) manifest = {0};
    struct finish finish = {receiver, &manifest};
    struct manifest_names names = {read_names, &finish};

    if (manifest_init(&manifest, receiver->size_bytes, err) < 0)
        return -1;
    snprintf(manifest.image, sizeof(manifest.image), "%s", receiver->image_name);
    snprintf(manifest.source, sizeof(manifest.source), "%s", receiver->source);
    record_zeroes(&finish);
    if (ledger_visit(receiver->ledger, record, &finish, err) < 0)
        return -1;
    return manifest_write_named(&manifest, &names, receiver->folder_fd, receiver->manifest_name,
                                err);
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
