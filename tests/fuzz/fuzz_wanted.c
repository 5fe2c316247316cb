/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the server takes of an agent's inventory for the guest: hints, NICs, and what is wanted.
 * Whatever the agent says, the definition that comes of it is a valid one.
 */
#include "p2v/finish_inventory.h"
#include "p2v/finish_wishes.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct guest *make_guest(const json_t *inventory, const struct nics *nics)
{
    struct finish_wishes wishes;
    struct definition_hints hints;
    struct guest *guest = guest_new("fuzz");
    AUTO_JSON report = json_object();
    finish_inventory_hints(inventory, &hints);
    finish_wishes_read(inventory, &wishes, &hints, NULL);
    if (hints.memory_bytes)
        guest->memory_bytes = hints.memory_bytes;
    if (hints.sockets && hints.cores && hints.threads) {
        guest->sockets = hints.sockets;
        guest->cores = hints.cores;
        guest->threads = hints.threads;
    }
    definition_set_nics(guest, nics, GUEST_NIC_VIRTIO);
    finish_wishes_apply(&wishes, true, guest, report, NULL);
    return guest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nics nics = {.count = 0};
    struct error err = {0};
    AUTO_JSON inventory = json_loadb((const char *)data, size, 0, NULL);
    if (!inventory)
        return 0;
    finish_inventory_nics(inventory, &nics, NULL);
    struct guest *guest = make_guest(inventory, &nics);
    if (guest_validate(guest, false, &err) != 0)
        abort();
    guest_free(guest);
    nics_fini(&nics);
    return 0;
}
