/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Writing ranges to a qcow2 image. Clusters that the image owns alone are overwritten; for all
 * others new ones are added at the end of the file and nothing is ever put where something was,
 * so a reader or a crash in between sees the old content or the new.
 *
 * Existing image: refcounts, data, L2 entry, release of the old cluster, in this order: a kill at
 * any moment leaks a cluster at worst. New image: the mapping is only memory, so threads hold the
 * lock for that and write their data side by side; so they do in owned clusters of an existing one.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/io.h"
#include "formats/qcow2.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <unistd.h>

#define AUTOCLEAR_OFFSET 88
#define ZERO_STEP ((size_t)1 << 20)
#define WRITE_BACK_LENGTH ((size_t)256 << 10)

int qcow2_allocate_locked(struct qcow2 *qcow2, uint64_t count, uint64_t *offset, struct error *err)
{
    if (qcow2->creator)
        return qcow2_creator_allocate(qcow2, count, offset, err);
    return qcow2_refcounts_allocate(qcow2, count, offset, err);
}

int qcow2_release_locked(struct qcow2 *qcow2, const struct qcow2_run *run, struct error *err)
{
    unsigned bits = qcow2->header.cluster_bits;
    uint64_t first = run->host_offset >> bits, last;

    if (run->host_offset == 0)
        return 0;
    if (run->kind == QCOW2_COMPRESSED)
        last = (run->host_offset + run->host_length - 1) >> bits;
    else if (run->kind == QCOW2_DATA)
        last = (run->host_offset + run->length - 1) >> bits;
    else
        last = first;
    if (qcow2->creator)
        return qcow2_creator_add(qcow2, first, last - first + 1, -1, err);
    return qcow2_refcounts_add(qcow2, first, last - first + 1, -1, err);
}

/* Unknown autoclear features, bitmaps among them, do not survive a writer that ignores them. */
static int prepare(struct qcow2 *qcow2, struct error *err)
{
    const uint64_t none = 0;

    if (qcow2->creator || atomic_load(&qcow2->is_prepared))
        return 0;
    if (qcow2->header.autoclear_features &&
        io_write_at(qcow2->fd, &none, sizeof(none), AUTOCLEAR_OFFSET, err) < 0)
        return error_wrap(err, "qcow2 header");
    atomic_store(&qcow2->is_prepared, true);
    return 0;
}

static bool ranges_meet(uint64_t a, uint64_t a_length, uint64_t b, uint64_t b_length)
{
    return a < b + b_length && b < a + a_length;
}

/* An entry that names the image's own tables as its data must not make us write there. */
static int check_target(const struct qcow2 *qcow2, uint64_t offset, uint64_t length,
                        struct error *err)
{
    const struct qcow2_header *header = &qcow2->header;
    uint64_t refcount_table = (uint64_t)header->refcount_table_clusters << header->cluster_bits;

    if (qcow2->creator)
        return 0;
    if (ranges_meet(offset, length, header->l1_table_offset, (uint64_t)header->l1_size * 8) ||
        ranges_meet(offset, length, header->refcount_table_offset, refcount_table))
        return error_set(err, 0, "the qcow2 image is damaged: data at 0x%llx overlaps its tables",
                         (unsigned long long)offset);
    return 0;
}

static int put_data(struct qcow2 *qcow2, const void *data, size_t length, uint64_t offset,
                    struct error *err)
{
    if (qcow2->direct.fd >= 0)
        return direct_write(&qcow2->direct, data, length, offset, err);
    if (io_write_at(qcow2->fd, data, length, offset, err) < 0)
        return -1;
    /* Such writes are synced soon as a whole: let the disk begin now. Only a hint, it may fail. */
    if (length >= WRITE_BACK_LENGTH)
        sync_file_range(qcow2->fd, (off_t)offset, (off_t)length, SYNC_FILE_RANGE_WRITE);
    return 0;
}

static int write_data(struct qcow2 *qcow2, const void *data, size_t length, uint64_t offset,
                      struct error *err)
{
    if (check_target(qcow2, offset, length, err) < 0)
        return -1;
    return put_data(qcow2, data, length, offset, err);
}

/* Where the run's clusters are to be written: their own place, or `count` new clusters. */
static int allocate_for(struct qcow2 *qcow2, const struct qcow2_run *run, uint64_t count,
                        uint64_t *host, struct error *err)
{
    if (run->kind == QCOW2_DATA && run->is_owned) {
        *host = run->host_offset;
        return 0;
    }
    return qcow2_allocate_locked(qcow2, count, host, err);
}

/* Lets the guest's clusters be those at `host`, and gives up what they were. */
static int install(struct qcow2 *qcow2, uint64_t offset, const struct qcow2_run *run,
                   uint64_t count, uint64_t host, struct error *err)
{
    if (run->kind == QCOW2_DATA && run->is_owned)
        return 0;
    if (qcow2_set_entries_locked(qcow2, offset >> qcow2->header.cluster_bits, count,
                                 host | QCOW2_ENTRY_COPIED, qcow2->cluster_size, err) < 0)
        return -1;
    return qcow2_release_locked(qcow2, run, err);
}

/* One run of whole clusters of a new image; writes at most `length` and says how much. */
static int write_run_new(struct qcow2 *qcow2, uint64_t offset, const void *data, size_t length,
                         size_t *written, struct error *err)
{
    struct qcow2_run run;
    uint64_t host = 0, count = 0;
    int result;

    pthread_mutex_lock(&qcow2->lock);
    result = qcow2_find_run_locked(qcow2, offset, length, &run, err);
    if (result == 0) {
        count = div_round_up(run.length, qcow2->cluster_size);
        result = allocate_for(qcow2, &run, count, &host, err);
    }
    if (result == 0)
        result = install(qcow2, offset, &run, count, host, err);
    pthread_mutex_unlock(&qcow2->lock);
    if (result < 0)
        return -1;
    *written = (size_t)run.length;
    return write_data(qcow2, data, *written, host, err);
}

/* Clusters that were to hold a run and could not be written: the file is full, maybe. */
static void give_back(struct qcow2 *qcow2, const struct qcow2_run *run, uint64_t host,
                      uint64_t count)
{
    unsigned bits = qcow2->header.cluster_bits;

    if (run->kind == QCOW2_DATA && run->is_owned)
        return;
    pthread_mutex_lock(&qcow2->lock);
    if (qcow2_refcounts_add(qcow2, host >> bits, count, -1, NULL) == 0 &&
        atomic_load(&qcow2->file_end) == host + (count << bits))
        atomic_store(&qcow2->file_end, host);
    pthread_mutex_unlock(&qcow2->lock);
}

/* The same for an existing image; write_lock is held. */
static int write_run_existing(struct qcow2 *qcow2, uint64_t offset, const void *data, size_t length,
                              size_t *written, struct error *err)
{
    struct qcow2_run run;
    uint64_t host = 0, count;
    int result;

    if (qcow2_find_run(qcow2, offset, length, &run, err) < 0)
        return -1;
    count = div_round_up(run.length, qcow2->cluster_size);
    *written = (size_t)run.length;
    pthread_mutex_lock(&qcow2->lock);
    result = allocate_for(qcow2, &run, count, &host, err);
    pthread_mutex_unlock(&qcow2->lock);
    if (result < 0)
        return -1;
    if (write_data(qcow2, data, *written, host, err) < 0) {
        give_back(qcow2, &run, host, count);
        return -1;
    }
    pthread_mutex_lock(&qcow2->lock);
    result = install(qcow2, offset, &run, count, host, err);
    pthread_mutex_unlock(&qcow2->lock);
    return result;
}

static int write_whole(struct qcow2 *qcow2, uint64_t offset, const char *data, size_t length,
                       struct error *err)
{
    int result = 0;

    if (!qcow2->creator)
        pthread_mutex_lock(&qcow2->write_lock);
    if (prepare(qcow2, err) < 0)
        result = -1;
    while (result == 0 && length) {
        size_t written = 0;

        if (qcow2->creator)
            result = write_run_new(qcow2, offset, data, length, &written, err);
        else
            result = write_run_existing(qcow2, offset, data, length, &written, err);
        offset += written;
        data += written;
        length -= written;
    }
    if (!qcow2->creator)
        pthread_mutex_unlock(&qcow2->write_lock);
    return result;
}

/* The bytes of the cluster at `start` that belong to the disk. */
static size_t cluster_bytes(const struct qcow2 *qcow2, uint64_t start)
{
    return (size_t)min_u64(qcow2->cluster_size, qcow2->header.size_bytes - start);
}

/* A cluster that is not ours alone: its content with the change in it becomes a new cluster. */
static int copy_cluster(struct qcow2 *qcow2, uint64_t start, size_t inside, const void *data,
                        size_t length, struct error *err)
{
    AUTO_FREE char *cluster = calloc(1, qcow2->cluster_size);
    size_t bytes = cluster_bytes(qcow2, start), written;

    if (!cluster)
        return error_set(err, ENOMEM, "qcow2 cluster");
    if (qcow2_read(&qcow2->image.source, start, cluster, bytes, err) < 0)
        return -1;
    memcpy(cluster + inside, data, length);
    if (qcow2->creator)
        return write_run_new(qcow2, start, cluster, bytes, &written, err);
    return write_run_existing(qcow2, start, cluster, bytes, &written, err);
}

/* A part of one cluster; write_lock is held, so two parts of one cluster cannot both move it. */
static int write_part_locked(struct qcow2 *qcow2, uint64_t offset, const void *data, size_t length,
                             struct error *err)
{
    size_t inside = (size_t)(offset & (qcow2->cluster_size - 1));
    struct qcow2_run run;

    if (prepare(qcow2, err) < 0 || qcow2_find_run(qcow2, offset, length, &run, err) < 0)
        return -1;
    if (run.kind == QCOW2_DATA && run.is_owned)
        return write_data(qcow2, data, length, run.host_offset, err);
    return copy_cluster(qcow2, offset - inside, inside, data, length, err);
}

static int write_part(struct qcow2 *qcow2, uint64_t offset, const void *data, size_t length,
                      struct error *err)
{
    int result;

    pthread_mutex_lock(&qcow2->write_lock);
    result = write_part_locked(qcow2, offset, data, length, err);
    pthread_mutex_unlock(&qcow2->write_lock);
    return result;
}

/*
 * How much of the range from `offset` on is whole clusters; the disk's last one counts as whole
 * though the disk may end inside it. When there are none, *part says how much lies in the first.
 */
static uint64_t whole_bytes(const struct qcow2 *qcow2, uint64_t offset, uint64_t length,
                            uint64_t *part)
{
    uint64_t inside = offset & (qcow2->cluster_size - 1);

    *part = min_u64(length, qcow2->cluster_size - inside);
    if (inside)
        return 0;
    if (offset + length == qcow2->header.size_bytes)
        return length;
    return align_down(length, qcow2->cluster_size);
}

/*
 * Clusters of an existing image that a write finds its own: overwriting them needs no lock. The
 * run's length is 0 when there are none at `offset`.
 */
static int find_owned(struct qcow2 *qcow2, uint64_t offset, uint64_t length, struct qcow2_run *run,
                      struct error *err)
{
    int result;

    run->length = 0;
    if (qcow2->creator || !atomic_load(&qcow2->is_prepared))
        return 0;
    pthread_mutex_lock(&qcow2->lock);
    result = qcow2_find_run_locked(qcow2, offset, length, run, err);
    if (result == 0 && !(run->kind == QCOW2_DATA && run->is_owned))
        run->length = 0;
    if (result == 0 && run->length)
        result = check_target(qcow2, run->host_offset, run->length, err);
    pthread_mutex_unlock(&qcow2->lock);
    return result;
}

/* 1 when it wrote *step bytes to clusters that are owned, 0 when `offset` is in none. */
static int write_owned(struct qcow2 *qcow2, uint64_t offset, const void *data, size_t length,
                       size_t *step, struct error *err)
{
    struct qcow2_run run;

    if (find_owned(qcow2, offset, length, &run, err) < 0)
        return -1;
    if (run.length == 0)
        return 0;
    *step = (size_t)run.length;
    return put_data(qcow2, data, *step, run.host_offset, err) < 0 ? -1 : 1;
}

/* What an overlay does not have is where its backing file has it. */
static int locate_for_reading(struct qcow2 *qcow2, uint64_t offset, uint64_t length,
                              struct image_place *place, struct error *err)
{
    struct image *backing = qcow2->backing;
    struct qcow2_run run;

    if (qcow2_find_run(qcow2, offset, length, &run, err) < 0)
        return -1;
    if (run.kind == QCOW2_DATA)
        *place = (struct image_place){qcow2->fd, run.host_offset, run.length};
    else if (run.kind == QCOW2_UNALLOCATED && backing && backing->driver->locate &&
             offset < backing->source.size_bytes)
        return backing->driver->locate(backing, offset,
                                       min_u64(run.length, backing->source.size_bytes - offset),
                                       false, place, err);
    return 0;
}

int qcow2_locate(struct image *image, uint64_t offset, uint64_t length, bool is_write,
                 struct image_place *place, struct error *err)
{
    struct qcow2 *qcow2 = qcow2_of(image);
    struct qcow2_run run;

    *place = (struct image_place){.fd = qcow2->fd};
    if (!is_write)
        return locate_for_reading(qcow2, offset, length, place, err);
    if (qcow2->direct.fd >= 0)
        return 0;
    if (find_owned(qcow2, offset, length, &run, err) < 0)
        return -1;
    *place = (struct image_place){qcow2->fd, run.host_offset, run.length};
    return 0;
}

static int write_range(struct qcow2 *qcow2, uint64_t offset, const void *data, size_t length,
                       struct error *err)
{
    const char *from = data;

    while (length) {
        uint64_t part, whole = whole_bytes(qcow2, offset, length, &part);
        size_t step = (size_t)(whole ? whole : part);
        int result = write_owned(qcow2, offset, from, length, &step, err);

        if (result == 0)
            result = whole ? write_whole(qcow2, offset, from, step, err)
                           : write_part(qcow2, offset, from, step, err);
        if (result < 0)
            return -1;
        offset += step;
        from += step;
        length -= step;
    }
    return 0;
}

/* What of a failed write is in a new image nobody knows: it can never be finished. */
int qcow2_note_result(struct qcow2 *qcow2, int result)
{
    if (result < 0 && qcow2->creator)
        atomic_store(&qcow2->creator->has_failed, true);
    return result;
}

int qcow2_write(struct image *image, uint64_t offset, const void *data, size_t length,
                struct error *err)
{
    struct qcow2 *qcow2 = qcow2_of(image);

    return qcow2_note_result(qcow2, write_range(qcow2, offset, data, length, err));
}

/* --- zeroes --------------------------------------------------------------------------------- */

static bool has_backing(const struct qcow2 *qcow2)
{
    return qcow2->header.backing_file[0] != '\0';
}

static bool reads_as_zeroes(const struct qcow2 *qcow2, const struct qcow2_run *run)
{
    return run->kind == QCOW2_ZERO || (run->kind == QCOW2_UNALLOCATED && !has_backing(qcow2));
}

static int write_stored_zeroes(struct qcow2 *qcow2, uint64_t offset, uint64_t length,
                               struct error *err)
{
    AUTO_FREE void *zeroes = calloc(1, (size_t)min_u64(length, ZERO_STEP));

    if (!zeroes)
        return error_set(err, ENOMEM, "zeroes");
    while (length) {
        size_t step = (size_t)min_u64(length, ZERO_STEP);

        if (write_range(qcow2, offset, zeroes, step, err) < 0)
            return -1;
        offset += step;
        length -= step;
    }
    return 0;
}

/*
 * What clusters that are now free held goes back to the file system. Only those whose whole range
 * was to read as zeroes: who still reads there reads what was asked for. A file system that cannot
 * keeps them.
 */
static void punch_run(const struct qcow2 *qcow2, const struct qcow2_run *run)
{
    uint64_t length = align_up(run->length, qcow2->cluster_size);

    if (!qcow2->creator && run->kind == QCOW2_DATA && run->is_owned &&
        check_target(qcow2, run->host_offset, length, NULL) == 0)
        fallocate(qcow2->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)run->host_offset,
                  (off_t)length);
}

/* Entries first, then the references: the other way round a kill would leave a freed cluster. */
static int zero_run_locked(struct qcow2 *qcow2, uint64_t offset, uint64_t length,
                           struct qcow2_run *run, struct error *err)
{
    uint64_t entry = has_backing(qcow2) ? QCOW2_ENTRY_ZERO : 0;

    if (qcow2_find_run_locked(qcow2, offset, length, run, err) < 0)
        return -1;
    if (reads_as_zeroes(qcow2, run))
        return 0;
    if (qcow2_set_entries_locked(qcow2, offset >> qcow2->header.cluster_bits,
                                 div_round_up(run->length, qcow2->cluster_size), entry, 0, err) < 0)
        return -1;
    return qcow2_release_locked(qcow2, run, err);
}

static int zero_whole(struct qcow2 *qcow2, uint64_t offset, uint64_t length, struct error *err)
{
    int result;

    /* Version 2 cannot say zero where a backing file would show through. */
    if (qcow2->header.version < 3 && has_backing(qcow2))
        return write_stored_zeroes(qcow2, offset, length, err);
    pthread_mutex_lock(&qcow2->write_lock);
    result = prepare(qcow2, err);
    while (result == 0 && length) {
        struct qcow2_run run;

        pthread_mutex_lock(&qcow2->lock);
        result = zero_run_locked(qcow2, offset, length, &run, err);
        pthread_mutex_unlock(&qcow2->lock);
        if (result == 0)
            punch_run(qcow2, &run);
        offset += run.length;
        length -= run.length;
    }
    pthread_mutex_unlock(&qcow2->write_lock);
    return result;
}

static int zero_part(struct qcow2 *qcow2, uint64_t offset, size_t length, struct error *err)
{
    struct qcow2_run run;

    if (qcow2_find_run(qcow2, offset, length, &run, err) < 0)
        return -1;
    if (reads_as_zeroes(qcow2, &run))
        return 0;
    return write_stored_zeroes(qcow2, offset, length, err);
}

static int zero_range(struct qcow2 *qcow2, uint64_t offset, uint64_t length, struct error *err)
{
    while (length) {
        uint64_t part, whole = whole_bytes(qcow2, offset, length, &part);
        uint64_t step = whole ? whole : part;
        int result = whole ? zero_whole(qcow2, offset, step, err)
                           : zero_part(qcow2, offset, (size_t)step, err);

        if (result < 0)
            return -1;
        offset += step;
        length -= step;
    }
    return 0;
}

int qcow2_write_zeroes(struct image *image, uint64_t offset, uint64_t length, struct error *err)
{
    struct qcow2 *qcow2 = qcow2_of(image);

    return qcow2_note_result(qcow2, zero_range(qcow2, offset, length, err));
}
