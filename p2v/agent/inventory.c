/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Puts the inventory together and keeps it within the size that the wire allows.
 */
#include "p2v/agent/inventory.h"

#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/inventory_net.h"
#include "p2v/json.h"
#include "p2v/report.h"
#include "p2v/wire/frame.h"

#include <stdlib.h>
#include <string.h>

static void set_if_any(json_t *object, const char *key, const char *text)
{
    json_set_text(object, key, text[0] ? text : NULL);
}

static void add_device(const struct machine_disk *device, json_t *json)
{
    set_if_any(json, "serial", device->serial);
    set_if_any(json, "wwn", device->wwn);
    set_if_any(json, "bus", device->bus);
    set_if_any(json, "vendor", device->vendor);
    set_if_any(json, "model", device->model);
    json_set_bytes(json, "logical_sector_size", device->logical_sector_size);
    json_set_bytes(json, "physical_sector_size", device->physical_sector_size);
    json_set_bool(json, "is_rotational", device->is_rotational);
    json_set_bool(json, "is_external", device->is_external);
}

static json_t *disk_json(const struct inventory_disk *disk)
{
    json_t *json = report_layout(disk->source);
    json_set_text(json, "name", disk->name);
    if (disk->device)
        add_device(disk->device, json);
    if (disk->live) {
        json_set_bool(json, "is_live", disk->live->is_live);
        set_if_any(json, "used_by", disk->live->what);
    }
    return json;
}

static void add_network(const struct inventory_options *options, json_t *inventory)
{
    struct net net = {0};
    struct error err = {0};
    /* A test's folder has no kernel behind it. */
    if (!options->root[0] && net_read(&net, &err) != 0)
        log_warning(options->log, "the inventory has no network: %s", err.text);
    net_render(&net, options->root, inventory);
    net_fini(&net);
}

static void add_wishes(const struct wishes *wishes, json_t *inventory)
{
    json_t *wanted = wishes ? wishes_to_json(wishes) : NULL;
    if (wanted)
        json_object_set_new(inventory, "wanted", wanted);
}

json_t *inventory_new(const struct inventory_options *options)
{
    json_t *json = json_object(), *disks = json_array();
    json_object_set_new(json, "rehost_inventory", json_integer(1));
    json_set_text(json, "made_from", options->is_this_machine ? "machine" : "disks");
    if (options->is_this_machine)
        inventory_add_machine(options->root, json);
    for (size_t i = 0; i < options->disk_count; i++)
        json_array_append_new(disks, disk_json(&options->disks[i]));
    json_object_set_new(json, "disks", disks);
    if (options->is_this_machine)
        add_network(options, json);
    else
        json_object_set_new(json, "nics", json_array());
    json_object_set_new(json, "system", json_null());
    add_wishes(options->wishes, json);
    return json;
}

static char *format_within_limit(const json_t *inventory)
{
    char *text = json_dumps(inventory, JSON_COMPACT);
    if (text && strlen(text) <= WIRE_MAX_INVENTORY)
        return text;
    free(text);
    return NULL;
}

static void drop_volumes(json_t *inventory)
{
    size_t i;
    json_t *disk;
    json_array_foreach(json_object_get(inventory, "disks"), i, disk)
        json_object_set_new(disk, "volumes", json_array());
}

char *inventory_format(json_t *inventory, struct log *log)
{
    static const char *const optional[] = {"routes", "interfaces", "vlans", NULL};
    char *text = format_within_limit(inventory);
    for (size_t i = 0; !text && optional[i]; i++) {
        log_warning(log, "the inventory is too large: left out %s", optional[i]);
        json_object_set_new(inventory, optional[i], json_array());
        text = format_within_limit(inventory);
    }
    if (!text) {
        log_warning(log, "the inventory is too large: left out volumes");
        drop_volumes(inventory);
        text = format_within_limit(inventory);
    }
    return text ? text : text_copy("{\"rehost_inventory\":1}");
}
