/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A TAP interface of the host (Linux's Documentation/networking/tuntap.rst) with virtio's header
 * before each frame: checksums and segmentation are left to whoever is last to need them.
 */
#include "hypervisor/net_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define BIT(bit) (UINT64_C(1) << (bit))
#define TAP_FEATURES                                                                               \
    (BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) |          \
     BIT(VIRTIO_NET_F_HOST_ECN) | BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) |    \
     BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN))

static ssize_t tap_receive(struct net_backend *backend, const struct iovec *parts, size_t count,
                           struct error *err)
{
    ssize_t got = readv(backend->fd, parts, (int)count);
    if (got >= 0 || errno == EAGAIN || errno == EINTR)
        return got < 0 ? 0 : got;
    return error_set(err, errno, "read from its TAP interface");
}

/* EIO: the interface is down; EINVAL: a header that makes no sense. Both are lost frames. */
static int tap_send(struct net_backend *backend, const struct iovec *parts, size_t count,
                    struct error *err)
{
    if (writev(backend->fd, parts, (int)count) >= 0)
        return 1;
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    if (errno == EBADFD)
        return error_set(err, errno, "write to its TAP interface");
    return 1;
}

static int tap_set_offload(struct net_backend *backend, uint64_t features, struct error *err)
{
    unsigned long flags = 0;
    /* Segmentation without partial checksums is nothing that the kernel takes. */
    if (features & BIT(VIRTIO_NET_F_GUEST_CSUM)) {
        flags |= TUN_F_CSUM;
        if (features & BIT(VIRTIO_NET_F_GUEST_TSO4))
            flags |= TUN_F_TSO4;
        if (features & BIT(VIRTIO_NET_F_GUEST_TSO6))
            flags |= TUN_F_TSO6;
        if (flags & (TUN_F_TSO4 | TUN_F_TSO6) && features & BIT(VIRTIO_NET_F_GUEST_ECN))
            flags |= TUN_F_TSO_ECN;
    }
    if (ioctl(backend->fd, TUNSETOFFLOAD, flags) != 0)
        return error_set(err, errno, "offload of its TAP interface");
    return 0;
}

static void tap_close(struct net_backend *backend)
{
    own_close(&backend->fd);
    free(backend);
}

static const struct net_backend_ops tap_ops = {
    .name = "tap", .receive = tap_receive, .send = tap_send, .close = tap_close};

/* One made now is down; one that exists may be left so on purpose by who made it. */
static int bring_up(struct ifreq *request, struct log *log, struct error *err)
{
    AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, request) != 0)
        return error_set(err, errno, "flags");
    if (request->ifr_flags & IFF_UP)
        return 0;
    request->ifr_flags |= IFF_UP;
    if (ioctl(fd, SIOCSIFFLAGS, request) != 0)
        log_warning(log, "network tap:%s: it is down, and may not be brought up: %s",
                    request->ifr_name, strerror(errno));
    return 0;
}

static int attach(int fd, const char *name, struct log *log, struct error *err)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    int header = NET_HEADER_SIZE;
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    if (ioctl(fd, TUNSETIFF, &request) != 0)
        return error_set(err, errno, errno == EBUSY ? "another has it" : "attach");
    if (ioctl(fd, TUNSETVNETHDRSZ, &header) != 0 || ioctl(fd, TUNSETOFFLOAD, 0) != 0)
        return error_set(err, errno, "set it up");
    return bring_up(&request, log, err);
}

/* The kernel would take a '%d' for a pattern and cut what is too long. */
static bool is_interface_name(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length < IFNAMSIZ && !strpbrk(name, "/:% \t\n") && strcmp(name, ".") &&
           strcmp(name, "..");
}

struct net_backend *net_tap_open(const char *name, struct log *log, struct error *err)
{
    if (!is_interface_name(name)) {
        error_set(err, EINVAL, "network \"tap:%s\": not an interface's name", name);
        return NULL;
    }
    AUTO_CLOSE int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct net_backend *backend = NULL;
    if (fd < 0)
        error_set(err, errno, "open /dev/net/tun");
    else if (attach(fd, name, log, err) == 0 && !(backend = calloc(1, sizeof(*backend))))
        error_set(err, ENOMEM, "a network card");
    if (!backend) {
        error_wrap(err, "network tap:%s", name);
        return NULL;
    }
    backend->ops = &tap_ops;
    backend->fd = take_fd(&fd);
    backend->offload_features = TAP_FEATURES;
    backend->set_offload = tap_set_offload;
    return backend;
}
