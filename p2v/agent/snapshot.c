/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Keeps the snapshots, looks whether they hold, and sees to it that none stays behind: one run at a
 * time has some, so what is found at the beginning is a killed run's.
 */
#include "p2v/agent/snapshot.h"

#include "base/text.h"
#include "p2v/agent/snapshot_lvm.h"
#include "p2v/agent/snapshot_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#define LOCK_PATH "/run/rehost-snapshots.lock"

const struct block_source *snapshots_disk(const struct snapshots *snapshots, size_t disk)
{
    return live_source_block(snapshots->options.disks[disk].source);
}

const struct block_source *snapshots_block(const struct snapshots *snapshots, size_t disk)
{
    return snapshot_overlay_block(snapshots->overlays[disk]);
}

/* --- opening --- */

/* Held for as long as the file is open. */
static int take_lock(int *lock, struct error *err)
{
    *lock = open(LOCK_PATH, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*lock < 0)
        return error_set(err, errno, "%s", LOCK_PATH);
    if (flock(*lock, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return error_set(err, EBUSY, "another run has snapshots now");
    return error_set(err, errno, "lock %s", LOCK_PATH);
}

/* With the lock. */
static int remove_left_over(struct log *log, struct error *err)
{
    struct snapshot_owns owns;
    if (snapshot_lvm_list(&owns, err) != 0)
        return -1;
    int result = 0;
    for (size_t i = 0; result == 0 && i < owns.count; i++) {
        const struct snapshot_own *own = &owns.items[i];
        result = snapshot_lvm_remove(own, err);
        if (result == 0)
            log_info(log, "removed the snapshot %s/%s of an earlier run", own->vg, own->name);
        else
            error_wrap(err, "the snapshot %s/%s of an earlier run", own->vg, own->name);
    }
    snapshot_owns_fini(&owns);
    return result;
}

int snapshots_sweep(struct log *log, struct error *err)
{
    AUTO_CLOSE int lock = -1;
    return take_lock(&lock, err) == 0 ? remove_left_over(log, err) : -1;
}

struct snapshots *snapshots_open(const struct snapshots_options *options, struct error *err)
{
    struct snapshots *snapshots = memory_new(1, sizeof(*snapshots));
    snapshots->options = *options;
    snapshots->lock = -1;
    snapshots->overlays = memory_new(options->disk_count + 1, sizeof(*snapshots->overlays));
    snapshots->used = memory_new(options->disk_count + 1, sizeof(*snapshots->used));
    for (size_t i = 0; i < options->disk_count; i++)
        snapshots->overlays[i] = snapshot_overlay_new(snapshots_disk(snapshots, i));
    if (take_lock(&snapshots->lock, err) == 0 && remove_left_over(options->log, err) == 0 &&
        snapshots_check(snapshots, err) == 0)
        return snapshots;
    snapshots_close(snapshots);
    return NULL;
}

void snapshots_close(struct snapshots *snapshots)
{
    if (!snapshots)
        return;
    snapshots_drop(snapshots);
    for (size_t i = 0; i < snapshots->options.disk_count; i++)
        snapshot_overlay_free(snapshots->overlays[i]);
    free(snapshots->overlays);
    free(snapshots->used);
    free(snapshots->taken);
    snapshot_plan_fini(&snapshots->plan);
    own_close(&snapshots->lock);
    free(snapshots);
}

/* --- while there are some --- */

bool snapshots_are_taken(const struct snapshots *snapshots)
{
    return snapshots->is_taken;
}

int snapshots_used(const struct snapshots *snapshots, size_t disk, struct extents *used,
                   struct error *err)
{
    return extents_add_all(used, &snapshots->used[disk], 0, err);
}

static bool does_one_hold(struct snapshots *snapshots, size_t index)
{
    struct error err = {0};
    struct snapshot_dm_state state;
    struct snapshot_taken *taken = &snapshots->taken[index];
    const struct snapshot_volume *volume = &snapshots->plan.volumes[index];
    if (snapshot_dm_look(&taken->dm, &state, &err) != 0) {
        log_warning(snapshots->options.log, "the snapshot of %s/%s: %s", volume->vg, volume->name,
                    err.text);
        return false;
    }
    taken->used_percent = state.is_valid ? state.used_percent : 100;
    if (!state.is_valid)
        log_warning(snapshots->options.log,
                    "the snapshot of %s/%s is full: the volume was changed too much while it was "
                    "read",
                    volume->vg, volume->name);
    return state.is_valid;
}

bool snapshots_hold(struct snapshots *snapshots)
{
    bool is_holding = snapshots->is_taken;
    for (size_t i = 0; snapshots->is_taken && i < snapshots->plan.volume_count; i++)
        is_holding &= does_one_hold(snapshots, i);
    for (size_t i = 0; is_holding && i < snapshots->options.disk_count; i++) {
        if (!snapshot_overlay_is_lost(snapshots->overlays[i]))
            continue;
        log_warning(snapshots->options.log, "%s: a snapshot could not be read where the disk could",
                    snapshots->options.disks[i].name);
        is_holding = false;
    }
    return is_holding;
}

/* --- the end of them --- */

static void close_taken(struct snapshots *snapshots)
{
    for (size_t i = 0; i < snapshots->options.disk_count; i++) {
        snapshot_overlay_clear(snapshots->overlays[i]);
        extents_fini(&snapshots->used[i]);
    }
    for (size_t i = 0; snapshots->taken && i < snapshots->plan.volume_count; i++) {
        device_close(snapshots->taken[i].device);
        extents_fini(&snapshots->taken[i].used);
        snapshots->taken[i].device = NULL;
    }
    snapshot_aside_fini(&snapshots->aside);
    free(snapshots->live.items);
    snapshots->live = (struct snapshot_areas){0};
}

/* By LVM's word, not ours: a snapshot whose making was cut off is found as well. */
void snapshots_drop(struct snapshots *snapshots)
{
    struct error err = {0};
    struct snapshot_owns owns = {0};
    close_taken(snapshots);
    snapshots->is_taken = false;
    if (!snapshots->has_some)
        return;
    snapshots->has_some = false;
    int result = snapshot_lvm_list(&owns, &err);
    for (size_t i = 0; i < owns.count; i++)
        result |= snapshot_lvm_remove(&owns.items[i], &err);
    snapshot_owns_fini(&owns);
    if (result != 0)
        log_warning(snapshots->options.log,
                    "a snapshot could not be removed: %s (lvs shows it; the next run tries again)",
                    err.text);
}

size_t snapshots_count(const struct snapshots *snapshots)
{
    return snapshots->taken ? snapshots->plan.volume_count : 0;
}

struct snapshot_figures snapshots_figures(const struct snapshots *snapshots, size_t index)
{
    const struct snapshot_volume *volume = &snapshots->plan.volumes[index];
    return (struct snapshot_figures){volume->vg, volume->name, volume->size_bytes,
                                     volume->room_extents * volume->extent_bytes,
                                     snapshots->taken[index].used_percent};
}
