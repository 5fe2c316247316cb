/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Starting an update: an overlay over the complete machine's image, and a ledger of what the source
 * had where that image still has it. Its manifest is read in one pass, so that a disk of any size
 * needs no memory for its names.
 */
#include "base/io.h"
#include "base/text.h"
#include "p2v/machine.h"
#include "p2v/server/receiver_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Claims taken over from a base are committed this many at a time. */
#define FILL_BATCH 32768u

struct filling {
    const struct receiver *receiver;
    struct ledger *ledger;
};

static int fill_begin(void *context, const struct manifest *base, struct error *err)
{
    const struct filling *filling = context;

    if (base->size_bytes == filling->receiver->size_bytes)
        return 0;
    return error_set(err, EINVAL, "it is of a disk of %llu bytes",
                     (unsigned long long)base->size_bytes);
}

static int commit_fill(struct ledger *ledger, struct error *err)
{
    ledger_seal(ledger);
    return ledger_commit(ledger, err);
}

static int fill_names(void *context, uint64_t first, size_t count, const struct chunk_name *names,
                      struct error *err)
{
    struct ledger *ledger = ((const struct filling *)context)->ledger;

    for (size_t i = 0; i < count; i++) {
        const struct ledger_entry entry = {.state = LEDGER_DATA, .name = names[i]};

        if (ledger_set(ledger, first + i, &entry, err) < 0)
            return -1;
    }
    return ledger_pending(ledger) < FILL_BATCH ? 0 : commit_fill(ledger, err);
}

static int fill_run(void *context, uint64_t first, uint64_t count, enum chunk_state state,
                    struct error *err)
{
    const struct filling *filling = context;

    if (state != CHUNK_UNREADABLE)
        return 0;
    return ledger_set_unreadable(filling->ledger, first, count, err);
}

/* What fixers changed is something else, unless there is nothing. */
static int fill_change(void *context, const struct manifest_change *change, uint64_t count,
                       struct error *err)
{
    const struct ledger_entry other = {.state = LEDGER_OTHER};
    struct ledger *ledger = ((const struct filling *)context)->ledger;
    struct ledger_entry now;

    (void)count;
    if (ledger_get(ledger, change->index, 1, &now, err) < 0)
        return -1;
    return now.state == LEDGER_DATA ? ledger_set(ledger, change->index, &other, err) : 0;
}

/* A ledger of that name and, of `base`, what its manifest says besides the chunks. */
static int fill_ledger(const struct receiver *receiver, const char *name, struct manifest *base,
                       struct error *err)
{
    AUTO_CLOSE int folder_fd = open(receiver->base_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO_PTR(ledger)
    ledger = ledger_open(receiver->folder_fd, name, receiver->size_bytes, receiver->disk_id, err);

    if (folder_fd < 0)
        return error_set(err, errno, "open %s", receiver->base_folder);
    if (!ledger)
        return -1;
    struct filling filling = {receiver, ledger};
    const struct manifest_visitor visitor = {fill_begin, fill_run, fill_names, fill_change,
                                             &filling};

    if (manifest_visit(base, &visitor, folder_fd, receiver->manifest_name, err) < 0)
        return -1;
    return commit_fill(ledger, err);
}

static const struct image_driver *driver_of_extension(const char *name)
{
    const char *dot = strrchr(name, '.');

    for (size_t i = 0; dot && image_drivers[i]; i++) {
        if (strcmp(image_drivers[i]->extension, dot + 1) == 0)
            return image_drivers[i];
    }
    return NULL;
}

/* Empty, over the base's image. */
static int create_overlay(const struct receiver *receiver, const struct manifest *base,
                          struct error *err)
{
    AUTO_FREE char *name = path_base(receiver->base_folder);
    const struct image_driver *driver = driver_of_extension(base->image);

    if (!driver)
        return error_set(err, 0, "%s is an image of no known format", base->image);
    AUTO_FREE char *backing = text_format("../%s/%s", name, base->image);
    return receiver_create_image(receiver, backing, driver->name, err);
}

/* The ledger gets its name last: half of it would claim that the rest is zero. */
int receiver_start_update(const struct receiver *receiver, struct error *err)
{
    AUTO_FREE char *name = text_format("%s.new", receiver->ledger_name);
    AUTO(manifest) base = {0};

    if (receiver_remove_file(receiver, name, err) < 0)
        return -1;
    if (fill_ledger(receiver, name, &base, err) < 0 || create_overlay(receiver, &base, err) < 0)
        return error_wrap(err, "update %s", receiver->base_folder);
    if (renameat(receiver->folder_fd, name, receiver->folder_fd, receiver->ledger_name) < 0)
        return error_set(err, errno, "rename %s", name);
    return io_sync(receiver->folder_fd, err);
}
