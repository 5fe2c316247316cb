/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Reading a qcow2 image run by run, and telling what it may hold. The mapping is looked up under a
 * lock, data is read outside of it, so threads read side by side.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "formats/image_driver.h"
#include "formats/qcow2.h"

#include <errno.h>

/* The backing file of a new overlay is only opened when the finished overlay is. */
static int check_finished(const struct qcow2 *qcow2, struct error *err)
{
    if (qcow2->creator && qcow2->header.backing_file[0])
        return error_set(err, ENOTSUP, "a new overlay shows its backing file only once finished");
    return 0;
}

/* A backing file may be shorter: zeroes follow it. */
static int read_backing(const struct qcow2 *qcow2, uint64_t offset, void *buffer, size_t length,
                        struct error *err)
{
    size_t stored = 0;

    if (check_finished(qcow2, err) < 0)
        return -1;

    if (qcow2->backing && offset < qcow2->backing->source.size_bytes)
        stored = (size_t)min_u64(length, qcow2->backing->source.size_bytes - offset);
    if (stored && block_source_read(&qcow2->backing->source, offset, buffer, stored, err) < 0)
        return error_wrap(err, "backing file %s", qcow2->backing->path);
    memset((char *)buffer + stored, 0, length - stored);
    return 0;
}

static int read_run(struct qcow2 *qcow2, uint64_t offset, const struct qcow2_run *run, void *buffer,
                    struct error *err)
{
    size_t length = (size_t)run->length;

    switch (run->kind) {
    case QCOW2_UNALLOCATED:
        return read_backing(qcow2, offset, buffer, length, err);
    case QCOW2_DATA:
        /* The last cluster of a file may be cut where the disk ends. */
        return image_file_read_padded(qcow2->fd, buffer, length, run->host_offset, err);
    case QCOW2_COMPRESSED:
        return qcow2_read_compressed(qcow2, run, (size_t)(offset & (qcow2->cluster_size - 1)),
                                     buffer, length, err);
    case QCOW2_ZERO:
        break;
    }
    memset(buffer, 0, length);
    return 0;
}

int qcow2_read(const struct block_source *source, uint64_t offset, void *buffer, size_t length,
               struct error *err)
{
    struct qcow2 *qcow2 = qcow2_of_source(source);
    char *to = buffer;

    while (length) {
        struct qcow2_run run;

        if (qcow2_find_run(qcow2, offset, length, &run, err) < 0 ||
            read_run(qcow2, offset, &run, to, err) < 0)
            return -1;
        offset += run.length;
        to += run.length;
        length -= (size_t)run.length;
    }
    return 0;
}

static int map_backing(const struct qcow2 *qcow2, uint64_t offset, uint64_t length,
                       struct extents *data, struct error *err)
{
    uint64_t size;

    if (check_finished(qcow2, err) < 0)
        return -1;
    if (!qcow2->backing)
        return 0;
    size = qcow2->backing->source.size_bytes;
    if (offset >= size)
        return 0;
    return block_source_map(&qcow2->backing->source, offset, min_u64(length, size - offset), data,
                            err);
}

static int map(const struct block_source *source, uint64_t offset, uint64_t length,
               struct extents *data, struct error *err)
{
    struct qcow2 *qcow2 = qcow2_of_source(source);
    struct qcow2_run run;

    for (; length; offset += run.length, length -= run.length) {
        int result = 0;

        if (qcow2_find_run(qcow2, offset, length, &run, err) < 0)
            return -1;
        if (run.kind == QCOW2_UNALLOCATED)
            result = map_backing(qcow2, offset, run.length, data, err);
        else if (run.kind != QCOW2_ZERO)
            result = extents_add(data, offset, run.length, err);
        if (result < 0)
            return -1;
    }
    return 0;
}

int qcow2_map_own(const struct image *image, struct extents *own, struct error *err)
{
    struct qcow2 *qcow2 = qcow2_of(image);
    uint64_t offset = 0, size = image->source.size_bytes;

    while (offset < size) {
        struct qcow2_run run;

        if (qcow2_find_run(qcow2, offset, size - offset, &run, err) < 0)
            return -1;
        if (run.kind != QCOW2_UNALLOCATED && extents_add(own, offset, run.length, err) < 0)
            return -1;
        offset += run.length;
    }
    return 0;
}

const struct block_source_ops qcow2_source_ops = {.read = qcow2_read, .map = map};
