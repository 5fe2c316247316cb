/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What people write for a server, and TCP connections to it.
 */
#include "p2v/wire/address.h"

#include "base/clock.h"
#include "base/own.h"
#include "p2v/wire/link.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool is_port(const char *text)
{
    size_t length = strlen(text);

    if (length == 0 || length > 5 || strspn(text, "0123456789") != length)
        return false;
    unsigned long port = strtoul(text, NULL, 10);
    return port >= 1 && port <= 65535;
}

/* Where the host ends and the port begins; NULL for no port. *host_length is 0 for bad brackets. */
static const char *split(const char *text, const char **host, size_t *host_length)
{
    const char *first = strchr(text, ':');

    *host = text;
    if (text[0] == '[') {
        const char *end = strchr(text, ']');
        bool is_good = end && (end[1] == '\0' || end[1] == ':');
        *host = text + 1;
        *host_length = is_good ? (size_t)(end - *host) : 0;
        return is_good && end[1] ? end + 2 : NULL;
    }
    bool has_port = first && !strchr(first + 1, ':'); /* several: IPv6 without brackets */
    *host_length = has_port ? (size_t)(first - text) : strlen(text);
    return has_port ? first + 1 : NULL;
}

int link_address_parse(const char *text, struct link_address *address, struct error *err)
{
    const char *host;
    size_t length;
    const char *port = split(text, &host, &length);

    if (length == 0 || length >= sizeof(address->host))
        return error_set(err, EINVAL, "'%.80s' is not HOST, HOST:PORT or [ADDRESS]:PORT", text);
    for (size_t i = 0; i < length; i++) {
        if (host[i] <= ' ' || host[i] == 0x7f || host[i] == '/')
            return error_set(err, EINVAL, "'%.80s' is no name of a host", text);
    }
    if (port && !is_port(port))
        return error_set(err, EINVAL, "'%.80s': the port is not a number of 1 to 65535", text);
    memcpy(address->host, host, length);
    address->host[length] = '\0';
    snprintf(address->port, sizeof(address->port), "%s", port ? port : WIRE_PORT);
    return 0;
}

static int await_connection(int fd, int timeout_ms, struct error *err)
{
    struct pollfd event = {.fd = fd, .events = POLLOUT};
    int64_t deadline_ms = clock_ms() + timeout_ms;
    int ready, problem = 0;
    socklen_t size = sizeof(problem);

    do {
        int64_t left_ms = deadline_ms - clock_ms();
        ready = poll(&event, 1, left_ms > 0 ? (int)left_ms : 0);
    } while (ready < 0 && errno == EINTR);
    if (ready == 0)
        return error_set(err, ETIMEDOUT, "connect");
    if (ready < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &size) != 0)
        return error_set(err, errno, "connect");
    return problem ? error_set(err, problem, "connect") : 0;
}

int address_connect(const struct addrinfo *address, int timeout_ms, struct error *err)
{
    AUTO_CLOSE int fd =
        socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return error_set(err, errno, "socket");
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0) {
        if (errno != EINPROGRESS)
            return error_set(err, errno, "connect");
        if (await_connection(fd, timeout_ms, err) != 0)
            return -1;
    }
    return take_fd(&fd);
}

void address_of_peer(int fd, char text[ADDRESS_TEXT_SIZE])
{
    static const char mapped[] = "::ffff:"; /* IPv4 on a socket for both */
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    char host[64], port[16];

    if (getpeername(fd, (struct sockaddr *)&address, &size) != 0 ||
        getnameinfo((struct sockaddr *)&address, size, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0 ||
        address.ss_family == AF_UNIX)
        snprintf(text, ADDRESS_TEXT_SIZE, "?");
    else if (strncmp(host, mapped, sizeof(mapped) - 1) == 0 && strchr(host, '.'))
        snprintf(text, ADDRESS_TEXT_SIZE, "%s:%s", host + sizeof(mapped) - 1, port);
    else
        snprintf(text, ADDRESS_TEXT_SIZE, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}
