/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For the tests of links: both ends of one, and what is sent past its rules.
 */
#ifndef TESTS_LINK_FIXTURE_H
#define TESTS_LINK_FIXTURE_H

#include "base/bytes.h"
#include "p2v/wire/link_internal.h"
#include "tests/lib/wire_fixture.h"
#include "tests/lib/wire_identities.h"

#include <errno.h>
#include <stdio.h>
#include <sys/uio.h>

struct serving {
    pthread_t thread;
    int listener;
    struct link *link;
    struct error err;
};

static inline void *serve(void *context)
{
    struct serving *serving = context;
    int fd = accept(serving->listener, NULL, NULL);

    serving->link = link_accept(fd, server_identity, 5000, &serving->err);
    close(serving->listener);
    return NULL;
}

/* ends[0] is the agent's, ends[1] the server's. */
static inline void connect_both(struct link *ends[2])
{
    struct link_address address = {.host = "127.0.0.1"};
    struct serving serving = {0};
    struct error err = {0};
    uint16_t port;

    serving.listener = listen_anywhere(&port);
    snprintf(address.port, sizeof(address.port), "%u", port);
    assert_int_equal(pthread_create(&serving.thread, NULL, serve, &serving), 0);
    ends[0] = link_connect(&address, client_identity, pin, 5000, &err);
    pthread_join(serving.thread, NULL);
    ends[1] = serving.link;
    if (!ends[0] || !ends[1])
        fail_msg("agent '%s', server '%s'", err.text, serving.err.text);
}

static inline void drop_both(struct link *ends[2])
{
    for (unsigned i = 0; i < 2; i++)
        link_shut(ends[i]);
    for (unsigned i = 0; i < 2; i++)
        link_close(ends[i]);
}

/* Anything, past the link's own rules. */
static inline void send_raw(struct link *link, const void *data, size_t length)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = length};

    assert_int_equal(tls_write(link->tls, &part, 1, 5000, NULL), 0);
}

static inline void send_header(struct link *link, unsigned type, uint32_t length)
{
    uint8_t header[WIRE_HEADER_SIZE] = {0};

    store_le32(header, length);
    header[4] = (uint8_t)type;
    send_raw(link, header, sizeof(header));
}

static inline void assert_receives(struct link *link, enum wire_type type, struct link_frame *frame)
{
    struct error err = {0};

    if (link_receive(link, frame, 5000, NULL, &err) != 1)
        fail_msg("no %s: %s", wire_type_name(type), err.text);
    assert_int_equal(frame->type, type);
}

static inline void assert_refuses(struct link *link, int errnum, const char *says)
{
    struct link_frame frame;
    struct error err = {0};

    assert_int_equal(link_receive(link, &frame, 2000, NULL, &err), -1);
    if (err.errnum != errnum || !strstr(err.text, says))
        fail_msg("'%s' (%d) does not say %s", err.text, err.errnum, says);
}

#endif
