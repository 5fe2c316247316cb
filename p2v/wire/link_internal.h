/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a link is, for link.c and for the tests that cannot wait for a PING.
 */
#ifndef P2V_WIRE_LINK_INTERNAL_H
#define P2V_WIRE_LINK_INTERNAL_H

#include "p2v/wire/address.h"
#include "p2v/wire/link_buffer.h"

#include <pthread.h>

struct link {
    struct tls *tls;
    bool is_server;
    char address[ADDRESS_TEXT_SIZE];

    pthread_mutex_t send_lock; /* one frame after the other; before the locks of tls */
    _Atomic int64_t sent_ms;
    _Atomic int64_t unsendable_ms; /* since when nothing can be sent any more; 0: all is well */
    atomic_bool owes_pong;

    struct link_buffer buffer; /* the receiver's */
    uint32_t max_payload;
};

#endif
