/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Addresses, masks and MACs as text: what may go further to `ip`.
 */
#include "base/bytes.h"
#include "p2v/boot/network_private.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAC_LENGTH 17

struct address {
    int family;
    uint8_t bytes[16];
    unsigned bits; /* of a prefix; all without one */
};

/* As the kernel's dev_valid_name, and stricter: these names become words of
 * commands and paths. */
bool network_is_interface(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length >= NETWORK_INTERFACE_SIZE || !isalnum((unsigned char)name[0]))
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i]))
            return false;
    }
    return true;
}

bool network_is_mac(const char *text, size_t length)
{
    if (length != MAC_LENGTH || strnlen(text, length) != length)
        return false;
    for (size_t i = 0; i < length; i++) {
        bool is_good = i % 3 == 2 ? text[i] == ':' : isxdigit((unsigned char)text[i]) != 0;
        if (!is_good)
            return false;
    }
    return true;
}

static bool parse_plain(const char *text, struct address *address)
{
    memset(address, 0, sizeof(*address));
    address->family = strchr(text, ':') ? AF_INET6 : AF_INET;
    address->bits = address->family == AF_INET6 ? 128 : 32;
    return inet_pton(address->family, text, address->bytes) == 1;
}

static bool parse_prefix(const char *text, struct address *address)
{
    char plain[64];
    const char *slash = strchr(text, '/');
    if (!slash || (size_t)(slash - text) >= sizeof(plain))
        return false;
    snprintf(plain, sizeof(plain), "%.*s", (int)(slash - text), text);
    size_t digits = strspn(slash + 1, "0123456789");
    if (!parse_plain(plain, address) || digits == 0 || digits > 3 || slash[1 + digits])
        return false;
    unsigned long bits = strtoul(slash + 1, NULL, 10);
    bool is_good = bits >= 1 && bits <= address->bits;
    address->bits = (unsigned)bits;
    return is_good;
}

bool network_is_ipv6(const char *text)
{
    return strchr(text, ':') != NULL;
}

/* Neither 0.0.0.0 nor a group nor 127.0.0.0/8. */
static bool can_be_a_host(const struct address *address)
{
    if (bytes_are_zero(address->bytes, 16))
        return false;
    if (address->family == AF_INET6)
        return address->bytes[0] != 0xff;
    return address->bytes[0] != 127 && address->bytes[0] != 0 && address->bytes[0] < 224;
}

bool network_is_address(const char *text)
{
    struct address address;
    return parse_plain(text, &address) && can_be_a_host(&address);
}

bool network_is_host_address(const char *text)
{
    struct address address;
    return parse_prefix(text, &address) && can_be_a_host(&address);
}

static void cut(struct address *address, unsigned bits)
{
    for (unsigned i = bits; i < 128; i++)
        address->bytes[i / 8] &= (uint8_t) ~(0x80u >> i % 8);
}

bool network_contains(const char *host_address, const char *address)
{
    struct address network, other;
    if (!parse_prefix(host_address, &network) || !parse_plain(address, &other) ||
        network.family != other.family)
        return false;
    cut(&network, network.bits);
    cut(&other, network.bits);
    return memcmp(network.bytes, other.bytes, sizeof(network.bytes)) == 0;
}

void network_of(const char *host_address, char *network, size_t size)
{
    struct address address;
    char text[INET6_ADDRSTRLEN] = "?";
    if (parse_prefix(host_address, &address)) {
        cut(&address, address.bits);
        inet_ntop(address.family, address.bytes, text, sizeof(text));
    }
    snprintf(network, size, "%s/%u", text, address.bits);
}

int network_mask_bits(const char *mask)
{
    struct in_addr address;
    if (inet_pton(AF_INET, mask, &address) != 1)
        return -1;
    uint32_t bits = ntohl(address.s_addr);
    int count = bits ? __builtin_clz(~bits | (bits == UINT32_MAX)) : 0;
    if (bits == UINT32_MAX)
        return 32;
    return count > 0 && (uint32_t)(bits << count) == 0 ? count : -1;
}
