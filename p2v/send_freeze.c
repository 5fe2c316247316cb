/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * When the machine's file systems stand still: for the last pass, and for the moment in which the
 * map of what is used is read. A mounted file system's map is not certain but then: its journal is
 * empty and all it knows is on the disk.
 */
#include "base/own.h"
#include "p2v/send_private.h"

#include <sys/mman.h>

/* A map is read in seconds; the machine's services wait for it. One that takes longer has doubts.
 */
#define MAP_LIMIT_SECONDS 20

/* Snapshots begin at once; what is in use beside them is read meanwhile. */
#define MOMENT_LIMIT_SECONDS 60

/* --final: the services were stopped, or somebody has decided that they wait. */
#define FINAL_LIMIT_SECONDS (6 * 3600)

bool send_is_any_live(const struct send *send)
{
    for (size_t i = 0; i < send->disk_count; i++) {
        if (send->disks[i].live.is_live)
            return true;
    }
    return false;
}

/* A program that cannot freeze still sends; it says that the copy is not consistent. */
void send_prepare_freeze(struct send *send)
{
    struct error err = {0};
    if (send->mounts.count == 0)
        return;
    send->freezer = freezer_start(&send->mounts, &err);
    if (!send->freezer)
        log_warning(&send->log, "%s", err.text);
}

static void set_direct(struct send *send, bool is_direct)
{
    for (size_t i = 0; i < send->disk_count; i++) {
        if (send->disks[i].live.is_live) {
            live_source_drop(send->disks[i].live_source);
            live_source_set_direct(send->disks[i].live_source, is_direct);
        }
    }
}

/*
 * From here to thaw nothing may be written to a file: it would wait for itself. Nor may memory have
 * to be made free by writing; what is used from now on stays in memory.
 */
static int freeze(struct send *send, unsigned limit_seconds, struct log *log, struct error *err)
{
    if (!send->freezer)
        return 0;
    mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
    send_output_hold(send, true);
    int result = freezer_freeze(send->freezer, limit_seconds, log, err);
    if (result == 1) {
        set_direct(send, true);
    } else {
        send_output_hold(send, false);
        munlockall();
    }
    return result;
}

/* False: something was written meanwhile. */
static bool thaw(struct send *send, struct log *log)
{
    bool is_intact = freezer_thaw(send->freezer, log);
    set_direct(send, false);
    send_output_hold(send, false);
    munlockall();
    return is_intact;
}

static bool is_any_unknown(struct send *send)
{
    bool is_any = false;
    for (size_t i = 0; i < send->disk_count; i++) {
        if (!send->disks[i].live.is_unknown)
            continue;
        log_warning(&send->log, "%s cannot be frozen: %s", send->disks[i].name,
                    send->disks[i].live.what);
        is_any = true;
    }
    return is_any;
}

int send_freeze(void *context, struct error *err)
{
    struct send *send = context;
    unsigned limit = send->options->is_final ? FINAL_LIMIT_SECONDS : FREEZE_LIMIT_SECONDS;
    if (is_any_unknown(send))
        return 0;
    pthread_mutex_lock(&send->freezing);
    int result = freeze(send, limit, &send->log, err);
    send->is_frozen = result == 1;
    pthread_mutex_unlock(&send->freezing);
    return result;
}

void send_thaw(void *context)
{
    struct send *send = context;
    pthread_mutex_lock(&send->freezing);
    /* The sender has called it frozen by now, before this could be known. */
    if (send->is_frozen && !thaw(send, &send->log))
        send->result.consistency = WIRE_NOT_CONSISTENT;
    send->is_frozen = false;
    pthread_mutex_unlock(&send->freezing);
}

int send_freeze_moment(void *context, struct error *err)
{
    struct send *send = context;
    pthread_mutex_lock(&send->freezing);
    int result = freeze(send, MOMENT_LIMIT_SECONDS, &send->log, err);
    if (result != 1)
        pthread_mutex_unlock(&send->freezing);
    return result;
}

bool send_thaw_moment(void *context)
{
    struct send *send = context;
    bool is_intact = thaw(send, &send->log);
    pthread_mutex_unlock(&send->freezing);
    return is_intact;
}

/* Where it cannot be had the map has doubts, and is whole. What went wrong is told once, later. */
void send_hold(struct send *send)
{
    pthread_mutex_lock(&send->freezing);
    send->is_map_held = !send->is_frozen && freeze(send, MAP_LIMIT_SECONDS, NULL, NULL) == 1;
}

void send_release(struct send *send)
{
    if (send->is_map_held)
        thaw(send, NULL);
    send->is_map_held = false;
    pthread_mutex_unlock(&send->freezing);
}
