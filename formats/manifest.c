/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The manifest in memory. Its file is in manifest_file.c.
 *
 * Blocks are made by whichever thread needs one first and put in place by one compare-and-swap, so
 * recording takes no lock. A block of nothing but zero or unreadable chunks is not made at all:
 * its place points to a shared constant one, which is copied when something else is recorded.
 */
#include "formats/manifest.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"
#include "formats/digest.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct manifest_block {
    struct chunk_name *names; /* one per chunk, NULL before the first CHUNK_DATA */
    uint8_t states[MANIFEST_BLOCK_CHUNKS];
};

#define EVERY(state)                                                                               \
    {                                                                                              \
        .names = NULL, .states = { [0 ... MANIFEST_BLOCK_CHUNKS - 1] = (state) }                   \
    }

/* Never written to: const in all but type, because a place in `blocks` may point here. */
static struct manifest_block uniform_zero = EVERY(CHUNK_ZERO);
static struct manifest_block uniform_unreadable = EVERY(CHUNK_UNREADABLE);

static const struct chunk_name no_name;

_Static_assert(CHUNK_NAME_SIZE == DIGEST_SIZE, "a chunk's name is its digest");

static struct manifest_block *uniform_block(enum chunk_state state)
{
    switch (state) {
    case CHUNK_ZERO:
        return &uniform_zero;
    case CHUNK_UNREADABLE:
        return &uniform_unreadable;
    default:
        return NULL;
    }
}

static bool is_uniform(const struct manifest_block *block)
{
    return block == NULL || block == &uniform_zero || block == &uniform_unreadable;
}

static void block_free(struct manifest_block *block)
{
    if (is_uniform(block))
        return;
    free(block->names);
    free(block);
}

static uint64_t block_count(const struct manifest *manifest)
{
    return div_round_up(manifest->chunk_count, MANIFEST_BLOCK_CHUNKS);
}

int manifest_init(struct manifest *manifest, uint64_t size_bytes, struct error *err)
{
    *manifest = (struct manifest){0};
    if (size_bytes == 0 || size_bytes > MANIFEST_MAX_SIZE)
        return error_set(err, 0, "disk size %llu: must be 1 byte to 64 TiB",
                         (unsigned long long)size_bytes);
    manifest->size_bytes = size_bytes;
    manifest->chunk_count = div_round_up(size_bytes, CHUNK_SIZE);
    manifest->blocks = calloc(block_count(manifest), sizeof(struct manifest_block *));
    if (manifest->blocks == NULL) {
        *manifest = (struct manifest){0};
        return error_set(err, ENOMEM, "manifest of %llu bytes", (unsigned long long)size_bytes);
    }
    return 0;
}

void manifest_fini(struct manifest *manifest)
{
    for (uint64_t i = 0; manifest->blocks != NULL && i < block_count(manifest); i++)
        block_free(manifest->blocks[i]);
    free(manifest->blocks);
    free(manifest->changes);
    *manifest = (struct manifest){0};
}

void chunk_name_compute(const void *data, size_t length, struct chunk_name *name)
{
    digest_compute(data, length, name->bytes);
}

static struct manifest_block *block_load(const struct manifest *manifest, uint64_t index)
{
    assert(index < manifest->chunk_count);
    return __atomic_load_n(&manifest->blocks[index / MANIFEST_BLOCK_CHUNKS], __ATOMIC_ACQUIRE);
}

/* The block of a chunk as one that may be written to. */
static struct manifest_block *block_own(struct manifest *manifest, uint64_t index)
{
    struct manifest_block *block = block_load(manifest, index);
    struct manifest_block *made;

    if (!is_uniform(block))
        return block;
    made = memory_new(1, sizeof(*made));
    if (block != NULL)
        *made = *block;
    if (__atomic_compare_exchange_n(&manifest->blocks[index / MANIFEST_BLOCK_CHUNKS], &block, made,
                                    false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return made;
    free(made); /* another thread was first; `block` is now its block */
    return block;
}

static struct chunk_name *block_own_names(struct manifest_block *block)
{
    struct chunk_name *names = __atomic_load_n(&block->names, __ATOMIC_ACQUIRE);
    struct chunk_name *made;

    if (names != NULL)
        return names;
    made = memory_new(MANIFEST_BLOCK_CHUNKS, sizeof(*made));
    if (__atomic_compare_exchange_n(&block->names, &names, made, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        return made;
    free(made);
    return names;
}

void manifest_set(struct manifest *manifest, uint64_t index, enum chunk_state state,
                  const struct chunk_name *name)
{
    struct manifest_block *block;

    if (state != CHUNK_DATA && manifest_state(manifest, index) == state)
        return;
    block = block_own(manifest, index);
    if (state == CHUNK_DATA) {
        assert(name != NULL);
        block_own_names(block)[index % MANIFEST_BLOCK_CHUNKS] = *name;
    }
    block->states[index % MANIFEST_BLOCK_CHUNKS] = (uint8_t)state;
}

/* True when a whole block was replaced by a shared one: only while nobody has written to it. */
static bool block_set_uniform(struct manifest *manifest, uint64_t index, enum chunk_state state)
{
    struct manifest_block *block = block_load(manifest, index);

    return is_uniform(block) &&
           __atomic_compare_exchange_n(&manifest->blocks[index / MANIFEST_BLOCK_CHUNKS], &block,
                                       uniform_block(state), false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}

void manifest_set_run(struct manifest *manifest, uint64_t index, uint64_t count,
                      enum chunk_state state)
{
    assert(state != CHUNK_DATA && range_is_inside(index, count, manifest->chunk_count));
    while (count > 0) {
        uint64_t in_block = index % MANIFEST_BLOCK_CHUNKS;
        uint64_t part = min_u64(count, MANIFEST_BLOCK_CHUNKS - in_block);

        if (part < MANIFEST_BLOCK_CHUNKS || !block_set_uniform(manifest, index, state))
            memset(block_own(manifest, index)->states + in_block, (int)state, part);
        index += part;
        count -= part;
    }
}

enum chunk_state manifest_state(const struct manifest *manifest, uint64_t index)
{
    const struct manifest_block *block = block_load(manifest, index);

    return block == NULL ? CHUNK_SKIPPED
                         : (enum chunk_state)block->states[index % MANIFEST_BLOCK_CHUNKS];
}

uint64_t manifest_next(const struct manifest *manifest, uint64_t index)
{
    while (index < manifest->chunk_count && block_load(manifest, index) == NULL)
        index = (index / MANIFEST_BLOCK_CHUNKS + 1) * MANIFEST_BLOCK_CHUNKS;
    return min_u64(index, manifest->chunk_count);
}

const struct chunk_name *manifest_name(const struct manifest *manifest, uint64_t index)
{
    const struct manifest_block *block = block_load(manifest, index);

    if (manifest_state(manifest, index) != CHUNK_DATA || block->names == NULL)
        return &no_name;
    return &block->names[index % MANIFEST_BLOCK_CHUNKS];
}

static bool is_same(enum chunk_state a, const struct chunk_name *a_name, enum chunk_state b,
                    const struct chunk_name *b_name)
{
    return a == b && (a != CHUNK_DATA || memcmp(a_name, b_name, sizeof(*a_name)) == 0);
}

/* Place of the first change at or after `index`. */
static size_t changes_find(const struct manifest *manifest, uint64_t index)
{
    size_t low = 0, high = manifest->change_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (manifest->changes[middle].index < index)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int changes_insert(struct manifest *manifest, size_t place,
                          const struct manifest_change *change, struct error *err)
{
    size_t behind = manifest->change_count - place;

    if (manifest->change_count == MANIFEST_MAX_CHANGES)
        return error_set(err, 0, "chunk %llu: more than %zu chunks changed",
                         (unsigned long long)change->index, MANIFEST_MAX_CHANGES);
    if (manifest->change_count == manifest->change_capacity) {
        size_t capacity = max_u64(64, manifest->change_capacity * 2);

        manifest->changes = memory_grow(manifest->changes, capacity, sizeof(*change));
        manifest->change_capacity = capacity;
    }
    memmove(manifest->changes + place + 1, manifest->changes + place, behind * sizeof(*change));
    manifest->changes[place] = *change;
    manifest->change_count++;
    return 0;
}

static void changes_remove(struct manifest *manifest, size_t place)
{
    manifest->change_count--;
    memmove(manifest->changes + place, manifest->changes + place + 1,
            (manifest->change_count - place) * sizeof(*manifest->changes));
}

int manifest_change(struct manifest *manifest, uint64_t index, enum chunk_state state,
                    const struct chunk_name *name, struct error *err)
{
    size_t place = changes_find(manifest, index);
    struct manifest_change change = {.index = index};

    if (index >= manifest->chunk_count)
        return error_set(err, 0, "chunk %llu: the disk has %llu", (unsigned long long)index,
                         (unsigned long long)manifest->chunk_count);
    change.state = manifest_state(manifest, index);
    change.name = *manifest_name(manifest, index);
    if (is_same(state, name, change.state, &change.name))
        return 0;
    if (place < manifest->change_count && manifest->changes[place].index == index) {
        const struct manifest_change *original = &manifest->changes[place];

        if (is_same(state, name, original->state, &original->name))
            changes_remove(manifest, place);
    } else if (changes_insert(manifest, place, &change, err) < 0) {
        return -1;
    }
    manifest_set(manifest, index, state, name);
    return 0;
}

size_t manifest_chunk_length(const struct manifest *manifest, uint64_t index)
{
    assert(index < manifest->chunk_count);
    return (size_t)min_u64(CHUNK_SIZE, manifest->size_bytes - index * CHUNK_SIZE);
}

void manifest_digest(const struct manifest *manifest, struct chunk_name *digest)
{
    struct digest sum;
    uint8_t size[8];

    store_le64(size, manifest->size_bytes);
    digest_init(&sum);
    digest_add(&sum, size, sizeof(size));
    for (uint64_t index = 0; index < manifest->chunk_count; index++) {
        uint8_t state = (uint8_t)manifest_state(manifest, index);

        digest_add(&sum, &state, 1);
        if (state == CHUNK_DATA)
            digest_add(&sum, manifest_name(manifest, index), CHUNK_NAME_SIZE);
    }
    digest_finish(&sum, digest->bytes);
    digest_fini(&sum);
}
