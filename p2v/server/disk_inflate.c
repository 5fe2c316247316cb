/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Inflating what an agent sent. A part is one zstd frame that says its content size and nothing
 * behind it; both are checked before anything is inflated, and the output has no more room than
 * the chunks of the frame, so that a small one cannot become much.
 */
#include "p2v/server/disk_inflate.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

void disk_inflate_fini(struct disk_inflate *inflate)
{
    free(inflate->buffer);
    ZSTD_freeDCtx(inflate->decoder);
    *inflate = (struct disk_inflate){0};
}

static int breach(struct error *err, const char *what, size_t length, size_t expected)
{
    error_set(err, 0, "DATA: %s: %zu bytes for %zu", what, length, expected);
    if (err)
        err->errnum = EPROTO;
    return -1;
}

static int set_up(struct disk_inflate *inflate, struct error *err)
{
    if (!inflate->buffer)
        inflate->buffer = malloc((size_t)WIRE_MAX_DATA * CHUNK_SIZE);
    if (!inflate->decoder)
        inflate->decoder = ZSTD_createDCtx();
    if (!inflate->buffer || !inflate->decoder)
        return error_set(err, ENOMEM, "inflate DATA");
    return 0;
}

/* zstd also reads frames of old versions and skippable ones: only today's are of the wire. */
static int inflate_frame(struct disk_inflate *inflate, const struct wire_part *part, uint8_t *to,
                         size_t length, struct error *err)
{
    size_t got;

    if (part->length < 4 || load_le32(part->data) != ZSTD_MAGICNUMBER)
        return breach(err, "not a zstd frame", part->length, length);
    if (ZSTD_getFrameContentSize(part->data, part->length) != length)
        return breach(err, "a zstd frame of another or no content size", part->length, length);
    got = ZSTD_findFrameCompressedSize(part->data, part->length);
    if (ZSTD_isError(got) || got != part->length)
        return breach(err, "not exactly one zstd frame", part->length, length);
    got = ZSTD_decompressDCtx(inflate->decoder, to, length, part->data, part->length);
    if (ZSTD_isError(got) || got != length)
        return breach(err, "a damaged zstd frame", part->length, length);
    return 0;
}

/* One frame for all of them. */
static int inflate_joined(struct disk_inflate *inflate, const struct wire_data *data,
                          const size_t *lengths, struct error *err)
{
    size_t total = 0;

    for (unsigned i = 0; i < data->count; i++)
        total += lengths[i];
    return inflate_frame(inflate, &data->parts[0], inflate->buffer, total, err);
}

/* Where a part is as long as its chunk, it is the chunk. */
static bool is_plain(const struct wire_data *data, const size_t *lengths)
{
    for (unsigned i = 0; i < data->count; i++) {
        if (data->parts[i].length != lengths[i] ||
            (i && data->parts[i].data != data->parts[i - 1].data + lengths[i - 1]))
            return false;
    }
    return true;
}

const uint8_t *disk_inflate_all(struct disk_inflate *inflate, const struct wire_data *data,
                                const size_t *lengths, struct error *err)
{
    uint8_t *to;

    if (data->encoding != WIRE_ZSTD_JOINED && is_plain(data, lengths))
        return data->parts[0].data;
    if (set_up(inflate, err) < 0)
        return NULL;
    if (data->encoding == WIRE_ZSTD_JOINED)
        return inflate_joined(inflate, data, lengths, err) == 0 ? inflate->buffer : NULL;
    to = inflate->buffer;
    for (unsigned i = 0; i < data->count; to += lengths[i++]) {
        const struct wire_part *part = &data->parts[i];

        if (part->length == lengths[i])
            memcpy(to, part->data, lengths[i]);
        else if (data->encoding != WIRE_ZSTD)
            return breach(err, "not its length", part->length, lengths[i]), NULL;
        else if (inflate_frame(inflate, part, to, lengths[i], err) < 0)
            return NULL;
    }
    return inflate->buffer;
}
