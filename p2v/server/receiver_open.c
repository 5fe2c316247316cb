/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Taking up a disk where an earlier run left it, or starting anew. After a kill or a power loss the
 * image may hold more than the ledger claims, never less: the image is repaired, and what it holds
 * without a claim is made zero, so that from here on both say the same.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/io.h"
#include "base/text.h"
#include "p2v/machine.h"
#include "p2v/server/pool.h"
#include "p2v/server/receiver_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The image is compared with the ledger in pieces, so that its map stays small. */
#define RECONCILE_STEP GIB

#define BUSY_TRIES 20
#define BUSY_WAIT_MS 20

/* --- made, closed --------------------------------------------------------------------------- */

static int set_up(struct receiver *receiver, const struct receiver_options *options,
                  struct error *err)
{
    const struct image_driver *driver;

    receiver->format = options->base_folder ? "qcow2" : options->format;
    driver = image_driver_find(receiver->format);
    if (!driver)
        return error_set(err, EINVAL, "unknown image format '%s'", receiver->format);
    if (options->size_bytes == 0 || options->size_bytes > IMAGE_MAX_SIZE ||
        options->size_bytes % 512)
        return error_set(err, EINVAL, "a disk of %llu bytes is not one of 512-byte sectors",
                         (unsigned long long)options->size_bytes);
    receiver->format = driver->name;
    receiver->image_name = text_format("disk%zu.%s", options->disk_index, driver->extension);
    receiver->image_path = path_join(receiver->folder, receiver->image_name);
    receiver->folder_fd = open(receiver->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (receiver->folder_fd < 0)
        return error_set(err, errno, "open %s", receiver->folder);
    return 0;
}

static struct receiver *receiver_new(const struct receiver_options *options)
{
    struct receiver *receiver = memory_new(1, sizeof(*receiver));

    receiver->folder_fd = -1;
    receiver->folder = text_copy(options->folder);
    receiver->base_folder = options->base_folder ? text_copy(options->base_folder) : NULL;
    receiver->source = text_copy(options->source);
    receiver->disk_index = options->disk_index;
    receiver->size_bytes = options->size_bytes;
    receiver->chunk_count = div_round_up(options->size_bytes, CHUNK_SIZE);
    memcpy(receiver->disk_id, options->disk_id, sizeof(receiver->disk_id));
    receiver->ledger_name = pool_ledger_name(options->disk_index);
    receiver->manifest_name = machine_manifest_name(options->disk_index);
    receiver->index = options->index;
    receiver->pool = options->pool;
    receiver->log = options->log;
    pthread_mutex_init(&receiver->commit_lock, NULL);
    pthread_mutex_init(&receiver->lock, NULL);
    return receiver;
}

void receiver_close(struct receiver *receiver)
{
    if (!receiver)
        return;
    pool_sources_close(&receiver->sources);
    image_close(receiver->image);
    ledger_close(receiver->ledger);
    extents_fini(&receiver->skipped);
    extents_fini(&receiver->cover.ranges);
    if (receiver->folder_fd >= 0)
        close(receiver->folder_fd);
    pthread_mutex_destroy(&receiver->commit_lock);
    pthread_mutex_destroy(&receiver->lock);
    free(receiver->folder);
    free(receiver->base_folder);
    free(receiver->image_name);
    free(receiver->image_path);
    free(receiver->ledger_name);
    free(receiver->manifest_name);
    free(receiver->source);
    free(receiver);
}

/* --- the image ------------------------------------------------------------------------------ */

int receiver_repair(const struct receiver *receiver, struct error *err)
{
    struct error own;
    int result = -1;

    err = err ? err : &own;
    for (unsigned try = 0; try < BUSY_TRIES; try++) {
        result = image_repair(receiver->image_path, receiver->format, err);
        if (result == 0 || err->errnum != EBUSY)
            return result;
        usleep(BUSY_WAIT_MS * 1000);
    }
    return result;
}

/* A base lies in another folder of the same pool, as may its own. */
static struct image *open_once(const struct receiver *receiver, struct error *err)
{
    AUTO_FREE char *pool = path_parent(receiver->folder);
    struct image_open_options options = {
        .format = receiver->format, .is_writable = true, .is_direct = true};

    if (receiver->base_folder)
        options.backing_folder = pool;
    return image_open(receiver->image_path, &options, err);
}

/* As receiver_repair: another lock is taken. */
static struct image *open_image(const struct receiver *receiver, struct error *err)
{
    for (unsigned try = 0;; try++) {
        struct image *image = open_once(receiver, err);

        if (image || err->errnum != EBUSY || try == BUSY_TRIES)
            return image;
        usleep(BUSY_WAIT_MS * 1000);
    }
}

int receiver_create_image(const struct receiver *receiver, const char *backing,
                          const char *backing_format, struct error *err)
{
    struct image_create_options options = {.format = receiver->format,
                                           .size_bytes = receiver->size_bytes,
                                           .backing_path = backing,
                                           .backing_format = backing_format};
    AUTO_PTR(image) image = image_create(receiver->image_path, &options, err);

    return image ? image_finish(image, err) : -1;
}

/* --- starting anew -------------------------------------------------------------------------- */

int receiver_remove_file(const struct receiver *receiver, const char *name, struct error *err)
{
    if (unlinkat(receiver->folder_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    return error_set(err, errno, "remove %s", name);
}

/* The ledger first: it must never describe another image. */
static int remove_all(const struct receiver *receiver, struct error *err)
{
    if (receiver_remove_file(receiver, receiver->manifest_name, err) < 0 ||
        receiver_remove_file(receiver, receiver->ledger_name, err) < 0 ||
        io_sync(receiver->folder_fd, err) < 0)
        return -1;
    return receiver_remove_file(receiver, receiver->image_name, err);
}

static int start_anew(struct receiver *receiver, struct error *err)
{
    if (remove_all(receiver, err) < 0)
        return -1;
    if (receiver->base_folder ? receiver_start_update(receiver, err) < 0
                              : receiver_create_image(receiver, NULL, NULL, err) < 0)
        return -1;
    receiver->image = open_image(receiver, err);
    if (!receiver->image)
        return -1;
    receiver->ledger = ledger_open(receiver->folder_fd, receiver->ledger_name, receiver->size_bytes,
                                   receiver->disk_id, err);
    return receiver->ledger ? 0 : -1;
}

/* --- taking up ------------------------------------------------------------------------------ */

/* Somebody uses it, or this machine is short of something: no reason to throw it away. */
static bool is_broken(const struct error *err)
{
    return err->errnum == 0 || err->errnum == ENOTSUP || err->errnum == EFBIG ||
           err->errnum == ESTALE;
}

static int open_both(struct receiver *receiver, struct error *err)
{
    struct image_info info;

    receiver->ledger = ledger_open(receiver->folder_fd, receiver->ledger_name, receiver->size_bytes,
                                   receiver->disk_id, err);
    if (!receiver->ledger || receiver_repair(receiver, err) < 0)
        return -1;
    receiver->image = open_image(receiver, err);
    if (!receiver->image)
        return -1;
    image_get_info(receiver->image, &info);
    if (receiver->image->source.size_bytes != receiver->size_bytes ||
        !info.backing_file != !receiver->base_folder)
        return error_set(err, ESTALE, "%s is of another disk", receiver->image_name);
    return 0;
}

/* 1: taken up; 0: there is nothing that could be. */
static int take_up(struct receiver *receiver, struct error *err)
{
    if (!folder_has(receiver->folder_fd, receiver->image_name) ||
        !folder_has(receiver->folder_fd, receiver->ledger_name))
        return 0;
    if (open_both(receiver, err) == 0)
        return 1;
    image_close(take_ptr(&receiver->image));
    ledger_close(take_ptr(&receiver->ledger));
    if (!is_broken(err))
        return -1;
    log_warning(receiver->log, "%s is received from its beginning: %s", receiver->image_path,
                err->text);
    return 0;
}

/* --- both say the same ------------------------------------------------------------------------ */

struct reconcile {
    struct receiver *receiver;
    struct extents unclaimed; /* within the present step */
};

/* What the ledger claims as content is taken out of what the image holds. */
static int remove_claimed(struct reconcile *step, uint64_t first, uint64_t count, struct error *err)
{
    struct ledger_entry entries[RECEIVER_BATCH];

    if (ledger_get(step->receiver->ledger, first, count, entries, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        bool is_claimed = entries[i].state == LEDGER_DATA || entries[i].state == LEDGER_OTHER;

        if (is_claimed && step->unclaimed.count &&
            extents_remove(&step->unclaimed, (first + i) * CHUNK_SIZE,
                           receiver_chunk_length(step->receiver, first + i), err) < 0)
            return -1;
    }
    return 0;
}

static int find_unclaimed(struct reconcile *step, uint64_t offset, uint64_t length,
                          struct error *err)
{
    const struct receiver *receiver = step->receiver;
    uint64_t end = div_round_up(offset + length, CHUNK_SIZE);

    if (block_source_map(&receiver->image->source, offset, length, &step->unclaimed, err) < 0)
        return -1;
    for (uint64_t at = offset / CHUNK_SIZE; step->unclaimed.count && at < end;
         at += RECEIVER_BATCH) {
        if (remove_claimed(step, at, min_u64(end - at, RECEIVER_BATCH), err) < 0)
            return -1;
    }
    return 0;
}

/* What is unclaimed became so by a crash, or in a base that stores zeroes. */
static int reconcile(struct receiver *receiver, struct error *err)
{
    uint64_t cleared = 0;

    for (uint64_t offset = 0; offset < receiver->size_bytes; offset += RECONCILE_STEP) {
        struct reconcile step = {.receiver = receiver};
        int result = find_unclaimed(&step, offset,
                                    min_u64(RECONCILE_STEP, receiver->size_bytes - offset), err);

        for (size_t i = 0; result == 0 && i < step.unclaimed.count; i++)
            result = image_write_zeroes(receiver->image, step.unclaimed.items[i].offset,
                                        step.unclaimed.items[i].length, err);
        cleared += extents_total(&step.unclaimed);
        extents_fini(&step.unclaimed);
        if (result < 0)
            return -1;
    }
    if (cleared)
        log_detail(receiver->log, "%s: %llu bytes were not on stable storage", receiver->image_path,
                   (unsigned long long)cleared);
    return 0;
}

static int count_entry(void *context, uint64_t index, const struct ledger_entry *entry,
                       struct error *err)
{
    (void)err;
    receiver_count(context, index, entry);
    return 0;
}

static int start(struct receiver *receiver, const struct receiver_options *options,
                 struct error *err)
{
    struct error own;
    int taken_up;

    err = err ? err : &own;
    if (set_up(receiver, options, err) < 0)
        return -1;
    taken_up = take_up(receiver, err);
    if (taken_up < 0 || (taken_up == 0 && start_anew(receiver, err) < 0))
        return -1;
    receiver->cover.is_unknown = taken_up > 0;
    if (reconcile(receiver, err) < 0)
        return -1;
    return ledger_visit(receiver->ledger, count_entry, receiver, err);
}

struct receiver *receiver_open(const struct receiver_options *options, struct error *err)
{
    struct receiver *receiver = receiver_new(options);

    if (start(receiver, options, err) == 0)
        return receiver;
    error_wrap(err, "receive disk %zu into %s", options->disk_index, options->folder);
    receiver_close(receiver);
    return NULL;
}
