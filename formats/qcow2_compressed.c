/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Compressed clusters: a raw deflate stream or a zstd frame that fills one cluster exactly, with
 * anything behind it in its last sector. Decoders are kept for the next reader together with the
 * cluster they decoded last, so that small reads in sequence decode each cluster once.
 */
#include "base/checked.h"
#include "base/io.h"
#include "formats/image_driver.h"
#include "formats/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

/* zlib: the specification's window is 4 KiB; the largest reads that too. */
#define ZLIB_RAW_WINDOW_BITS (-15)

struct qcow2_decoder {
    struct qcow2_decoder *next;
    bool has_cluster;
    uint64_t entry; /* of the cluster it holds */
    uint8_t *input; /* at most 2 clusters, see qcow2_run.host_length */
    uint8_t *cluster;
    z_stream zlib;   /* when has_zlib */
    ZSTD_DCtx *zstd; /* or this one, as the image's compression type says */
    bool has_zlib;
};

/* Both decoders fill the cluster exactly, or fail. */
static int inflate_zlib(struct qcow2_decoder *decoder, size_t frame_length, void *cluster,
                        size_t cluster_size, struct error *err)
{
    z_stream *stream = &decoder->zlib;

    inflateReset(stream);
    stream->next_in = decoder->input;
    stream->avail_in = (uInt)frame_length;
    stream->next_out = cluster;
    stream->avail_out = (uInt)cluster_size;
    inflate(stream, Z_FINISH);
    if (stream->avail_out != 0)
        return error_set(err, 0, "the deflate stream is damaged");
    return 0;
}

/*
 * Frame by frame and straight into the cluster: unlike the streaming decoder this allocates no
 * window, however large a hostile frame asks for one.
 */
static int inflate_zstd(struct qcow2_decoder *decoder, size_t frame_length, void *cluster,
                        size_t cluster_size, struct error *err)
{
    const uint8_t *from = decoder->input;
    uint8_t *to = cluster;

    while (cluster_size) {
        size_t whole = ZSTD_findFrameCompressedSize(from, frame_length), got;

        if (ZSTD_isError(whole))
            return error_set(err, 0, "the zstd frame is damaged: %s", ZSTD_getErrorName(whole));
        got = ZSTD_decompressDCtx(decoder->zstd, to, cluster_size, from, whole);
        if (ZSTD_isError(got))
            return error_set(err, 0, "the zstd frame is damaged: %s", ZSTD_getErrorName(got));
        from += whole;
        frame_length -= whole;
        to += got;
        cluster_size -= got;
    }
    return 0;
}

static void decoder_free(struct qcow2_decoder *decoder)
{
    if (decoder->has_zlib)
        inflateEnd(&decoder->zlib);
    ZSTD_freeDCtx(decoder->zstd);
    free(decoder->input);
    free(decoder->cluster);
    free(decoder);
}

static bool decoder_set_up(struct qcow2_decoder *decoder, const struct qcow2 *qcow2)
{
    decoder->input = malloc(2 * qcow2->cluster_size);
    decoder->cluster = malloc(qcow2->cluster_size);
    if (!decoder->input || !decoder->cluster)
        return false;
    if (qcow2->header.compression_type == QCOW2_COMPRESSION_ZSTD) {
        decoder->zstd = ZSTD_createDCtx();
        return decoder->zstd != NULL;
    }
    decoder->has_zlib = inflateInit2(&decoder->zlib, ZLIB_RAW_WINDOW_BITS) == Z_OK;
    return decoder->has_zlib;
}

static struct qcow2_decoder *decoder_new(const struct qcow2 *qcow2, struct error *err)
{
    struct qcow2_decoder *decoder = calloc(1, sizeof(*decoder));

    if (decoder && decoder_set_up(decoder, qcow2))
        return decoder;
    if (decoder)
        decoder_free(decoder);
    error_set(err, ENOMEM, "decoder of compressed clusters");
    return NULL;
}

/* The idle decoder that holds this cluster, or any, or a new one. */
static struct qcow2_decoder *decoder_take(struct qcow2 *qcow2, uint64_t entry, struct error *err)
{
    struct qcow2_decoder **place, *decoder;

    pthread_mutex_lock(&qcow2->decoder_lock);
    place = &qcow2->idle_decoders;
    while (*place && !((*place)->has_cluster && (*place)->entry == entry))
        place = &(*place)->next;
    if (!*place)
        place = &qcow2->idle_decoders;
    decoder = *place;
    if (decoder)
        *place = decoder->next;
    pthread_mutex_unlock(&qcow2->decoder_lock);
    return decoder ? decoder : decoder_new(qcow2, err);
}

/* There are never more than there were readers at once. */
static void decoder_give_back(struct qcow2 *qcow2, struct qcow2_decoder *decoder)
{
    pthread_mutex_lock(&qcow2->decoder_lock);
    decoder->next = qcow2->idle_decoders;
    qcow2->idle_decoders = decoder;
    pthread_mutex_unlock(&qcow2->decoder_lock);
}

void qcow2_decoders_free(struct qcow2 *qcow2)
{
    while (qcow2->idle_decoders) {
        struct qcow2_decoder *decoder = qcow2->idle_decoders;

        qcow2->idle_decoders = decoder->next;
        decoder_free(decoder);
    }
}

static int decode(struct qcow2 *qcow2, struct qcow2_decoder *decoder, const struct qcow2_run *run,
                  void *cluster, struct error *err)
{
    /* The last sector of a file need not be whole. */
    size_t stored =
        (size_t)min_u64(run->host_length, atomic_load(&qcow2->file_end) - run->host_offset);
    int result;

    if (image_file_read_padded(qcow2->fd, decoder->input, stored, run->host_offset, err) < 0)
        return -1;
    result = decoder->zstd ? inflate_zstd(decoder, stored, cluster, qcow2->cluster_size, err)
                           : inflate_zlib(decoder, stored, cluster, qcow2->cluster_size, err);
    if (result < 0)
        return error_wrap(err, "compressed cluster at 0x%llx of the file",
                          (unsigned long long)run->host_offset);
    return 0;
}

static int decode_into_cache(struct qcow2 *qcow2, struct qcow2_decoder *decoder,
                             const struct qcow2_run *run, struct error *err)
{
    if (decoder->has_cluster && decoder->entry == run->entry)
        return 0;
    decoder->has_cluster = false;
    if (decode(qcow2, decoder, run, decoder->cluster, err) < 0)
        return -1;
    /* Never stale: nothing is written where a compressed cluster was. */
    decoder->entry = run->entry;
    decoder->has_cluster = true;
    return 0;
}

int qcow2_read_compressed(struct qcow2 *qcow2, const struct qcow2_run *run, size_t skip,
                          void *buffer, size_t length, struct error *err)
{
    struct qcow2_decoder *decoder = decoder_take(qcow2, run->entry, err);
    int result;

    if (!decoder)
        return -1;
    if (skip == 0 && length == qcow2->cluster_size) {
        result = decode(qcow2, decoder, run, buffer, err);
    } else {
        result = decode_into_cache(qcow2, decoder, run, err);
        if (result == 0)
            memcpy(buffer, decoder->cluster + skip, length);
    }
    decoder_give_back(qcow2, decoder);
    return result;
}
