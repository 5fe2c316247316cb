/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Reading and writing by several buffers at once. Where a driver can tell the place of a range, the
 * buffers go there together; everything else goes buffer by buffer, as without this.
 */
#include "base/checked.h"
#include "formats/image.h"

#include <errno.h>
#include <unistd.h>

/* The buffers from some byte on. */
struct cursor {
    const struct iovec *parts;
    size_t count;
    size_t skip; /* in the first */
    uint64_t left;
};

static void advance(struct cursor *cursor, uint64_t bytes)
{
    cursor->left -= bytes;
    bytes += cursor->skip;
    while (cursor->count && bytes >= cursor->parts->iov_len) {
        bytes -= cursor->parts->iov_len;
        cursor->parts++;
        cursor->count--;
    }
    cursor->skip = (size_t)bytes;
}

/* The next buffers, cut to `limit` bytes. */
static int take(const struct cursor *cursor, uint64_t limit, struct iovec parts[IMAGE_MAX_PARTS])
{
    size_t skip = cursor->skip, count = 0;

    for (; count < cursor->count && limit; count++) {
        const struct iovec *part = &cursor->parts[count];
        size_t length = (size_t)min_u64(part->iov_len - skip, limit);

        parts[count] = (struct iovec){(char *)part->iov_base + skip, length};
        limit -= length;
        skip = 0;
    }
    return (int)count;
}

/* At most to the end of the place. The bytes moved; 0 also where the file ends. */
static ssize_t move_at(const struct image_place *place, const struct cursor *cursor, bool is_write,
                       struct error *err)
{
    struct iovec parts[IMAGE_MAX_PARTS];
    int count = take(cursor, place->length, parts);
    ssize_t moved;

    if (place->length == 0)
        return 0;
    do {
        if (is_write)
            moved = pwritev(place->fd, parts, count, (off_t)place->offset);
        else
            moved = preadv(place->fd, parts, count, (off_t)place->offset);
    } while (moved < 0 && errno == EINTR);
    if (moved < 0)
        return error_set(err, errno, "%llu bytes at 0x%llx", (unsigned long long)place->length,
                         (unsigned long long)place->offset);
    return moved;
}

/* The first buffer, by the way that every driver has. */
static ssize_t move_first(struct image *image, uint64_t offset, const struct cursor *cursor,
                          bool is_write, struct error *err)
{
    char *buffer = (char *)cursor->parts->iov_base + cursor->skip;
    size_t length = cursor->parts->iov_len - cursor->skip;
    int result = is_write ? image->driver->write(image, offset, buffer, length, err)
                          : image->source.ops->read(&image->source, offset, buffer, length, err);

    return result < 0 ? -1 : (ssize_t)length;
}

static ssize_t move_once(struct image *image, uint64_t offset, const struct cursor *cursor,
                         bool is_write, struct error *err)
{
    struct image_place place = {0};
    ssize_t moved;

    if (cursor->count > 1 && image->driver->locate &&
        image->driver->locate(image, offset, cursor->left, is_write, &place, err) < 0)
        return -1;
    moved = move_at(&place, cursor, is_write, err);
    return moved ? moved : move_first(image, offset, cursor, is_write, err);
}

static int move_all(struct image *image, uint64_t offset, const struct iovec *parts, size_t count,
                    bool is_write, struct error *err)
{
    struct cursor cursor = {.parts = parts, .count = count};

    if (is_write && !image->is_writable)
        return error_set(err, EBADF, "it is open for reading only");
    if (count > IMAGE_MAX_PARTS)
        return error_set(err, EINVAL, "%zu buffers", count);
    for (size_t i = 0; i < count; i++) {
        if (!checked_add(cursor.left, parts[i].iov_len, &cursor.left))
            return error_set(err, EOVERFLOW, "%zu buffers", count);
    }
    if (!range_is_inside(offset, cursor.left, image->source.size_bytes))
        return error_set(err, ERANGE, "%llu bytes at 0x%llx do not lie inside it",
                         (unsigned long long)cursor.left, (unsigned long long)offset);
    advance(&cursor, 0); /* over buffers of no bytes */
    while (cursor.left) {
        ssize_t moved = move_once(image, offset, &cursor, is_write, err);

        if (moved < 0)
            return -1;
        advance(&cursor, (uint64_t)moved);
        offset += (uint64_t)moved;
    }
    return 0;
}

int image_readv(struct image *image, uint64_t offset, const struct iovec *parts, size_t count,
                struct error *err)
{
    if (move_all(image, offset, parts, count, false, err) < 0)
        return error_wrap(err, "read %s", image->path);
    return 0;
}

int image_writev(struct image *image, uint64_t offset, const struct iovec *parts, size_t count,
                 struct error *err)
{
    if (move_all(image, offset, parts, count, true, err) < 0)
        return error_wrap(err, "write %s", image->path);
    return 0;
}
