/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Reads the agent's inventory. Everything in it is hostile until it has been looked at.
 */
#include "p2v/finish_inventory.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"
#include "p2v/server/machine_name.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define MAX_TOPOLOGY 512u /* of each of sockets, cores, threads (docs/guest.md) */

/* 0 for what is no number from 1 to `limit`. */
static uint64_t number_of(const json_t *object, const char *key, uint64_t limit)
{
    const json_t *value = json_object_get(object, key);
    json_int_t number = json_is_integer(value) ? json_integer_value(value) : 0;
    return number > 0 && (uint64_t)number <= limit ? (uint64_t)number : 0;
}

static void read_cpu(const json_t *cpu, struct definition_hints *hints)
{
    unsigned sockets = (unsigned)number_of(cpu, "sockets", MAX_TOPOLOGY);
    unsigned cores = (unsigned)number_of(cpu, "cores", MAX_TOPOLOGY);
    unsigned threads = (unsigned)number_of(cpu, "threads", MAX_TOPOLOGY);
    if ((uint64_t)sockets * cores * threads > GUEST_MAX_CPUS)
        return;
    hints->sockets = sockets;
    hints->cores = cores;
    hints->threads = threads;
}

static void read_firmware(const json_t *firmware, struct definition_hints *hints)
{
    const char *type = json_text_of(firmware, "type");
    hints->is_uefi = strcmp(type, "uefi") == 0;
    hints->is_firmware_known = hints->is_uefi || strcmp(type, "bios") == 0;
    hints->is_secure_boot = json_is_true(json_object_get(firmware, "secure_boot"));
}

static void read_clock(const char *clock, struct definition_hints *hints)
{
    hints->is_localtime = strcmp(clock, "localtime") == 0;
    hints->is_clock_known = hints->is_localtime || strcmp(clock, "utc") == 0;
}

/* --- DMI --- */

/* Firmwares that were never told who they are say what identifies nothing. */
static void read_uuid(const char *text, struct definition_hints *hints)
{
    char uuid[sizeof(hints->uuid)] = "", id[MACHINE_ID_SIZE];
    machine_uuid_make(text, id);
    if (!id[0] || strlen(text) != sizeof(uuid) - 1)
        return;
    for (size_t i = 0; text[i]; i++) {
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (is_dash ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
            return;
        uuid[i] = (char)tolower((unsigned char)text[i]);
    }
    memcpy(hints->uuid, uuid, sizeof(uuid));
}

/* --- */

static bool is_of_a_machine(const json_t *inventory)
{
    return strcmp(json_text_of(inventory, "made_from"), "disks") != 0;
}

void finish_inventory_hints(const json_t *inventory, struct definition_hints *hints)
{
    *hints = (struct definition_hints){.sockets = 0};
    if (!is_of_a_machine(inventory))
        return;
    read_cpu(json_object_get(inventory, "cpu"), hints);
    read_firmware(json_object_get(inventory, "firmware"), hints);
    read_clock(json_text_of(inventory, "clock"), hints);
    read_uuid(json_text_of(json_object_get(inventory, "dmi"), "uuid"), hints);
    uint64_t bytes = number_of(inventory, "memory_bytes", GUEST_MAX_MEMORY);
    hints->memory_bytes = div_round_up(bytes, MIB) * MIB;
}

static bool is_taken(const struct nics *nics, const char *name, const char *mac)
{
    for (size_t i = 0; i < nics->count; i++) {
        if (strcmp(nics->items[i].name, name) == 0 || strcasecmp(nics->items[i].mac, mac) == 0)
            return true;
    }
    return false;
}

/* Virtual functions belong to guests that the machine ran. */
static void read_nic(const json_t *item, struct nics *nics, struct log *log)
{
    const char *name = json_text_of(item, "name"), *mac = json_text_of(item, "mac");
    if (!nic_name_is_physical(name) || json_is_true(json_object_get(item, "is_virtual_function")))
        return;
    if (!guest_mac_is_valid(mac) || is_taken(nics, name, mac) || nics->count == GUEST_MAX_NICS) {
        log_warning(log, "interface %s of the machine is left out", name);
        return;
    }
    struct nic *nic = &nics->items[nics->count++];
    *nic = (struct nic){.name = text_copy(name), .origin = NIC_GIVEN};
    for (size_t i = 0; i < sizeof(nic->mac) - 1; i++)
        nic->mac[i] = (char)tolower((unsigned char)mac[i]);
}

void finish_inventory_nics(const json_t *inventory, struct nics *nics, struct log *log)
{
    const json_t *items = json_object_get(inventory, "nics");
    *nics = (struct nics){0};
    for (size_t i = 0; is_of_a_machine(inventory) && i < json_array_size(items); i++)
        read_nic(json_array_get(items, i), nics, log);
    nics->is_complete = nics->count > 0;
}
