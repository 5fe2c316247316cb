/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * libarchive writes the archive, libzstd compresses it: in one piece and one thread, because the
 * pieces that several threads make depend on their number.
 */
#include "p2v/media/archive_write.h"

#include "base/checked.h"
#include "base/own.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zstd.h>

#define LEVEL 9 /* the larger half is compressed already: 15 saves 0.4 % */
#define PIECE_BYTES ((size_t)1 << 20)
#define WINDOW_LOG 23 /* 8 MiB: a machine of 512 MiB has other things to do with its memory */

static la_ssize_t write_text(struct archive *archive, void *opaque, const void *data, size_t length)
{
    (void)archive;
    text_add_bytes(opaque, data, length);
    return (la_ssize_t)length;
}

static int write_entry(struct archive *archive, struct archive_entry *header,
                       const struct file_entry *entry, size_t number, uint64_t date)
{
    bool has_data = S_ISREG(entry->mode) && entry->length;
    archive_entry_clear(header);
    archive_entry_set_pathname(header, entry->path);
    archive_entry_set_mode(header, entry->mode);
    archive_entry_set_ino64(header, (la_int64_t)number);
    archive_entry_set_nlink(header, S_ISDIR(entry->mode) ? 2 : 1);
    archive_entry_set_mtime(header, (time_t)date, 0);
    if (S_ISLNK(entry->mode))
        archive_entry_set_symlink(header, entry->data);
    archive_entry_set_size(header, has_data ? (la_int64_t)entry->length : 0);
    if (archive_write_header(archive, header) != ARCHIVE_OK)
        return -1;
    return !has_data || archive_write_data(archive, entry->data, entry->length) ==
                            (la_ssize_t)entry->length
               ? 0
               : -1;
}

static int write_all(struct archive *archive, struct archive_entry *header,
                     const struct file_tree *tree, uint64_t date, struct text *out)
{
    if (archive_write_set_format_cpio_newc(archive) != ARCHIVE_OK ||
        archive_write_add_filter_none(archive) != ARCHIVE_OK ||
        archive_write_set_bytes_per_block(archive, 0) != ARCHIVE_OK ||
        archive_write_open(archive, out, NULL, write_text, NULL) != ARCHIVE_OK)
        return -1;
    for (size_t i = 0; i < tree->count; i++) {
        if (write_entry(archive, header, &tree->entries[i], i + 1, date) != 0)
            return -1;
    }
    return archive_write_close(archive) == ARCHIVE_OK ? 0 : -1;
}

int archive_write_cpio(const struct file_tree *tree, uint64_t date, struct text *out,
                       struct error *err)
{
    struct archive *archive = archive_write_new();
    struct archive_entry *header = archive_entry_new();
    int result = archive && header ? write_all(archive, header, tree, date, out) : -1;
    if (result != 0)
        error_set(err, archive ? archive_errno(archive) : ENOMEM, "write a cpio archive");
    archive_entry_free(header);
    archive_write_free(archive);
    return result;
}

static bool set_up(ZSTD_CCtx *context, size_t length)
{
    return !ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, LEVEL)) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, WINDOW_LOG)) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)) &&
           !ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(context, length));
}

/* Piece by piece, so that it can be stopped; the pieces are the same each time. */
static int compress_pieces(ZSTD_CCtx *context, const struct text *in, ZSTD_outBuffer *out,
                           const atomic_bool *stop, struct error *err)
{
    for (size_t done = 0;;) {
        size_t length = min_u64(in->length - done, PIECE_BYTES);
        bool is_last = done + length == in->length;
        ZSTD_inBuffer piece = {in->data + done, length, 0};
        size_t left =
            ZSTD_compressStream2(context, out, &piece, is_last ? ZSTD_e_end : ZSTD_e_continue);
        /* The room is what the whole can come to: nothing can be left over. */
        if (ZSTD_isError(left) || piece.pos != length || (is_last && left))
            return error_set(err, 0, "compress the initramfs: %s",
                             ZSTD_isError(left) ? ZSTD_getErrorName(left) : "no room");
        if (stop && *stop)
            return error_set(err, 0, "stopped");
        if (is_last)
            return 0;
        done += length;
    }
}

int archive_compress(const struct text *in, struct text *out, const atomic_bool *stop,
                     struct error *err)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    size_t room = ZSTD_compressBound(in->length);
    AUTO_FREE char *data = memory_new(1, room);
    ZSTD_outBuffer packed = {data, room, 0};
    int result = context && set_up(context, in->length)
                     ? compress_pieces(context, in, &packed, stop, err)
                     : error_set(err, ENOMEM, "compress the initramfs");
    ZSTD_freeCCtx(context);
    if (result != 0)
        return -1;
    text_add_bytes(out, data, packed.pos);
    /* A further archive may be put behind it, and the kernel looks for those at multiples of 4. */
    text_add_bytes(out, "\0\0\0", (4 - packed.pos % 4) % 4);
    return 0;
}
