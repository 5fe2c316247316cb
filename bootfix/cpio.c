/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The newc reader: a machine of four states, as the kernel's own.
 */
#include "bootfix/cpio.h"

#include "base/checked.h"

#include <string.h>
#include <sys/stat.h>

/* Eight hexadecimal digits each, behind a magic number of six bytes. */
enum field { FIELD_MODE = 1, FIELD_FILE_SIZE = 6, FIELD_NAME_SIZE = 11 };
#define FIELD_DIGITS 8
#define MAGIC_BYTES 6
#define TRAILER "TRAILER!!!"

bool cpio_detect(const void *data, size_t length)
{
    return length >= MAGIC_BYTES &&
           (memcmp(data, "070701", MAGIC_BYTES) == 0 || memcmp(data, "070702", MAGIC_BYTES) == 0);
}

void cpio_reader_init(struct cpio_reader *reader, struct cpio_visitor *visitor)
{
    memset(reader, 0, sizeof(*reader));
    reader->visitor = visitor;
}

static bool parse_field(const char *header, enum field field, uint32_t *value)
{
    const char *digits = header + MAGIC_BYTES + (size_t)field * FIELD_DIGITS;
    *value = 0;
    for (size_t i = 0; i < FIELD_DIGITS; i++) {
        char c = digits[i];
        uint32_t digit;
        if (c >= '0' && c <= '9')
            digit = (uint32_t)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            digit = (uint32_t)((c | 0x20) - 'a') + 10;
        else
            return false;
        *value = *value << 4 | digit;
    }
    return true;
}

static int parse_header(struct cpio_reader *reader, struct error *err)
{
    uint32_t mode, size, name_size;
    if (!cpio_detect(reader->header, CPIO_HEADER_BYTES))
        return error_set(err, 0, "damaged cpio archive: no header where one must be");
    if (!parse_field(reader->header, FIELD_MODE, &mode) ||
        !parse_field(reader->header, FIELD_FILE_SIZE, &size) ||
        !parse_field(reader->header, FIELD_NAME_SIZE, &name_size))
        return error_set(err, 0, "damaged cpio archive: a header's number has other digits");
    if (name_size == 0 || name_size > CPIO_MAX_NAME_BYTES)
        return error_set(err, 0, "damaged cpio archive: a name of %u bytes", name_size);
    reader->mode = (mode_t)mode;
    reader->data_left = size;
    reader->padding_left = (size_t)(align_up(size, 4) - size);
    reader->name_bytes =
        (size_t)align_up(CPIO_HEADER_BYTES + (uint64_t)name_size, 4) - CPIO_HEADER_BYTES;
    reader->filled = 0;
    reader->state = CPIO_NAME;
    return 0;
}

static const char *skip_root(const char *path)
{
    for (;;) {
        if (path[0] == '/')
            path++;
        else if (path[0] == '.' && (path[1] == '/' || path[1] == '\0'))
            path++;
        else
            return path;
    }
}

static bool leaves_root(const char *path)
{
    for (const char *at = path; *at; at += strspn(at, "/")) {
        size_t length = strcspn(at, "/");
        if (length == 2 && memcmp(at, "..", 2) == 0)
            return true;
        at += length;
    }
    return false;
}

static int begin_member(struct cpio_reader *reader, struct error *err)
{
    reader->name[reader->name_bytes - 1] = '\0';
    if (strcmp(reader->name, TRAILER) == 0) {
        /* Its size is zero in honest archives; the kernel forgets it, too. */
        reader->state = CPIO_BETWEEN;
        return 0;
    }
    struct cpio_member member = {
        .path = skip_root(reader->name),
        .mode = reader->mode,
        .size_bytes = reader->data_left,
    };
    reader->is_wanted = false;
    reader->state = CPIO_DATA;
    if (member.path[0] == '\0' || leaves_root(member.path))
        return 0;
    return reader->visitor->begin(reader->visitor, &member, &reader->is_wanted, err);
}

static int end_member(struct cpio_reader *reader, struct error *err)
{
    reader->state = CPIO_HEADER;
    reader->filled = 0;
    if (!reader->is_wanted)
        return 0;
    reader->is_wanted = false;
    return reader->visitor->end(reader->visitor, err);
}

static size_t fill(struct cpio_reader *reader, char *to, size_t wanted, const char *data,
                   size_t length)
{
    size_t part = min_u64(wanted - reader->filled, length);
    memcpy(to + reader->filled, data, part);
    reader->filled += part;
    return part;
}

static int take_data(struct cpio_reader *reader, const char *data, size_t length, size_t *taken,
                     struct error *err)
{
    size_t part = min_u64(reader->data_left, length);
    if (part > 0 && reader->is_wanted &&
        reader->visitor->data(reader->visitor, data, part, err) < 0)
        return -1;
    reader->data_left -= part;
    size_t padding = 0;
    if (reader->data_left == 0) {
        padding = min_u64(reader->padding_left, length - part);
        reader->padding_left -= padding;
    }
    *taken = part + padding;
    return 0;
}

/* One step; *taken may be 0 only when the state changed. */
static int step(struct cpio_reader *reader, const char *data, size_t length, size_t *taken,
                struct error *err)
{
    *taken = 0;
    switch (reader->state) {
    case CPIO_BETWEEN:
        reader->filled = 0;
        reader->state = CPIO_HEADER;
        return 0;
    case CPIO_HEADER:
        *taken = fill(reader, reader->header, CPIO_HEADER_BYTES, data, length);
        return reader->filled == CPIO_HEADER_BYTES ? parse_header(reader, err) : 0;
    case CPIO_NAME:
        *taken = fill(reader, reader->name, reader->name_bytes, data, length);
        return reader->filled == reader->name_bytes ? begin_member(reader, err) : 0;
    case CPIO_DATA:
        if (take_data(reader, data, length, taken, err) < 0)
            return -1;
        return reader->data_left == 0 && reader->padding_left == 0 ? end_member(reader, err) : 0;
    }
    return 0;
}

int cpio_reader_feed(struct cpio_reader *reader, const void *data, size_t length, size_t *consumed,
                     struct error *err)
{
    const char *bytes = data;
    *consumed = 0;
    do {
        size_t taken;
        if (step(reader, bytes + *consumed, length - *consumed, &taken, err) < 0)
            return -1;
        *consumed += taken;
    } while (*consumed < length && reader->state != CPIO_BETWEEN);
    return 0;
}
