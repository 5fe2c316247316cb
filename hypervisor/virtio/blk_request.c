/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Requests of a virtio disk. Data goes straight between the image and guest memory; the header and
 * the ranges of a discard are copied once and only the copies are looked at. A guest's own mistake
 * is an error to it alone; a failure of this host is also said in the log, now and then.
 */
#include "hypervisor/virtio/blk_request.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>

#define HEADER_SIZE sizeof(struct virtio_blk_outhdr)
#define MAX_STEP ((size_t)512 << 10)
#define ZERO_STEP ((uint64_t)64 << 20)
#define LOG_EVERY_MS 10000

struct blk_range {
    uint64_t sector;
    uint32_t count, flags;
};

bool blk_request_decode(struct blk_request *request, const struct virtqueue_chain *chain)
{
    struct virtio_blk_outhdr header;

    if (chain->write_bytes == 0 ||
        virtqueue_chain_read(chain, 0, &header, HEADER_SIZE) != HEADER_SIZE)
        return false;
    *request = (struct blk_request){
        .chain = chain,
        .type = load_le32(&header.type),
        .sector = load_le64(&header.sector),
    };
    if (request->type == VIRTIO_BLK_T_IN || request->type == VIRTIO_BLK_T_GET_ID)
        request->data_bytes = chain->write_bytes - 1;
    else
        request->data_bytes = chain->read_bytes - HEADER_SIZE;
    return true;
}

uint64_t blk_request_cost_bytes(const struct blk_request *request)
{
    bool moves_data = request->type == VIRTIO_BLK_T_IN || request->type == VIRTIO_BLK_T_OUT;

    return moves_data ? request->data_bytes : 0;
}

/* --- the data of a chain, in pieces that lie together in memory ------------------------------ */

struct pieces {
    const struct virtqueue_segment *segment;
    uint64_t skip, left;
};

static struct pieces pieces_of(const struct blk_request *request)
{
    const struct virtqueue_chain *chain = request->chain;
    struct pieces pieces = {.segment = chain->segments, .left = request->data_bytes};

    if (request->type == VIRTIO_BLK_T_IN)
        pieces.segment += chain->read_count;
    else
        pieces.skip = HEADER_SIZE;
    return pieces;
}

/* The next ones, together at most MAX_STEP: their length, 0 at the end. */
static size_t next_pieces(struct pieces *pieces, struct iovec parts[IMAGE_MAX_PARTS], size_t *count)
{
    size_t total = 0;

    *count = 0;
    while (pieces->left && total < MAX_STEP) {
        const struct virtqueue_segment *segment = pieces->segment;
        uint8_t *data = segment->data + pieces->skip;
        struct iovec *last = &parts[*count - (*count > 0)];
        size_t step;

        if (pieces->skip >= segment->length) {
            pieces->skip -= segment->length;
            pieces->segment++;
            continue;
        }
        step = (size_t)min_u64(segment->length - pieces->skip,
                               min_u64(pieces->left, MAX_STEP - total));
        if (*count && (uint8_t *)last->iov_base + last->iov_len == data)
            last->iov_len += step;
        else if (*count < IMAGE_MAX_PARTS)
            parts[(*count)++] = (struct iovec){data, step};
        else
            break;
        total += step;
        pieces->skip += step;
        pieces->left -= step;
    }
    return total;
}

static bool has_to_stop(const _Atomic bool *must_stop)
{
    return must_stop && atomic_load_explicit(must_stop, memory_order_relaxed);
}

/* --- failures -------------------------------------------------------------------------------- */

/* This host could not do it. A guest that tries again and again does not fill the log. */
static uint8_t host_failed(struct blk_disk *disk, const struct error *err)
{
    int64_t now = clock_ms(), next = atomic_load(&disk->next_log_ms);
    uint64_t silent;

    if (now < next ||
        !atomic_compare_exchange_strong(&disk->next_log_ms, &next, now + LOG_EVERY_MS)) {
        atomic_fetch_add(&disk->silent_failures, 1);
        return VIRTIO_BLK_S_IOERR;
    }
    silent = atomic_exchange(&disk->silent_failures, 0);
    if (error_is_no_space(err))
        log_warning(disk->log,
                    "%s: this host has no room for what the guest writes; it gets an "
                    "I/O error (%" PRIu64 " more before this)",
                    err->text, silent);
    else
        log_warning(disk->log, "%s: the guest gets an I/O error (%" PRIu64 " more before this)",
                    err->text, silent);
    return VIRTIO_BLK_S_IOERR;
}

/* --- the kinds of requests ------------------------------------------------------------------- */

static bool is_inside(const struct blk_disk *disk, const struct blk_request *request)
{
    return request->data_bytes % BLK_SECTOR == 0 &&
           range_is_inside(request->sector, request->data_bytes / BLK_SECTOR, disk->sectors);
}

static uint8_t move_data(struct blk_disk *disk, const struct blk_request *request, bool is_write,
                         const _Atomic bool *must_stop)
{
    struct pieces pieces = pieces_of(request);
    uint64_t offset = request->sector * BLK_SECTOR;
    struct iovec parts[IMAGE_MAX_PARTS];
    size_t count;

    if (!is_inside(disk, request) || (is_write && disk->is_read_only))
        return VIRTIO_BLK_S_IOERR;
    for (size_t length; (length = next_pieces(&pieces, parts, &count)) != 0; offset += length) {
        struct error err;
        int result;

        if (has_to_stop(must_stop))
            return VIRTIO_BLK_S_IOERR;
        if (is_write)
            result = image_writev(disk->image, offset, parts, count, &err);
        else
            result = image_readv(disk->image, offset, parts, count, &err);
        if (result < 0)
            return host_failed(disk, &err);
    }
    atomic_fetch_add(is_write ? &disk->write_requests : &disk->read_requests, 1);
    atomic_fetch_add(is_write ? &disk->written_bytes : &disk->read_bytes, request->data_bytes);
    return VIRTIO_BLK_S_OK;
}

/*
 * Linux reports a failed write-back once and then takes the pages for clean: a later fsync would
 * succeed although data is lost. So the first failure stands for all that follow.
 */
static uint8_t flush(struct blk_disk *disk)
{
    int failure = atomic_load(&disk->flush_failure);
    struct error err;

    if (failure) {
        error_set(&err, failure, "flush %s: an earlier one failed", disk->image->path);
        return host_failed(disk, &err);
    }
    if (image_flush(disk->image, &err) < 0) {
        atomic_store(&disk->flush_failure, err.errnum ? err.errnum : EIO);
        return host_failed(disk, &err);
    }
    atomic_fetch_add(&disk->flushes, 1);
    return VIRTIO_BLK_S_OK;
}

static uint8_t get_id(const struct blk_disk *disk, const struct blk_request *request)
{
    virtqueue_chain_write(request->chain, 0, disk->serial,
                          (size_t)min_u64(sizeof(disk->serial), request->data_bytes));
    return VIRTIO_BLK_S_OK;
}

/* --- ranges: discard, write zeroes ----------------------------------------------------------- */

static uint8_t check_range(const struct blk_disk *disk, const struct blk_range *range,
                           bool is_discard)
{
    uint32_t known = is_discard ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;

    if (range->flags & ~known)
        return VIRTIO_BLK_S_UNSUPP;
    if (range->count > (is_discard ? BLK_MAX_DISCARD : BLK_MAX_WRITE_ZEROES) ||
        !range_is_inside(range->sector, range->count, disk->sectors))
        return VIRTIO_BLK_S_IOERR;
    return VIRTIO_BLK_S_OK;
}

/* All of them are copied and checked before the first is done. */
static uint8_t decode_ranges(const struct blk_disk *disk, const struct blk_request *request,
                             struct blk_range *ranges, size_t *count)
{
    struct virtio_blk_discard_write_zeroes raw[BLK_MAX_RANGES];

    *count = request->data_bytes / sizeof(raw[0]);
    if (request->data_bytes % sizeof(raw[0]) || *count == 0 || *count > BLK_MAX_RANGES)
        return VIRTIO_BLK_S_IOERR;
    virtqueue_chain_read(request->chain, HEADER_SIZE, raw, *count * sizeof(raw[0]));
    for (size_t i = 0; i < *count; i++) {
        uint8_t status;

        ranges[i] = (struct blk_range){
            .sector = load_le64(&raw[i].sector),
            .count = load_le32(&raw[i].num_sectors),
            .flags = load_le32(&raw[i].flags),
        };
        status = check_range(disk, &ranges[i], request->type == VIRTIO_BLK_T_DISCARD);
        if (status != VIRTIO_BLK_S_OK)
            return status;
    }
    return VIRTIO_BLK_S_OK;
}

/* A discard promises nothing: only what is whole units of the image's is given back. */
static void shrink_to_granules(const struct blk_disk *disk, uint64_t *start, uint64_t *end)
{
    *start = align_up(*start, disk->granule_bytes);
    if (*end != disk->sectors * BLK_SECTOR)
        *end = align_down(*end, disk->granule_bytes);
}

/* Zeroes that take room, as a driver that does not allow to unmap wants them. */
static int store_zeroes(struct image *image, uint64_t offset, uint64_t length, struct error *err)
{
    static const uint8_t zeroes[65536];

    while (length) {
        size_t step = (size_t)min_u64(length, sizeof(zeroes));

        if (image_write(image, offset, zeroes, step, err) < 0)
            return -1;
        offset += step;
        length -= step;
    }
    return 0;
}

static uint8_t zero_range(struct blk_disk *disk, const struct blk_range *range, bool is_discard,
                          const _Atomic bool *must_stop)
{
    uint64_t start = range->sector * BLK_SECTOR;
    uint64_t end = start + (uint64_t)range->count * BLK_SECTOR;
    bool may_unmap = is_discard || range->flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;

    if (is_discard)
        shrink_to_granules(disk, &start, &end);
    while (start < end) {
        uint64_t step = min_u64(end - start, ZERO_STEP);
        struct error err;
        int result;

        if (has_to_stop(must_stop))
            return VIRTIO_BLK_S_IOERR;
        if (may_unmap)
            result = image_write_zeroes(disk->image, start, step, &err);
        else
            result = store_zeroes(disk->image, start, step, &err);
        if (result < 0)
            return host_failed(disk, &err);
        start += step;
    }
    return VIRTIO_BLK_S_OK;
}

static uint8_t zero_ranges(struct blk_disk *disk, const struct blk_request *request,
                           const _Atomic bool *must_stop)
{
    struct blk_range ranges[BLK_MAX_RANGES];
    size_t count;
    uint8_t status;

    if (disk->is_read_only)
        return VIRTIO_BLK_S_IOERR;
    status = decode_ranges(disk, request, ranges, &count);
    for (size_t i = 0; status == VIRTIO_BLK_S_OK && i < count; i++)
        status = zero_range(disk, &ranges[i], request->type == VIRTIO_BLK_T_DISCARD, must_stop);
    return status;
}

/* --- all of them ----------------------------------------------------------------------------- */

static uint8_t run(struct blk_disk *disk, const struct blk_request *request, uint64_t features,
                   const _Atomic bool *must_stop)
{
    bool is_known = false;

    switch (request->type) {
    case VIRTIO_BLK_T_IN:
    case VIRTIO_BLK_T_OUT:
        return move_data(disk, request, request->type == VIRTIO_BLK_T_OUT, must_stop);
    case VIRTIO_BLK_T_FLUSH:
        return flush(disk);
    case VIRTIO_BLK_T_GET_ID:
        return get_id(disk, request);
    case VIRTIO_BLK_T_DISCARD:
        is_known = features >> VIRTIO_BLK_F_DISCARD & 1;
        break;
    case VIRTIO_BLK_T_WRITE_ZEROES:
        is_known = features >> VIRTIO_BLK_F_WRITE_ZEROES & 1;
        break;
    default:
        break;
    }
    return is_known ? zero_ranges(disk, request, must_stop) : VIRTIO_BLK_S_UNSUPP;
}

/* A driver that did not take FLUSH cannot ask: what it wrote is stable when it is told so. */
static bool is_write_through(const struct blk_request *request, uint64_t features)
{
    return !(features >> VIRTIO_BLK_F_FLUSH & 1) &&
           (request->type == VIRTIO_BLK_T_OUT || request->type == VIRTIO_BLK_T_WRITE_ZEROES);
}

uint32_t blk_request_run(struct blk_disk *disk, const struct blk_request *request,
                         uint64_t features, const _Atomic bool *must_stop)
{
    uint64_t written = request->chain->write_bytes;
    uint8_t status = run(disk, request, features, must_stop);

    if (status == VIRTIO_BLK_S_OK && is_write_through(request, features))
        status = flush(disk);
    if (status != VIRTIO_BLK_S_OK)
        atomic_fetch_add(&disk->errors, 1);
    virtqueue_chain_write(request->chain, written - 1, &status, 1);
    return (uint32_t)written;
}
