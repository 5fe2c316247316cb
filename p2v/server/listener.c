/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The listening socket, IPv4 and IPv6, and the thread that takes connections from it and decides
 * who may stand before the door (p2v/server/gate.h).
 */
#include "base/clock.h"
#include "p2v/server/serving.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTENER_BACKLOG 1024

/* When there are no descriptors or threads left: until some are given back. */
#define LISTENER_PAUSE_MS 200

/* ":7443" and "0.0.0.0:7443" mean everywhere; port 0 lets the kernel choose; the rest is as an
 * agent would write it. */
static int parse(const char *listen_on, struct link_address *address, bool *is_everywhere,
                 struct error *err)
{
    AUTO(text) text = {0};
    bool is_any_port = text_ends_with(listen_on, ":0");
    text_addf(&text, "%s%s%s", listen_on[0] == ':' ? "0.0.0.0" : "", listen_on,
              is_any_port ? "1" : "");
    if (link_address_parse(text_string(&text), address, err) != 0)
        return -1;
    if (is_any_port)
        snprintf(address->port, sizeof(address->port), "0");
    *is_everywhere = strcmp(address->host, "0.0.0.0") == 0;
    return 0;
}

static int bind_one(const struct addrinfo *one, struct error *err)
{
    const int on = 1, off = 0;
    AUTO_CLOSE int fd =
        socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    if (fd < 0)
        return error_set(err, errno, "socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (one->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, one->ai_addr, one->ai_addrlen) != 0 || listen(fd, LISTENER_BACKLOG) != 0)
        return error_set(err, errno, "listen");
    return take_fd(&fd);
}

static int bind_name(const char *host, const char *port, struct error *err)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int result = getaddrinfo(host, port, &hints, &found);
    if (result != 0)
        return error_set(err, 0, "%s", gai_strerror(result));
    int fd = -1;
    for (struct addrinfo *one = found; one && fd < 0; one = one->ai_next)
        fd = bind_one(one, err);
    freeaddrinfo(found);
    return fd;
}

/* One socket for both families; where there is no IPv6, IPv4 alone. */
static int bind_address(const struct link_address *address, bool is_everywhere, struct error *err)
{
    int fd = is_everywhere ? bind_name("::", address->port, NULL) : -1;
    return fd >= 0 ? fd : bind_name(address->host, address->port, err);
}

static unsigned port_of(int fd)
{
    struct sockaddr_storage name;
    socklen_t length = sizeof(name);
    if (getsockname(fd, (struct sockaddr *)&name, &length) != 0)
        return 0;
    return ntohs(name.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&name)->sin6_port
                                            : ((struct sockaddr_in *)&name)->sin_port);
}

int listener_open(struct server *server, const char *listen_on, struct error *err)
{
    struct link_address address;
    bool is_everywhere;
    if (!listen_on)
        listen_on = ":" WIRE_PORT;
    if (parse(listen_on, &address, &is_everywhere, err) != 0)
        return error_wrap(err, "listen");
    server->listen_fd = bind_address(&address, is_everywhere, err);
    if (server->listen_fd < 0)
        return error_wrap(err, "listen on %s:%s", address.host, address.port);
    snprintf(server->host, sizeof(server->host), "%s", address.host);
    server->port = port_of(server->listen_fd);
    return 0;
}

/* --- the thread --- */

/* Those who have to go for the new one are shut here and leave by themselves. */
static void make_room(struct server *server, const struct gate_address *from)
{
    struct connection *displaced;
    pthread_mutex_lock(&server->lock);
    while ((displaced = gate_displace(&server->gate, from, clock_ms())) != NULL)
        connection_kill(displaced);
    pthread_mutex_unlock(&server->lock);
}

static void accept_one(struct server *server)
{
    struct sockaddr_storage name;
    socklen_t length = sizeof(name);
    struct gate_address from;
    int fd = accept4(server->listen_fd, (struct sockaddr *)&name, &length, SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            usleep(LISTENER_PAUSE_MS * 1000);
        return;
    }
    gate_address_of((struct sockaddr *)&name, &from);
    connections_join(server);
    make_room(server, &from);
    connection_start(server, fd, &from);
}

static void *run(void *argument)
{
    struct server *server = argument;
    struct pollfd fds[] = {{.fd = server->listen_fd, .events = POLLIN},
                           {.fd = server->wake_fd, .events = POLLIN}};
    while (!atomic_load(&server->is_stopping)) {
        if (poll(fds, 2, -1) > 0 && fds[0].revents && !fds[1].revents)
            accept_one(server);
    }
    return NULL;
}

int listener_start(struct server *server, struct error *err)
{
    int result = pthread_create(&server->listener, NULL, run, server);
    if (result != 0)
        return error_set(err, result, "start a thread");
    server->has_listener = true;
    return 0;
}

void listener_stop(struct server *server)
{
    if (server->has_listener)
        pthread_join(server->listener, NULL);
    server->has_listener = false;
    if (server->listen_fd >= 0)
        close(take_fd(&server->listen_fd));
}
