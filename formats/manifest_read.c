/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Reads a manifest's file, from a descriptor or from memory, in one pass through a small buffer. A
 * file is trusted in nothing: the header's counts must add up to exactly the file's size before
 * anything is read by them, and memory is made for a name only when the name is there.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "formats/digest.h"
#include "formats/manifest_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_AT_ONCE 256u

/* Reads in order from memory, or from a descriptor through the buffer. */
struct reader {
    int fd; /* -1: all of it is in `data` */
    const uint8_t *data;
    uint64_t size, offset; /* of the whole; offset of the next byte to give out */
    struct digest digest;
    size_t filled, used;
    uint8_t buffer[MANIFEST_BUFFER_SIZE];
};

static int reader_fill(struct reader *reader, struct error *err)
{
    size_t length = (size_t)min_u64(MANIFEST_BUFFER_SIZE, reader->size - reader->offset);

    if (reader->fd < 0)
        memcpy(reader->buffer, reader->data + reader->offset, length);
    else if (io_read_at(reader->fd, reader->buffer, length, reader->offset, err) < 0)
        return -1;
    reader->filled = length;
    reader->used = 0;
    return 0;
}

static int reader_get(struct reader *reader, void *to, size_t length, struct error *err)
{
    uint8_t *at = to;

    if (!range_is_inside(reader->offset, length, reader->size))
        return error_set(err, 0, "cut short at %llu bytes", (unsigned long long)reader->size);
    while (length > 0) {
        size_t part;

        if (reader->used == reader->filled && reader_fill(reader, err) < 0)
            return -1;
        part = (size_t)min_u64(length, reader->filled - reader->used);
        memcpy(at, reader->buffer + reader->used, part);
        reader->used += part;
        reader->offset += part;
        at += part;
        length -= part;
    }
    return 0;
}

/* Every part but the closing sum is read by this. */
static int reader_get_summed(struct reader *reader, void *to, size_t length, struct error *err)
{
    if (reader_get(reader, to, length, err) < 0)
        return -1;
    digest_add(&reader->digest, to, length);
    return 0;
}

static int header_decode(const uint8_t *bytes, struct manifest_header *header, struct error *err)
{
    if (memcmp(bytes, MANIFEST_MAGIC, 8) != 0)
        return error_set(err, 0, "not a manifest (no \"" MANIFEST_MAGIC "\" at its start)");
    if (load_le32(bytes + 8) != MANIFEST_VERSION)
        return error_set(err, 0, "version %u: this program reads version %d", load_le32(bytes + 8),
                         MANIFEST_VERSION);
    if (load_le32(bytes + 12) != MANIFEST_HEADER_SIZE)
        return error_set(err, 0, "header size %u: must be %d", load_le32(bytes + 12),
                         MANIFEST_HEADER_SIZE);
    if (load_le32(bytes + 32) != CHUNK_SIZE)
        return error_set(err, 0, "chunk size %u: must be %u", load_le32(bytes + 32), CHUNK_SIZE);
    if (load_le32(bytes + 36) != MANIFEST_NAME_SHA256)
        return error_set(err, 0, "name algorithm %u: must be %d (SHA-256)", load_le32(bytes + 36),
                         MANIFEST_NAME_SHA256);
    if (load_le64(bytes + 72) != 0)
        return error_set(err, 0, "reserved field is not zero");
    *header = (struct manifest_header){
        .file_bytes = load_le64(bytes + 16),
        .size_bytes = load_le64(bytes + 24),
        .run_count = load_le64(bytes + 40),
        .name_count = load_le64(bytes + 48),
        .change_count = load_le64(bytes + 56),
        .image_length = load_le32(bytes + 64),
        .source_length = load_le32(bytes + 68),
    };
    return 0;
}

static int header_validate(const struct manifest_header *header, uint64_t file_bytes,
                           struct error *err)
{
    uint64_t expected;

    if (header->size_bytes == 0 || header->size_bytes > MANIFEST_MAX_SIZE)
        return error_set(err, 0, "disk size %llu: must be 1 byte to 64 TiB",
                         (unsigned long long)header->size_bytes);
    if (header->image_length >= sizeof(((struct manifest *)0)->image) ||
        header->source_length >= sizeof(((struct manifest *)0)->source))
        return error_set(err, 0, "names of %u and %u bytes: at most 255", header->image_length,
                         header->source_length);
    if (header->change_count > MANIFEST_MAX_CHANGES)
        return error_set(err, 0, "%llu changes: at most %zu",
                         (unsigned long long)header->change_count, MANIFEST_MAX_CHANGES);
    if (!manifest_header_file_bytes(header, &expected) || expected != header->file_bytes)
        return error_set(
            err, 0, "%llu runs, %llu names and %llu changes do not make %llu bytes",
            (unsigned long long)header->run_count, (unsigned long long)header->name_count,
            (unsigned long long)header->change_count, (unsigned long long)header->file_bytes);
    if (header->file_bytes != file_bytes)
        return error_set(err, 0, "%llu bytes where the header says %llu",
                         (unsigned long long)file_bytes, (unsigned long long)header->file_bytes);
    return 0;
}

static int read_header(struct reader *reader, struct manifest_header *header, struct error *err)
{
    uint8_t bytes[MANIFEST_HEADER_SIZE];

    if (reader_get_summed(reader, bytes, sizeof(bytes), err) < 0 ||
        header_decode(bytes, header, err) < 0)
        return -1;
    return header_validate(header, reader->size, err);
}

static int read_texts(struct reader *reader, const struct manifest_header *header,
                      struct manifest *manifest, struct error *err)
{
    if (reader_get_summed(reader, manifest->image, header->image_length, err) < 0 ||
        reader_get_summed(reader, manifest->source, header->source_length, err) < 0)
        return -1;
    if (memchr(manifest->image, 0, header->image_length) != NULL ||
        memchr(manifest->source, 0, header->source_length) != NULL)
        return error_set(err, 0, "a NUL inside a name");
    return manifest_texts_validate(manifest, err);
}

static int read_names(struct reader *reader, const struct manifest_visitor *visitor, uint64_t index,
                      uint64_t count, struct error *err)
{
    struct chunk_name names[NAMES_AT_ONCE];

    for (size_t part; count > 0; index += part, count -= part) {
        part = (size_t)min_u64(count, NAMES_AT_ONCE);
        if (reader_get_summed(reader, names, part * sizeof(names[0]), err) < 0 ||
            visitor->names(visitor->context, index, part, names, err) < 0)
            return -1;
    }
    return 0;
}

/* What was read of the runs. */
struct progress {
    uint64_t index, names_left;
    uint32_t last_state;
};

/* Checks a run against what is left of the disk and of the names. */
static int run_validate(const struct manifest *manifest, const struct progress *progress,
                        uint32_t state, uint64_t length, struct error *err)
{
    unsigned long long index = progress->index;

    if (length > manifest->chunk_count - progress->index)
        return error_set(err, 0, "a run of %llu chunks at chunk %llu: the disk has %llu",
                         (unsigned long long)length, index,
                         (unsigned long long)manifest->chunk_count);
    if (index > 0 && progress->last_state == state)
        return error_set(err, 0, "two runs of one state meet at chunk %llu", index);
    if (state == CHUNK_DATA && length > progress->names_left)
        return error_set(err, 0, "chunk %llu: more names than the header says", index);
    return 0;
}

static int read_run(struct reader *reader, const struct manifest *manifest,
                    const struct manifest_visitor *visitor, struct progress *progress,
                    struct error *err)
{
    uint8_t bytes[MANIFEST_RUN_SIZE];
    int result;

    if (reader_get_summed(reader, bytes, sizeof(bytes), err) < 0)
        return -1;
    uint32_t state = load_le32(bytes) >> MANIFEST_RUN_STATE_SHIFT;
    uint64_t length = (uint64_t)(load_le32(bytes) & MANIFEST_RUN_LENGTH_MASK) + 1;
    if (run_validate(manifest, progress, state, length, err) < 0)
        return -1;
    if (state == CHUNK_DATA)
        result = read_names(reader, visitor, progress->index, length, err);
    else
        result =
            visitor->run(visitor->context, progress->index, length, (enum chunk_state)state, err);
    progress->names_left -= state == CHUNK_DATA ? length : 0;
    progress->index += length;
    progress->last_state = state;
    return result;
}

static int read_runs(struct reader *reader, const struct manifest_header *header,
                     const struct manifest *manifest, const struct manifest_visitor *visitor,
                     struct error *err)
{
    struct progress progress = {.names_left = header->name_count};

    for (uint64_t i = 0; i < header->run_count; i++) {
        if (read_run(reader, manifest, visitor, &progress, err) < 0)
            return -1;
    }
    if (progress.index != manifest->chunk_count || progress.names_left != 0)
        return error_set(err, 0, "the runs end at chunk %llu of %llu, with %llu names unused",
                         (unsigned long long)progress.index,
                         (unsigned long long)manifest->chunk_count,
                         (unsigned long long)progress.names_left);
    return 0;
}

/* `least`: behind the change before. */
static int change_decode(const struct manifest *manifest, const uint8_t *bytes, uint64_t number,
                         uint64_t least, struct manifest_change *change, struct error *err)
{
    static const uint8_t zeroes[CHUNK_NAME_SIZE];
    uint64_t index = load_le64(bytes);

    if (index >= manifest->chunk_count || index < least)
        return error_set(err, 0, "change %llu: chunk %llu is out of order or outside the disk",
                         (unsigned long long)number, (unsigned long long)index);
    if (bytes[8] > CHUNK_UNREADABLE || memcmp(bytes + 9, zeroes, 7) != 0)
        return error_set(err, 0, "change %llu: state %u is not known", (unsigned long long)number,
                         bytes[8]);
    if (bytes[8] != CHUNK_DATA && memcmp(bytes + 16, zeroes, CHUNK_NAME_SIZE) != 0)
        return error_set(err, 0, "change %llu: a name without data", (unsigned long long)number);
    *change = (struct manifest_change){.index = index, .state = (enum chunk_state)bytes[8]};
    memcpy(change->name.bytes, bytes + 16, CHUNK_NAME_SIZE);
    return 0;
}

static int read_changes(struct reader *reader, const struct manifest_header *header,
                        const struct manifest *manifest, const struct manifest_visitor *visitor,
                        struct error *err)
{
    uint64_t least = 0;

    for (uint64_t i = 0; i < header->change_count; i++) {
        struct manifest_change change;
        uint8_t bytes[MANIFEST_CHANGE_SIZE];

        if (reader_get_summed(reader, bytes, sizeof(bytes), err) < 0 ||
            change_decode(manifest, bytes, i, least, &change, err) < 0 ||
            visitor->change(visitor->context, &change, header->change_count, err) < 0)
            return -1;
        least = change.index + 1;
    }
    return 0;
}

static int read_sum(struct reader *reader, struct error *err)
{
    uint8_t said[DIGEST_SIZE], real[DIGEST_SIZE];

    if (reader_get(reader, said, sizeof(said), err) < 0)
        return -1;
    digest_finish(&reader->digest, real);
    if (memcmp(said, real, sizeof(real)) != 0)
        return error_set(err, 0, "damaged: its contents do not match its closing SHA-256");
    return 0;
}

static int read_body(struct reader *reader, struct manifest *manifest,
                     const struct manifest_visitor *visitor, struct error *err)
{
    struct manifest_header header = {0};

    if (read_header(reader, &header, err) < 0 ||
        manifest_init(manifest, header.size_bytes, err) < 0 ||
        read_texts(reader, &header, manifest, err) < 0 ||
        (visitor->begin && visitor->begin(visitor->context, manifest, err) < 0) ||
        read_runs(reader, &header, manifest, visitor, err) < 0 ||
        read_changes(reader, &header, manifest, visitor, err) < 0)
        return -1;
    return read_sum(reader, err);
}

/* From a descriptor (-1: from memory). */
static int read_all(struct manifest *manifest, int fd, const uint8_t *data, uint64_t size,
                    const struct manifest_visitor *visitor, struct error *err)
{
    struct reader *reader = memory_new(1, sizeof(*reader));
    int result;

    *manifest = (struct manifest){0};
    reader->fd = fd;
    reader->data = data;
    reader->size = size;
    digest_init(&reader->digest);
    result = read_body(reader, manifest, visitor, err);
    if (result < 0)
        manifest_fini(manifest);
    digest_fini(&reader->digest);
    free(reader);
    return result;
}

/* --- into memory ---------------------------------------------------------------------------- */

static int keep_run(void *context, uint64_t first, uint64_t count, enum chunk_state state,
                    struct error *err)
{
    (void)err;
    manifest_set_run(context, first, count, state);
    return 0;
}

static int keep_names(void *context, uint64_t first, size_t count, const struct chunk_name *names,
                      struct error *err)
{
    (void)err;
    for (size_t i = 0; i < count; i++)
        manifest_set(context, first + i, CHUNK_DATA, &names[i]);
    return 0;
}

static int keep_change(void *context, const struct manifest_change *change, uint64_t count,
                       struct error *err)
{
    struct manifest *manifest = context;

    if (!manifest->changes) {
        manifest->changes = calloc((size_t)count, sizeof(*manifest->changes));
        if (!manifest->changes)
            return error_set(err, ENOMEM, "%llu changes", (unsigned long long)count);
        manifest->change_capacity = (size_t)count;
    }
    manifest->changes[manifest->change_count++] = *change;
    return 0;
}

static struct manifest_visitor keeper_of(struct manifest *manifest)
{
    return (struct manifest_visitor){
        .run = keep_run, .names = keep_names, .change = keep_change, .context = manifest};
}

int manifest_decode(struct manifest *manifest, const uint8_t *data, size_t length,
                    struct error *err)
{
    const struct manifest_visitor keeper = keeper_of(manifest);

    return read_all(manifest, -1, data, length, &keeper, err);
}

int manifest_read(struct manifest *manifest, int folder_fd, const char *name, struct error *err)
{
    const struct manifest_visitor keeper = keeper_of(manifest);

    return manifest_visit(manifest, &keeper, folder_fd, name, err);
}

int manifest_visit(struct manifest *manifest, const struct manifest_visitor *visitor, int folder_fd,
                   const char *name, struct error *err)
{
    AUTO_CLOSE int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    uint64_t size;

    *manifest = (struct manifest){0};
    if (fd < 0)
        return error_set(err, errno, "open %s", name);
    if (io_size(fd, &size, err) < 0 || read_all(manifest, fd, NULL, size, visitor, err) < 0)
        return error_wrap(err, "manifest %s", name);
    return 0;
}
