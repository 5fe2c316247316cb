/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Our side of freezing: opens the mount points, starts the process that does it, asks, and tells
 * what became of it.
 */
#include "p2v/agent/freeze.h"

#include "base/text.h"
#include "p2v/agent/freeze_child.h"
#include "p2v/agent/inventory_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Writing out what is dirty may take long on a slow disk; waiting for a dead child may not. */
#define REPLY_MS (600 * 1000)

struct freezer {
    struct live_mounts mounts;     /* copies */
    struct freeze_target *targets; /* shared with the child, which may die before us */
    size_t targets_bytes;
    uint64_t *written; /* sectors, by the kernel's count, when it was frozen */
    size_t count;
    int socket;
    pid_t child;
    bool is_frozen;
};

static int open_targets(struct freezer *freezer, const struct live_mounts *mounts,
                        struct error *err)
{
    freezer->targets_bytes = (mounts->count + 1) * sizeof(*freezer->targets);
    void *shared = mmap(NULL, freezer->targets_bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return error_set(err, errno, "map memory");
    freezer->targets = shared;
    freezer->written = memory_new(mounts->count + 1, sizeof(*freezer->written));
    freezer->mounts.items = memory_new(mounts->count + 1, sizeof(*mounts->items));
    for (size_t i = 0; i < mounts->count; i++) {
        const struct live_mount *mount = &mounts->items[i];
        int fd = open(mount->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
            return error_set(err, errno, "%s", mount->path);
        freezer->targets[freezer->count++].fd = fd;
        freezer->mounts.items[freezer->mounts.count++] = (struct live_mount){
            text_copy(mount->path), text_copy(mount->type), mount->major, mount->minor};
    }
    return 0;
}

static int start_child(struct freezer *freezer, struct error *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return error_set(err, errno, "socket pair");
    freezer->child = fork();
    if (freezer->child == 0) {
        close(pair[0]);
        freeze_child_run(pair[1], freezer->targets, freezer->count);
    }
    int cause = errno;
    close(pair[1]);
    freezer->socket = pair[0];
    return freezer->child < 0 ? error_set(err, cause, "start a process") : 0;
}

struct freezer *freezer_start(const struct live_mounts *mounts, struct error *err)
{
    struct freezer *freezer = memory_new(1, sizeof(*freezer));
    freezer->socket = freezer->child = -1;
    if (open_targets(freezer, mounts, err) == 0 && start_child(freezer, err) == 0)
        return freezer;
    error_wrap(err, "prepare to freeze");
    freezer_stop(freezer);
    return NULL;
}

void freezer_stop(struct freezer *freezer)
{
    if (!freezer)
        return;
    if (freezer->socket >= 0)
        close(freezer->socket); /* the child thaws and ends */
    if (freezer->child > 0) {
        while (waitpid(freezer->child, NULL, 0) < 0 && errno == EINTR)
            continue;
        freeze_thaw_targets(freezer->targets, freezer->count);
    }
    for (size_t i = 0; i < freezer->count; i++)
        close(freezer->targets[i].fd);
    live_mounts_fini(&freezer->mounts);
    if (freezer->targets)
        munmap(freezer->targets, freezer->targets_bytes);
    free(freezer->written);
    free(freezer);
}

/* -1: the child is gone or does not answer. */
static int ask(struct freezer *freezer, enum freeze_verb verb, unsigned limit_seconds,
               struct freeze_reply *reply, struct error *err)
{
    struct freeze_request request = {verb, limit_seconds};
    struct pollfd wait = {.fd = freezer->socket, .events = POLLIN};
    int ready = -1;
    if (send(freezer->socket, &request, sizeof(request), MSG_NOSIGNAL) == (ssize_t)sizeof(request))
        do {
            ready = poll(&wait, 1, REPLY_MS);
        } while (ready < 0 && errno == EINTR);
    if (ready > 0 && recv(freezer->socket, reply, sizeof(*reply), 0) == (ssize_t)sizeof(*reply))
        return 0;
    shutdown(freezer->socket, SHUT_RDWR); /* an answer to this must not be taken for the next */
    return error_set(err, ready == 0 ? ETIMEDOUT : EPIPE, "the freezing process");
}

/* Sectors written to the device so far: the 7th number of Documentation/block/stat. */
static uint64_t written_sectors(const struct live_mount *mount)
{
    uint64_t sectors = 0;
    AUTO_FREE char *text =
        inventory_text("", "/sys/dev/block/%u:%u/stat", mount->major, mount->minor);
    if (sscanf(text, "%*u %*u %*u %*u %*u %*u %" SCNu64, &sectors) != 1)
        return 0;
    return sectors;
}

int freezer_freeze(struct freezer *freezer, unsigned limit_seconds, struct log *log,
                   struct error *err)
{
    struct freeze_reply reply;
    if (ask(freezer, FREEZE_ALL, limit_seconds, &reply, err) != 0)
        return -1;
    if (reply.errnum) {
        const struct live_mount *mount = &freezer->mounts.items[reply.index];
        log_warning(log, "%s (%s) cannot be frozen: %s", mount->path, mount->type,
                    strerror(reply.errnum));
        return 0;
    }
    freezer->is_frozen = true;
    for (size_t i = 0; i < freezer->count; i++)
        freezer->written[i] = written_sectors(&freezer->mounts.items[i]);
    return 1;
}

bool freezer_thaw(struct freezer *freezer, struct log *log)
{
    struct freeze_reply reply = {0};
    bool is_intact = true;
    if (!freezer->is_frozen)
        return false;
    freezer->is_frozen = false;
    for (size_t i = 0; i < freezer->count; i++) {
        const struct live_mount *mount = &freezer->mounts.items[i];
        if (!freezer->targets[i].is_unfreezable || written_sectors(mount) == freezer->written[i])
            continue;
        log_warning(log, "%s (%s) cannot be frozen and was written to: not consistent", mount->path,
                    mount->type);
        is_intact = false;
    }
    /* When the child is gone, what it froze is still frozen, and nobody else thaws it. */
    if (ask(freezer, FREEZE_THAW, 0, &reply, NULL) != 0)
        freeze_thaw_targets(freezer->targets, freezer->count);
    if (!reply.is_intact)
        log_warning(log, "the file systems were thawed before the copy was complete: "
                         "not consistent");
    return is_intact && reply.is_intact;
}
