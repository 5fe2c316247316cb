/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the source tells of the sending: `source` of the server's report.json, and --json.
 */
#include "base/clock.h"
#include "base/own.h"
#include "p2v/agent/damage.h"
#include "p2v/send_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_RANGES 100u
#define MAX_TOLD 10u

static void set_time(json_t *json, const char *key, int64_t seconds)
{
    char text[32];
    time_t when = (time_t)seconds;
    struct tm utc;
    if (gmtime_r(&when, &utc) && strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc))
        json_set_text(json, key, text);
}

static json_t *warnings_json(const struct console *console)
{
    json_t *json = json_array();
    for (size_t i = 0; i < console->warning_count; i++)
        json_array_append_new(json, json_string(console->warnings[i]));
    if (console->warnings_dropped) {
        AUTO_FREE char *more = text_format("%zu more warnings", console->warnings_dropped);
        json_array_append_new(json, json_string(more));
    }
    return json;
}

/* The files hit, for people: the ranges alone say little. */
static void tell_hits(const struct send_disk *disk, const json_t *ranges)
{
    size_t i, k, told = 0;
    const json_t *range, *hit;
    json_array_foreach(ranges, i, range)
    {
        json_array_foreach(json_object_get(range, "hits"), k, hit)
        {
            if (told++ < MAX_TOLD)
                log_warning(&disk->send->log, "%s: unreadable: %s", disk->name,
                            json_string_value(hit));
        }
    }
}

/*
 * The ranges with what they hit; of very many only the first. Found out once: it may take a while.
 */
static json_t *unreadable_json(struct send_disk *disk, const struct extents *ranges)
{
    if (disk->damage && disk->damage_count == ranges->count)
        return json_incref(disk->damage);
    json_t *json = json_array();
    for (size_t i = 0; i < ranges->count && i < MAX_RANGES; i++) {
        json_t *item = json_object();
        json_set_bytes(item, "offset", ranges->items[i].offset);
        json_set_bytes(item, "length", ranges->items[i].length);
        json_array_append_new(json, item);
    }
    damage_describe(disk->source.block, &disk->source.layout, ranges, json);
    tell_hits(disk, json);
    json_decref(disk->damage);
    disk->damage = json;
    disk->damage_count = ranges->count;
    return json_incref(json);
}

static json_t *disk_json(struct send *send, size_t index)
{
    struct send_disk *disk = &send->disks[index];
    const struct sender_disk_result *result = &send->result.disks[index];
    json_t *json = json_object();
    json_set_text(json, "name", disk->name);
    json_set_text(json, "source", disk->path);
    json_set_bool(json, "is_live", disk->live.is_live);
    json_set_bool(json, "is_sent", result->is_sent);
    json_object_set_new(json, "passes", json_integer(result->passes));
    json_set_bytes(json, "read_bytes", result->read_bytes);
    json_set_bytes(json, "sent_bytes", result->sent_bytes);
    json_set_bytes(json, "wire_bytes", result->wire_bytes);
    json_set_bytes(json, "unreadable_bytes", extents_total(&result->unreadable));
    json_object_set_new(json, "unreadable", unreadable_json(disk, &result->unreadable));
    if (result->error.text[0])
        json_set_text(json, "error", result->error.text);
    return json;
}

static json_t *common_json(struct send *send)
{
    json_t *json = json_object(), *disks = json_array();
    bool is_live = send_is_any_live(send);
    json_set_text(json, "version", REHOST_VERSION);
    json_set_bool(json, "is_live", is_live);
    set_time(json, "started", send->started_time);
    set_time(json, "ended", time(NULL));
    json_object_set_new(json, "seconds", json_seconds(clock_seconds() - send->started));
    for (size_t i = 0; i < send->disk_count; i++)
        json_array_append_new(disks, disk_json(send, i));
    json_object_set_new(json, "disks", disks);
    json_object_set_new(json, "snapshots", send_snapshots_json(send));
    json_object_set_new(json, "warnings", warnings_json(send->console));
    return json;
}

static char *format_within_limit(const json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);
    if (text && strlen(text) < WIRE_MAX_REPORT)
        return text;
    free(text);
    return NULL;
}

/* "started" and "ended" are this machine's clock; the server knows its own. */
char *send_report(void *context)
{
    struct send *send = context;
    size_t i;
    json_t *disk;
    AUTO_JSON json = common_json(send);
    json_set_text(json, "consistency", wire_consistency_name(send->result.consistency));
    char *text = format_within_limit(json);
    if (text)
        return text;
    json_array_foreach(json_object_get(json, "disks"), i, disk)
        json_object_set_new(disk, "unreadable", json_null());
    text = format_within_limit(json);
    return text ? text : text_copy("{}");
}

bool send_has_warnings(const struct send *send)
{
    bool has_any = send->result.consistency == WIRE_NOT_CONSISTENT;
    for (size_t i = 0; i < send->disk_count; i++)
        has_any |= send->result.disks[i].unreadable.count > 0;
    return has_any;
}

json_t *send_result_json(struct send *send)
{
    const struct sender_result *result = &send->result;
    json_t *json = common_json(send);
    json_set_text(json, "machine", result->machine);
    json_set_bool(json, "is_received", result->is_received);
    json_set_text(json, "consistency", wire_consistency_name(send->result.consistency));
    json_object_set_new(json, "result", result->has_result ? json_text(result->text) : json_null());
    json_object_set_new(json, "exit_code",
                        result->has_result ? json_integer(result->exit_code) : json_null());
    json_object_set_new(json, "reconnects", json_integer(result->reconnects));
    json_set_bytes(json, "bytes_on_wire", result->bytes_on_wire);
    return json;
}
