/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The ledger's file and its order: what claims content waits in memory until the image is synced;
 * what withdraws a claim is in the file, synced, before the image changes. docs/manifest.md, "The
 * ledger", specifies the file. The maps of waiting records are in formats/ledger_map.c.
 */
#include "formats/ledger.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/io.h"
#include "base/text.h"
#include "formats/digest.h"
#include "formats/ledger_map.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEDGER_MAGIC "REHOSTLG"
#define LEDGER_VERSION 1
#define LEDGER_HEADER_SIZE 4096
#define LEDGER_SUM_OFFSET 64
#define LEDGER_NAME_SHA256 1

/* Records looked at in one go: 16 KiB. */
#define BATCH_RECORDS 512u

static const uint8_t record_zero[LEDGER_RECORD_SIZE];

struct ledger {
    int fd;
    uint64_t chunk_count;
    /* Held while the file's records are written. Taken before `lock`. */
    pthread_mutex_t file_lock;
    pthread_mutex_t lock; /* of the maps */
    struct ledger_map pending, sealed;
};

/* --- records -------------------------------------------------------------------------------- */

/* The two reserved names: 31 bytes of 0xff, then which. */
static void record_make_reserved(uint8_t *record, enum ledger_state state)
{
    memset(record, 0xff, LEDGER_RECORD_SIZE - 1);
    record[LEDGER_RECORD_SIZE - 1] = (uint8_t)state;
}

static enum ledger_state record_state(const uint8_t *record)
{
    uint8_t reserved[LEDGER_RECORD_SIZE];

    if (memcmp(record, record_zero, LEDGER_RECORD_SIZE) == 0)
        return LEDGER_ZERO;
    record_make_reserved(reserved, LEDGER_UNREADABLE);
    if (memcmp(record, reserved, LEDGER_RECORD_SIZE - 1) != 0)
        return LEDGER_DATA;
    if (record[LEDGER_RECORD_SIZE - 1] == LEDGER_UNREADABLE)
        return LEDGER_UNREADABLE;
    return record[LEDGER_RECORD_SIZE - 1] == LEDGER_OTHER ? LEDGER_OTHER : LEDGER_DATA;
}

static void record_decode(const uint8_t *record, struct ledger_entry *entry)
{
    *entry = (struct ledger_entry){.state = record_state(record)};
    if (entry->state == LEDGER_DATA)
        memcpy(entry->name.bytes, record, LEDGER_RECORD_SIZE);
}

bool ledger_can_hold(const struct chunk_name *name)
{
    return record_state(name->bytes) == LEDGER_DATA;
}

static uint64_t record_offset(uint64_t index)
{
    return LEDGER_HEADER_SIZE + index * LEDGER_RECORD_SIZE;
}

/* --- open, close ---------------------------------------------------------------------------- */

static void encode_header(uint8_t header[LEDGER_HEADER_SIZE], uint64_t size_bytes,
                          const uint8_t disk_id[32])
{
    memset(header, 0, LEDGER_HEADER_SIZE);
    memcpy(header, LEDGER_MAGIC, 8);
    store_le32(header + 8, LEDGER_VERSION);
    store_le32(header + 12, LEDGER_HEADER_SIZE);
    store_le64(header + 16, size_bytes);
    store_le32(header + 24, CHUNK_SIZE);
    store_le32(header + 28, LEDGER_NAME_SHA256);
    memcpy(header + 32, disk_id, 32);
    digest_compute(header, LEDGER_SUM_OFFSET, header + LEDGER_SUM_OFFSET);
}

static int create_file(int folder_fd, const char *name, uint64_t size_bytes, uint64_t chunk_count,
                       const uint8_t disk_id[32], struct error *err)
{
    uint8_t header[LEDGER_HEADER_SIZE];
    AUTO(new_file) file = {.fd = -1, .folder_fd = -1};

    if (new_file_open(&file, folder_fd, name, 0600, err) < 0)
        return -1;
    encode_header(header, size_bytes, disk_id);
    if (io_write_at(file.fd, header, sizeof(header), 0, err) < 0)
        return -1;
    if (ftruncate(file.fd, (off_t)record_offset(chunk_count)) < 0)
        return error_set(err, errno, "set its size");
    return new_file_commit(&file, err);
}

/* There is one way to write a header, so it is compared whole. */
static int check_file(const struct ledger *ledger, uint64_t size_bytes, const uint8_t disk_id[32],
                      struct error *err)
{
    uint8_t expected[LEDGER_HEADER_SIZE], header[LEDGER_HEADER_SIZE];
    uint64_t file_size;

    if (io_size(ledger->fd, &file_size, err) < 0)
        return -1;
    if (file_size != record_offset(ledger->chunk_count))
        return error_set(err, ESTALE, "it has %llu bytes", (unsigned long long)file_size);
    if (io_read_at(ledger->fd, header, sizeof(header), 0, err) < 0)
        return -1;
    encode_header(expected, size_bytes, disk_id);
    if (memcmp(header, expected, sizeof(header)) != 0)
        return error_set(err, ESTALE, "it is of another disk, or damaged");
    return 0;
}

static int open_file(int folder_fd, const char *name)
{
    return openat(folder_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
}

static struct ledger *open_or_create(int folder_fd, const char *name, uint64_t size_bytes,
                                     const uint8_t disk_id[32], struct error *err)
{
    AUTO_PTR(ledger) ledger = memory_new(1, sizeof(*ledger));

    pthread_mutex_init(&ledger->file_lock, NULL);
    pthread_mutex_init(&ledger->lock, NULL);
    ledger->chunk_count = div_round_up(size_bytes, CHUNK_SIZE);
    ledger->fd = open_file(folder_fd, name);
    if (ledger->fd < 0 && errno == ENOENT) {
        if (create_file(folder_fd, name, size_bytes, ledger->chunk_count, disk_id, err) < 0)
            return NULL;
        ledger->fd = open_file(folder_fd, name);
    }
    if (ledger->fd < 0) {
        error_set(err, errno, "open");
        return NULL;
    }
    if (check_file(ledger, size_bytes, disk_id, err) < 0)
        return NULL;
    return take_ptr(&ledger);
}

struct ledger *ledger_open(int folder_fd, const char *name, uint64_t size_bytes,
                           const uint8_t disk_id[32], struct error *err)
{
    struct ledger *ledger = NULL;

    if (size_bytes == 0 || size_bytes > MANIFEST_MAX_SIZE)
        error_set(err, EINVAL, "a disk of %llu bytes", (unsigned long long)size_bytes);
    else
        ledger = open_or_create(folder_fd, name, size_bytes, disk_id, err);
    if (!ledger)
        error_wrap(err, "ledger %s", name);
    return ledger;
}

void ledger_close(struct ledger *ledger)
{
    if (!ledger)
        return;
    if (ledger->fd >= 0)
        close(ledger->fd);
    ledger_map_fini(&ledger->pending);
    ledger_map_fini(&ledger->sealed);
    pthread_mutex_destroy(&ledger->file_lock);
    pthread_mutex_destroy(&ledger->lock);
    free(ledger);
}

uint64_t ledger_chunk_count(const struct ledger *ledger)
{
    return ledger->chunk_count;
}

/* --- reading -------------------------------------------------------------------------------- */

static int check_range(const struct ledger *ledger, uint64_t first, uint64_t count,
                       struct error *err)
{
    if (range_is_inside(first, count, ledger->chunk_count))
        return 0;
    return error_set(err, ERANGE, "ledger: %llu chunks from %llu on, of %llu",
                     (unsigned long long)count, (unsigned long long)first,
                     (unsigned long long)ledger->chunk_count);
}

/* What counts now. `lock` is held: what commit takes out of `sealed` is in the file by then. */
static int load_locked(struct ledger *ledger, uint64_t first, size_t count, uint8_t *records,
                       struct error *err)
{
    if (io_read_at(ledger->fd, records, count * LEDGER_RECORD_SIZE, record_offset(first), err) < 0)
        return error_wrap(err, "ledger");
    if (ledger->pending.count + ledger->sealed.count == 0)
        return 0;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *record = ledger_map_find(&ledger->pending, first + i);

        if (!record)
            record = ledger_map_find(&ledger->sealed, first + i);
        if (record)
            memcpy(records + i * LEDGER_RECORD_SIZE, record, LEDGER_RECORD_SIZE);
    }
    return 0;
}

int ledger_get(struct ledger *ledger, uint64_t first, size_t count, struct ledger_entry *entries,
               struct error *err)
{
    uint8_t records[BATCH_RECORDS * LEDGER_RECORD_SIZE];

    if (check_range(ledger, first, count, err) < 0)
        return -1;
    while (count) {
        size_t part = (size_t)min_u64(count, BATCH_RECORDS);
        int result;

        pthread_mutex_lock(&ledger->lock);
        result = load_locked(ledger, first, part, records, err);
        pthread_mutex_unlock(&ledger->lock);
        if (result < 0)
            return -1;
        for (size_t i = 0; i < part; i++)
            record_decode(records + i * LEDGER_RECORD_SIZE, entries++);
        first += part;
        count -= part;
    }
    return 0;
}

/* The first chunk from `first` on whose record in the file may be other than zero; `end`: none. */
static uint64_t next_stored(const struct ledger *ledger, uint64_t first, uint64_t end)
{
    off_t data = lseek(ledger->fd, (off_t)record_offset(first), SEEK_DATA);

    if (data < 0) /* ENXIO: nothing behind it; anything else: a file system that cannot tell */
        return errno == ENXIO ? end : first;
    return min_u64(end, ((uint64_t)data - LEDGER_HEADER_SIZE) / LEDGER_RECORD_SIZE);
}

static uint64_t next_candidate(struct ledger *ledger, uint64_t first, uint64_t end)
{
    uint64_t next;

    pthread_mutex_lock(&ledger->lock);
    next = next_stored(ledger, first, end);
    next = min_u64(next, ledger_map_next(&ledger->pending, first, end));
    next = min_u64(next, ledger_map_next(&ledger->sealed, first, end));
    pthread_mutex_unlock(&ledger->lock);
    return next;
}

int ledger_next(struct ledger *ledger, uint64_t first, uint64_t count, uint64_t *index,
                struct error *err)
{
    struct ledger_entry entries[BATCH_RECORDS];
    uint64_t end = first + count;

    if (check_range(ledger, first, count, err) < 0)
        return -1;
    while ((first = next_candidate(ledger, first, end)) < end) {
        size_t part = (size_t)min_u64(end - first, BATCH_RECORDS);

        if (ledger_get(ledger, first, part, entries, err) < 0)
            return -1;
        for (size_t i = 0; i < part; i++, first++) {
            if (entries[i].state != LEDGER_ZERO) {
                *index = first;
                return 0;
            }
        }
    }
    *index = end;
    return 0;
}

int ledger_visit(struct ledger *ledger,
                 int (*visit)(void *context, uint64_t index, const struct ledger_entry *entry,
                              struct error *err),
                 void *context, struct error *err)
{
    struct ledger_entry entries[BATCH_RECORDS];
    uint64_t at = 0;

    while ((at = next_candidate(ledger, at, ledger->chunk_count)) < ledger->chunk_count) {
        size_t part = (size_t)min_u64(ledger->chunk_count - at, BATCH_RECORDS);

        if (ledger_get(ledger, at, part, entries, err) < 0)
            return -1;
        for (size_t i = 0; i < part; i++, at++) {
            if (entries[i].state != LEDGER_ZERO && visit(context, at, &entries[i], err) < 0)
                return -1;
        }
    }
    return 0;
}

/* --- claims: in memory until the image is synced ---------------------------------------------- */

int ledger_set(struct ledger *ledger, uint64_t index, const struct ledger_entry *entry,
               struct error *err)
{
    uint8_t record[LEDGER_RECORD_SIZE];
    int result;

    if (check_range(ledger, index, 1, err) < 0)
        return -1;
    if (entry->state == LEDGER_ZERO)
        return ledger_set_zero(ledger, index, 1, err);
    if (entry->state == LEDGER_DATA && !ledger_can_hold(&entry->name))
        return error_set(err, EINVAL, "ledger: chunk %llu: no content has this name",
                         (unsigned long long)index);
    if (entry->state == LEDGER_DATA)
        memcpy(record, entry->name.bytes, sizeof(record));
    else
        record_make_reserved(record, entry->state);
    pthread_mutex_lock(&ledger->lock);
    result = ledger_map_set(&ledger->pending, index, record, err);
    pthread_mutex_unlock(&ledger->lock);
    return result;
}

size_t ledger_pending(const struct ledger *ledger)
{
    return ledger->pending.count;
}

void ledger_seal(struct ledger *ledger)
{
    pthread_mutex_lock(&ledger->file_lock);
    pthread_mutex_lock(&ledger->lock);
    ledger_map_merge(&ledger->sealed, &ledger->pending);
    pthread_mutex_unlock(&ledger->lock);
    pthread_mutex_unlock(&ledger->file_lock);
}

/* Neighbours go into one write. */
static int write_sorted(struct ledger *ledger, const struct ledger_record *records, size_t count,
                        struct error *err)
{
    uint8_t batch[BATCH_RECORDS * LEDGER_RECORD_SIZE];
    size_t filled = 0;

    for (size_t i = 0; i < count; i++) {
        memcpy(batch + filled++ * LEDGER_RECORD_SIZE, records[i].bytes, LEDGER_RECORD_SIZE);
        if (filled < BATCH_RECORDS && i + 1 < count && records[i + 1].index == records[i].index + 1)
            continue;
        if (io_write_at(ledger->fd, batch, filled * LEDGER_RECORD_SIZE,
                        record_offset(records[i].index + 1 - filled), err) < 0)
            return -1;
        filled = 0;
    }
    return 0;
}

static int sync_file(const struct ledger *ledger, struct error *err)
{
    return fdatasync(ledger->fd) == 0 ? 0 : error_set(err, errno, "fdatasync");
}

static int commit_locked(struct ledger *ledger, struct error *err)
{
    AUTO_FREE struct ledger_record *records = NULL;
    size_t count;

    pthread_mutex_lock(&ledger->lock);
    records = ledger_map_sorted(&ledger->sealed, &count);
    pthread_mutex_unlock(&ledger->lock);
    if (!records)
        return error_set(err, ENOMEM, "%zu records", ledger->sealed.count);
    if (write_sorted(ledger, records, count, err) < 0 || sync_file(ledger, err) < 0)
        return -1;
    pthread_mutex_lock(&ledger->lock);
    ledger_map_fini(&ledger->sealed);
    pthread_mutex_unlock(&ledger->lock);
    return 0;
}

int ledger_commit(struct ledger *ledger, struct error *err)
{
    int result = 0;

    pthread_mutex_lock(&ledger->file_lock);
    if (ledger->sealed.count)
        result = commit_locked(ledger, err);
    pthread_mutex_unlock(&ledger->file_lock);
    return result == 0 ? 0 : error_wrap(err, "ledger");
}

/* --- withdrawals: in the file before the image changes ---------------------------------------- */

static void drop_waiting(struct ledger *ledger, uint64_t first, uint64_t count)
{
    pthread_mutex_lock(&ledger->lock);
    ledger_map_drop(&ledger->pending, first, count);
    ledger_map_drop(&ledger->sealed, first, count);
    pthread_mutex_unlock(&ledger->lock);
}

struct fill {
    const uint8_t *value; /* what the records become */
    bool only_used;       /* records that are zero stay zero */
    const uint8_t *which; /* NULL: all; else a bit for each chunk from `base` on */
    uint64_t base;
    bool had_claims;
};

static bool is_meant(const struct fill *fill, uint64_t index)
{
    uint64_t at = index - fill->base;

    return !fill->which || fill->which[at / 8] >> (at % 8) & 1;
}

/* At most BATCH_RECORDS; what is as it should be is not written. */
static int fill_batch(struct ledger *ledger, uint64_t first, size_t count, struct fill *fill,
                      struct error *err)
{
    uint8_t records[BATCH_RECORDS * LEDGER_RECORD_SIZE];
    bool is_changed = false;

    if (io_read_at(ledger->fd, records, count * LEDGER_RECORD_SIZE, record_offset(first), err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        uint8_t *record = records + i * LEDGER_RECORD_SIZE;
        enum ledger_state state = record_state(record);

        if (!is_meant(fill, first + i))
            continue;
        if (state == LEDGER_DATA)
            fill->had_claims = true;
        if ((fill->only_used && state == LEDGER_ZERO) ||
            memcmp(record, fill->value, LEDGER_RECORD_SIZE) == 0)
            continue;
        memcpy(record, fill->value, LEDGER_RECORD_SIZE);
        is_changed = true;
    }
    if (!is_changed)
        return 0;
    return io_write_at(ledger->fd, records, count * LEDGER_RECORD_SIZE, record_offset(first), err);
}

/* Holes stay holes where nothing is to be put into them. */
static int fill_range(struct ledger *ledger, uint64_t first, uint64_t count, struct fill *fill,
                      struct error *err)
{
    uint64_t end = first + count;

    while (first < end) {
        size_t part;

        if (fill->only_used && (first = next_stored(ledger, first, end)) == end)
            break;
        part = (size_t)min_u64(end - first, BATCH_RECORDS);
        if (fill_batch(ledger, first, part, fill, err) < 0)
            return -1;
        first += part;
    }
    return fill->had_claims ? sync_file(ledger, err) : 0;
}

static int fill_file(struct ledger *ledger, uint64_t first, uint64_t count, struct fill *fill,
                     struct error *err)
{
    int result;

    if (check_range(ledger, first, count, err) < 0)
        return -1;
    pthread_mutex_lock(&ledger->file_lock);
    result = fill_range(ledger, first, count, fill, err);
    if (result == 0)
        drop_waiting(ledger, first, count);
    pthread_mutex_unlock(&ledger->file_lock);
    return result == 0 ? 0 : error_wrap(err, "ledger");
}

int ledger_set_zero(struct ledger *ledger, uint64_t first, uint64_t count, struct error *err)
{
    struct fill fill = {.value = record_zero, .only_used = true};

    return fill_file(ledger, first, count, &fill, err);
}

int ledger_set_unreadable(struct ledger *ledger, uint64_t first, uint64_t count, struct error *err)
{
    uint8_t record[LEDGER_RECORD_SIZE];
    struct fill fill = {.value = record};

    record_make_reserved(record, LEDGER_UNREADABLE);
    return fill_file(ledger, first, count, &fill, err);
}

/* A record that waits makes the chunk one that is not zero, also when the file knows nothing. */
static int forget_waiting(struct ledger *ledger, uint64_t first, uint64_t count,
                          const struct fill *fill, struct error *err)
{
    int result = 0;

    pthread_mutex_lock(&ledger->lock);
    for (uint64_t i = first; result == 0 && i < first + count; i++) {
        if (!is_meant(fill, i) ||
            (!ledger_map_find(&ledger->pending, i) && !ledger_map_find(&ledger->sealed, i)))
            continue;
        ledger_map_drop(&ledger->sealed, i, 1);
        result = ledger_map_set(&ledger->pending, i, fill->value, err);
    }
    pthread_mutex_unlock(&ledger->lock);
    return result;
}

static bool map_claims(const struct ledger_map *map, uint64_t index)
{
    const uint8_t *record = ledger_map_find(map, index);

    return record && record_state(record) == LEDGER_DATA;
}

/* Does anything, in memory or in the file, claim a content? At most BATCH_RECORDS. 1, 0 or -1. */
static int has_claims(struct ledger *ledger, uint64_t first, size_t count, const struct fill *fill,
                      struct error *err)
{
    uint8_t records[BATCH_RECORDS * LEDGER_RECORD_SIZE];
    bool result = false;

    pthread_mutex_lock(&ledger->lock);
    for (uint64_t i = first; !result && i < first + count; i++)
        result = is_meant(fill, i) &&
                 (map_claims(&ledger->pending, i) || map_claims(&ledger->sealed, i));
    pthread_mutex_unlock(&ledger->lock);
    if (result)
        return 1;
    if (io_read_at(ledger->fd, records, count * LEDGER_RECORD_SIZE, record_offset(first), err) < 0)
        return error_wrap(err, "ledger");
    for (size_t i = 0; !result && i < count; i++)
        result = is_meant(fill, first + i) &&
                 record_state(records + i * LEDGER_RECORD_SIZE) == LEDGER_DATA;
    return result;
}

static int forget_claims(struct ledger *ledger, uint64_t first, uint64_t count, struct fill *fill,
                         struct error *err)
{
    int result;

    pthread_mutex_lock(&ledger->file_lock);
    result = forget_waiting(ledger, first, count, fill, err);
    if (result == 0)
        result = fill_range(ledger, first, count, fill, err);
    pthread_mutex_unlock(&ledger->file_lock);
    return result == 0 ? 0 : error_wrap(err, "ledger");
}

int ledger_forget(struct ledger *ledger, uint64_t first, uint64_t count, const uint8_t *which,
                  struct error *err)
{
    uint8_t record[LEDGER_RECORD_SIZE];
    struct fill fill = {.value = record, .only_used = true, .which = which, .base = first};

    if (check_range(ledger, first, count, err) < 0)
        return -1;
    record_make_reserved(record, LEDGER_OTHER);
    for (uint64_t at = first, end = first + count; at < end; at += BATCH_RECORDS) {
        size_t part = (size_t)min_u64(end - at, BATCH_RECORDS);
        int claims = has_claims(ledger, at, part, &fill, err);

        if (claims < 0)
            return -1;
        if (claims) /* the rest is looked at there */
            return forget_claims(ledger, at, end - at, &fill, err);
    }
    return 0;
}
