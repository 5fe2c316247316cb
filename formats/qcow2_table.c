/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The mapping of guest clusters: the L1 table, L2 tables through a cache of slices, and what an
 * entry means. Every entry is checked when it is met; memory stays bounded whatever the header
 * says. Tables of an existing image are written through, those of a new one when they leave the
 * cache.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/io.h"
#include "formats/image_driver.h"
#include "formats/qcow2.h"

#include <errno.h>
#include <stdlib.h>

/* --- L1 ------------------------------------------------------------------------------------- */

static int check_l1_entry(const struct qcow2 *qcow2, uint32_t index, struct error *err)
{
    uint64_t entry = qcow2->l1[index], offset = entry & QCOW2_ENTRY_OFFSET;

    if (entry & QCOW2_RESERVED_L1)
        return error_set(err, 0, "qcow2 L1 entry %u is 0x%llx: reserved bits", index,
                         (unsigned long long)entry);
    if (offset % qcow2->cluster_size != 0)
        return error_set(err, 0, "qcow2 L1 entry %u is 0x%llx: not a cluster's offset", index,
                         (unsigned long long)entry);
    if (offset && !range_is_inside(offset, qcow2->cluster_size, atomic_load(&qcow2->file_end)))
        return error_set(err, 0, "qcow2 L1 entry %u is 0x%llx: behind the end of the file", index,
                         (unsigned long long)entry);
    return 0;
}

static int compare_offsets(const void *a, const void *b)
{
    uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;

    return first < second ? -1 : first > second;
}

/*
 * No two L1 entries share a table: without this a small file could map a huge disk full of data,
 * and a write through one would change the other.
 */
static int check_l1_is_unique(const struct qcow2 *qcow2, struct error *err)
{
    AUTO_FREE uint64_t *sorted = calloc(qcow2->l1_count, sizeof(*sorted));
    size_t count = 0;

    if (!sorted)
        return error_set(err, ENOMEM, "%u L1 entries", qcow2->l1_count);
    for (uint32_t i = 0; i < qcow2->l1_count; i++) {
        if (qcow2->l1[i] & QCOW2_ENTRY_OFFSET)
            sorted[count++] = qcow2->l1[i] & QCOW2_ENTRY_OFFSET;
    }
    qsort(sorted, count, sizeof(*sorted), compare_offsets);
    for (size_t i = 1; i < count; i++) {
        if (sorted[i] == sorted[i - 1])
            return error_set(err, 0, "two qcow2 L1 entries share the table at 0x%llx",
                             (unsigned long long)sorted[i]);
    }
    return 0;
}

int qcow2_l1_load(struct qcow2 *qcow2, struct error *err)
{
    const struct qcow2_header *header = &qcow2->header;

    /* Entries behind the disk's end (QEMU keeps VM state there) are not ours to look at. */
    qcow2->l1_count = (uint32_t)qcow2_l1_entries_needed(header->size_bytes, header->cluster_bits);
    if (qcow2->l1_count == 0)
        return 0;
    qcow2->l1 = calloc(qcow2->l1_count, sizeof(*qcow2->l1));
    if (!qcow2->l1)
        return error_set(err, ENOMEM, "%u L1 entries", qcow2->l1_count);
    if (io_read_at(qcow2->fd, qcow2->l1, qcow2->l1_count * sizeof(*qcow2->l1),
                   header->l1_table_offset, err) < 0)
        return error_wrap(err, "qcow2 L1 table");
    for (uint32_t i = 0; i < qcow2->l1_count; i++) {
        qcow2->l1[i] = be64toh(qcow2->l1[i]);
        if (check_l1_entry(qcow2, i, err) < 0)
            return -1;
    }
    return check_l1_is_unique(qcow2, err);
}

/* --- slices of L2 tables -------------------------------------------------------------------- */

static size_t slice_bytes(const struct qcow2 *qcow2)
{
    return qcow2->slice_entries * sizeof(uint64_t);
}

/* Where a slice lies in the file; 0 when its L2 table does not exist. */
static uint64_t slice_offset(const struct qcow2 *qcow2, uint64_t number)
{
    uint64_t table = qcow2->l1[number / qcow2->slices_per_table] & QCOW2_ENTRY_OFFSET;

    return table ? table + number % qcow2->slices_per_table * slice_bytes(qcow2) : 0;
}

static int write_back_slice(struct qcow2 *qcow2, struct qcow2_slice *slice, struct error *err)
{
    if (!slice->table || !slice->is_dirty)
        return 0;
    if (io_write_at(qcow2->fd, slice->table, slice_bytes(qcow2), slice_offset(qcow2, slice->number),
                    err) < 0)
        return error_wrap(err, "qcow2 L2 table");
    slice->is_dirty = false;
    return 0;
}

int qcow2_write_back_locked(struct qcow2 *qcow2, struct error *err)
{
    for (size_t i = 0; i < QCOW2_SLICE_COUNT; i++) {
        if (write_back_slice(qcow2, &qcow2->slices[i], err) < 0)
            return -1;
    }
    return 0;
}

/* The slice of an L2 table that exists, from the cache or the file. */
static struct qcow2_slice *get_slice(struct qcow2 *qcow2, uint64_t number, struct error *err)
{
    struct qcow2_slice *slice = &qcow2->slices[number % QCOW2_SLICE_COUNT];
    uint64_t *table = slice->table;

    if (table && slice->number == number)
        return slice;
    if (write_back_slice(qcow2, slice, err) < 0)
        return NULL;
    if (!table)
        table = malloc(slice_bytes(qcow2));
    slice->table = NULL; /* until it holds something again */
    if (!table) {
        error_set(err, ENOMEM, "qcow2 L2 table");
        return NULL;
    }
    /* A new image's table may not have reached the file yet: it reads as zeroes, as it should. */
    if (image_file_read_padded(qcow2->fd, table, slice_bytes(qcow2), slice_offset(qcow2, number),
                               err) < 0) {
        free(table);
        error_wrap(err, "qcow2 L2 table");
        return NULL;
    }
    slice->table = table;
    slice->number = number;
    return slice;
}

/* --- what entries mean ---------------------------------------------------------------------- */

static int entry_error(uint64_t entry, uint64_t offset, const char *what, struct error *err)
{
    return error_set(err, 0, "qcow2 L2 entry 0x%llx of the cluster at 0x%llx: %s",
                     (unsigned long long)entry, (unsigned long long)offset, what);
}

static int decode_compressed(const struct qcow2 *qcow2, uint64_t offset, struct qcow2_run *run,
                             struct error *err)
{
    unsigned offset_bits = 62 - (qcow2->header.cluster_bits - 8);
    uint64_t descriptor = run->entry & (QCOW2_ENTRY_COMPRESSED - 1);
    uint64_t sectors = (descriptor >> offset_bits) + 1;

    run->kind = QCOW2_COMPRESSED;
    run->host_offset = descriptor & (((uint64_t)1 << offset_bits) - 1);
    run->host_length = (uint32_t)(sectors * QCOW2_SECTOR - run->host_offset % QCOW2_SECTOR);
    if (run->entry & QCOW2_ENTRY_COPIED)
        return entry_error(run->entry, offset, "compressed and marked as owned", err);
    if (run->host_offset < qcow2->cluster_size || run->host_offset >= atomic_load(&qcow2->file_end))
        return entry_error(run->entry, offset, "its data is not in the file (truncated?)", err);
    return 0;
}

static int decode_standard(const struct qcow2 *qcow2, uint64_t offset, struct qcow2_run *run,
                           struct error *err)
{
    uint64_t entry = run->entry;

    run->host_offset = entry & QCOW2_ENTRY_OFFSET;
    run->is_owned = (entry & QCOW2_ENTRY_COPIED) != 0;
    if (entry & QCOW2_RESERVED_L2)
        return entry_error(entry, offset, "reserved bits", err);
    if (run->host_offset % qcow2->cluster_size != 0)
        return entry_error(entry, offset, "not a cluster's offset", err);
    if (entry & QCOW2_ENTRY_ZERO) {
        run->kind = QCOW2_ZERO;
        if (qcow2->header.version < 3)
            return entry_error(entry, offset, "a zero cluster in version 2", err);
        return 0;
    }
    if (run->host_offset == 0) {
        run->kind = QCOW2_UNALLOCATED;
        return run->is_owned ? entry_error(entry, offset, "data inside the header", err) : 0;
    }
    run->kind = QCOW2_DATA;
    if (run->host_offset >= atomic_load(&qcow2->file_end))
        return entry_error(entry, offset, "its data is behind the end of the file (truncated?)",
                           err);
    return 0;
}

/* Fills everything but the length. `offset` is only for error texts. */
static int decode_entry(const struct qcow2 *qcow2, uint64_t offset, uint64_t entry,
                        struct qcow2_run *run, struct error *err)
{
    *run = (struct qcow2_run){.entry = entry};
    if (entry & QCOW2_ENTRY_COMPRESSED)
        return decode_compressed(qcow2, offset, run, err);
    return decode_standard(qcow2, offset, run, err);
}

/* True when `next`, `distance` bytes after the start of `run`, goes on with it. */
static bool run_continues(const struct qcow2_run *run, const struct qcow2_run *next,
                          uint64_t distance)
{
    if (next->kind != run->kind || next->is_owned != run->is_owned)
        return false;
    if (run->kind == QCOW2_DATA)
        return next->host_offset == run->host_offset + distance;
    /* Zero clusters with an allocation of their own, and compressed ones, stand alone. */
    return run->kind != QCOW2_COMPRESSED && run->host_offset == 0 && next->host_offset == 0;
}

/* --- runs ----------------------------------------------------------------------------------- */

/* L2 tables that do not exist: everything up to the next that does is unallocated. */
static void find_missing_tables(const struct qcow2 *qcow2, uint64_t offset, uint64_t length,
                                struct qcow2_run *run)
{
    unsigned table_bits = 2 * qcow2->header.cluster_bits - 3;
    uint64_t index = offset >> table_bits, end = offset + length;

    while (index < qcow2->l1_count && !(qcow2->l1[index] & QCOW2_ENTRY_OFFSET) &&
           index << table_bits < end)
        index++;
    *run = (struct qcow2_run){.kind = QCOW2_UNALLOCATED,
                              .length = min_u64(index << table_bits, end) - offset};
}

int qcow2_find_run_locked(struct qcow2 *qcow2, uint64_t offset, uint64_t length,
                          struct qcow2_run *run, struct error *err)
{
    uint64_t cluster = offset >> qcow2->header.cluster_bits;
    uint64_t inside = offset & (qcow2->cluster_size - 1), reach;
    uint32_t at = (uint32_t)(cluster % qcow2->slice_entries);
    struct qcow2_slice *slice;

    if (slice_offset(qcow2, cluster / qcow2->slice_entries) == 0) {
        find_missing_tables(qcow2, offset, length, run);
        return 0;
    }
    slice = get_slice(qcow2, cluster / qcow2->slice_entries, err);
    if (!slice || decode_entry(qcow2, offset, be64toh(slice->table[at]), run, err) < 0)
        return -1;
    /* Reach: bytes from the start of the first cluster. */
    for (reach = qcow2->cluster_size; reach < inside + length && ++at < qcow2->slice_entries;
         reach += qcow2->cluster_size) {
        struct qcow2_run next;

        if (decode_entry(qcow2, offset - inside + reach, be64toh(slice->table[at]), &next, err) < 0)
            return -1;
        if (!run_continues(run, &next, reach))
            break;
    }
    run->length = min_u64(reach - inside, length);
    if (run->kind == QCOW2_DATA)
        run->host_offset += inside;
    return 0;
}

int qcow2_find_run(struct qcow2 *qcow2, uint64_t offset, uint64_t length, struct qcow2_run *run,
                   struct error *err)
{
    int result;

    pthread_mutex_lock(&qcow2->lock);
    result = qcow2_find_run_locked(qcow2, offset, length, run, err);
    pthread_mutex_unlock(&qcow2->lock);
    return result;
}

/* --- changing entries ----------------------------------------------------------------------- */

static int write_l1_entry(struct qcow2 *qcow2, uint64_t index, uint64_t entry, struct error *err)
{
    uint64_t stored = htobe64(entry);

    /* A new image's L1 table gets its place when it is finished. */
    if (!qcow2->creator &&
        io_write_at(qcow2->fd, &stored, sizeof(stored),
                    qcow2->header.l1_table_offset + index * sizeof(stored), err) < 0)
        return error_wrap(err, "qcow2 L1 table");
    qcow2->l1[index] = entry;
    return 0;
}

/* Fills a freshly allocated L2 table in the file: with `from`'s content, or zeroes when it is 0. */
static int copy_table(struct qcow2 *qcow2, uint64_t from, uint64_t to, struct error *err)
{
    AUTO_FREE void *table = calloc(1, qcow2->cluster_size);

    if (!table)
        return error_set(err, ENOMEM, "qcow2 L2 table");
    if (from && io_read_at(qcow2->fd, table, qcow2->cluster_size, from, err) < 0)
        return error_wrap(err, "qcow2 L2 table");
    if (io_write_at(qcow2->fd, table, qcow2->cluster_size, to, err) < 0)
        return error_wrap(err, "qcow2 L2 table");
    return 0;
}

/*
 * An L2 table that exists and that no snapshot shares. Slices in the cache stay valid: a copy has
 * the same content. New images need no zeroes written, what follows the table makes it a hole.
 */
static int own_table(struct qcow2 *qcow2, uint64_t index, struct error *err)
{
    uint64_t old = qcow2->l1[index] & QCOW2_ENTRY_OFFSET, offset;

    if (qcow2->l1[index] & QCOW2_ENTRY_COPIED)
        return 0;
    if (qcow2_allocate_locked(qcow2, 1, &offset, err) < 0)
        return -1;
    if (!qcow2->creator && copy_table(qcow2, old, offset, err) < 0)
        return -1;
    if (write_l1_entry(qcow2, index, offset | QCOW2_ENTRY_COPIED, err) < 0)
        return -1;
    if (!old)
        return 0;
    return qcow2_refcounts_add(qcow2, old >> qcow2->header.cluster_bits, 1, -1, err);
}

/* Entries of one slice. */
static int set_in_slice(struct qcow2 *qcow2, uint64_t cluster, uint64_t count, uint64_t entry,
                        uint64_t step, struct error *err)
{
    uint64_t number = cluster / qcow2->slice_entries;
    uint32_t at = (uint32_t)(cluster % qcow2->slice_entries);
    struct qcow2_slice *slice;

    if (own_table(qcow2, number / qcow2->slices_per_table, err) < 0)
        return -1;
    slice = get_slice(qcow2, number, err);
    if (!slice)
        return -1;
    for (uint64_t i = 0; i < count; i++)
        slice->table[at + i] = htobe64(entry + i * step);
    slice->is_dirty = true;
    if (qcow2->creator)
        return 0;
    if (io_write_at(qcow2->fd, slice->table + at, count * sizeof(uint64_t),
                    slice_offset(qcow2, number) + at * sizeof(uint64_t), err) < 0)
        return error_wrap(err, "qcow2 L2 table");
    slice->is_dirty = false;
    return 0;
}

int qcow2_set_entries_locked(struct qcow2 *qcow2, uint64_t cluster, uint64_t count, uint64_t entry,
                             uint64_t step, struct error *err)
{
    while (count) {
        uint64_t part = min_u64(count, qcow2->slice_entries - cluster % qcow2->slice_entries);

        if (set_in_slice(qcow2, cluster, part, entry, step, err) < 0)
            return -1;
        cluster += part;
        count -= part;
        entry += part * step;
    }
    return 0;
}
