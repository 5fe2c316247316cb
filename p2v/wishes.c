/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Wishes as options, as JSON, and whether they can be.
 */
#include "p2v/wishes.h"

#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/definition.h"
#include "p2v/json.h"
#include "p2v/nics.h"

#include <string.h>

/* --- one wish --- */

int wishes_set_name(struct wishes *wishes, const char *name, struct error *err)
{
    AUTO(text) shown = {0};
    text_add_escaped(&shown, name, strlen(name));
    if (!definition_name_is_valid(name))
        return error_set(err, 0, "'%.80s' is not the name of a guest", text_string(&shown));
    memcpy(wishes->name, name, strlen(name) + 1);
    return 0;
}

int wishes_set_memory(struct wishes *wishes, uint64_t bytes, struct error *err)
{
    char size[32];
    if (bytes < WISHES_MIN_MEMORY || bytes > GUEST_MAX_MEMORY)
        return error_set(err, 0, "memory of %s: it must be 16 MiB to 16 TiB",
                         bytes_format(bytes, size, sizeof(size)));
    wishes->memory_bytes = bytes;
    return 0;
}

int wishes_set_vcpus(struct wishes *wishes, unsigned count, struct error *err)
{
    if (count < 1 || count > WISHES_MAX_VCPUS)
        return error_set(err, 0, "%u virtual CPUs: they must be 1 to %u", count, WISHES_MAX_VCPUS);
    wishes->vcpus = count;
    return 0;
}

/* It becomes a word in other programs' files and command lines. */
static bool is_network_valid(const char *name)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t length = strlen(name);
    return length > 0 && length <= WISHES_MAX_NETWORK && strspn(name, letters) == length &&
           name[0] != '.' && name[0] != '-';
}

static int add_network(struct wishes *wishes, const char *nic, const char *network,
                       struct error *err)
{
    AUTO(text) shown_nic = {0}, shown = {0};
    text_add_escaped(&shown_nic, nic, strlen(nic));
    text_add_escaped(&shown, network, strlen(network));
    if (nic[0] && !nic_name_is_valid(nic))
        return error_set(err, 0, "'%.80s' is not the name of an interface",
                         text_string(&shown_nic));
    if (!is_network_valid(network))
        return error_set(err, 0,
                         "'%.80s' is not the name of a network (1 to %d of A-Z a-z 0-9 . _ -)",
                         text_string(&shown), WISHES_MAX_NETWORK);
    for (size_t i = 0; i < wishes->network_count; i++) {
        if (strcmp(wishes->networks[i].nic, nic) == 0)
            return error_set(err, 0, "two networks for %s", nic[0] ? nic : "all interfaces");
    }
    if (wishes->network_count == ARRAY_LENGTH(wishes->networks))
        return error_set(err, 0, "more than %zu networks", ARRAY_LENGTH(wishes->networks));
    struct wished_network *wished = &wishes->networks[wishes->network_count++];
    *wished = (struct wished_network){.nic = ""};
    memcpy(wished->nic, nic, strlen(nic));
    memcpy(wished->network, network, strlen(network));
    return 0;
}

int wishes_add_network(struct wishes *wishes, const char *text, struct error *err)
{
    const char *colon = strchr(text, ':');
    if (!colon)
        return add_network(wishes, "", text, err);
    if (colon == text)
        return error_set(err, 0, "the name of an interface is missing before ':'");
    AUTO_FREE char *nic = text_format("%.*s", (int)(colon - text), text);
    return add_network(wishes, nic, colon + 1, err);
}

/* --- JSON --- */

json_t *wishes_to_json(const struct wishes *wishes)
{
    json_t *json = json_object(), *networks = json_array();
    if (wishes->name[0])
        json_set_text(json, "name", wishes->name);
    if (wishes->memory_bytes)
        json_set_bytes(json, "memory_bytes", wishes->memory_bytes);
    if (wishes->vcpus)
        json_object_set_new(json, "vcpus", json_integer(wishes->vcpus));
    for (size_t i = 0; i < wishes->network_count; i++) {
        const struct wished_network *wished = &wishes->networks[i];
        json_t *item = json_object();
        json_set_text(item, "nic", wished->nic[0] ? wished->nic : NULL);
        json_set_text(item, "network", wished->network);
        json_array_append_new(networks, item);
    }
    if (json_array_size(networks) > 0)
        json_object_set(json, "networks", networks);
    json_decref(networks);
    if (json_object_size(json) > 0)
        return json;
    json_decref(json);
    return NULL;
}

/* False, for whoever returns it. */
static bool leave_out(struct log *log, const struct error *cause)
{
    log_warning(log, "left out of what the sender wants of the guest: %s", cause->text);
    return false;
}

static bool read_name(const json_t *name, struct wishes *wishes, struct log *log)
{
    struct error cause = {0};
    if (!json_is_string(name) || wishes_set_name(wishes, json_string_value(name), &cause) == 0)
        return true;
    return leave_out(log, &cause);
}

static bool read_memory(const json_t *memory, struct wishes *wishes, struct log *log)
{
    struct error cause = {0};
    json_int_t bytes = json_integer_value(memory);
    if (!json_is_integer(memory) ||
        wishes_set_memory(wishes, bytes > 0 ? (uint64_t)bytes : 0, &cause) == 0)
        return true;
    return leave_out(log, &cause);
}

static bool read_vcpus(const json_t *vcpus, struct wishes *wishes, struct log *log)
{
    struct error cause = {0};
    json_int_t count = json_integer_value(vcpus);
    unsigned checked = count > 0 && count <= UINT32_MAX ? (unsigned)count : 0;
    if (!json_is_integer(vcpus) || wishes_set_vcpus(wishes, checked, &cause) == 0)
        return true;
    return leave_out(log, &cause);
}

static bool read_network(const json_t *item, struct wishes *wishes, struct log *log)
{
    struct error cause = {0};
    const json_t *nic = json_object_get(item, "nic");
    const char *network = json_string_value(json_object_get(item, "network"));
    if (!network || (nic && !json_is_null(nic) && !json_is_string(nic)))
        return true;
    const char *name = json_is_string(nic) ? json_string_value(nic) : "";
    return add_network(wishes, name, network, &cause) == 0 || leave_out(log, &cause);
}

bool wishes_from_json(const json_t *wanted, struct wishes *wishes, struct log *log)
{
    const json_t *networks = json_object_get(wanted, "networks");
    size_t count = json_array_size(networks);
    *wishes = (struct wishes){.memory_bytes = 0};
    bool is_whole = read_name(json_object_get(wanted, "name"), wishes, log);
    is_whole &= read_memory(json_object_get(wanted, "memory_bytes"), wishes, log);
    is_whole &= read_vcpus(json_object_get(wanted, "vcpus"), wishes, log);
    for (size_t i = 0; i < count && i < ARRAY_LENGTH(wishes->networks); i++)
        is_whole &= read_network(json_array_get(networks, i), wishes, log);
    if (count <= ARRAY_LENGTH(wishes->networks))
        return is_whole;
    log_warning(log, "the sender wants %zu networks: only the first %zu are looked at", count,
                ARRAY_LENGTH(wishes->networks));
    return false;
}
