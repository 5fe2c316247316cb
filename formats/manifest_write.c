/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Writes a manifest's file, streaming through a small buffer and a running SHA-256. The counts in
 * the header come from a first walk over the chunks.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/io.h"
#include "base/text.h"
#include "formats/digest.h"
#include "formats/manifest_file.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Size of a file with these counts; false when no file can have it. */
bool manifest_header_file_bytes(const struct manifest_header *header, uint64_t *bytes)
{
    uint64_t runs, names, changes;

    *bytes = MANIFEST_HEADER_SIZE + header->image_length + header->source_length + DIGEST_SIZE;
    return checked_mul(header->run_count, MANIFEST_RUN_SIZE, &runs) &&
           checked_mul(header->name_count, CHUNK_NAME_SIZE, &names) &&
           checked_mul(header->change_count, MANIFEST_CHANGE_SIZE, &changes) &&
           checked_add(*bytes, runs, bytes) && checked_add(*bytes, names, bytes) &&
           checked_add(*bytes, changes, bytes);
}

static bool has_control(const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at != 0; at++) {
        if (*at < 0x20 || *at == 0x7f)
            return true;
    }
    return false;
}

int manifest_texts_validate(const struct manifest *manifest, struct error *err)
{
    if (has_control(manifest->image) || has_control(manifest->source))
        return error_set(err, 0, "a name has control characters");
    if (strchr(manifest->image, '/') != NULL || strcmp(manifest->image, "..") == 0 ||
        strcmp(manifest->image, ".") == 0)
        return error_set(err, 0, "image \"%s\": must be a file beside the manifest",
                         manifest->image);
    return 0;
}

/* Names read in one go. */
#define NAMES_BATCH 256u

struct writer {
    int fd;
    const struct manifest *manifest;
    const struct manifest_contents *contents; /* NULL: the manifest's own */
    struct digest digest;
    size_t used;
    uint8_t buffer[MANIFEST_BUFFER_SIZE];
};

static int writer_flush(struct writer *writer, struct error *err)
{
    size_t used = writer->used;

    writer->used = 0;
    digest_add(&writer->digest, writer->buffer, used);
    return io_write(writer->fd, writer->buffer, used, err);
}

/* Pieces are small: records and texts. */
static int writer_add(struct writer *writer, const void *data, size_t length, struct error *err)
{
    assert(length <= MANIFEST_BUFFER_SIZE);
    if (writer->used + length > MANIFEST_BUFFER_SIZE && writer_flush(writer, err) < 0)
        return -1;
    memcpy(writer->buffer + writer->used, data, length);
    writer->used += length;
    return 0;
}

/* Length of the run of one state that begins at a chunk. */
static uint64_t run_length(const struct manifest *manifest, uint64_t index)
{
    enum chunk_state state = manifest_state(manifest, index);
    uint64_t end = index + 1;

    while (end < manifest->chunk_count && manifest_state(manifest, end) == state)
        end++;
    return end - index;
}

/* The run of one state that begins at a chunk, as long as it is. */
static int find_run(const struct writer *writer, uint64_t index, enum chunk_state *state,
                    uint64_t *length, struct error *err)
{
    const struct manifest_contents *contents = writer->contents;
    enum chunk_state next;
    uint64_t more;

    if (!contents) {
        *state = manifest_state(writer->manifest, index);
        *length = run_length(writer->manifest, index);
        return 0;
    }
    if (contents->run(contents->context, index, state, length, err) < 0)
        return -1;
    while (index + *length < writer->manifest->chunk_count) {
        if (contents->run(contents->context, index + *length, &next, &more, err) < 0)
            return -1;
        if (next != *state)
            break;
        *length += more;
    }
    return 0;
}

static int header_count(const struct writer *writer, struct manifest_header *header,
                        struct error *err)
{
    const struct manifest *manifest = writer->manifest;
    enum chunk_state state;
    uint64_t length;

    *header = (struct manifest_header){
        .size_bytes = manifest->size_bytes,
        .change_count = manifest->change_count,
        .image_length = (uint32_t)strlen(manifest->image),
        .source_length = (uint32_t)strlen(manifest->source),
    };
    for (uint64_t index = 0; index < manifest->chunk_count; index += length) {
        if (find_run(writer, index, &state, &length, err) < 0)
            return -1;
        header->run_count++;
        if (state == CHUNK_DATA)
            header->name_count += length;
    }
    (void)manifest_header_file_bytes(header, &header->file_bytes); /* of at most 2^30 chunks */
    return 0;
}

static int write_header(struct writer *writer, struct error *err)
{
    const struct manifest *manifest = writer->manifest;
    uint8_t bytes[MANIFEST_HEADER_SIZE] = {0};
    struct manifest_header header;

    if (header_count(writer, &header, err) < 0)
        return -1;
    memcpy(bytes, MANIFEST_MAGIC, 8);
    store_le32(bytes + 8, MANIFEST_VERSION);
    store_le32(bytes + 12, MANIFEST_HEADER_SIZE);
    store_le64(bytes + 16, header.file_bytes);
    store_le64(bytes + 24, header.size_bytes);
    store_le32(bytes + 32, CHUNK_SIZE);
    store_le32(bytes + 36, MANIFEST_NAME_SHA256);
    store_le64(bytes + 40, header.run_count);
    store_le64(bytes + 48, header.name_count);
    store_le64(bytes + 56, header.change_count);
    store_le32(bytes + 64, header.image_length);
    store_le32(bytes + 68, header.source_length);
    if (writer_add(writer, bytes, sizeof(bytes), err) < 0 ||
        writer_add(writer, manifest->image, header.image_length, err) < 0)
        return -1;
    return writer_add(writer, manifest->source, header.source_length, err);
}

static int write_own_names(struct writer *writer, const struct manifest *manifest, uint64_t first,
                           uint64_t count, struct error *err)
{
    for (uint64_t i = first; i < first + count; i++) {
        if (writer_add(writer, manifest_name(manifest, i), CHUNK_NAME_SIZE, err) < 0)
            return -1;
    }
    return 0;
}

static int write_read_names(struct writer *writer, uint64_t first, uint64_t count,
                            struct error *err)
{
    struct chunk_name names[NAMES_BATCH];

    for (uint64_t end = first + count; first < end; first += NAMES_BATCH) {
        size_t part = (size_t)min_u64(end - first, NAMES_BATCH);

        if (writer->contents->names(writer->contents->context, first, part, names, err) < 0 ||
            writer_add(writer, names, part * CHUNK_NAME_SIZE, err) < 0)
            return -1;
    }
    return 0;
}

/* One run, and the names of its chunks when it is data. */
static int write_run(struct writer *writer, uint64_t index, enum chunk_state state, uint64_t length,
                     struct error *err)
{
    uint8_t run[MANIFEST_RUN_SIZE];

    store_le32(run, (uint32_t)state << MANIFEST_RUN_STATE_SHIFT | (uint32_t)(length - 1));
    if (writer_add(writer, run, sizeof(run), err) < 0)
        return -1;
    if (state != CHUNK_DATA)
        return 0;
    return writer->contents ? write_read_names(writer, index, length, err)
                            : write_own_names(writer, writer->manifest, index, length, err);
}

static int write_runs(struct writer *writer, struct error *err)
{
    enum chunk_state state;
    uint64_t length;

    for (uint64_t index = 0; index < writer->manifest->chunk_count; index += length) {
        if (find_run(writer, index, &state, &length, err) < 0 ||
            write_run(writer, index, state, length, err) < 0)
            return -1;
    }
    return 0;
}

static int write_changes(struct writer *writer, const struct manifest *manifest, struct error *err)
{
    for (size_t i = 0; i < manifest->change_count; i++) {
        const struct manifest_change *change = &manifest->changes[i];
        uint8_t bytes[MANIFEST_CHANGE_SIZE] = {0};

        store_le64(bytes, change->index);
        bytes[8] = (uint8_t)change->state;
        memcpy(bytes + 16, change->name.bytes, CHUNK_NAME_SIZE);
        if (writer_add(writer, bytes, sizeof(bytes), err) < 0)
            return -1;
    }
    return 0;
}

static int write_sum(struct writer *writer, struct error *err)
{
    uint8_t sum[DIGEST_SIZE];

    if (writer_flush(writer, err) < 0)
        return -1;
    digest_finish(&writer->digest, sum);
    return io_write(writer->fd, sum, sizeof(sum), err);
}

static int write_all(const struct manifest *manifest, const struct manifest_contents *contents,
                     int fd, struct error *err)
{
    struct writer *writer = memory_new(1, sizeof(*writer));
    int result = -1;

    writer->fd = fd;
    writer->manifest = manifest;
    writer->contents = contents;
    digest_init(&writer->digest);
    if (write_header(writer, err) == 0 && write_runs(writer, err) == 0 &&
        write_changes(writer, manifest, err) == 0)
        result = write_sum(writer, err);
    digest_fini(&writer->digest);
    free(writer);
    return result;
}

int manifest_write_contents(const struct manifest *manifest,
                            const struct manifest_contents *contents, int folder_fd,
                            const char *name, struct error *err)
{
    AUTO(new_file) file = {.fd = -1, .folder_fd = -1};

    if (manifest_texts_validate(manifest, err) < 0 ||
        new_file_open(&file, folder_fd, name, 0644, err) < 0 ||
        write_all(manifest, contents, file.fd, err) < 0 || new_file_commit(&file, err) < 0)
        return error_wrap(err, "manifest %s", name);
    return 0;
}

int manifest_write(const struct manifest *manifest, int folder_fd, const char *name,
                   struct error *err)
{
    return manifest_write_contents(manifest, NULL, folder_fd, name, err);
}
