/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The ledger's file and its records (docs/manifest.md, "The ledger", specifies it). What claims a
 * content waits in memory (formats/ledger_map.c) until the image is synced; what withdraws one is
 * in formats/ledger_withdraw.c.
 */
#include "formats/ledger.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/io.h"
#include "base/text.h"
#include "formats/digest.h"
#include "formats/ledger_private.h"

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

static const uint8_t record_zero[LEDGER_RECORD_SIZE];

/* --- records -------------------------------------------------------------------------------- */

void ledger_record_reserve(uint8_t *record, enum ledger_state state)
{
    memset(record, 0xff, LEDGER_RECORD_SIZE - 1);
    record[LEDGER_RECORD_SIZE - 1] = (uint8_t)state;
}

enum ledger_state ledger_record_state(const uint8_t *record)
{
    uint8_t reserved[LEDGER_RECORD_SIZE];

    if (memcmp(record, record_zero, LEDGER_RECORD_SIZE) == 0)
        return LEDGER_ZERO;
    ledger_record_reserve(reserved, LEDGER_UNREADABLE);
    if (memcmp(record, reserved, LEDGER_RECORD_SIZE - 1) != 0)
        return LEDGER_DATA;
    if (record[LEDGER_RECORD_SIZE - 1] == LEDGER_UNREADABLE)
        return LEDGER_UNREADABLE;
    return record[LEDGER_RECORD_SIZE - 1] == LEDGER_OTHER ? LEDGER_OTHER : LEDGER_DATA;
}

static void record_decode(const uint8_t *record, struct ledger_entry *entry)
{
    *entry = (struct ledger_entry){.state = ledger_record_state(record)};
    if (entry->state == LEDGER_DATA)
        memcpy(entry->name.bytes, record, LEDGER_RECORD_SIZE);
}

bool ledger_can_hold(const struct chunk_name *name)
{
    return ledger_record_state(name->bytes) == LEDGER_DATA;
}

uint64_t ledger_record_offset(uint64_t index)
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
    if (ftruncate(file.fd, (off_t)ledger_record_offset(chunk_count)) < 0)
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
    if (file_size != ledger_record_offset(ledger->chunk_count))
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

int ledger_check_range(const struct ledger *ledger, uint64_t first, uint64_t count,
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
    if (io_read_at(ledger->fd, records, count * LEDGER_RECORD_SIZE, ledger_record_offset(first),
                   err) < 0)
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
    uint8_t records[LEDGER_BATCH * LEDGER_RECORD_SIZE];

    if (ledger_check_range(ledger, first, count, err) < 0)
        return -1;
    while (count) {
        size_t part = (size_t)min_u64(count, LEDGER_BATCH);
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

uint64_t ledger_next_stored(const struct ledger *ledger, uint64_t first, uint64_t end)
{
    off_t data = lseek(ledger->fd, (off_t)ledger_record_offset(first), SEEK_DATA);

    if (data < 0) /* ENXIO: nothing behind it; anything else: a file system that cannot tell */
        return errno == ENXIO ? end : first;
    return min_u64(end, ((uint64_t)data - LEDGER_HEADER_SIZE) / LEDGER_RECORD_SIZE);
}

static uint64_t next_candidate(struct ledger *ledger, uint64_t first, uint64_t end)
{
    uint64_t next;

    pthread_mutex_lock(&ledger->lock);
    next = ledger_next_stored(ledger, first, end);
    next = min_u64(next, ledger_map_next(&ledger->pending, first, end));
    next = min_u64(next, ledger_map_next(&ledger->sealed, first, end));
    pthread_mutex_unlock(&ledger->lock);
    return next;
}

int ledger_next(struct ledger *ledger, uint64_t first, uint64_t count, uint64_t *index,
                struct error *err)
{
    struct ledger_entry entries[LEDGER_BATCH];
    uint64_t end = first + count;

    if (ledger_check_range(ledger, first, count, err) < 0)
        return -1;
    while ((first = next_candidate(ledger, first, end)) < end) {
        size_t part = (size_t)min_u64(end - first, LEDGER_BATCH);

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
    struct ledger_entry entries[LEDGER_BATCH];
    uint64_t at = 0;

    while ((at = next_candidate(ledger, at, ledger->chunk_count)) < ledger->chunk_count) {
        size_t part = (size_t)min_u64(ledger->chunk_count - at, LEDGER_BATCH);

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

    if (ledger_check_range(ledger, index, 1, err) < 0)
        return -1;
    if (entry->state == LEDGER_ZERO)
        return ledger_set_zero(ledger, index, 1, err);
    if (entry->state == LEDGER_DATA && !ledger_can_hold(&entry->name))
        return error_set(err, EINVAL, "ledger: chunk %llu: no content has this name",
                         (unsigned long long)index);
    if (entry->state == LEDGER_DATA)
        memcpy(record, entry->name.bytes, sizeof(record));
    else
        ledger_record_reserve(record, entry->state);
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
    uint8_t batch[LEDGER_BATCH * LEDGER_RECORD_SIZE];
    size_t filled = 0;

    for (size_t i = 0; i < count; i++) {
        memcpy(batch + filled++ * LEDGER_RECORD_SIZE, records[i].bytes, LEDGER_RECORD_SIZE);
        if (filled < LEDGER_BATCH && i + 1 < count && records[i + 1].index == records[i].index + 1)
            continue;
        if (io_write_at(ledger->fd, batch, filled * LEDGER_RECORD_SIZE,
                        ledger_record_offset(records[i].index + 1 - filled), err) < 0)
            return -1;
        filled = 0;
    }
    return 0;
}

int ledger_sync(struct ledger *ledger, struct error *err)
{
    if (!ledger->is_unsynced)
        return 0;
    if (fdatasync(ledger->fd) < 0) {
        error_set(err, errno, "fdatasync");
        if (err)
            err->errnum = EIO; /* also for want of space: what was to be written is gone */
        return -1;
    }
    ledger->is_unsynced = false;
    return 0;
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
    ledger->is_unsynced |= count > 0;
    if (write_sorted(ledger, records, count, err) < 0 || ledger_sync(ledger, err) < 0)
        return -1;
    pthread_mutex_lock(&ledger->lock);
    ledger_map_fini(&ledger->sealed);
    pthread_mutex_unlock(&ledger->lock);
    return 0;
}

int ledger_commit(struct ledger *ledger, struct error *err)
{
    int result;

    pthread_mutex_lock(&ledger->file_lock);
    result = commit_locked(ledger, err);
    pthread_mutex_unlock(&ledger->file_lock);
    return result == 0 ? 0 : error_wrap(err, "ledger");
}
