/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Renders what is on a disk as JSON: for inspect, reports and inventories. Apart from report.c
 * because the agent has it too, which knows neither fixing nor boot tests.
 */
#include "p2v/report.h"

#include <stdio.h>
#include <string.h>

static const char *text_or_null(const char *text)
{
    return text[0] ? text : NULL;
}

/* Probe texts are escaped by the prober; escaping twice would double their backslashes. */
static void set_escaped(json_t *object, const char *key, const char *text)
{
    json_object_set_new(object, key, text[0] ? json_string(text) : json_null());
}

static const char *role_of(const struct partition *partition)
{
    if (strcmp(partition->type_guid, PARTITION_TYPE_ESP) == 0)
        return "esp";
    if (strcmp(partition->type_guid, PARTITION_TYPE_BIOS_BOOT) == 0)
        return "bios-boot";
    return partition->is_bootable ? "active" : NULL;
}

static json_t *volume_json(const struct volume *volume)
{
    json_t *json = json_object();
    const struct partition *partition = volume->partition;
    json_object_set_new(json, "partition",
                        partition ? json_integer(partition->number) : json_null());
    json_set_bytes(json, "offset", volume->offset);
    json_set_bytes(json, "size_bytes", volume->length);
    json_set_text(json, "role", partition ? role_of(partition) : NULL);
    json_set_text(json, "name", partition ? text_or_null(partition->name) : NULL);
    set_escaped(json, "type", volume->probe.type);
    set_escaped(json, "uuid", volume->probe.uuid);
    set_escaped(json, "label", volume->probe.label);
    json_set_text(json, "driver", volume->driver->name);
    json_set_bytes(json, "used_bytes", extents_total(&volume->map.used));
    json_set_bool(json, "is_certain", volume->map.is_certain);
    json_set_text(json, "doubt", text_or_null(volume->map.doubt));
    return json;
}

static json_t *table_json(const struct partition_table *table)
{
    char id[16];
    json_t *json = json_object();
    json_set_text(json, "kind", partition_table_kind_name(table->kind));
    snprintf(id, sizeof(id), "%08x", table->mbr_disk_id);
    if (table->kind == PARTITION_TABLE_GPT)
        json_set_text(json, "id", table->disk_guid);
    else if (table->kind == PARTITION_TABLE_MBR)
        json_set_text(json, "id", id);
    json_set_bytes(json, "sector_size", table->sector_size);
    json_set_bool(json, "is_backup_used", table->is_backup_used);
    json_set_bool(json, "is_doubtful", table->is_doubtful);
    return json;
}

json_t *report_layout(const struct source *source)
{
    json_t *json = json_object();
    json_t *volumes = json_array();
    json_set_text(json, "source", source->path);
    json_set_text(json, "format", source->format);
    json_set_bool(json, "is_device", source->is_device);
    json_set_bytes(json, "size_bytes", source->block->size_bytes);
    json_set_bytes(json, "used_bytes", source->used_bytes);
    json_object_set_new(json, "table", table_json(&source->layout.table));
    for (size_t i = 0; i < source->layout.count; i++)
        json_array_append_new(volumes, volume_json(&source->layout.volumes[i]));
    json_object_set_new(json, "volumes", volumes);
    return json;
}
