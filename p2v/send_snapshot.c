/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Snapshots for a sending: whether they are wanted, that they are taken when the server is there
 * and gone when it has everything, or when we end.
 */
#include "base/own.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/agent/live_devices.h"
#include "p2v/copy.h"
#include "p2v/interrupt.h"
#include "p2v/send_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* How long an interrupted program may take to remove them. */
#define REMOVAL_SECONDS 60

struct send_snapshots {
    struct send *send;
    struct snapshot_disk disks[WIRE_MAX_DISKS];
    size_t count;
    pthread_mutex_t lock; /* what is below; the sender's thread and the control connection's */
    struct snapshots *snapshots; /* is there as long as this is */
    bool has_lasted;             /* a pass was read by way of them */
    atomic_bool has_some;        /* read by who waits for the end */
};

/* --- whether --- */

/* LVM's devices tell so by their names for the device mapper. */
static bool has_volumes(const struct send_disk *disk)
{
    struct live_devices devices;
    bool is_any = false;
    if (!live_devices_read("", disk->device.major, disk->device.minor, &devices))
        return false;
    for (size_t i = 0; i < devices.count; i++) {
        AUTO_FREE char *uuid =
            inventory_text("", "/sys/class/block/%s/dm/uuid", devices.items[i].name);
        is_any |= text_starts_with(uuid, "LVM-");
    }
    live_devices_fini(&devices);
    return is_any;
}

static bool is_wanted(const struct send *send)
{
    const char *how = send->options->snapshots;
    bool is_any = false;
    if (!send_is_any_live(send) || (how && strcmp(how, "no") == 0) || geteuid() != 0)
        return false;
    for (size_t i = 0; i < send->disk_count; i++)
        is_any |= send->disks[i].live.is_live && has_volumes(&send->disks[i]);
    return is_any;
}

static void held_free(struct send_snapshots *held)
{
    snapshots_close(held->snapshots);
    pthread_mutex_destroy(&held->lock);
    free(held);
}

/* NULL with err: there can be none. */
static struct send_snapshots *held_new(struct send *send, struct error *err)
{
    struct send_snapshots *held = memory_new(1, sizeof(*held));
    held->send = send;
    pthread_mutex_init(&held->lock, NULL);
    for (size_t i = 0; i < send->disk_count; i++) {
        struct send_disk *disk = &send->disks[i];
        if (!disk->live.is_live)
            continue;
        disk->snapshot_index = held->count;
        held->disks[held->count++] = (struct snapshot_disk){disk->name, disk->device.major,
                                                            disk->device.minor, disk->live_source};
    }
    struct snapshots_options options = {.disks = held->disks,
                                        .disk_count = held->count,
                                        .freeze = send_freeze_moment,
                                        .thaw = send_thaw_moment,
                                        .context = send,
                                        .log = &send->log};
    held->snapshots = snapshots_open(&options, err);
    if (held->snapshots)
        return held;
    held_free(held);
    return NULL;
}

static void show_through(struct send *send, const struct snapshots *snapshots)
{
    for (size_t i = 0; i < send->disk_count; i++) {
        struct send_disk *disk = &send->disks[i];
        if (disk->live.is_live)
            disk->source.block = snapshots ? snapshots_block(snapshots, disk->snapshot_index)
                                           : live_source_block(disk->live_source);
    }
}

static const char *find_obstacle(const struct send *send)
{
    for (size_t i = 0; i < send->disk_count; i++) {
        if (send->disks[i].live.is_unknown)
            return send->disks[i].live.what;
    }
    return send->freezer ? NULL : "the file systems cannot be frozen";
}

void send_prepare_snapshots(struct send *send)
{
    struct error err = {0};
    if (!is_wanted(send))
        return;
    const char *obstacle = find_obstacle(send);
    if (obstacle || send->options->is_final)
        snapshots_sweep(&send->log, NULL);
    else
        send->snapshots = held_new(send, &err);
    if (send->snapshots)
        show_through(send, send->snapshots->snapshots);
    else if (!send->options->is_final)
        log_info(&send->log, "no snapshots: %s: the disks are gone over in passes",
                 obstacle ? obstacle : err.text);
}

bool send_has_snapshots(const struct send *send)
{
    return send->snapshots;
}

/* --- how long --- */

/* The process is to end: not before they are gone. The main thread sees to that. */
static void await_removal(void *context)
{
    const struct send_snapshots *held = context;
    for (unsigned i = 0; i < REMOVAL_SECONDS * 10 && atomic_load(&held->has_some); i++)
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
}

static void set_some(struct send_snapshots *held, bool has_some)
{
    atomic_store(&held->has_some, has_some);
    interrupt_set_cleanup(has_some ? await_removal : NULL, held);
}

static void tell(struct send *send, const struct snapshots *snapshots)
{
    AUTO(text) names = {0};
    for (size_t i = 0; i < snapshots_count(snapshots); i++) {
        struct snapshot_figures figures = snapshots_figures(snapshots, i);
        text_addf(&names, "%s%s/%s", i ? ", " : "", figures.vg, figures.name);
    }
    log_info(&send->log, "snapshots of %s: the copy is of this moment", text_string(&names));
}

/* It is known better now. */
static void estimate(struct send *send)
{
    for (size_t i = 0; i < send->disk_count; i++) {
        struct extents used = {0};
        struct send_disk *disk = &send->disks[i];
        if (disk->live.is_live &&
            snapshots_used(send->snapshots->snapshots, disk->snapshot_index, &used, NULL) == 0)
            copy_estimate(disk->source.block, &used, &disk->source.used_bytes, NULL);
        extents_fini(&used);
    }
}

bool send_take_snapshots(void *context)
{
    struct send *send = context;
    struct send_snapshots *held = send->snapshots;
    struct error err = {0};
    char obstacle[ERROR_TEXT_SIZE] = "";
    if (!send_has_snapshots(send))
        return false;
    pthread_mutex_lock(&held->lock);
    set_some(held, true);
    int result = snapshots_take(held->snapshots, obstacle, sizeof(obstacle), &err);
    if (result == 1) {
        estimate(send);
        tell(send, held->snapshots);
    } else {
        set_some(held, false);
    }
    pthread_mutex_unlock(&held->lock);
    if (result < 0)
        log_warning(&send->log, "snapshots: %s: the disks are gone over in passes", err.text);
    else if (result == 0)
        log_info(&send->log, "no snapshots: %s: the disks are gone over in passes", obstacle);
    return result == 1;
}

static void drop(struct send_snapshots *held)
{
    snapshots_drop(held->snapshots);
    set_some(held, false);
}

bool send_are_snapshots_held(void *context)
{
    struct send *send = context;
    struct send_snapshots *held = send->snapshots;
    if (!held)
        return false;
    pthread_mutex_lock(&held->lock);
    bool is_held = snapshots_hold(held->snapshots);
    held->has_lasted = is_held;
    if (!is_held && snapshots_are_taken(held->snapshots)) {
        drop(held);
        log_warning(&send->log, "the snapshots did not last: the disks are gone over in passes");
    }
    pthread_mutex_unlock(&held->lock);
    return is_held;
}

int send_snapshot_map(const struct send_disk *disk, struct extents *used, struct error *err)
{
    struct send_snapshots *held = disk->send->snapshots;
    int result = 0;
    if (!held || !disk->live.is_live)
        return 0;
    pthread_mutex_lock(&held->lock);
    if (snapshots_are_taken(held->snapshots))
        result = snapshots_used(held->snapshots, disk->snapshot_index, used, err) == 0 ? 1 : -1;
    pthread_mutex_unlock(&held->lock);
    return result;
}

static void drop_all(struct send *send)
{
    struct send_snapshots *held = send->snapshots;
    if (!held)
        return;
    pthread_mutex_lock(&held->lock);
    drop(held);
    pthread_mutex_unlock(&held->lock);
}

/* The first stage says that the server has everything. */
void send_take_stage(void *context, const char *machine, enum wire_stage stage, const char *text)
{
    drop_all(context);
    send_show_stage(context, machine, stage, text);
}

void send_close_snapshots(struct send *send)
{
    if (!send->snapshots)
        return;
    drop_all(send);
    show_through(send, NULL);
    held_free(send->snapshots);
    send->snapshots = NULL;
}

/* --- the report --- */

json_t *send_snapshots_json(const struct send *send)
{
    json_t *json = json_array();
    const struct send_snapshots *held = send->snapshots;
    size_t count = held && held->has_lasted ? snapshots_count(held->snapshots) : 0;
    for (size_t i = 0; i < count; i++) {
        struct snapshot_figures figures = snapshots_figures(held->snapshots, i);
        AUTO_FREE char *name = text_format("%s/%s", figures.vg, figures.name);
        json_t *item = json_object();
        json_set_text(item, "volume", name);
        json_set_bytes(item, "size_bytes", figures.size_bytes);
        json_set_bytes(item, "room_bytes", figures.room_bytes);
        json_object_set_new(item, "used_percent", json_seconds(figures.used_percent));
        json_array_append_new(json, item);
    }
    return json;
}
