/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Refcounts of an existing qcow2 image that is written in place: a table of blocks, each one
 * cluster of counts of 1 to 64 bits. New clusters are taken behind the end of the file only;
 * freed ones are counted as free and left alone. Callers hold the image's lock.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/io.h"
#include "formats/qcow2.h"

#include <errno.h>
#include <stdlib.h>

#define HEADER_REFCOUNT_TABLE_OFFSET 48

/* Clusters behind the end of the file that are counted as used: how many of them we step over. */
#define MAX_STEPS 65536u

static uint64_t block_entries(const struct qcow2 *qcow2)
{
    return qcow2->cluster_size * 8 >> qcow2->header.refcount_order;
}

/* --- one block ------------------------------------------------------------------------------ */

static uint64_t get_count(const uint8_t *block, uint64_t index, unsigned order)
{
    unsigned shift;

    switch (order) {
    case 6:
        return load_be64(block + index * 8);
    case 5:
        return load_be32(block + index * 4);
    case 4:
        return load_be16(block + index * 2);
    case 3:
        return block[index];
    default: /* bit 0 of a byte belongs to its first count */
        shift = (unsigned)(index << order) & 7;
        return block[(index << order) >> 3] >> shift & ((1u << (1u << order)) - 1);
    }
}

void qcow2_refcount_set(uint8_t *block, uint64_t index, unsigned order, uint64_t count)
{
    unsigned shift, mask;
    uint8_t *byte;

    switch (order) {
    case 6:
        store_be64(block + index * 8, count);
        return;
    case 5:
        store_be32(block + index * 4, (uint32_t)count);
        return;
    case 4:
        store_be16(block + index * 2, (uint16_t)count);
        return;
    case 3:
        block[index] = (uint8_t)count;
        return;
    default:
        byte = block + ((index << order) >> 3);
        shift = (unsigned)(index << order) & 7;
        mask = ((1u << (1u << order)) - 1) << shift;
        *byte = (uint8_t)((*byte & ~mask) | (unsigned)count << shift);
    }
}

static uint64_t max_count(unsigned order)
{
    return order == 6 ? UINT64_MAX : ((uint64_t)1 << (1u << order)) - 1;
}

/* Loads the block into the one-block cache. It must exist. */
static int load_block(struct qcow2 *qcow2, uint64_t index, struct error *err)
{
    struct qcow2_refcounts *refcounts = &qcow2->refcounts;
    uint64_t offset = refcounts->table[index];

    if (refcounts->has_block && refcounts->block_index == index)
        return 0;
    if (offset % qcow2->cluster_size != 0 ||
        !range_is_inside(offset, qcow2->cluster_size, atomic_load(&qcow2->file_end)))
        return error_set(err, 0, "qcow2 refcount table entry %llu is 0x%llx: not in the file",
                         (unsigned long long)index, (unsigned long long)offset);
    refcounts->has_block = false;
    if (io_read_at(qcow2->fd, refcounts->block, qcow2->cluster_size, offset, err) < 0)
        return error_wrap(err, "qcow2 refcount block");
    refcounts->block_index = index;
    refcounts->has_block = true;
    return 0;
}

/* Writes the counts [first, first + count) of the cached block to the file. */
static int store_counts(struct qcow2 *qcow2, uint64_t first, uint64_t count, struct error *err)
{
    struct qcow2_refcounts *refcounts = &qcow2->refcounts;
    unsigned order = qcow2->header.refcount_order;
    uint64_t start = (first << order) >> 3;
    uint64_t end = (((first + count) << order) + 7) >> 3;

    if (io_write_at(qcow2->fd, refcounts->block + start, (size_t)(end - start),
                    refcounts->table[refcounts->block_index] + start, err) == 0)
        return 0;
    refcounts->has_block = false;
    return error_wrap(err, "qcow2 refcount block");
}

/* Within one block. */
static int add_in_block(struct qcow2 *qcow2, uint64_t index, uint64_t first, uint64_t count,
                        int delta, struct error *err)
{
    unsigned order = qcow2->header.refcount_order;
    uint8_t *block = qcow2->refcounts.block;

    if (index >= qcow2->refcounts.table_entries || qcow2->refcounts.table[index] == 0)
        return error_set(err, 0, "the qcow2 image is damaged: a cluster in use has no refcount");
    if (load_block(qcow2, index, err) < 0)
        return -1;
    for (uint64_t i = first; i < first + count; i++) {
        uint64_t old = get_count(block, i, order);

        if (delta < 0 ? old == 0 : old == max_count(order)) {
            qcow2->refcounts.has_block = false; /* forget what was not stored */
            return error_set(err, 0, "the qcow2 image is damaged: refcount %llu of cluster %llu",
                             (unsigned long long)old,
                             (unsigned long long)(index * block_entries(qcow2) + i));
        }
        qcow2_refcount_set(block, i, order, delta < 0 ? old - 1 : old + 1);
    }
    return store_counts(qcow2, first, count, err);
}

int qcow2_refcounts_add(struct qcow2 *qcow2, uint64_t first, uint64_t count, int delta,
                        struct error *err)
{
    uint64_t entries = block_entries(qcow2);

    while (count) {
        uint64_t part = min_u64(count, entries - first % entries);

        if (add_in_block(qcow2, first / entries, first % entries, part, delta, err) < 0)
            return -1;
        first += part;
        count -= part;
    }
    return 0;
}

/* --- growing -------------------------------------------------------------------------------- */

static int store_table_entry(struct qcow2 *qcow2, uint64_t index, uint64_t offset,
                             struct error *err)
{
    uint64_t stored = htobe64(offset);

    if (io_write_at(qcow2->fd, &stored, sizeof(stored),
                    qcow2->header.refcount_table_offset + index * sizeof(stored), err) < 0)
        return error_wrap(err, "qcow2 refcount table");
    qcow2->refcounts.table[index] = offset;
    return 0;
}

/*
 * A new block for the clusters from index * entries on, in the first free cluster. That cluster
 * is counted by the new block itself or by one before it, which exists then.
 */
static int add_block(struct qcow2 *qcow2, uint64_t index, struct error *err)
{
    struct qcow2_refcounts *refcounts = &qcow2->refcounts;
    uint64_t offset = atomic_load(&qcow2->file_end), entries = block_entries(qcow2);
    uint64_t cluster = offset >> qcow2->header.cluster_bits;
    bool counts_itself = cluster / entries == index;

    if (!counts_itself && qcow2_refcounts_add(qcow2, cluster, 1, 1, err) < 0)
        return -1;
    refcounts->has_block = false;
    memset(refcounts->block, 0, qcow2->cluster_size);
    if (counts_itself)
        qcow2_refcount_set(refcounts->block, cluster % entries, qcow2->header.refcount_order, 1);
    if (io_write_at(qcow2->fd, refcounts->block, qcow2->cluster_size, offset, err) < 0)
        return error_wrap(err, "qcow2 refcount block");
    atomic_store(&qcow2->file_end, offset + qcow2->cluster_size);
    if (store_table_entry(qcow2, index, offset, err) < 0)
        return -1;
    refcounts->block_index = index;
    refcounts->has_block = true;
    return 0;
}

struct new_table {
    uint64_t start; /* first free cluster: blocks, then the table */
    uint64_t first; /* index of the first new block */
    uint64_t blocks;
    uint64_t entries; /* of the table */
    uint64_t clusters;
};

/*
 * Blocks and table stand behind everything that the old table reaches, so no block for them
 * exists yet; together they count themselves.
 */
static void plan_table(const struct qcow2 *qcow2, uint64_t needed, struct new_table *plan)
{
    uint64_t per_block = block_entries(qcow2), per_cluster = qcow2->cluster_size / 8;

    plan->start = max_u64(atomic_load(&qcow2->file_end) >> qcow2->header.cluster_bits,
                          qcow2->refcounts.table_entries * per_block);
    plan->first = plan->start / per_block;
    plan->blocks = 1;
    for (;;) {
        uint64_t last, entries = max_u64(needed, plan->first + plan->blocks);

        /* Half as much again, so that growing stays rare. */
        plan->clusters = div_round_up(entries + entries / 2, per_cluster);
        plan->entries = plan->clusters * per_cluster;
        last = (plan->start + plan->blocks + plan->clusters - 1) / per_block;
        if (last - plan->first + 1 <= plan->blocks)
            return;
        plan->blocks = last - plan->first + 1;
    }
}

static int write_new_blocks(struct qcow2 *qcow2, const struct new_table *plan, struct error *err)
{
    struct qcow2_refcounts *refcounts = &qcow2->refcounts;
    uint64_t per_block = block_entries(qcow2), end = plan->start + plan->blocks + plan->clusters;

    refcounts->has_block = false;
    for (uint64_t i = 0; i < plan->blocks; i++) {
        uint64_t first = (plan->first + i) * per_block;

        memset(refcounts->block, 0, qcow2->cluster_size);
        for (uint64_t c = max_u64(first, plan->start); c < min_u64(first + per_block, end); c++)
            qcow2_refcount_set(refcounts->block, c - first, qcow2->header.refcount_order, 1);
        if (io_write_at(qcow2->fd, refcounts->block, qcow2->cluster_size,
                        (plan->start + i) << qcow2->header.cluster_bits, err) < 0)
            return error_wrap(err, "qcow2 refcount block");
    }
    return 0;
}

/* The table as the file will hold it; caller frees. */
static uint64_t *new_table_content(const struct qcow2 *qcow2, const struct new_table *plan)
{
    uint64_t *table = calloc(plan->entries, sizeof(*table));

    if (!table)
        return NULL;
    memcpy(table, qcow2->refcounts.table, qcow2->refcounts.table_entries * sizeof(*table));
    for (uint64_t i = 0; i < plan->blocks; i++)
        table[plan->first + i] = (plan->start + i) << qcow2->header.cluster_bits;
    return table;
}

static int write_table(struct qcow2 *qcow2, const uint64_t *table, const struct new_table *plan,
                       uint64_t offset, struct error *err)
{
    AUTO_FREE uint64_t *stored = calloc(plan->entries, sizeof(*stored));

    if (!stored)
        return error_set(err, ENOMEM, "qcow2 refcount table");
    for (uint64_t i = 0; i < plan->entries; i++)
        stored[i] = htobe64(table[i]);
    return io_write_at(qcow2->fd, stored, plan->entries * sizeof(*stored), offset, err);
}

/* The one write that makes the new table the table: offset and size lie side by side. */
static int switch_table(struct qcow2 *qcow2, uint64_t offset, uint64_t clusters, struct error *err)
{
    uint8_t fields[12];

    if (io_sync(qcow2->fd, err) < 0)
        return -1;
    store_be64(fields, offset);
    store_be32(fields + 8, (uint32_t)clusters);
    if (io_write_at(qcow2->fd, fields, sizeof(fields), HEADER_REFCOUNT_TABLE_OFFSET, err) < 0)
        return error_wrap(err, "qcow2 header");
    qcow2->header.refcount_table_offset = offset;
    qcow2->header.refcount_table_clusters = (uint32_t)clusters;
    return 0;
}

/* A larger table with at least `needed` entries. */
static int grow_table(struct qcow2 *qcow2, uint64_t needed, struct error *err)
{
    unsigned bits = qcow2->header.cluster_bits;
    uint64_t old_offset = qcow2->header.refcount_table_offset, offset;
    uint32_t old_clusters = qcow2->header.refcount_table_clusters;
    struct new_table plan;
    uint64_t *table;

    plan_table(qcow2, needed, &plan);
    if (plan.entries * 8 > QCOW2_MAX_REFCOUNT_TABLE_BYTES)
        return error_set(err, EFBIG, "the qcow2 file is too large for its refcount table");
    offset = (plan.start + plan.blocks) << bits;
    table = new_table_content(qcow2, &plan);
    if (!table)
        return error_set(err, ENOMEM, "qcow2 refcount table");
    if (write_new_blocks(qcow2, &plan, err) < 0 ||
        write_table(qcow2, table, &plan, offset, err) < 0 ||
        switch_table(qcow2, offset, plan.clusters, err) < 0) {
        free(table);
        return -1;
    }
    free(qcow2->refcounts.table);
    qcow2->refcounts.table = table;
    qcow2->refcounts.table_entries = plan.entries;
    qcow2->refcounts.has_block = false;
    atomic_store(&qcow2->file_end, offset + (plan.clusters << bits));
    return qcow2_refcounts_add(qcow2, old_offset >> bits, old_clusters, -1, err);
}

/* --- allocating ----------------------------------------------------------------------------- */

/* Makes sure that blocks count all of `count` clusters at the end of the file: 1 when they moved.
 */
static int ensure_blocks(struct qcow2 *qcow2, uint64_t count, struct error *err)
{
    uint64_t first = atomic_load(&qcow2->file_end) >> qcow2->header.cluster_bits;
    uint64_t entries = block_entries(qcow2);

    for (uint64_t index = first / entries; index <= (first + count - 1) / entries; index++) {
        if (index >= qcow2->refcounts.table_entries)
            return grow_table(qcow2, index + 1, err) < 0 ? -1 : 1;
        if (qcow2->refcounts.table[index] == 0)
            return add_block(qcow2, index, err) < 0 ? -1 : 1;
    }
    return 0;
}

/*
 * A file may be shorter than what it counts (preallocation, a crash): such clusters are not free.
 * 1 when the end had to move behind one.
 */
static int step_over_used(struct qcow2 *qcow2, uint64_t count, struct error *err)
{
    unsigned bits = qcow2->header.cluster_bits;
    uint64_t first = atomic_load(&qcow2->file_end) >> bits, entries = block_entries(qcow2);

    for (uint64_t cluster = first + count; cluster-- > first;) {
        if (load_block(qcow2, cluster / entries, err) < 0)
            return -1;
        if (get_count(qcow2->refcounts.block, cluster % entries, qcow2->header.refcount_order)) {
            atomic_store(&qcow2->file_end, (cluster + 1) << bits);
            return 1;
        }
    }
    return 0;
}

int qcow2_refcounts_allocate(struct qcow2 *qcow2, uint64_t count, uint64_t *offset,
                             struct error *err)
{
    unsigned bits = qcow2->header.cluster_bits;

    for (unsigned step = 0; step < MAX_STEPS; step++) {
        uint64_t end = atomic_load(&qcow2->file_end);
        int moved;

        if (end + (count << bits) >= QCOW2_MAX_FILE_SIZE)
            return error_set(err, EFBIG, "the qcow2 file would grow too large");
        moved = ensure_blocks(qcow2, count, err);
        if (moved == 0)
            moved = step_over_used(qcow2, count, err);
        if (moved < 0)
            return -1;
        if (moved > 0)
            continue;
        if (qcow2_refcounts_add(qcow2, end >> bits, count, 1, err) < 0)
            return -1;
        atomic_store(&qcow2->file_end, end + (count << bits));
        *offset = end;
        return 0;
    }
    return error_set(err, 0, "the qcow2 image is damaged: too much is counted behind its end");
}

/* --- open, close ---------------------------------------------------------------------------- */

int qcow2_refcounts_open(struct qcow2 *qcow2, struct error *err)
{
    struct qcow2_refcounts *refcounts = &qcow2->refcounts;
    uint64_t bytes = (uint64_t)qcow2->header.refcount_table_clusters << qcow2->header.cluster_bits;

    refcounts->table = malloc(bytes);
    refcounts->block = malloc(qcow2->cluster_size);
    if (!refcounts->table || !refcounts->block)
        return error_set(err, ENOMEM, "qcow2 refcount table");
    if (io_read_at(qcow2->fd, refcounts->table, bytes, qcow2->header.refcount_table_offset, err) <
        0)
        return error_wrap(err, "qcow2 refcount table");
    refcounts->table_entries = bytes / 8;
    for (uint64_t i = 0; i < refcounts->table_entries; i++)
        refcounts->table[i] = be64toh(refcounts->table[i]);
    atomic_store(&qcow2->file_end, align_up(atomic_load(&qcow2->file_end), qcow2->cluster_size));
    return 0;
}

void qcow2_refcounts_close(struct qcow2 *qcow2)
{
    free(qcow2->refcounts.table);
    free(qcow2->refcounts.block);
}
