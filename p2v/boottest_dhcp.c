/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The boot test's DHCP server. A client that remembers a lease from its former life is refused at
 * once (NAK), so that it asks anew instead of waiting.
 */
#include "p2v/boottest_dhcp.h"

#include "base/bytes.h"

/* Offsets in a message (RFC 2131, section 2). */
#define AT_CIADDR 12
#define AT_YIADDR 16
#define AT_SIADDR 20
#define AT_GIADDR 24
#define AT_CHADDR 28
#define AT_MAGIC 236
#define AT_OPTIONS 240
#define MAGIC 0x63825363

#define BOOT_REQUEST 1
#define BOOT_REPLY 2
#define LEASE_SECONDS 3600

enum { TYPE_DISCOVER = 1, TYPE_REQUEST = 3 };
enum {
    OPTION_PAD = 0,
    OPTION_MASK = 1,
    OPTION_ROUTER = 3,
    OPTION_REQUESTED = 50,
    OPTION_LEASE_TIME = 51,
    OPTION_TYPE = 53,
    OPTION_SERVER = 54,
    OPTION_END = 255
};

/* What a client asks; the pointers are into its message, NULL when absent. */
struct question {
    uint8_t type;
    const uint8_t *server, *requested;
};

static int decode(const uint8_t *message, size_t length, struct question *question)
{
    *question = (struct question){0};
    size_t at = AT_OPTIONS;
    while (at < length && message[at] != OPTION_END) {
        if (message[at] == OPTION_PAD) {
            at++;
            continue;
        }
        if (length - at < 2 || length - at - 2 < message[at + 1])
            return -1;
        const uint8_t *value = message + at + 2;
        uint8_t size = message[at + 1];
        if (message[at] == OPTION_TYPE && size == 1)
            question->type = value[0];
        if (message[at] == OPTION_SERVER && size == 4)
            question->server = value;
        if (message[at] == OPTION_REQUESTED && size == 4)
            question->requested = value;
        at += 2 + (size_t)size;
    }
    return question->type ? 0 : -1;
}

static enum dhcp_answer decide(const struct dhcp_server *server, const uint8_t *message,
                               const struct question *question)
{
    if (question->type == TYPE_DISCOVER)
        return DHCP_OFFER;
    if (question->type != TYPE_REQUEST)
        return DHCP_NO_ANSWER;
    if (question->server && memcmp(question->server, server->server, 4) != 0)
        return DHCP_NO_ANSWER; /* it chose another server */
    const uint8_t *wanted = question->requested ? question->requested : message + AT_CIADDR;
    return memcmp(wanted, server->lease, 4) == 0 ? DHCP_ACK : DHCP_NAK;
}

static uint8_t *put(uint8_t *at, uint8_t option, const void *value, uint8_t size)
{
    at[0] = option;
    at[1] = size;
    memcpy(at + 2, value, size);
    return at + 2 + size;
}

static void encode(const struct dhcp_server *server, const uint8_t *message,
                   enum dhcp_answer answer, uint8_t reply[DHCP_MESSAGE_SIZE])
{
    static const uint8_t mask[4] = {255, 255, 255, 0};
    uint8_t type = (uint8_t)answer, seconds[4];
    memset(reply, 0, DHCP_MESSAGE_SIZE);
    memcpy(reply, message, AT_CIADDR); /* op, hardware, hops, xid, secs, flags */
    reply[0] = BOOT_REPLY;
    memcpy(reply + AT_CHADDR, message + AT_CHADDR, 16);
    store_be32(reply + AT_MAGIC, MAGIC);
    uint8_t *at = put(reply + AT_OPTIONS, OPTION_TYPE, &type, 1);
    at = put(at, OPTION_SERVER, server->server, 4);
    if (answer != DHCP_NAK) {
        memcpy(reply + AT_YIADDR, server->lease, 4);
        memcpy(reply + AT_SIADDR, server->server, 4);
        store_be32(seconds, LEASE_SECONDS);
        at = put(at, OPTION_LEASE_TIME, seconds, 4);
        at = put(at, OPTION_MASK, mask, 4);
        at = put(at, OPTION_ROUTER, server->server, 4);
    }
    *at = OPTION_END;
}

enum dhcp_answer dhcp_server_answer(const struct dhcp_server *server, const uint8_t *message,
                                    size_t length, uint8_t reply[DHCP_MESSAGE_SIZE])
{
    static const uint8_t ethernet[3] = {BOOT_REQUEST, 1, 6}; /* op, hardware type and length */
    struct question question;
    if (length < AT_OPTIONS || memcmp(message, ethernet, sizeof(ethernet)) != 0 ||
        load_be32(message + AT_MAGIC) != MAGIC || load_be32(message + AT_GIADDR) != 0 ||
        memcmp(message + AT_CHADDR, server->client_mac, 6) != 0 ||
        decode(message, length, &question) != 0)
        return DHCP_NO_ANSWER;
    enum dhcp_answer answer = decide(server, message, &question);
    if (answer != DHCP_NO_ANSWER)
        encode(server, message, answer, reply);
    return answer;
}
