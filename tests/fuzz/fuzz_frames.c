/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The boot test's network peer on any frames: the input is cut into frames by a length of two bytes
 * before each. Answers stay within their limit and are never sent as the guest.
 */
#include "base/bytes.h"
#include "p2v/boottest_net.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each frame in memory of its own, so that a read beyond it is seen. */
static void receive(struct net_peer *peer, const uint8_t *data, size_t length)
{
    uint8_t reply[NET_REPLY_SIZE];
    uint8_t *frame = malloc(length ? length : 1);
    assert(frame);
    memcpy(frame, data, length);
    size_t answer = net_peer_receive(peer, frame, length, reply);
    assert(answer <= sizeof(reply));
    assert(answer == 0 || memcmp(reply + 6, peer->mac, 6) != 0);
    free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char mac[] = "52:54:00:12:34:56", v4[] = "192.0.2.10/24", v6[] = "2001:db8::10/64";
    static char dhcp[] = "dhcp";
    static struct guest guest; /* empty but for one interface */
    struct boot_nic_result result;
    struct net_peer peer;
    uint8_t question[NET_REPLY_SIZE];
    guest.nic_count = 1;
    guest.nics[0] = (struct guest_nic){.mac = mac, .addresses = {v4, v6, dhcp}, .address_count = 3};
    if (net_peer_init(&peer, &guest, 0, NULL) != 0)
        abort();
    while (size >= 2) {
        size_t length = load_be16(data) % 2048;
        data += 2;
        size -= 2;
        if (length > size)
            length = size;
        receive(&peer, data, length);
        data += length;
        size -= length;
    }
    for (size_t i = 0; i < net_peer_questions(&peer); i++)
        assert(net_peer_ask(&peer, i, i % 2 == 0, question) <= sizeof(question));
    net_peer_report(&peer, &result);
    return 0;
}
