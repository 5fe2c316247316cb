/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Making a qcow2 image consistent again that a kill or a power loss interrupted while it was
 * written in place (docs/images.md, "Repair"). The mapping is what counts: entries that cannot be
 * true are cleared, then every refcount is set to what the mapping says.
 *
 * Only for images without snapshots, bitmaps and compressed clusters, as Rehost writes in place
 * while it receives: there a cluster is used once or not at all, one bit each.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/io.h"
#include "formats/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define HEADER_INCOMPATIBLE_FEATURES 72

/* Largest number of clusters looked after: a bit map of 256 MiB. */
#define MAX_CLUSTERS ((uint64_t)1 << 31)

struct repair {
    int fd;
    struct qcow2_header header;
    uint64_t cluster_size, file_size;
    uint64_t limit;    /* clusters that the file has and its refcount table can count */
    uint64_t capacity; /* bits of `used` */
    uint8_t *used;
    uint64_t end; /* behind the last used cluster */
    uint64_t *l1; /* as in the file, as are the next two */
    uint64_t *l2;
    uint64_t *table;
    uint8_t *block, *stored;
    uint64_t table_entries, block_entries;
    bool is_table_changed;
};

static void repair_fini(struct repair *repair)
{
    free(repair->used);
    free(repair->l1);
    free(repair->l2);
    free(repair->table);
    free(repair->block);
    free(repair->stored);
}

static int refuse(const struct repair *repair, struct error *err)
{
    if (repair->header.snapshot_count)
        return error_set(err, ENOTSUP, "the qcow2 image has snapshots");
    if (repair->header.autoclear_features)
        return error_set(err, ENOTSUP, "the qcow2 image has bitmaps or the like");
    if (repair->limit > MAX_CLUSTERS)
        return error_set(err, EFBIG, "the qcow2 image has %llu clusters",
                         (unsigned long long)repair->limit);
    return 0;
}

static int load(struct repair *repair, struct error *err)
{
    const struct qcow2_header *header = &repair->header;
    size_t l1_bytes, table_bytes;

    if (qcow2_load_header(repair->fd, &repair->header, &repair->file_size, err) < 0)
        return -1;
    repair->cluster_size = (uint64_t)1 << header->cluster_bits;
    table_bytes = (size_t)header->refcount_table_clusters << header->cluster_bits;
    repair->table_entries = table_bytes / 8;
    repair->block_entries = repair->cluster_size * 8 >> header->refcount_order;
    repair->limit = min_u64(div_round_up(repair->file_size, repair->cluster_size),
                            repair->table_entries * repair->block_entries);
    if (refuse(repair, err) < 0)
        return -1;
    /* New blocks may come behind the end. */
    repair->capacity = repair->limit + 2 * div_round_up(repair->limit, repair->block_entries) + 8;
    l1_bytes = (size_t)header->l1_size * 8;
    repair->used = calloc(1, (size_t)div_round_up(repair->capacity, 8));
    repair->l1 = malloc(l1_bytes + 1);
    repair->l2 = malloc(repair->cluster_size);
    repair->table = malloc(table_bytes);
    repair->block = malloc(repair->cluster_size);
    repair->stored = malloc(repair->cluster_size);
    if (!repair->used || !repair->l1 || !repair->l2 || !repair->table || !repair->block ||
        !repair->stored)
        return error_set(err, ENOMEM, "repair a qcow2 image");
    if (io_read_at(repair->fd, repair->l1, l1_bytes, header->l1_table_offset, err) < 0)
        return -1;
    return io_read_at(repair->fd, repair->table, table_bytes, header->refcount_table_offset, err);
}

/* --- who uses which cluster ------------------------------------------------------------------- */

static bool is_used(const struct repair *repair, uint64_t cluster)
{
    return repair->used[cluster / 8] >> (cluster % 8) & 1;
}

static void set_used(struct repair *repair, uint64_t cluster)
{
    repair->used[cluster / 8] |= (uint8_t)(1u << cluster % 8);
    repair->end = max_u64(repair->end, cluster + 1);
}

/* Takes the cluster at an offset that an entry names; false when that cannot be true. */
static bool claim(struct repair *repair, uint64_t offset)
{
    uint64_t cluster = offset >> repair->header.cluster_bits;

    if (offset % repair->cluster_size != 0 || cluster >= repair->limit || is_used(repair, cluster))
        return false;
    set_used(repair, cluster);
    return true;
}

/* A table must be in the file as a whole; data may end with it. */
static bool claim_table(struct repair *repair, uint64_t offset)
{
    return range_is_inside(offset, repair->cluster_size, repair->file_size) &&
           claim(repair, offset);
}

static int claim_range(struct repair *repair, uint64_t offset, uint64_t length, struct error *err)
{
    for (uint64_t at = offset; at < offset + length; at += repair->cluster_size) {
        if (!claim(repair, at))
            return error_set(err, 0, "the qcow2 image's tables overlap at 0x%llx",
                             (unsigned long long)at);
    }
    return 0;
}

/* What the header names was on stable storage before it did. */
static int claim_fixed(struct repair *repair, struct error *err)
{
    const struct qcow2_header *header = &repair->header;

    if (claim_range(repair, 0, repair->cluster_size, err) < 0 ||
        claim_range(repair, header->refcount_table_offset, repair->table_entries * 8, err) < 0)
        return -1;
    return header->l1_size
               ? claim_range(repair, header->l1_table_offset, (uint64_t)header->l1_size * 8, err)
               : 0;
}

/* --- the mapping ---------------------------------------------------------------------------- */

/* All tables before all data: data that claims to be where a table is must be wrong. */
static int repair_l1(struct repair *repair, struct error *err)
{
    size_t bytes = (size_t)repair->header.l1_size * 8;
    bool is_changed = false;

    for (uint32_t i = 0; i < repair->header.l1_size; i++) {
        uint64_t entry = be64toh(repair->l1[i]), offset = entry & QCOW2_ENTRY_OFFSET, good = 0;

        if (offset && !(entry & QCOW2_RESERVED_L1) && claim_table(repair, offset))
            good = offset | QCOW2_ENTRY_COPIED;
        if (entry == good)
            continue;
        repair->l1[i] = htobe64(good);
        is_changed = true;
    }
    if (!is_changed)
        return 0;
    return io_write_at(repair->fd, repair->l1, bytes, repair->header.l1_table_offset, err);
}

/* What the entry should be. One that says zero goes on saying so, whatever lies behind it. */
static uint64_t good_entry(struct repair *repair, uint64_t entry)
{
    uint64_t offset = entry & QCOW2_ENTRY_OFFSET, zero = entry & QCOW2_ENTRY_ZERO;

    if ((entry & QCOW2_RESERVED_L2) || (zero && repair->header.version < 3))
        return 0;
    if (offset && claim(repair, offset))
        return offset | zero | QCOW2_ENTRY_COPIED;
    return zero;
}

static int repair_l2(struct repair *repair, uint64_t offset, struct error *err)
{
    bool is_changed = false;

    if (io_read_at(repair->fd, repair->l2, repair->cluster_size, offset, err) < 0)
        return error_wrap(err, "qcow2 L2 table");
    for (size_t i = 0; i < repair->cluster_size / 8; i++) {
        uint64_t entry = be64toh(repair->l2[i]), good;

        if (entry == 0)
            continue;
        if (entry & QCOW2_ENTRY_COMPRESSED)
            return error_set(err, ENOTSUP, "the qcow2 image has compressed clusters");
        good = good_entry(repair, entry);
        if (entry == good)
            continue;
        repair->l2[i] = htobe64(good);
        is_changed = true;
    }
    if (!is_changed)
        return 0;
    return io_write_at(repair->fd, repair->l2, repair->cluster_size, offset, err);
}

static int repair_mapping(struct repair *repair, struct error *err)
{
    if (repair_l1(repair, err) < 0)
        return error_wrap(err, "qcow2 L1 table");
    for (uint32_t i = 0; i < repair->header.l1_size; i++) {
        uint64_t offset = be64toh(repair->l1[i]) & QCOW2_ENTRY_OFFSET;

        if (offset && repair_l2(repair, offset, err) < 0)
            return -1;
    }
    return 0;
}

/* --- refcounts ------------------------------------------------------------------------------ */

static void set_block(struct repair *repair, uint64_t index, uint64_t offset)
{
    if (be64toh(repair->table[index]) == offset)
        return;
    repair->table[index] = htobe64(offset);
    repair->is_table_changed = true;
}

/* Blocks stay where they are if they can; the others are made anew behind everything else. */
static int place_blocks(struct repair *repair, struct error *err)
{
    for (uint64_t i = 0; i < repair->table_entries; i++) {
        uint64_t offset = be64toh(repair->table[i]);

        if (offset && (i * repair->block_entries >= repair->end || !claim_table(repair, offset)))
            set_block(repair, i, 0);
    }
    for (uint64_t i = 0; i * repair->block_entries < repair->end; i++) {
        if (i < repair->table_entries && repair->table[i])
            continue;
        if (i >= repair->table_entries || repair->end >= repair->capacity)
            return error_set(err, 0, "the qcow2 image's refcount table is too small to repair it");
        set_block(repair, i, repair->end << repair->header.cluster_bits);
        set_used(repair, repair->end);
    }
    return 0;
}

static int write_block(struct repair *repair, uint64_t index, struct error *err)
{
    uint64_t offset = be64toh(repair->table[index]), first = index * repair->block_entries;

    memset(repair->block, 0, repair->cluster_size);
    for (uint64_t i = 0; i < repair->block_entries && first + i < repair->end; i++)
        qcow2_refcount_set(repair->block, i, repair->header.refcount_order,
                           is_used(repair, first + i));
    if (range_is_inside(offset, repair->cluster_size, repair->file_size) &&
        io_read_at(repair->fd, repair->stored, repair->cluster_size, offset, NULL) == 0 &&
        memcmp(repair->stored, repair->block, repair->cluster_size) == 0)
        return 0;
    return io_write_at(repair->fd, repair->block, repair->cluster_size, offset, err);
}

static int repair_refcounts(struct repair *repair, struct error *err)
{
    if (place_blocks(repair, err) < 0)
        return -1;
    for (uint64_t i = 0; i * repair->block_entries < repair->end; i++) {
        if (write_block(repair, i, err) < 0)
            return error_wrap(err, "qcow2 refcount block");
    }
    if (!repair->is_table_changed)
        return 0;
    return io_write_at(repair->fd, repair->table, repair->table_entries * 8,
                       repair->header.refcount_table_offset, err);
}

/* --- all of it ------------------------------------------------------------------------------ */

static int clear_dirty_bit(struct repair *repair, struct error *err)
{
    uint8_t features[8];

    if (!(repair->header.incompatible_features & QCOW2_INCOMPATIBLE_DIRTY))
        return 0;
    store_be64(features, repair->header.incompatible_features & ~QCOW2_INCOMPATIBLE_DIRTY);
    return io_write_at(repair->fd, features, sizeof(features), HEADER_INCOMPATIBLE_FEATURES, err);
}

static int finish(struct repair *repair, struct error *err)
{
    uint64_t size = repair->end << repair->header.cluster_bits;

    if (size != repair->file_size && ftruncate(repair->fd, (off_t)size) < 0)
        return error_set(err, errno, "set the size to %llu bytes", (unsigned long long)size);
    /* What it promises must be true first. */
    if (io_sync(repair->fd, err) < 0 || clear_dirty_bit(repair, err) < 0)
        return -1;
    return io_sync(repair->fd, err);
}

int qcow2_repair(int fd, const char *path, struct error *err)
{
    struct repair repair = {.fd = fd};
    int result = -1;

    (void)path;
    if (load(&repair, err) == 0 && claim_fixed(&repair, err) == 0 &&
        repair_mapping(&repair, err) == 0 && repair_refcounts(&repair, err) == 0)
        result = finish(&repair, err);
    repair_fini(&repair);
    return result;
}
