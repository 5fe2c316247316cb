/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Renders what a conversion did as JSON.
 */
#include "p2v/report.h"

#include "base/bytes.h"
#include "base/text.h"
#include "formats/manifest.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

json_t *report_new(void)
{
    char now[32];
    time_t seconds = time(NULL);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", &utc);
    json_t *report = json_object();
    json_object_set_new(report, "rehost_report", json_integer(1));
    json_set_text(report, "version", REHOST_VERSION);
    json_set_text(report, "started", now);
    json_object_set_new(report, "disks", json_array());
    json_object_set_new(report, "fix", json_null());
    json_set_text(report, "boot_test", REPORT_NOT_TESTED);
    json_object_set_new(report, "boot", json_null());
    json_object_set_new(report, "steps", json_array());
    json_object_set_new(report, "warnings", json_array());
    return report;
}

void report_add_step(json_t *report, const char *name, double seconds, uint64_t bytes)
{
    json_t *step = json_object();
    json_set_text(step, "name", name);
    json_object_set_new(step, "seconds", json_seconds(seconds));
    json_set_bytes(step, "bytes", bytes);
    json_array_append_new(json_object_get(report, "steps"), step);
}

void report_set_step_bytes(json_t *report, const char *name, uint64_t bytes)
{
    const json_t *steps = json_object_get(report, "steps");
    for (size_t i = 0; i < json_array_size(steps); i++) {
        json_t *step = json_array_get(steps, i);
        if (strcmp(json_text_of(step, "name"), name) == 0)
            json_set_bytes(step, "bytes", bytes);
    }
}

void report_set_warnings(json_t *report, const struct console *console)
{
    json_t *warnings = json_array();
    for (size_t i = 0; i < console->warning_count; i++)
        json_array_append_new(warnings, json_string(console->warnings[i]));
    if (console->warnings_dropped) {
        char more[64];
        snprintf(more, sizeof(more), "%zu more warnings", console->warnings_dropped);
        json_array_append_new(warnings, json_string(more));
    }
    json_object_set_new(report, "warnings", warnings);
}

static const char *text_or_null(const char *text)
{
    return text[0] ? text : NULL;
}

static json_t *ranges_json(const struct extents *ranges)
{
    json_t *json = json_array();
    for (size_t i = 0; i < ranges->count; i++) {
        json_t *range = json_object();
        json_set_bytes(range, "offset", ranges->items[i].offset);
        json_set_bytes(range, "length", ranges->items[i].length);
        json_array_append_new(json, range);
    }
    return json;
}

void report_set_digest(json_t *disk, const struct manifest *manifest)
{
    char text[2 * CHUNK_NAME_SIZE + 1];
    struct chunk_name digest;
    manifest_digest(manifest, &digest);
    bytes_format_hex(digest.bytes, sizeof(digest.bytes), text);
    json_set_text(disk, "digest", text);
}

json_t *report_disk(const struct report_disk *disk)
{
    const struct copy_counts *counts = &disk->copy->counts;
    json_t *json = report_layout(disk->source);
    json_set_text(json, "path", disk->path);
    json_set_text(json, "path_format", disk->format);
    json_set_bytes(json, "read_bytes", counts->done_bytes);
    json_set_bytes(json, "data_bytes", counts->data_bytes);
    json_set_bytes(json, "zero_bytes", counts->zero_bytes);
    json_set_bytes(json, "skipped_bytes",
                   disk->source->block->size_bytes > counts->done_bytes
                       ? disk->source->block->size_bytes - counts->done_bytes
                       : 0);
    if (counts->stored_bytes)
        json_set_bytes(json, "compressed_bytes", counts->stored_bytes);
    json_set_bytes(json, "unreadable_bytes", counts->unreadable_bytes);
    json_object_set_new(json, "unreadable", ranges_json(&disk->copy->unreadable));
    json_object_set_new(json, "seconds", json_seconds(disk->seconds));
    report_set_digest(json, disk->manifest);
    return json;
}

json_t *report_nics(const struct nics *nics)
{
    json_t *json = json_array();
    for (size_t i = 0; i < nics->count; i++) {
        const struct nic *nic = &nics->items[i];
        json_t *item = json_object();
        json_t *addresses = json_array();
        json_set_text(item, "name", nic->name);
        json_set_text(item, "mac", nic->mac);
        json_set_text(item, "mac_origin", nic_origin_name(nic->origin));
        for (size_t k = 0; k < nic->address_count; k++)
            json_array_append_new(addresses, json_text(nic->addresses[k]));
        json_object_set_new(item, "addresses", addresses);
        json_array_append_new(json, item);
    }
    return json;
}

json_t *report_boot(const struct boot_result *boot)
{
    json_t *json = json_object();
    json_t *nics = json_array(), *failed = json_array();
    json_set_text(json, "stage", boot_stage_name(boot->stage));
    json_set_bool(json, "is_emergency", boot->is_emergency);
    json_set_text(json, "problem", text_or_null(boot->problem));
    json_set_text(json, "accelerator", boot->accelerator);
    json_object_set_new(json, "seconds", json_seconds(boot->seconds));
    for (size_t i = 0; i < boot->failed_count && i < 8; i++)
        json_array_append_new(failed, json_text(boot->failed[i]));
    json_set_bytes(json, "failed_unit_count", boot->failed_count);
    json_object_set_new(json, "failed_units", failed);
    for (size_t i = 0; i < boot->nic_count; i++) {
        const struct boot_nic_result *nic = &boot->nics[i];
        json_t *item = json_object();
        json_set_text(item, "name", nic->name);
        json_set_text(item, "mac", nic->mac);
        json_set_bool(item, "is_seen", nic->is_seen);
        json_set_bool(item, "is_dhcp_bound", nic->is_dhcp_bound);
        json_set_text(item, "missing_address", text_or_null(nic->missing));
        json_set_text(item, "kernel_name", text_or_null(nic->kernel_name));
        json_set_bool(item, "is_ok", nic->is_ok);
        json_array_append_new(nics, item);
    }
    json_object_set_new(json, "nics", nics);
    return json;
}

json_t *report_inventory(const struct sources *sources, const struct system *system,
                         const struct nics *nics)
{
    json_t *json = json_object();
    json_t *disks = json_array();
    json_object_set_new(json, "rehost_inventory", json_integer(1));
    json_set_text(json, "made_from", "disks");
    for (size_t i = 0; i < sources->count; i++)
        json_array_append_new(disks, report_layout(&sources->items[i]));
    json_object_set_new(json, "disks", disks);
    json_object_set_new(json, "nics", report_nics(nics));
    json_object_set_new(json, "system", report_system(system));
    return json;
}
