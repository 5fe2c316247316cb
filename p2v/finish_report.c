/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The report of a received machine: its disks with what the transfer cost, what both sides agreed
 * on, and the agent's own report as it came. What was not as it should be becomes a warning here.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "p2v/finish.h"
#include "p2v/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Ranges and warnings listed; the rest is counted. */
#define MAX_RANGES 1000
#define MAX_WARNINGS 50

/* --- one disk --- */

struct facts {
    uint64_t data_bytes, unreadable_bytes;
    size_t range_count;
    uint64_t range_end; /* of the last range, as a chunk */
    json_t *ranges;
};

static void add_unreadable(struct facts *facts, const struct manifest *manifest, uint64_t index)
{
    uint64_t length = manifest_chunk_length(manifest, index);
    size_t count = json_array_size(facts->ranges);
    facts->unreadable_bytes += length;
    if (count && facts->range_end == index) {
        json_t *last = json_array_get(facts->ranges, count - 1);
        json_int_t before = json_integer_value(json_object_get(last, "length"));
        json_set_bytes(last, "length", (uint64_t)before + length);
        facts->range_end = index + 1;
        return;
    }
    if (++facts->range_count > MAX_RANGES)
        return;
    json_t *range = json_object();
    json_set_bytes(range, "offset", index * CHUNK_SIZE);
    json_set_bytes(range, "length", length);
    json_array_append_new(facts->ranges, range);
    facts->range_end = index + 1;
}

static void gather(const struct manifest *manifest, struct facts *facts)
{
    for (uint64_t index = manifest_next(manifest, 0); index < manifest->chunk_count;
         index = manifest_next(manifest, index + 1)) {
        enum chunk_state state = manifest_state(manifest, index);
        if (state == CHUNK_DATA)
            facts->data_bytes += manifest_chunk_length(manifest, index);
        else if (state == CHUNK_UNREADABLE)
            add_unreadable(facts, manifest, index);
    }
}

/* What the agent's report says of a disk; NULL when it says nothing that can be used. */
static const json_t *agents_disk(const struct finish *finish, size_t index)
{
    const json_t *disks = json_object_get(finish->received.agent_report, "disks");
    const json_t *disk = json_array_get(disks, index);
    const char *name = json_string_value(json_object_get(disk, "name"));
    return name && strcmp(name, finish->received.disks[index].name) == 0 ? disk : NULL;
}

static json_t *range_of_agent(const json_t *range, uint64_t size_bytes)
{
    json_int_t offset = json_integer_value(json_object_get(range, "offset"));
    json_int_t length = json_integer_value(json_object_get(range, "length"));
    if (offset < 0 || length <= 0 ||
        !range_is_inside((uint64_t)offset, (uint64_t)length, size_bytes))
        return NULL;
    return json_pack("{s:I, s:I}", "offset", offset, "length", length);
}

/*
 * The manifest knows chunks of which nothing could be read; the agent knows the sectors, also of
 * chunks that have content beside them. Its ranges count where it gives any.
 */
static void refine_by_agent(const struct finish *finish, size_t index, struct facts *facts)
{
    const json_t *disk = agents_disk(finish, index);
    const json_t *list = json_object_get(disk, "unreadable"), *item;
    json_int_t bytes = json_integer_value(json_object_get(disk, "unreadable_bytes"));
    json_t *ranges = json_array();
    uint64_t size_bytes = finish->received.disks[index].size_bytes;
    size_t i;
    json_array_foreach(list, i, item)
    {
        json_t *range = i < MAX_RANGES ? range_of_agent(item, size_bytes) : NULL;
        if (range)
            json_array_append_new(ranges, range);
    }
    if (json_array_size(ranges) == 0 || bytes <= 0 || (uint64_t)bytes > size_bytes) {
        json_decref(ranges);
        return;
    }
    json_decref(facts->ranges);
    facts->ranges = ranges;
    facts->unreadable_bytes = (uint64_t)bytes;
}

static void warn_of_unreadable(struct finish *finish, size_t index, const struct facts *facts)
{
    struct convert *convert = &finish->convert;
    size_t count = json_array_size(facts->ranges);
    char size[32];
    if (facts->unreadable_bytes == 0)
        return;
    finish->unreadable_ranges += count;
    convert->has_warnings = true;
    log_warning(convert->log, "%s: %zu unreadable range%s, %s in all: zero in the copy",
                finish->received.disks[index].name, count, count == 1 ? "" : "s",
                bytes_format(facts->unreadable_bytes, size, sizeof(size)));
}

static void add_disk(struct finish *finish, size_t index)
{
    struct convert *convert = &finish->convert;
    const struct received_disk *received = &finish->received.disks[index];
    const struct guest_disk *disk = &convert->guest->disks[index];
    struct facts facts = {.ranges = json_array()};
    json_t *json = report_layout(&convert->sources.items[index]);
    gather(&convert->disks[index].manifest, &facts);
    refine_by_agent(finish, index, &facts);
    warn_of_unreadable(finish, index, &facts);
    json_set_text(json, "source", received->name);
    json_set_text(json, "serial", received->serial[0] ? received->serial : NULL);
    json_set_text(json, "path", disk->path);
    json_set_text(json, "path_format", disk->format);
    json_set_bytes(json, "data_bytes", facts.data_bytes);
    json_set_bytes(json, "unreadable_bytes", facts.unreadable_bytes);
    json_object_set_new(json, "unreadable", facts.ranges);
    report_set_digest(json, &convert->disks[index].manifest);
    json_array_append_new(json_object_get(convert->report, "disks"), json);
}

/* --- what was not as it should be --- */

/* As {"warnings": [text]}; whatever else it is, the flag of the frame counts. */
static void warn_of_agent(struct finish *finish)
{
    struct convert *convert = &finish->convert;
    const json_t *warnings = json_object_get(finish->received.agent_report, "warnings");
    size_t said = 0;
    for (size_t i = 0; i < json_array_size(warnings) && said < MAX_WARNINGS; i++) {
        const char *text = json_string_value(json_array_get(warnings, i));
        if (text)
            log_warning(convert->log, "the source: %s", text);
        said += text != NULL;
    }
    /* Ranges and consistency are known here too, and were told in words of our own. */
    if (finish->received.has_warnings && said == 0 && !convert->has_warnings)
        log_warning(convert->log, "the source has sent warnings (see \"source\" in the report)");
    convert->has_warnings |= finish->received.has_warnings || said > 0;
}

static void warn_of_consistency(struct finish *finish)
{
    if (finish->received.consistency != WIRE_NOT_CONSISTENT)
        return;
    finish->convert.has_warnings = true;
    log_warning(finish->convert.log,
                "the source was running and changing while it was copied: the disks are of "
                "different moments");
}

void finish_report(struct finish *finish)
{
    struct convert *convert = &finish->convert;
    uint64_t bytes = 0;
    for (size_t i = 0; i < convert->disk_count; i++) {
        add_disk(finish, i);
        bytes += finish->received.disks[i].sent_bytes;
    }
    warn_of_consistency(finish);
    warn_of_agent(finish);
    json_object_set_new(convert->report, "transfer", received_json(&finish->received));
    json_object_set(convert->report, "source", finish->received.agent_report);
    report_add_step(convert->report, "transfer", finish->received.seconds, bytes);
}
