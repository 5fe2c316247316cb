/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An inherited datagram socket: one Ethernet frame each, without virtio's header. What the other
 * end is, its owner knows: a test's network, a switch of frames.
 */
#include "hypervisor/net_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

/* Whoever else holds the socket may have shut it down: it then is readable for ever. */
static bool is_shut_down(int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLRDHUP};
    return poll(&pollfd, 1, 0) > 0 && pollfd.revents & (POLLRDHUP | POLLHUP);
}

static ssize_t fd_receive(struct net_backend *backend, const struct iovec *parts, size_t count,
                          struct error *err)
{
    struct iovec behind[NET_MAX_PARTS];
    struct msghdr message = {.msg_iov = behind,
                             .msg_iovlen = net_parts_behind_header(parts, count, true, behind)};
    ssize_t got = recvmsg(backend->fd, &message, MSG_DONTWAIT);
    if (got > 0)
        return NET_HEADER_SIZE + got;
    int errnum = got < 0 ? errno : 0;
    if ((errnum == 0 || errnum == EAGAIN) && is_shut_down(backend->fd))
        return error_set(err, 0, "descriptor %d was shut down", backend->fd);
    if (errnum == 0)
        return NET_HEADER_SIZE; /* a frame of no bytes */
    /* Refused: what an earlier datagram over UDP met; the next may find its way. */
    if (errnum == EAGAIN || errnum == EINTR || errnum == ECONNREFUSED)
        return 0;
    return error_set(err, errnum, "receive on descriptor %d", backend->fd);
}

static int fd_send(struct net_backend *backend, const struct iovec *parts, size_t count,
                   struct error *err)
{
    struct iovec behind[NET_MAX_PARTS];
    struct msghdr message = {.msg_iov = behind,
                             .msg_iovlen = net_parts_behind_header(parts, count, false, behind)};
    ssize_t put = sendmsg(backend->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put >= 0)
        return 1;
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    if (errno == EPIPE || errno == ENOTCONN)
        return error_set(err, errno, "send on descriptor %d", backend->fd);
    return 1; /* a lost frame, as on any wire */
}

static void fd_close(struct net_backend *backend)
{
    own_close(&backend->fd);
    free(backend);
}

static const struct net_backend_ops fd_ops = {
    .name = "fd", .receive = fd_receive, .send = fd_send, .close = fd_close};

static int parse(const char *number, struct error *err)
{
    char *end;
    int type;
    socklen_t size = sizeof(type);
    errno = 0;
    long fd = strtol(number, &end, 10);
    if (number[0] < '0' || number[0] > '9' || *end || errno || fd > 1 << 20)
        return error_set(err, EINVAL, "network \"fd:%s\": not a number", number);
    if (getsockopt((int)fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0)
        return error_set(err, errno, "network \"fd:%s\"", number);
    if (type != SOCK_DGRAM)
        return error_set(err, EINVAL, "network \"fd:%s\": not a datagram socket", number);
    return (int)fd;
}

struct net_backend *net_fd_open(const char *number, struct log *log, struct error *err)
{
    (void)log;
    int fd = parse(number, err);
    struct net_backend *backend = fd < 0 ? NULL : calloc(1, sizeof(*backend));
    if (fd >= 0 && !backend)
        error_set(err, ENOMEM, "a network card");
    if (!backend)
        return NULL;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    backend->ops = &fd_ops;
    backend->fd = fd;
    return backend;
}
