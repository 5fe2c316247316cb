/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest definition in memory, and the names that are made up for a machine: a MAC, a UUID. Both
 * come from a digest of what identifies the machine, so a second run makes the same.
 */
#include "formats/guest.h"

#include "base/text.h"
#include "formats/digest.h"
#include "formats/guest_fields.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct guest *guest_new(const char *name)
{
    struct guest *guest = memory_new(1, sizeof(*guest));

    guest->name = text_copy(name);
    guest->uuid = memory_new(1, 37);
    guest_make_uuid(name, guest->uuid);
    guest->arch = text_copy("x86_64");
    guest->sockets = 1;
    guest->cores = 2;
    guest->threads = 1;
    guest->memory_bytes = (uint64_t)2 << 30;
    guest->console = text_copy("both");
    guest->os_type = text_copy("unknown");
    return guest;
}

void guest_free(struct guest *guest)
{
    if (guest == NULL)
        return;
    guest_fields_free(guest_fields, guest);
    free(guest);
}

void guest_make_mac(const char *machine_id, const char *interface, char mac[18])
{
    uint8_t sum[DIGEST_SIZE];
    struct digest digest;

    digest_init(&digest);
    digest_add(&digest, machine_id, strlen(machine_id) + 1); /* the NUL keeps the two apart */
    digest_add(&digest, interface, strlen(interface));
    digest_finish(&digest, sum);
    digest_fini(&digest);
    /*
     * 52: locally administered, unicast, and not fe, which libvirt keeps for itself. The 40 bits
     * behind it make a clash among a thousand interfaces about as likely as 1 in 2 million.
     */
    snprintf(mac, 18, "52:%02x:%02x:%02x:%02x:%02x", sum[0], sum[1], sum[2], sum[3], sum[4]);
}

bool guest_mac_is_valid(const char *mac)
{
    static const char nothing[] = "00:00:00:00:00:00";
    unsigned first;

    if (strlen(mac) != 17 || strcmp(mac, nothing) == 0)
        return false;
    for (int i = 0; i < 17; i++) {
        if (i % 3 == 2 ? mac[i] != ':' : !isxdigit((unsigned char)mac[i]))
            return false;
    }
    /* The lowest bit of the first byte, which the second digit ends with, is 'multicast'. */
    first = isdigit((unsigned char)mac[1]) ? (unsigned)(mac[1] - '0')
                                           : (unsigned)(tolower((unsigned char)mac[1]) - 'a' + 10);
    return (first & 1) == 0;
}

void guest_make_uuid(const char *seed, char uuid[37])
{
    uint8_t sum[DIGEST_SIZE];
    size_t length = 0;

    digest_compute(seed, strlen(seed), sum);
    sum[6] = (uint8_t)((sum[6] & 0x0f) | 0x80); /* version 8: of our own making (RFC 9562) */
    sum[8] = (uint8_t)((sum[8] & 0x3f) | 0x80); /* the variant of that RFC */
    for (int i = 0; i < 16; i++) {
        bool has_dash = i == 4 || i == 6 || i == 8 || i == 10;

        length +=
            (size_t)snprintf(uuid + length, 37 - length, "%s%02x", has_dash ? "-" : "", sum[i]);
    }
}

const char *guest_bus_name(enum guest_bus bus)
{
    return guest_bus_names[bus];
}

const char *guest_nic_model_name(enum guest_nic_model model)
{
    return guest_nic_model_names[model];
}
