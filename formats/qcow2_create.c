/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * New qcow2 images: version 3, clusters of 64 KiB, appended in the order of arrival.
 *
 *     [header][data and L2 tables as they come …][L1][refcount blocks][refcount table]
 *
 * Until qcow2_finish the file starts with a magic and version 0, which nothing opens. Finishing
 * writes all metadata, syncs, writes the header, syncs: the header never names what is not there.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/io.h"
#include "formats/image_driver.h"
#include "formats/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define NEW_CLUSTER_SIZE ((uint64_t)1 << QCOW2_NEW_CLUSTER_BITS)
#define BLOCK_ENTRIES (NEW_CLUSTER_SIZE / sizeof(uint16_t)) /* clusters that a block counts */

/* Frames are packed into pieces of this size, so that whole clusters in between do not part them.
 */
#define PACK_CLUSTERS 16

void qcow2_creator_free(struct qcow2_creator *creator)
{
    if (!creator)
        return;
    for (size_t i = 0; i < creator->page_count; i++)
        free(creator->pages[i]);
    free(creator->pages);
    free(creator);
}

/* --- creating ------------------------------------------------------------------------------- */

static int copy_name(char *to, size_t size, const char *what, const char *name, struct error *err)
{
    size_t length = strlen(name);

    if (length == 0 || length >= size)
        return error_set(err, EINVAL, "a %s of %zu bytes", what, length);
    memcpy(to, name, length + 1);
    return 0;
}

static int set_backing(struct qcow2_header *header, const struct image_create_options *options,
                       struct error *err)
{
    if (!options->backing_path)
        return 0;
    if (image_name_has_protocol(options->backing_path))
        return error_set(err, EINVAL, "the backing file's name '%s' looks like a protocol's",
                         options->backing_path);
    if (copy_name(header->backing_file, sizeof(header->backing_file), "backing file's name",
                  options->backing_path, err) < 0)
        return -1;
    if (!options->backing_format)
        return error_set(err, EINVAL, "the backing file's format is not named");
    return copy_name(header->backing_format, sizeof(header->backing_format),
                     "backing file's format", options->backing_format, err);
}

static int set_header(struct qcow2_header *header, const struct image_create_options *options,
                      struct error *err)
{
    header->version = 3;
    header->cluster_bits = QCOW2_NEW_CLUSTER_BITS;
    header->refcount_order = QCOW2_NEW_REFCOUNT_ORDER;
    header->header_length = QCOW2_HEADER_SIZE_OURS;
    header->size_bytes = options->size_bytes;
    header->l1_size =
        (uint32_t)qcow2_l1_entries_needed(options->size_bytes, QCOW2_NEW_CLUSTER_BITS);
    if (options->compression == IMAGE_COMPRESSION_ZSTD) {
        header->compression_type = QCOW2_COMPRESSION_ZSTD;
        header->incompatible_features = QCOW2_INCOMPATIBLE_COMPRESSION;
    }
    return set_backing(header, options, err);
}

static int write_unfinished_mark(int fd, struct error *err)
{
    uint8_t mark[8];

    store_be32(mark, QCOW2_MAGIC);
    store_be32(mark + 4, QCOW2_VERSION_UNFINISHED);
    return io_write_at(fd, mark, sizeof(mark), 0, err);
}

static int set_up(struct qcow2 *qcow2, const struct image_create_options *options,
                  struct error *err)
{
    if (set_header(&qcow2->header, options, err) < 0)
        return -1;
    qcow2_set_geometry(qcow2);
    qcow2->l1_count = qcow2->header.l1_size;
    qcow2->l1 = calloc(qcow2->l1_count + 1, sizeof(*qcow2->l1));
    qcow2->creator = calloc(1, sizeof(*qcow2->creator));
    if (!qcow2->l1 || !qcow2->creator)
        return error_set(err, ENOMEM, "new qcow2 image");
    qcow2->file_end = NEW_CLUSTER_SIZE;
    qcow2->image.is_writable = true;
    qcow2->image.is_new = true;
    return write_unfinished_mark(qcow2->fd, err);
}

struct image *qcow2_create(int fd, const char *path, const struct image_create_options *options,
                           struct error *err)
{
    struct qcow2 *qcow2 = qcow2_new(fd, path, err);

    if (qcow2 && set_up(qcow2, options, err) == 0)
        return &qcow2->image;
    if (qcow2)
        qcow2_free(qcow2);
    unlink(path);
    return NULL;
}

/* --- clusters and their counts -------------------------------------------------------------- */

int qcow2_creator_allocate(struct qcow2 *qcow2, uint64_t count, uint64_t *offset, struct error *err)
{
    uint64_t end = atomic_load(&qcow2->file_end);

    if (count > (QCOW2_MAX_FILE_SIZE - end) / NEW_CLUSTER_SIZE)
        return error_set(err, EFBIG, "the qcow2 file would grow above %llu bytes",
                         (unsigned long long)QCOW2_MAX_FILE_SIZE);
    *offset = end;
    atomic_store(&qcow2->file_end, end + count * NEW_CLUSTER_SIZE);
    return 0;
}

/* The counts of one refcount block, which differ from 1 from now on. */
static uint16_t *get_page(struct qcow2_creator *creator, uint64_t index, struct error *err)
{
    if (index >= creator->page_count) {
        size_t count = (size_t)index + 16;
        uint16_t **pages = reallocarray(creator->pages, count, sizeof(*pages));

        if (!pages)
            goto fail;
        memset(pages + creator->page_count, 0, (count - creator->page_count) * sizeof(*pages));
        creator->pages = pages;
        creator->page_count = count;
    }
    if (!creator->pages[index]) {
        uint16_t *page = malloc(BLOCK_ENTRIES * sizeof(*page));

        if (!page)
            goto fail;
        for (size_t i = 0; i < BLOCK_ENTRIES; i++)
            page[i] = 1;
        creator->pages[index] = page;
    }
    return creator->pages[index];
fail:
    error_set(err, ENOMEM, "qcow2 refcounts");
    return NULL;
}

int qcow2_creator_add(struct qcow2 *qcow2, uint64_t first, uint64_t count, int delta,
                      struct error *err)
{
    for (uint64_t cluster = first; cluster < first + count; cluster++) {
        uint16_t *page = get_page(qcow2->creator, cluster / BLOCK_ENTRIES, err);

        if (!page)
            return -1;
        page[cluster % BLOCK_ENTRIES] = (uint16_t)(page[cluster % BLOCK_ENTRIES] + delta);
    }
    return 0;
}

/* --- compressed frames ---------------------------------------------------------------------- */

/* Room for a frame behind the last one, or in a new piece. Its clusters start at count 0. */
static int pack_locked(struct qcow2 *qcow2, size_t length, uint64_t *offset, struct error *err)
{
    struct qcow2_creator *creator = qcow2->creator;
    uint64_t piece = 0;

    if (length > creator->pack_end - creator->pack_offset) {
        if (qcow2_creator_allocate(qcow2, PACK_CLUSTERS, &piece, err) < 0 ||
            qcow2_creator_add(qcow2, piece / NEW_CLUSTER_SIZE, PACK_CLUSTERS, -1, err) < 0)
            return -1;
        if (piece != creator->pack_end)
            creator->pack_offset = piece;
        creator->pack_end = piece + PACK_CLUSTERS * NEW_CLUSTER_SIZE;
    }
    *offset = creator->pack_offset;
    creator->pack_offset += length;
    return 0;
}

/* The descriptor counts the sectors behind the first one that the frame touches. */
static uint64_t compressed_entry(uint64_t offset, size_t length)
{
    unsigned offset_bits = 62 - (QCOW2_NEW_CLUSTER_BITS - 8);
    uint64_t sectors = (offset + length - 1) / QCOW2_SECTOR - offset / QCOW2_SECTOR;

    return QCOW2_ENTRY_COMPRESSED | sectors << offset_bits | offset;
}

static int place_frame_locked(struct qcow2 *qcow2, uint64_t offset, size_t length, uint64_t *place,
                              struct error *err)
{
    struct qcow2_run old;
    uint64_t first, last;

    if (qcow2_find_run_locked(qcow2, offset, 1, &old, err) < 0 ||
        pack_locked(qcow2, length, place, err) < 0)
        return -1;
    first = *place / NEW_CLUSTER_SIZE;
    last = (*place + length - 1) / NEW_CLUSTER_SIZE;
    if (qcow2_creator_add(qcow2, first, last - first + 1, 1, err) < 0 ||
        qcow2_set_entries_locked(qcow2, offset / NEW_CLUSTER_SIZE, 1,
                                 compressed_entry(*place, length), 0, err) < 0)
        return -1;
    return qcow2_release_locked(qcow2, &old, err);
}

int qcow2_write_frame(struct image *image, uint64_t offset, const void *frame, size_t length,
                      struct error *err)
{
    struct qcow2 *qcow2 = qcow2_of(image);
    uint64_t place;
    int result;

    if (!qcow2->creator)
        return error_set(err, ENOTSUP, "compressed clusters are written to new images only");
    if (offset % NEW_CLUSTER_SIZE != 0 || length == 0 || length >= NEW_CLUSTER_SIZE)
        return error_set(err, EINVAL, "a frame of %zu bytes at 0x%llx", length,
                         (unsigned long long)offset);
    pthread_mutex_lock(&qcow2->lock);
    result = place_frame_locked(qcow2, offset, length, &place, err);
    pthread_mutex_unlock(&qcow2->lock);
    if (result == 0)
        result = io_write_at(qcow2->fd, frame, length, place, err);
    return qcow2_note_result(qcow2, result);
}

/* --- finishing ------------------------------------------------------------------------------ */

static int write_l1(struct qcow2 *qcow2, struct error *err)
{
    uint64_t bytes = (uint64_t)qcow2->l1_count * sizeof(uint64_t);
    AUTO_FREE uint64_t *table = calloc(1, align_up(bytes, NEW_CLUSTER_SIZE) + 1);

    if (!table)
        return error_set(err, ENOMEM, "qcow2 L1 table");
    if (bytes == 0)
        return 0;
    if (qcow2_creator_allocate(qcow2, div_round_up(bytes, NEW_CLUSTER_SIZE),
                               &qcow2->header.l1_table_offset, err) < 0)
        return -1;
    for (uint32_t i = 0; i < qcow2->l1_count; i++)
        table[i] = htobe64(qcow2->l1[i]);
    return io_write_at(qcow2->fd, table, align_up(bytes, NEW_CLUSTER_SIZE),
                       qcow2->header.l1_table_offset, err);
}

/* One refcount block: the clusters from `first` on, of `total` in the file. */
static void fill_block(const struct qcow2_creator *creator, uint64_t index, uint64_t total,
                       uint16_t *block)
{
    const uint16_t *page = index < creator->page_count ? creator->pages[index] : NULL;
    uint64_t first = index * BLOCK_ENTRIES;

    for (uint64_t i = 0; i < BLOCK_ENTRIES; i++)
        block[i] = first + i < total ? htobe16(page ? page[i] : 1) : 0;
}

/* Blocks and table count themselves too: the smallest numbers that cover the whole file. */
static void size_refcounts(uint64_t used, uint64_t *blocks, uint64_t *table_clusters)
{
    uint64_t total;

    *blocks = *table_clusters = 1;
    for (;;) {
        total = used + *blocks + *table_clusters;
        uint64_t needed_blocks = div_round_up(total, BLOCK_ENTRIES);
        uint64_t needed_table = div_round_up(needed_blocks * sizeof(uint64_t), NEW_CLUSTER_SIZE);

        if (needed_blocks <= *blocks && needed_table <= *table_clusters)
            return;
        *blocks = needed_blocks;
        *table_clusters = needed_table;
    }
}

static int write_blocks(struct qcow2 *qcow2, uint64_t offset, uint64_t blocks, uint64_t total,
                        struct error *err)
{
    AUTO_FREE uint16_t *block = malloc(NEW_CLUSTER_SIZE);

    if (!block)
        return error_set(err, ENOMEM, "qcow2 refcount block");
    for (uint64_t i = 0; i < blocks; i++) {
        fill_block(qcow2->creator, i, total, block);
        if (io_write_at(qcow2->fd, block, NEW_CLUSTER_SIZE, offset + i * NEW_CLUSTER_SIZE, err) < 0)
            return -1;
    }
    return 0;
}

static int write_refcounts(struct qcow2 *qcow2, struct error *err)
{
    uint64_t used = atomic_load(&qcow2->file_end) / NEW_CLUSTER_SIZE;
    uint64_t blocks, table_clusters, offset, table_offset;
    AUTO_FREE uint64_t *table = NULL;

    size_refcounts(used, &blocks, &table_clusters);
    if (table_clusters * NEW_CLUSTER_SIZE > QCOW2_MAX_REFCOUNT_TABLE_BYTES)
        return error_set(err, EFBIG, "the qcow2 file is too large for its refcount table");
    table = calloc(table_clusters, NEW_CLUSTER_SIZE);
    if (!table)
        return error_set(err, ENOMEM, "qcow2 refcount table");
    if (qcow2_creator_allocate(qcow2, blocks + table_clusters, &offset, err) < 0)
        return -1;
    for (uint64_t i = 0; i < blocks; i++)
        table[i] = htobe64(offset + i * NEW_CLUSTER_SIZE);
    table_offset = offset + blocks * NEW_CLUSTER_SIZE;
    qcow2->header.refcount_table_offset = table_offset;
    qcow2->header.refcount_table_clusters = (uint32_t)table_clusters;
    if (write_blocks(qcow2, offset, blocks, used + blocks + table_clusters, err) < 0)
        return -1;
    return io_write_at(qcow2->fd, table, table_clusters * NEW_CLUSTER_SIZE, table_offset, err);
}

static int write_header(struct qcow2 *qcow2, struct error *err)
{
    AUTO_FREE uint8_t *cluster = calloc(1, NEW_CLUSTER_SIZE);

    if (!cluster)
        return error_set(err, ENOMEM, "qcow2 header");
    qcow2_header_encode(&qcow2->header, cluster);
    return io_write_at(qcow2->fd, cluster, NEW_CLUSTER_SIZE, 0, err);
}

static int finish_locked(struct qcow2 *qcow2, struct error *err)
{
    if (atomic_load(&qcow2->creator->has_failed))
        return error_set(err, EIO, "a write to the qcow2 image failed before");
    if (qcow2_write_back_locked(qcow2, err) < 0 || write_l1(qcow2, err) < 0 ||
        write_refcounts(qcow2, err) < 0 || io_sync(qcow2->fd, err) < 0)
        return -1;
    if (write_header(qcow2, err) == 0 && io_sync(qcow2->fd, err) == 0)
        return 0;
    /* Nobody knows what of the header arrived: as far as we can, none. */
    write_unfinished_mark(qcow2->fd, NULL);
    return -1;
}

int qcow2_finish(struct image *image, struct error *err)
{
    struct qcow2 *qcow2 = qcow2_of(image);
    int result;

    pthread_mutex_lock(&qcow2->lock);
    result = qcow2_note_result(qcow2, finish_locked(qcow2, err));
    /* Finished or failed, nothing may be appended any more: to write on, open it again. */
    qcow2->image.is_writable = false;
    pthread_mutex_unlock(&qcow2->lock);
    return result;
}
