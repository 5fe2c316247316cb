/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The pool's index of contents. The file is a header of 4096 bytes and buckets of one sector:
 *
 *     16 slots of 32 bytes: name (20, its beginning) | machine (4) | disk (2) | chunk (6)
 *
 * all little-endian, an empty slot is zeroes. A bucket is read and written whole and never synced.
 * 20 bytes of the name are plenty: whoever finds a chunk hashes it.
 *
 * A bit in memory for each page of the file says that something may be there: asking a large and
 * nearly empty table for a new machine's names costs nothing.
 */
#include "p2v/server/chunk_index.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/io.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INDEX_MAGIC "REHOSTCI"
#define INDEX_VERSION 1
#define INDEX_HEADER_SIZE 4096
#define INDEX_HEADER_USED 32

#define SLOT_SIZE 32
#define SLOT_NAME 20
#define BUCKET_SLOTS 16
#define BUCKET_SIZE (SLOT_SIZE * BUCKET_SLOTS)

#define MAX_SLOTS ((uint64_t)1 << 36)
#define MAX_CHUNK ((uint64_t)1 << 48)

#define PAGE_SIZE 4096u

/* So many pieces of a file are looked at when it is opened; the rest counts as filled. */
#define MAX_PIECES 65536u

struct chunk_index {
    int fd;
    uint64_t buckets;
    pthread_mutex_t lock;     /* of a bucket's reading, changing and writing */
    _Atomic uint64_t *filled; /* a bit for each page; one that is not set reads as zeroes */
};

/* --- the file ------------------------------------------------------------------------------- */

static void encode_header(uint8_t header[INDEX_HEADER_USED], uint64_t buckets)
{
    memset(header, 0, INDEX_HEADER_USED);
    memcpy(header, INDEX_MAGIC, 8);
    store_le32(header + 8, INDEX_VERSION);
    store_le32(header + 12, BUCKET_SLOTS);
    store_le64(header + 16, buckets);
}

static int create_file(int folder_fd, const char *name, uint64_t buckets, struct error *err)
{
    uint8_t header[INDEX_HEADER_USED];
    AUTO(new_file) file = {.fd = -1, .folder_fd = -1};

    if (new_file_open(&file, folder_fd, name, 0600, err) < 0)
        return -1;
    encode_header(header, buckets);
    if (io_write_at(file.fd, header, sizeof(header), 0, err) < 0)
        return -1;
    if (ftruncate(file.fd, (off_t)(INDEX_HEADER_SIZE + buckets * BUCKET_SIZE)) < 0)
        return error_set(err, errno, "set its size");
    return new_file_commit(&file, err);
}

static bool is_usable(int fd, uint64_t buckets)
{
    uint8_t header[INDEX_HEADER_USED], expected[INDEX_HEADER_USED];
    uint64_t size;

    encode_header(expected, buckets);
    return io_size(fd, &size, NULL) == 0 && size == INDEX_HEADER_SIZE + buckets * BUCKET_SIZE &&
           io_read_at(fd, header, sizeof(header), 0, NULL) == 0 &&
           memcmp(header, expected, sizeof(header)) == 0;
}

static int open_file(int folder_fd, const char *name)
{
    return openat(folder_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
}

static int open_or_create(int folder_fd, const char *name, uint64_t buckets, struct error *err)
{
    AUTO_CLOSE int fd = open_file(folder_fd, name);

    if (fd >= 0 && is_usable(fd, buckets))
        return take_fd(&fd);
    if (create_file(folder_fd, name, buckets, err) < 0)
        return -1;
    AUTO_CLOSE int made = open_file(folder_fd, name);

    return made >= 0 ? take_fd(&made) : error_set(err, errno, "open");
}

/* --- pages that hold something --- */

static uint64_t count_pages(const struct chunk_index *index)
{
    return div_round_up(INDEX_HEADER_SIZE + index->buckets * BUCKET_SIZE, PAGE_SIZE);
}

static bool is_filled(const struct chunk_index *index, uint64_t offset)
{
    uint64_t page = offset / PAGE_SIZE;

    return atomic_load_explicit(&index->filled[page / 64], memory_order_acquire) >> (page % 64) & 1;
}

static void set_filled(struct chunk_index *index, uint64_t offset)
{
    uint64_t page = offset / PAGE_SIZE;

    if (!is_filled(index, offset))
        atomic_fetch_or(&index->filled[page / 64], (uint64_t)1 << (page % 64));
}

/* From `offset` on; a file system that cannot tell says that all of it is data. */
static void find_filled(struct chunk_index *index, uint64_t end)
{
    uint64_t offset = 0;

    for (unsigned i = 0; i < MAX_PIECES && offset < end; i++) {
        off_t start = lseek(index->fd, (off_t)offset, SEEK_DATA), behind;

        if (start < 0 && errno == ENXIO)
            return;
        behind = start < 0 ? -1 : lseek(index->fd, start, SEEK_HOLE);
        if (behind <= start)
            break;
        for (offset = align_down((uint64_t)start, PAGE_SIZE); offset < (uint64_t)behind;
             offset += PAGE_SIZE)
            set_filled(index, offset);
    }
    for (; offset < end; offset += PAGE_SIZE)
        set_filled(index, offset);
}

struct chunk_index *chunk_index_open(int folder_fd, const char *name, uint64_t slots,
                                     struct error *err)
{
    uint64_t buckets = div_round_up(slots, BUCKET_SLOTS);
    struct chunk_index *index;
    int fd;

    if (slots == 0 || slots > MAX_SLOTS) {
        error_set(err, EINVAL, "chunk index %s: %llu slots", name, (unsigned long long)slots);
        return NULL;
    }
    fd = open_or_create(folder_fd, name, buckets, err);
    if (fd < 0) {
        error_wrap(err, "chunk index %s", name);
        return NULL;
    }
    index = memory_new(1, sizeof(*index));
    index->fd = fd;
    index->buckets = buckets;
    pthread_mutex_init(&index->lock, NULL);
    index->filled = memory_new(div_round_up(count_pages(index), 64), sizeof(*index->filled));
    find_filled(index, count_pages(index) * PAGE_SIZE);
    posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    return index;
}

void chunk_index_close(struct chunk_index *index)
{
    if (!index)
        return;
    close(index->fd);
    free(index->filled);
    pthread_mutex_destroy(&index->lock);
    free(index);
}

/* --- slots ---------------------------------------------------------------------------------- */

static void encode_slot(uint8_t slot[SLOT_SIZE], const struct chunk_name *name,
                        const struct chunk_place *place)
{
    memcpy(slot, name->bytes, SLOT_NAME);
    store_le32(slot + 20, place->machine);
    store_le16(slot + 24, place->disk);
    store_le32(slot + 26, (uint32_t)place->chunk);
    store_le16(slot + 30, (uint16_t)(place->chunk >> 32));
}

static void decode_place(const uint8_t slot[SLOT_SIZE], struct chunk_place *place)
{
    place->machine = load_le32(slot + 20);
    place->disk = load_le16(slot + 24);
    place->chunk = load_le32(slot + 26) | (uint64_t)load_le16(slot + 30) << 32;
}

/* Names are evenly spread already. */
static uint64_t bucket_offset(const struct chunk_index *index, const struct chunk_name *name)
{
    return INDEX_HEADER_SIZE + load_le64(name->bytes) % index->buckets * BUCKET_SIZE;
}

static uint8_t *find_slot(uint8_t *bucket, const struct chunk_name *name)
{
    for (size_t i = 0; i < BUCKET_SLOTS; i++) {
        if (memcmp(bucket + i * SLOT_SIZE, name->bytes, SLOT_NAME) == 0)
            return bucket + i * SLOT_SIZE;
    }
    return NULL;
}

/* Where a name that is not there goes: an empty slot, or one that the name itself picks. */
static uint8_t *pick_slot(uint8_t *bucket, const struct chunk_name *name)
{
    static const struct chunk_name none;
    uint8_t *empty = find_slot(bucket, &none);

    return empty ? empty : bucket + name->bytes[CHUNK_NAME_SIZE - 1] % BUCKET_SLOTS * SLOT_SIZE;
}

static bool is_nothing(const struct chunk_name *name)
{
    return bytes_are_zero(name->bytes, SLOT_NAME);
}

static bool read_bucket(const struct chunk_index *index, uint64_t offset,
                        uint8_t bucket[BUCKET_SIZE])
{
    if (is_filled(index, offset))
        return io_read_at(index->fd, bucket, BUCKET_SIZE, offset, NULL) == 0;
    memset(bucket, 0, BUCKET_SIZE);
    return true;
}

bool chunk_index_find(struct chunk_index *index, const struct chunk_name *name,
                      struct chunk_place *place)
{
    uint64_t offset = bucket_offset(index, name);
    uint8_t bucket[BUCKET_SIZE];
    const uint8_t *slot;

    if (is_nothing(name) || !is_filled(index, offset) || !read_bucket(index, offset, bucket))
        return false;
    slot = find_slot(bucket, name);
    if (slot)
        decode_place(slot, place);
    return slot != NULL;
}

void chunk_index_add(struct chunk_index *index, const struct chunk_name *name,
                     const struct chunk_place *place)
{
    uint64_t offset = bucket_offset(index, name);
    uint8_t bucket[BUCKET_SIZE], wanted[SLOT_SIZE], *slot;

    if (is_nothing(name) || place->chunk >= MAX_CHUNK)
        return;
    encode_slot(wanted, name, place);
    pthread_mutex_lock(&index->lock);
    if (read_bucket(index, offset, bucket)) {
        slot = find_slot(bucket, name);
        if (!slot)
            slot = pick_slot(bucket, name);
        if (memcmp(slot, wanted, SLOT_SIZE) != 0) {
            memcpy(slot, wanted, SLOT_SIZE);
            io_write_at(index->fd, bucket, sizeof(bucket), offset, NULL);
            set_filled(index, offset);
        }
    }
    pthread_mutex_unlock(&index->lock);
}
