/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Refuses a machine before anything was sent when the pool cannot hold it: what is used on its
 * disks, without what is there from before, beside what other machines are still going to take.
 */
#include "base/bytes.h"
#include "p2v/server/serving.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/* Tables of the images, ledger, manifest: below a hundredth; and something to breathe. */
#define SPACE_OVERHEAD 100
#define SPACE_RESERVE (8 * MIB)

static uint64_t allocated(int folder_fd, size_t disk, const char *format)
{
    struct stat stat;
    AUTO_FREE char *name = text_format("disk%zu.%s", disk, format);
    if (fstatat(folder_fd, name, &stat, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(stat.st_mode))
        return 0;
    return (uint64_t)stat.st_blocks * 512;
}

static uint64_t held(int folder_fd, size_t disk)
{
    return folder_fd < 0 ? 0
                         : allocated(folder_fd, disk, "qcow2") + allocated(folder_fd, disk, "raw");
}

static uint64_t needed_by(const struct transfer *transfer)
{
    uint64_t needed = SPACE_RESERVE;
    for (size_t i = 0; i < transfer->disk_count; i++) {
        uint64_t used = transfer->disks[i].info.used_bytes;
        uint64_t there = held(transfer->intake.folder_fd, i);
        if (transfer->intake.base)
            there += held(transfer->intake.base_fd, i);
        needed += used > there ? used - there : 0;
        needed += used / SPACE_OVERHEAD;
    }
    return needed;
}

/* What the others announced and have not taken yet. */
static uint64_t promised_to_others(struct server *server)
{
    uint64_t promised = 0;
    pthread_mutex_lock(&server->lock);
    for (const struct transfer *other = server->transfers; other; other = other->next) {
        uint64_t taken = 0;
        for (size_t i = 0; i < other->disk_count; i++)
            taken += other->disks[i].figures.sent_bytes;
        if (other->state == TRANSFER_RECEIVING && other->promised_bytes > taken)
            promised += other->promised_bytes - taken;
    }
    pthread_mutex_unlock(&server->lock);
    return promised;
}

int space_check(struct server *server, struct transfer *transfer, struct error *err)
{
    struct statvfs space;
    char need[32], have[32], others[32];
    if (fstatvfs(transfer->intake.folder_fd, &space) != 0)
        return error_set(err, errno, "statvfs");
    uint64_t free_bytes = (uint64_t)space.f_bavail * space.f_frsize;
    uint64_t needed = needed_by(transfer), promised = promised_to_others(server);
    transfer->promised_bytes = needed;
    if (needed <= free_bytes && promised <= free_bytes - needed)
        return 0;
    bytes_format(needed, need, sizeof(need));
    bytes_format(free_bytes, have, sizeof(have));
    bytes_format(promised, others, sizeof(others));
    if (promised)
        error_set(err, 0, "no space: %s needed, %s available, of which other machines need %s",
                  need, have, others);
    else
        error_set(err, 0, "no space: %s needed, %s available", need, have);
    err->errnum = ENOSPC;
    return -1;
}
