/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Applies what the sender wants of the guest.
 */
#include "p2v/finish_wishes.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- reading --- */

/* "" when the machine has no such interface. */
static const char *mac_of(const json_t *inventory, const char *name)
{
    size_t i;
    const json_t *nic;
    json_array_foreach(json_object_get(inventory, "nics"), i, nic)
    {
        const char *mac = json_text_of(nic, "mac");
        if (strcmp(json_text_of(nic, "name"), name) == 0)
            return guest_mac_is_valid(mac) ? mac : "";
    }
    return "";
}

void finish_wishes_read(const json_t *inventory, struct finish_wishes *wishes,
                        struct definition_hints *hints, struct log *log)
{
    *wishes = (struct finish_wishes){.macs = {""}};
    wishes->has_left_out =
        !wishes_from_json(json_object_get(inventory, "wanted"), &wishes->wishes, log);
    for (size_t i = 0; i < wishes->wishes.network_count; i++) {
        const char *nic = wishes->wishes.networks[i].nic;
        const char *mac = nic[0] ? mac_of(inventory, nic) : "";
        memcpy(wishes->macs[i], mac, strlen(mac) + 1);
    }
    if (wishes->wishes.memory_bytes)
        hints->memory_bytes = div_round_up(wishes->wishes.memory_bytes, MIB) * MIB;
    if (wishes->wishes.vcpus) {
        hints->sockets = hints->threads = 1;
        hints->cores = wishes->wishes.vcpus;
    }
}

/* --- applying --- */

/* Names that the agent has for an interface count before the system's, which may be others. */
static bool is_for(const struct finish_wishes *wishes, size_t index, const struct guest_nic *nic)
{
    const char *mac = wishes->macs[index];
    const char *name = wishes->wishes.networks[index].nic;
    if (mac[0])
        return nic->mac && strcasecmp(mac, nic->mac) == 0;
    return name[0] && nic->name && strcmp(name, nic->name) == 0;
}

/* The wish for this NIC; else the one for all others; the count when there is none. */
static size_t choose(const struct finish_wishes *wishes, const struct guest_nic *nic)
{
    size_t count = wishes->wishes.network_count, others = count;
    for (size_t i = 0; i < count; i++) {
        if (is_for(wishes, i, nic))
            return i;
        if (!wishes->wishes.networks[i].nic[0])
            others = i;
    }
    return others;
}

struct outcome {
    bool is_found, is_applied;
};

/* What a NIC of an update is connected to, a person may have chosen: it stays. */
static void connect_nic(struct guest_nic *nic, const char *network, struct outcome *outcome,
                        struct log *log)
{
    outcome->is_found = true;
    if (!nic->network)
        nic->network = text_copy(network);
    bool is_it = strcmp(nic->network, network) == 0;
    outcome->is_applied |= is_it;
    if (!is_it)
        log_info(log, "interface %s stays in network %s, although %s is wanted",
                 nic->name ? nic->name : nic->mac, nic->network, network);
}

/* False when there was no NIC for one. */
static bool report_wishes(const struct finish_wishes *wishes, const struct outcome *outcomes,
                          json_t *report, struct log *log)
{
    json_t *json = wishes_to_json(&wishes->wishes);
    const json_t *networks = json_object_get(json, "networks");
    bool is_done = true;
    if (!json)
        return true;
    for (size_t i = 0; i < wishes->wishes.network_count; i++) {
        const struct wished_network *wished = &wishes->wishes.networks[i];
        json_set_bool(json_array_get(networks, i), "is_applied", outcomes[i].is_applied);
        if (outcomes[i].is_found || !wished->nic[0])
            continue;
        is_done = false;
        log_warning(log, "network %s is wanted for interface %s, which the machine has not",
                    wished->network, wished->nic);
    }
    json_object_set_new(report, "wanted", json);
    return is_done;
}

bool finish_wishes_apply(const struct finish_wishes *wishes, bool is_new, struct guest *guest,
                         json_t *report, struct log *log)
{
    if (is_new && wishes->wishes.name[0]) {
        free(guest->name);
        guest->name = text_copy(wishes->wishes.name);
    }
    struct outcome outcomes[GUEST_MAX_NICS + 1] = {{false, false}};
    for (size_t i = 0; i < guest->nic_count; i++) {
        size_t index = choose(wishes, &guest->nics[i]);
        if (index < wishes->wishes.network_count)
            connect_nic(&guest->nics[i], wishes->wishes.networks[index].network, &outcomes[index],
                        log);
    }
    return report_wishes(wishes, outcomes, report, log) && !wishes->has_left_out;
}
