/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Writing the archive that is added to an initramfs, with libarchive. It is not compressed: it is
 * some hundred KiB, and every kernel reads it.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/own.h"
#include "bootfix/initramfs.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define LZ4_MAGIC 0x184c2102u
#define LZ4_LITERALS_BYTES ((size_t)1 << 20) /* of one block */

static la_ssize_t write_text(struct archive *archive, void *opaque, const void *data, size_t length)
{
    (void)archive;
    text_add_bytes(opaque, data, length);
    return (la_ssize_t)length;
}

/* Times, owners and numbers are fixed: the same modules give the same bytes. */
static int write_entry(struct archive *archive, struct archive_entry *header,
                       const struct initramfs_entry *entry, size_t number)
{
    archive_entry_clear(header);
    archive_entry_set_pathname(header, entry->path);
    archive_entry_set_mode(header, entry->is_folder ? S_IFDIR | 0755 : S_IFREG | 0644);
    archive_entry_set_ino64(header, (la_int64_t)number);
    archive_entry_set_nlink(header, entry->is_folder ? 2 : 1);
    archive_entry_set_mtime(header, 0, 0);
    archive_entry_set_size(header, entry->is_folder ? 0 : (la_int64_t)entry->length);
    if (archive_write_header(archive, header) != ARCHIVE_OK)
        return -1;
    if (entry->is_folder || entry->length == 0)
        return 0;
    la_ssize_t written = archive_write_data(archive, entry->data, entry->length);
    return written == (la_ssize_t)entry->length ? 0 : -1;
}

static int write_all(struct archive *archive, struct archive_entry *header,
                     const struct initramfs_entry *entries, size_t count, struct text *out)
{
    if (archive_write_set_format_cpio_newc(archive) != ARCHIVE_OK ||
        archive_write_add_filter_none(archive) != ARCHIVE_OK ||
        archive_write_set_bytes_per_block(archive, 0) != ARCHIVE_OK ||
        archive_write_open(archive, out, NULL, write_text, NULL) != ARCHIVE_OK)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (write_entry(archive, header, &entries[i], i + 1) < 0)
            return -1;
    return archive_write_close(archive) == ARCHIVE_OK ? 0 : -1;
}

static int build_cpio(const struct initramfs_entry *entries, size_t count, struct text *out,
                      struct error *err)
{
    struct archive *archive = archive_write_new();
    struct archive_entry *header = archive_entry_new();
    int result = archive && header ? write_all(archive, header, entries, count, out) : -1;
    if (result < 0)
        error_set(err, archive ? archive_errno(archive) : ENOMEM, "write a cpio archive");
    archive_entry_free(header);
    archive_write_free(archive);
    return result;
}

/* A block of literals only, which any decoder copies: a token, the length in bytes of 255, data. */
static void add_lz4_block(struct text *out, const char *data, size_t length)
{
    AUTO(text) block = {0};
    unsigned char token = (unsigned char)(min_u64(length, 15) << 4);
    text_add_bytes(&block, &token, 1);
    if (length >= 15) {
        size_t left = length - 15;
        for (; left >= 255; left -= 255)
            text_add_bytes(&block, "\xff", 1);
        unsigned char rest = (unsigned char)left;
        text_add_bytes(&block, &rest, 1);
    }
    text_add_bytes(&block, data, length);

    unsigned char size[4];
    store_le32(size, (uint32_t)block.length);
    text_add_bytes(out, size, sizeof(size));
    text_add_bytes(out, block.data, block.length);
}

static void add_lz4(struct text *out, const struct text *cpio)
{
    unsigned char magic[4];
    store_le32(magic, LZ4_MAGIC);
    text_add_bytes(out, magic, sizeof(magic));
    for (size_t done = 0; done < cpio->length;) {
        size_t part = min_u64(cpio->length - done, LZ4_LITERALS_BYTES);
        add_lz4_block(out, cpio->data + done, part);
        done += part;
    }
}

int initramfs_build_addition(const struct initramfs_entry *entries, size_t count, size_t length,
                             enum unpack_kind last, struct text *out, struct error *err)
{
    AUTO(text) cpio = {0};
    if (build_cpio(entries, count, &cpio, err) < 0)
        return -1;
    if (last == UNPACK_LZ4) {
        add_lz4(out, &cpio);
        return 0;
    }
    text_add_bytes(out, "\0\0\0", (size_t)(align_up(length, 4) - length));
    text_add_bytes(out, cpio.data, cpio.length);
    return 0;
}
