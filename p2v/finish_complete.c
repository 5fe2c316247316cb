/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Putting a finished folder in its place. Every step may be done twice, and each is on stable
 * storage before the next one that would miss it:
 *
 *     sealed overlays into the disks → manifests → report →
 *         .partial: rename          .update: into the machine's disks → its files → remove
 */
#include "p2v/finish_complete.h"

#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "formats/guest.h"
#include "p2v/finish_folder.h"
#include "p2v/finish_merge.h"
#include "p2v/fix_disks.h"
#include "p2v/machine.h"
#include "p2v/report.h"
#include "p2v/server/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- the folder as finish_complete sees it --- */

int finish_place_init(struct finish_place *place, const char *path, struct error *err)
{
    *place = (struct finish_place){
        .is_update = text_ends_with(path, POOL_UPDATE_SUFFIX), .folder_fd = -1, .base_fd = -1};
    const char *suffix = place->is_update ? POOL_UPDATE_SUFFIX : POOL_PARTIAL_SUFFIX;
    AUTO_FREE char *name = path_base(path);
    if (!text_ends_with(name, suffix) || strlen(name) == strlen(suffix))
        return error_set(err, EINVAL, "%s is no folder of a transfer", path);
    AUTO_FREE char *final_name = text_format("%.*s", (int)(strlen(name) - strlen(suffix)), name);
    place->parent = path_parent(path);
    place->folder = path_join(place->parent, name);
    place->final = path_join(place->parent, final_name);
    return 0;
}

void finish_place_fini(struct finish_place *place)
{
    own_close(&place->folder_fd);
    own_close(&place->base_fd);
    free(place->folder);
    free(place->final);
    free(place->parent);
    *place = (struct finish_place){.folder_fd = -1, .base_fd = -1};
}

char *finish_disk_name(const struct finish_place *place, const struct guest *guest, size_t index)
{
    return place->is_update ? text_format("disk%zu.qcow2", index)
                            : text_copy(guest->disks[index].path);
}

static const char *disk_format(const struct finish_place *place, const struct guest *guest,
                               size_t index)
{
    return place->is_update ? "qcow2" : guest->disks[index].format;
}

/* --- what the fixers wrote --- */

static int commit_disk(const struct finish_place *place, struct fix_disks *disks, size_t index,
                       uint64_t *changed_bytes, struct error *err)
{
    AUTO(manifest) manifest = {0};
    AUTO_FREE char *name = machine_manifest_name(index);
    uint64_t changed = 0;
    if (manifest_read(&manifest, place->folder_fd, name, err) != 0 ||
        fix_disks_commit(disks, index, &manifest, &changed, err) != 0)
        return -1;
    *changed_bytes += changed;
    /* Also when nothing changed: it is never older than its image. */
    return manifest_write(&manifest, place->folder_fd, name, err);
}

static int commit_all(const struct finish_place *place, const struct guest *guest,
                      struct fix_disks *disks, uint64_t *changed_bytes, struct error *err)
{
    for (size_t i = 0; i < guest->disk_count; i++) {
        AUTO_FREE char *name = finish_disk_name(place, guest, i);
        int attached =
            fix_disks_attach(disks, place->folder, name, disk_format(place, guest, i), err);
        if (attached < 0 || (attached && commit_disk(place, disks, i, changed_bytes, err) != 0))
            return -1;
    }
    fix_disks_finish(disks);
    return 0;
}

/* Sealed overlays, where there are any, into the folder's own images. */
static int commit_fix(const struct finish_place *place, const struct guest *guest,
                      uint64_t *changed_bytes, struct error *err)
{
    struct fix_disks *disks = memory_new(1, sizeof(*disks));
    disks->chain_folder = place->is_update ? place->parent : NULL;
    *changed_bytes = 0;
    int result = commit_all(place, guest, disks, changed_bytes, err);
    fix_disks_fini(disks);
    free(disks);
    return result;
}

/* The report was written before the fix went into the disks. */
static int update_report(const struct finish_place *place, const struct guest *guest,
                         uint64_t changed_bytes, struct error *err)
{
    AUTO_JSON report = json_read(place->folder_fd, MACHINE_REPORT, err);
    json_t *disks = json_object_get(report, "disks");
    if (!report)
        return -1;
    for (size_t i = 0; i < guest->disk_count && i < json_array_size(disks); i++) {
        AUTO(manifest) manifest = {0};
        AUTO_FREE char *name = machine_manifest_name(i);
        if (manifest_read(&manifest, place->folder_fd, name, err) != 0)
            return -1;
        report_set_digest(json_array_get(disks, i), &manifest);
    }
    if (changed_bytes)
        report_set_step_bytes(report, "fix", changed_bytes);
    return json_write(report, place->folder_fd, MACHINE_REPORT, err);
}

/* --- a machine that was not there before --- */

/* The machine that is replaced must not look like one to be completed when it stands aside. */
static int unmark_final(const struct finish_place *place, struct error *err)
{
    static const char *const marks[] = {FINISH_MARK, FINISH_UNTESTED, POOL_RECEIVED, NULL};
    AUTO_CLOSE int fd = open(place->final, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : error_set(err, errno, "open %s", place->final);
    return finish_folder_drop(fd, marks, err);
}

static int publish(struct finish_place *place, struct log *log, struct error *err)
{
    static const char *const transfer[] = {POOL_RECEIVED, FINISH_BASE, NULL};
    static const char *const mark[] = {FINISH_MARK, NULL};
    if (finish_folder_drop(place->folder_fd, transfer, err) != 0 ||
        finish_folder_drop_disks(place->folder_fd, ".ledger", err) != 0 ||
        unmark_final(place, err) != 0)
        return -1;
    struct machine_draft draft = {.final = text_copy(place->final),
                                  .partial = text_copy(place->folder),
                                  .folder_fd = take_fd(&place->folder_fd),
                                  .is_forced = true};
    int result = machine_draft_publish(&draft, log, err);
    if (result == 0)
        result = finish_folder_drop(draft.folder_fd, mark, err);
    place->folder_fd = take_fd(&draft.folder_fd);
    machine_draft_fini(&draft);
    return result;
}

/* --- */

int finish_complete_place(struct finish_place *place, struct log *log, struct error *err)
{
    uint64_t changed = 0;
    struct guest *guest = guest_read(place->folder_fd, MACHINE_GUEST, false, err);
    int result = guest ? commit_fix(place, guest, &changed, err) : -1;
    if (result == 0)
        result = update_report(place, guest, changed, err);
    if (result == 0)
        result = place->is_update ? finish_merge(place, guest, log, err) : publish(place, log, err);
    guest_free(guest);
    return result == 0 ? 0 : error_wrap(err, "%s", place->folder);
}

int finish_complete(const char *path, int folder_fd, struct log *log, struct error *err)
{
    struct finish_place place;
    if (finish_place_init(&place, path, err) != 0) {
        close(folder_fd);
        return -1;
    }
    place.folder_fd = folder_fd;
    int result = finish_complete_place(&place, log, err);
    finish_place_fini(&place);
    return result;
}
