/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Freezes and thaws on request, and thaws without one when the time is over or the other end of
 * the socket is gone. No allocation, no stdio: the process may have been forked among threads, and
 * what it would write to may be what it froze.
 */
#include "p2v/agent/freeze_child.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Last frozen, first thawed: a file system goes on before those that lie in its files. */
void freeze_thaw_targets(struct freeze_target *targets, size_t count)
{
    for (size_t i = count; i > 0; i--) {
        struct freeze_target *target = &targets[i - 1];
        if (target->is_frozen)
            ioctl(target->fd, FITHAW, 0);
        target->is_frozen = false;
    }
}

static int freeze_one(struct freeze_target *target)
{
    target->is_unfreezable = false;
    target->is_frozen = true; /* before it is: whoever thaws after us is to know */
    if (ioctl(target->fd, FIFREEZE, 0) == 0)
        return 0;
    target->is_frozen = false;
    if (errno == EBUSY) /* somebody else froze it, and is to thaw it */
        return 0;
    if (errno != EOPNOTSUPP && errno != ENOTTY)
        return errno;
    target->is_unfreezable = true;
    return syncfs(target->fd) == 0 ? 0 : errno;
}

/* Most of what is dirty is written before the first one stands still, so that that is short. */
static struct freeze_reply freeze_all(struct freeze_target *targets, size_t count)
{
    struct freeze_reply reply = {.is_intact = true};
    for (size_t i = 0; i < count; i++)
        syncfs(targets[i].fd);
    for (size_t i = 0; i < count && reply.errnum == 0; i++) {
        reply.index = i;
        reply.errnum = freeze_one(&targets[i]);
    }
    if (reply.errnum)
        freeze_thaw_targets(targets, count);
    return reply;
}

/*
 * Not to be paged out, not to be chosen when memory is short, not to be hit by Ctrl-C, and without
 * the descriptors of the other process: a pipe held open here would never end for its reader.
 */
static void settle(int socket, struct freeze_target *targets, size_t count)
{
    setsid();
    prctl(PR_SET_NAME, "rehost-thaw");
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT};
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        signal(ignored[i], SIG_IGN);
    int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (score >= 0) {
        ssize_t written = write(score, "-1000", 5);
        (void)written;
        close(score);
    }
    int top = socket;
    for (size_t i = 0; i < count; i++)
        top = targets[i].fd > top ? targets[i].fd : top;
    for (int fd = 0; fd <= top; fd++) {
        bool is_ours = fd == socket;
        for (size_t i = 0; i < count; i++)
            is_ours |= fd == targets[i].fd;
        if (!is_ours)
            close(fd);
    }
    syscall(SYS_close_range, (unsigned)top + 1, ~0u, 0);
    mlockall(MCL_CURRENT | MCL_FUTURE);
}

/* -1: nothing to wait for. */
static int time_left(int64_t deadline)
{
    if (deadline < 0)
        return -1;
    int64_t left = deadline - clock_ms();
    return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

_Noreturn void freeze_child_run(int socket, struct freeze_target *targets, size_t count)
{
    int64_t deadline = -1; /* set while frozen */
    bool is_intact = false;
    settle(socket, targets, count);
    for (;;) {
        struct pollfd wait = {.fd = socket, .events = POLLIN};
        int ready = poll(&wait, 1, time_left(deadline));
        struct freeze_request request;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready == 0) {
            freeze_thaw_targets(targets, count);
            deadline = -1;
            is_intact = false;
            continue;
        }
        if (recv(socket, &request, sizeof(request), 0) != (ssize_t)sizeof(request))
            break;
        struct freeze_reply reply = {.is_intact = is_intact};
        if (request.verb == FREEZE_ALL) {
            reply = freeze_all(targets, count);
            is_intact = reply.errnum == 0;
            deadline = is_intact ? clock_ms() + (int64_t)request.limit_seconds * 1000 : -1;
        } else {
            freeze_thaw_targets(targets, count);
            deadline = -1;
            is_intact = false;
        }
        if (send(socket, &reply, sizeof(reply), MSG_NOSIGNAL) != (ssize_t)sizeof(reply))
            break;
    }
    freeze_thaw_targets(targets, count);
    _exit(0);
}
