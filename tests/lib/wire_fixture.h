/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For the tests of the wire: connected TCP sockets, and two ends of a TLS connection.
 */
#ifndef TESTS_WIRE_FIXTURE_H
#define TESTS_WIRE_FIXTURE_H

#include "base/error.h"
#include "p2v/wire/tls.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

static inline struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static inline int listen_anywhere(uint16_t *port)
{
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

/* fds[0] is the client's end, fds[1] the server's. */
static inline void tcp_pair(int fds[2])
{
    uint16_t port;
    int listener = listen_anywhere(&port);
    struct sockaddr_in address = loopback(port);

    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fds[0], (struct sockaddr *)&address, sizeof(address)), 0);
    fds[1] = accept(listener, NULL, NULL);
    assert_true(fds[1] >= 0);
    close(listener);
}

/* One side's handshake in a thread of its own. */
struct accepting {
    pthread_t thread;
    int fd, timeout_ms;
    struct tls_identity *identity;
    struct tls *tls;
    struct error err;
};

static inline void *accepting_run(void *context)
{
    struct accepting *accepting = context;

    accepting->tls =
        tls_accept(accepting->fd, accepting->identity, accepting->timeout_ms, &accepting->err);
    return NULL;
}

static inline void accepting_start(struct accepting *accepting, int fd,
                                   struct tls_identity *identity)
{
    *accepting = (struct accepting){.fd = fd, .timeout_ms = 5000, .identity = identity};
    assert_int_equal(pthread_create(&accepting->thread, NULL, accepting_run, accepting), 0);
}

static inline struct tls *accepting_join(struct accepting *accepting)
{
    pthread_join(accepting->thread, NULL);
    return accepting->tls;
}

static inline int write_string(struct tls *tls, const char *string, struct error *err)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)string, .iov_len = strlen(string)};

    return tls_write(tls, &part, 1, 5000, err);
}

static inline void assert_reads(struct tls *tls, const char *expected)
{
    char buffer[256];
    size_t got = 0, length = strlen(expected);
    struct error err = {0};

    while (got < length) {
        long more = tls_read(tls, buffer + got, length - got, 5000, &err);
        if (more <= 0)
            fail_msg("read %zu of %zu bytes: %s", got, length, err.text);
        got += (size_t)more;
    }
    assert_memory_equal(buffer, expected, length);
}

#endif
