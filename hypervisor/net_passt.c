/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The network of a user without privileges: passt translates the guest's frames to sockets of this
 * host. It is started here, goes into a sandbox of its own (as root also to user nobody), and ends
 * when our end of the socket is closed, however that happens. On the socket is a stream of frames,
 * each behind its length in four bytes, big-endian.
 */
#include "base/bytes.h"
#include "base/child.h"
#include "hypervisor/net_backend.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define LENGTH_SIZE 4
#define MAX_PAYLOAD 65535 /* passt's own limit */
#define START_TIMEOUT_MS 15000

struct passt {
    struct net_backend backend;
    size_t in_start, in_end;   /* what of `in` was received and not yet given on */
    size_t out_start, out_end; /* the same of `out`: the rest of one frame */
    uint8_t out[LENGTH_SIZE + MAX_PAYLOAD];
    uint8_t in[4 * (LENGTH_SIZE + NET_MAX_FRAME)];
};

static void scatter(const struct iovec *parts, size_t count, const uint8_t *data, size_t length)
{
    for (size_t i = 0; i < count && length > 0; i++) {
        size_t piece = parts[i].iov_len < length ? parts[i].iov_len : length;
        memcpy(parts[i].iov_base, data, piece);
        data += piece;
        length -= piece;
    }
}

/* 1: a frame is complete at in_start; 0: not yet; -1: that is no stream of frames. */
static int look(const struct passt *passt, size_t *length, struct error *err)
{
    size_t there = passt->in_end - passt->in_start;
    if (there < LENGTH_SIZE)
        return 0;
    *length = load_be32(passt->in + passt->in_start);
    if (*length > NET_MAX_FRAME - NET_HEADER_SIZE)
        return error_set(err, EPROTO, "a frame of %zu bytes from passt", *length);
    return there - LENGTH_SIZE >= *length;
}

/* One call a frame at most: what comes after it, the loop tells. */
static ssize_t fill(struct passt *passt, struct error *err)
{
    size_t there = passt->in_end - passt->in_start;
    memmove(passt->in, passt->in + passt->in_start, there);
    passt->in_start = 0;
    passt->in_end = there;
    ssize_t got =
        recv(passt->backend.fd, passt->in + there, sizeof(passt->in) - there, MSG_DONTWAIT);
    if (got > 0)
        passt->in_end += (size_t)got;
    if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
        return got > 0;
    return error_set(err, got < 0 ? errno : 0, got < 0 ? "receive from passt" : "passt ended");
}

static ssize_t passt_receive(struct net_backend *backend, const struct iovec *parts, size_t count,
                             struct error *err)
{
    struct passt *passt = (struct passt *)backend;
    struct iovec behind[NET_MAX_PARTS];
    size_t length = 0;
    int is_there = look(passt, &length, err);
    if (is_there == 0) {
        ssize_t got = fill(passt, err);
        is_there = got <= 0 ? (int)got : look(passt, &length, err);
    }
    if (is_there <= 0)
        return is_there;
    scatter(behind, net_parts_behind_header(parts, count, true, behind),
            passt->in + passt->in_start + LENGTH_SIZE, length);
    passt->in_start += LENGTH_SIZE + length;
    return NET_HEADER_SIZE + (ssize_t)length;
}

static int sent(ssize_t put, struct error *err)
{
    if (put >= 0)
        return 1;
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    return error_set(err, errno, "send to passt");
}

static int passt_flush(struct net_backend *backend, struct error *err)
{
    struct passt *passt = (struct passt *)backend;
    ssize_t put = send(backend->fd, passt->out + passt->out_start,
                       passt->out_end - passt->out_start, MSG_DONTWAIT | MSG_NOSIGNAL);
    int result = sent(put, err);
    if (result > 0)
        passt->out_start += (size_t)put;
    backend->has_unsent = passt->out_start < passt->out_end;
    return result > 0 ? !backend->has_unsent : result;
}

/* The stream would be lost with half a frame: its rest is kept, for flush. */
static void keep_rest(struct passt *passt, const struct iovec *parts, size_t count, size_t skip)
{
    passt->out_start = passt->out_end = 0;
    for (size_t i = 0; i < count; i++) {
        size_t skipped = parts[i].iov_len < skip ? parts[i].iov_len : skip;
        size_t piece = parts[i].iov_len - skipped;
        memcpy(passt->out + passt->out_end, (uint8_t *)parts[i].iov_base + skipped, piece);
        passt->out_end += piece;
        skip -= skipped;
    }
    passt->backend.has_unsent = passt->out_end > 0;
}

static int passt_send(struct net_backend *backend, const struct iovec *parts, size_t count,
                      struct error *err)
{
    struct iovec all[1 + NET_MAX_PARTS];
    uint8_t length[LENGTH_SIZE];
    size_t payload = 0;
    int flushed = backend->has_unsent ? passt_flush(backend, err) : 1;
    if (flushed <= 0)
        return flushed;
    count = net_parts_behind_header(parts, count, false, all + 1);
    for (size_t i = 1; i <= count; i++)
        payload += all[i].iov_len;
    if (payload > MAX_PAYLOAD)
        return 1;
    store_be32(length, (uint32_t)payload);
    all[0] = (struct iovec){length, sizeof(length)};
    struct msghdr message = {.msg_iov = all, .msg_iovlen = count + 1};
    ssize_t put = sendmsg(backend->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    int result = sent(put, err);
    if (result > 0)
        keep_rest((struct passt *)backend, all, count + 1, (size_t)put);
    return result;
}

static void passt_close(struct net_backend *backend)
{
    own_close(&backend->fd);
    free(backend);
}

static const struct net_backend_ops passt_ops = {
    .name = "passt",
    .receive = passt_receive,
    .send = passt_send,
    .flush = passt_flush,
    .close = passt_close,
};

struct net_backend *net_passt_over(int fd)
{
    struct passt *passt = memory_new(1, sizeof(*passt));
    passt->backend.ops = &passt_ops;
    passt->backend.fd = fd;
    return &passt->backend;
}

/* --- starting it --- */

/* The kernel's table of routes has a default: a line's destination and mask are zero. */
static bool has_default_route(const char *path, bool is_v6)
{
    char line[512], to[33], mask[33];
    bool found = false;
    FILE *file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof(line), file)) {
        int fields = is_v6 ? sscanf(line, "%32s %32s", to, mask)
                           : sscanf(line, "%*s %32s %*s %*s %*s %*s %*s %32s", to, mask);
        found = fields == 2 && !to[strspn(to, "0")] && !mask[strspn(mask, "0")] &&
                !strstr(line, " lo\n");
    }
    if (file)
        fclose(file);
    return found;
}

static bool has_way_out(void)
{
    return has_default_route("/proc/net/route", false) ||
           has_default_route("/proc/net/ipv6_route", true);
}

/* Its last words: it also complains where there is no system log. */
static void explain(int fd, int status, struct error *err)
{
    char text[4096], ended[64];
    ssize_t got = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
    const char *last = NULL;
    char *place = NULL;
    text[got > 0 ? got : 0] = '\0';
    for (char *line = strtok_r(text, "\n", &place); line; line = strtok_r(NULL, "\n", &place))
        if (!text_starts_with(line, "Failed to send "))
            last = line;
    error_set(err, 0, "passt %s%s%s", child_status_text(status, ended, sizeof(ended)),
              last ? ": " : "", last ? last : "");
}

/* It goes to the background once it works; its socket is what ends it. */
static int start(int fd, struct error *err)
{
    char number[16];
    int errors[2], status = 0;
    struct child child = {0};
    /* Where there is only loopback it needs to be told an address, and a MAC for its end. */
    const char *argv[] = {"passt",       "--quiet",
                          "--no-map-gw", "--fd",
                          number,        has_way_out() ? NULL : "-4",
                          "-i",          "lo",
                          "-a",          "10.0.2.15",
                          "-n",          "24",
                          "-g",          "10.0.2.2",
                          "-M",          "52:55:0a:00:02:02",
                          NULL};
    snprintf(number, sizeof(number), "%d", fd);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, errors) != 0)
        return error_set(err, errno, "socketpair");
    struct child_stdio stdio = {
        .in = -1, .out = -1, .err = errors[1], .keep_fds = &fd, .keep_count = 1};
    int result = child_start(&child, argv, &stdio, err);
    if (result == 0)
        result = child_wait(&child, START_TIMEOUT_MS, &status, err);
    if (result == 0)
        error_set(err, ETIMEDOUT, "passt does not come up");
    else if (result > 0 && status != 0)
        explain(errors[0], status, err);
    child_stop(&child);
    close(errors[0]);
    close(errors[1]);
    return result > 0 && status == 0 ? 0 : -1;
}

struct net_backend *net_passt_open(const char *rest, struct log *log, struct error *err)
{
    int ends[2];
    (void)rest, (void)log;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        error_set(err, errno, "network user: socketpair");
        return NULL;
    }
    int result = start(ends[1], err);
    close(ends[1]);
    if (result == 0)
        return net_passt_over(ends[0]);
    close(ends[0]);
    if (err && err->errnum == ENOENT)
        error_set(err, ENOENT, "the program passt (Debian's package passt)");
    error_wrap(err, "network user");
    return NULL;
}
