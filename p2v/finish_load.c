/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Takes up what was received: the images, their manifests, the inventory; and checks that these are
 * what the two sides agreed on.
 */
#include "base/io.h"
#include "base/text.h"
#include "formats/image.h"
#include "p2v/finish.h"
#include "p2v/finish_folder.h"
#include "p2v/finish_inventory.h"
#include "p2v/report.h"
#include "p2v/server/pool.h"
#include "p2v/wire/disksum.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- is it what was received? --- */

static void sum_manifest(const struct manifest *manifest, struct disksum *sum)
{
    for (uint64_t index = manifest_next(manifest, 0); index < manifest->chunk_count;
         index = manifest_next(manifest, index + 1)) {
        enum chunk_state state = manifest_state(manifest, index);
        if (state == CHUNK_DATA || state == CHUNK_UNREADABLE)
            disksum_add(sum, index, state, manifest_name(manifest, index));
    }
}

/* Both sides have summed what the source had. */
static void unsum_changes(const struct manifest *manifest, struct disksum *sum)
{
    for (size_t i = 0; i < manifest->change_count; i++) {
        const struct manifest_change *change = &manifest->changes[i];
        disksum_remove(sum, change->index, manifest_state(manifest, change->index),
                       manifest_name(manifest, change->index));
        disksum_add(sum, change->index, change->state, &change->name);
    }
}

static int check_manifest(const struct convert_disk *disk, const struct received_disk *received,
                          struct error *err)
{
    struct disksum sum = {{0}};
    if (disk->manifest.size_bytes != copy_target_size(received->size_bytes))
        return error_set(err, 0, "its manifest is of a disk of %" PRIu64 " bytes",
                         disk->manifest.size_bytes);
    sum_manifest(&disk->manifest, &sum);
    unsum_changes(&disk->manifest, &sum);
    if (memcmp(sum.bytes, received->digest, sizeof(sum.bytes)) != 0)
        return error_set(err, 0, "its manifest is not of what was received");
    return 0;
}

/* --- opening --- */

static int load_disk(struct finish *finish, size_t index, struct error *err)
{
    struct convert *convert = &finish->convert;
    struct convert_disk *disk = &convert->disks[index];
    const struct received_disk *received = &finish->received.disks[index];
    AUTO_FREE char *manifest = machine_manifest_name(index);
    disk->format = image_driver_find(received->format)->name;
    disk->name = definition_disk_name(index, disk->format);
    finish->paths[index] = path_join(finish->place.folder, disk->name);
    if (manifest_read(&disk->manifest, finish->place.folder_fd, manifest, err) != 0 ||
        check_manifest(disk, received, err) != 0)
        return error_wrap(err, "%s", disk->name);
    return 0;
}

static int load_disks(struct finish *finish, struct error *err)
{
    struct convert *convert = &finish->convert;
    size_t count = finish->received.disk_count;
    convert->disks = memory_new(count, sizeof(struct convert_disk));
    convert->disk_count = count;
    for (size_t i = 0; i < count; i++) {
        if (load_disk(finish, i, err) != 0)
            return -1;
    }
    convert->format = convert->disks[0].format;
    return 0;
}

static int open_sources(struct finish *finish, struct error *err)
{
    struct convert *convert = &finish->convert;
    const char *paths[WIRE_MAX_DISKS], *formats[WIRE_MAX_DISKS];
    for (size_t i = 0; i < convert->disk_count; i++) {
        paths[i] = finish->paths[i];
        formats[i] = convert->disks[i].format;
    }
    struct option_list list = {paths, convert->disk_count};
    struct source_options options = {.formats = {formats, convert->disk_count},
                                     .backing_folder =
                                         finish->place.is_update ? finish->place.parent : NULL,
                                     .is_whole_disk = true};
    if (sources_open(&convert->sources, &list, &options, convert->log, err) != 0)
        return -1;
    for (size_t i = 0; i < convert->disk_count; i++) {
        if (convert->sources.items[i].block->size_bytes != convert->disks[i].manifest.size_bytes)
            return error_set(err, 0, "%s is not of its disk's size", convert->disks[i].name);
    }
    return 0;
}

/* --- the machine --- */

static int load_inventory(struct finish *finish, struct error *err)
{
    struct convert *convert = &finish->convert;
    if (!folder_has(finish->place.folder_fd, MACHINE_INVENTORY))
        return 0;
    AUTO_JSON inventory = json_read(finish->place.folder_fd, MACHINE_INVENTORY, err);
    if (!inventory)
        return -1;
    finish_inventory_hints(inventory, &convert->hints);
    finish_inventory_nics(inventory, &convert->given, convert->log);
    finish_wishes_read(inventory, &finish->wishes, &convert->hints, convert->log);
    return 0;
}

/* Unlike a conversion's source, a received disk's file name tells nothing about the machine. */
static char *machine_id(const struct finish *finish)
{
    const struct convert *convert = &finish->convert;
    if (convert->hints.uuid[0])
        return text_format("dmi:%s", convert->hints.uuid);
    AUTO_FREE char *id = definition_machine_id(&convert->sources);
    return text_starts_with(id, "file:") ? text_format("machine:%s", finish->received.machine)
                                         : take_ptr(&id);
}

/* An update is only good for the state of the machine that it was made over. */
static int check_base(struct finish *finish, struct error *err)
{
    char state[FINISH_STATE_SIZE];
    bool is_described;
    AUTO_FREE char *wanted = NULL;
    size_t length;
    if (finish_base_state(finish->place.base_fd, state, &is_described, err) != 0 ||
        io_read_file(finish->place.folder_fd, FINISH_BASE, sizeof(state), &wanted, &length, err) !=
            0)
        return -1;
    if (!is_described || strcmp(wanted, state) != 0)
        return error_set(err, 0,
                         "%s was changed since this update of it was begun; it has to be sent anew",
                         finish->place.final);
    finish->before = guest_read(finish->place.base_fd, MACHINE_GUEST, false, err);
    return finish->before ? 0 : -1;
}

int finish_load(struct finish *finish, struct error *err)
{
    struct convert *convert = &finish->convert;
    static const char *const stale[] = {FINISH_UNTESTED, NULL};
    int found = received_read(&finish->received, finish->place.folder_fd, err);
    if (found == 0)
        return error_set(err, 0, "the transfer is not complete (no %s in it)", POOL_RECEIVED);
    if (found < 0 || (finish->place.is_update && check_base(finish, err) != 0) ||
        finish_folder_drop(finish->place.folder_fd, stale, err) != 0 ||
        finish_folder_drop_leftovers(finish->place.folder_fd, err) != 0 ||
        load_disks(finish, err) != 0 || load_inventory(finish, err) != 0 ||
        open_sources(finish, err) != 0)
        return -1;
    convert->machine_id = machine_id(finish);
    convert->report = report_new();
    convert->fix_disks = memory_new(1, sizeof(*convert->fix_disks));
    convert->fix_disks->chain_folder = finish->place.is_update ? finish->place.parent : NULL;
    return 0;
}
