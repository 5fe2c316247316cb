/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What ends the ledger's claims: zero, unreadable, and names withdrawn because the image is about
 * to change. All of it is in the file when the call returns, and synced if a name stood there.
 */
#include "base/checked.h"
#include "base/io.h"
#include "formats/ledger_private.h"

#include <string.h>

static const uint8_t record_zero[LEDGER_RECORD_SIZE];

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

/* At most LEDGER_BATCH; what is as it should be is not written. */
static int fill_batch(struct ledger *ledger, uint64_t first, size_t count, struct fill *fill,
                      struct error *err)
{
    uint8_t records[LEDGER_BATCH * LEDGER_RECORD_SIZE];
    bool is_changed = false;

    if (io_read_at(ledger->fd, records, count * LEDGER_RECORD_SIZE, ledger_record_offset(first),
                   err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        uint8_t *record = records + i * LEDGER_RECORD_SIZE;
        enum ledger_state state = ledger_record_state(record);

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
    ledger->is_unsynced = true;
    return io_write_at(ledger->fd, records, count * LEDGER_RECORD_SIZE, ledger_record_offset(first),
                       err);
}

/* Holes stay holes where nothing is to be put into them. */
static int fill_range(struct ledger *ledger, uint64_t first, uint64_t count, struct fill *fill,
                      struct error *err)
{
    uint64_t end = first + count;

    while (first < end) {
        size_t part;

        if (fill->only_used && (first = ledger_next_stored(ledger, first, end)) == end)
            break;
        part = (size_t)min_u64(end - first, LEDGER_BATCH);
        if (fill_batch(ledger, first, part, fill, err) < 0)
            return -1;
        first += part;
    }
    return fill->had_claims ? ledger_sync(ledger, err) : 0;
}

static int fill_file(struct ledger *ledger, uint64_t first, uint64_t count, struct fill *fill,
                     struct error *err)
{
    int result;

    if (ledger_check_range(ledger, first, count, err) < 0)
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

    ledger_record_reserve(record, LEDGER_UNREADABLE);
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

    return record && ledger_record_state(record) == LEDGER_DATA;
}

/* Does anything, in memory or in the file, claim a content? At most LEDGER_BATCH. 1, 0 or -1. */
static int has_claims(struct ledger *ledger, uint64_t first, size_t count, const struct fill *fill,
                      struct error *err)
{
    uint8_t records[LEDGER_BATCH * LEDGER_RECORD_SIZE];
    bool result = false;

    pthread_mutex_lock(&ledger->lock);
    for (uint64_t i = first; !result && i < first + count; i++)
        result = is_meant(fill, i) &&
                 (map_claims(&ledger->pending, i) || map_claims(&ledger->sealed, i));
    pthread_mutex_unlock(&ledger->lock);
    if (result)
        return 1;
    if (io_read_at(ledger->fd, records, count * LEDGER_RECORD_SIZE, ledger_record_offset(first),
                   err) < 0)
        return error_wrap(err, "ledger");
    for (size_t i = 0; !result && i < count; i++)
        result = is_meant(fill, first + i) &&
                 ledger_record_state(records + i * LEDGER_RECORD_SIZE) == LEDGER_DATA;
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

    if (ledger_check_range(ledger, first, count, err) < 0)
        return -1;
    ledger_record_reserve(record, LEDGER_OTHER);
    for (uint64_t at = first, end = first + count; at < end; at += LEDGER_BATCH) {
        size_t part = (size_t)min_u64(end - at, LEDGER_BATCH);
        int claims = has_claims(ledger, at, part, &fill, err);

        if (claims < 0)
            return -1;
        if (claims) /* the rest is looked at there */
            return forget_claims(ledger, at, end - at, &fill, err);
    }
    return 0;
}
