/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The qcow2 driver's front: probe, open, close, and its entry in the table of drivers. See
 * formats/qcow2.h for how the parts fit together.
 */
#include "formats/qcow2.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/io.h"
#include "base/text.h"
#include "formats/image_driver.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool qcow2_probe(const uint8_t *head, size_t length)
{
    return length >= 4 && load_be32(head) == QCOW2_MAGIC;
}

struct qcow2 *qcow2_new(int fd, const char *path, struct error *err)
{
    struct qcow2 *qcow2 = calloc(1, sizeof(*qcow2));

    if (!qcow2) {
        close(fd);
        error_set(err, ENOMEM, "qcow2 image");
        return NULL;
    }
    qcow2->fd = fd;
    qcow2->direct.fd = -1;
    qcow2->image.driver = &qcow2_driver;
    qcow2->image.path = text_copy(path);
    qcow2->image.source.ops = &qcow2_source_ops;
    pthread_mutex_init(&qcow2->write_lock, NULL);
    pthread_mutex_init(&qcow2->lock, NULL);
    pthread_mutex_init(&qcow2->decoder_lock, NULL);
    return qcow2;
}

void qcow2_free(struct qcow2 *qcow2)
{
    direct_close(&qcow2->direct);
    close(qcow2->fd);
    image_close(qcow2->backing);
    for (size_t i = 0; i < QCOW2_SLICE_COUNT; i++)
        free(qcow2->slices[i].table);
    free(qcow2->l1);
    qcow2_refcounts_close(qcow2);
    qcow2_creator_free(qcow2->creator);
    qcow2_decoders_free(qcow2);
    pthread_mutex_destroy(&qcow2->write_lock);
    pthread_mutex_destroy(&qcow2->lock);
    pthread_mutex_destroy(&qcow2->decoder_lock);
    free(qcow2->shown_backing_file);
    free(qcow2->shown_backing_format);
    free(qcow2->image.path);
    free(qcow2);
}

static void qcow2_close(struct image *image)
{
    qcow2_free(qcow2_of(image));
}

/* The first cluster is at most 2 MiB, and 2 MiB of the file always hold it. */
int qcow2_load_header(int fd, struct qcow2_header *header, uint64_t *file_size, struct error *err)
{
    size_t length = (size_t)1 << QCOW2_MAX_CLUSTER_BITS;
    AUTO_FREE uint8_t *head = NULL;

    if (io_size(fd, file_size, err) < 0)
        return -1;
    if (*file_size >= QCOW2_MAX_FILE_SIZE)
        return error_set(err, EFBIG, "a file of %llu bytes is too large for qcow2",
                         (unsigned long long)*file_size);
    length = (size_t)min_u64(length, *file_size);
    head = malloc(length + 1);
    if (!head)
        return error_set(err, ENOMEM, "qcow2 header");
    if (io_read_at(fd, head, length, 0, err) < 0 ||
        qcow2_header_decode(header, head, length, err) < 0)
        return -1;
    return qcow2_header_validate(header, *file_size, err);
}

static int load_header(struct qcow2 *qcow2, struct error *err)
{
    uint64_t file_size;

    if (qcow2_load_header(qcow2->fd, &qcow2->header, &file_size, err) < 0)
        return -1;
    qcow2->file_end = file_size;
    return 0;
}

static char *escape(const char *name)
{
    struct text text = {0};

    if (!name[0])
        return NULL;
    text_add_escaped(&text, name, strlen(name));
    return text_take(&text);
}

void qcow2_set_geometry(struct qcow2 *qcow2)
{
    qcow2->cluster_size = (uint64_t)1 << qcow2->header.cluster_bits;
    qcow2->slice_entries = (uint32_t)min_u64(qcow2->cluster_size, QCOW2_SLICE_BYTES) / 8;
    qcow2->slices_per_table = (uint32_t)(qcow2->cluster_size / 8 / qcow2->slice_entries);
    qcow2->image.source.size_bytes = qcow2->header.size_bytes;
    qcow2->shown_backing_file = escape(qcow2->header.backing_file);
    qcow2->shown_backing_format = escape(qcow2->header.backing_format);
}

static int open_for_writing(struct qcow2 *qcow2, struct error *err)
{
    if (qcow2->header.incompatible_features & QCOW2_INCOMPATIBLE_DIRTY)
        return error_set(err, 0,
                         "the qcow2 image is marked dirty (its refcounts may be wrong): "
                         "repair it with 'qemu-img check -r all' before writing to it");
    qcow2->image.is_writable = true;
    return qcow2_refcounts_open(qcow2, err);
}

static int open_backing(struct qcow2 *qcow2, const struct image_open_options *options,
                        unsigned chain_depth, struct error *err)
{
    const struct qcow2_header *header = &qcow2->header;

    if (!header->backing_file[0])
        return 0;
    qcow2->backing = image_open_backing(qcow2->image.path, header->backing_file,
                                        header->backing_format[0] ? header->backing_format : NULL,
                                        options, chain_depth + 1, err);
    return qcow2->backing ? 0 : -1;
}

static struct image *qcow2_open(int fd, const char *path, const struct image_open_options *options,
                                unsigned chain_depth, struct error *err)
{
    struct qcow2 *qcow2 = qcow2_new(fd, path, err);

    if (!qcow2)
        return NULL;
    if (load_header(qcow2, err) < 0)
        goto fail;
    qcow2_set_geometry(qcow2);
    if (qcow2_l1_load(qcow2, err) < 0 || open_backing(qcow2, options, chain_depth, err) < 0)
        goto fail;
    if (options->is_writable && open_for_writing(qcow2, err) < 0)
        goto fail;
    if (options->is_writable && options->is_direct)
        direct_open(&qcow2->direct, qcow2->fd);
    return &qcow2->image;
fail:
    qcow2_free(qcow2);
    return NULL;
}

static int qcow2_flush(struct image *image, struct error *err)
{
    return io_sync(qcow2_of(image)->fd, err);
}

static void qcow2_get_info(const struct image *image, struct image_info *info)
{
    const struct qcow2 *qcow2 = qcow2_of(image);
    const struct qcow2_header *header = &qcow2->header;
    struct stat status;

    info->cluster_size = (uint32_t)qcow2->cluster_size;
    info->version = header->version;
    info->snapshots = header->snapshot_count;
    info->compression = header->compression_type == QCOW2_COMPRESSION_ZSTD ? IMAGE_COMPRESSION_ZSTD
                                                                           : IMAGE_COMPRESSION_ZLIB;
    info->backing_file = qcow2->shown_backing_file;
    info->backing_format = qcow2->shown_backing_format;
    if (fstat(qcow2->fd, &status) == 0)
        info->allocated_bytes = (uint64_t)status.st_blocks * 512;
}

const struct image_driver qcow2_driver = {
    .name = "qcow2",
    .extension = "qcow2",
    .description = "QEMU's copy-on-write image, versions 2 and 3",
    .can_back = true,
    .can_compress = true,
    .probe = qcow2_probe,
    .open = qcow2_open,
    .create = qcow2_create,
    .write = qcow2_write,
    .write_zeroes = qcow2_write_zeroes,
    .locate = qcow2_locate,
    .write_frame = qcow2_write_frame,
    .flush = qcow2_flush,
    .finish = qcow2_finish,
    .close = qcow2_close,
    .get_info = qcow2_get_info,
    .map_own = qcow2_map_own,
    .repair = qcow2_repair,
};
