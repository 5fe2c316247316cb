/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Physical volumes first, because a volume's extents are counted from where theirs begin; then the
 * volumes in use; then room for their snapshots, out of what each group has free.
 */
#include "p2v/agent/snapshot_plan.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"
#include "p2v/agent/snapshot_report.h"
#include "p2v/agent/snapshot_room.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* LVM keeps its metadata in a MiB or so; where somebody aligned the data further away, more. */
#define MAX_METADATA_BYTES (64 * MIB)
#define MAX_STRIPES 128u

/* A physical volume, as far as it lies on a disk that counts. */
struct member {
    const char *path, *vg; /* in the report */
    int found;             /* as find's */
    size_t disk;
    uint64_t offset; /* of its first extent, on the disk */
    uint64_t extent_bytes, extents;
};

struct planning {
    struct snapshot_plan *plan;
    const struct snapshot_machine *machine;
    struct member *members;
    size_t member_count;
    struct snapshot_group *groups;
    size_t group_count;
};

void snapshot_plan_fini(struct snapshot_plan *plan)
{
    free(plan->volumes);
    free(plan->parts);
    free(plan->members.items);
    free(plan->metadata.items);
    free(plan->free.items);
    free(plan->swap.items);
    *plan = (struct snapshot_plan){0};
}

void snapshot_plan_obstacle(struct snapshot_plan *plan, const char *format, ...)
{
    char line[sizeof(plan->obstacle)];
    AUTO(text) escaped = {0};
    va_list arguments;
    if (plan->obstacle[0])
        return;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    text_add_escaped(&escaped, line, strlen(line));
    snprintf(plan->obstacle, sizeof(plan->obstacle), "%s", text_string(&escaped));
}

static void add_area(struct snapshot_areas *areas, size_t disk, uint64_t offset, uint64_t length)
{
    if (length == 0)
        return;
    areas->items = memory_grow(areas->items, areas->count + 1, sizeof(*areas->items));
    areas->items[areas->count++] = (struct snapshot_area){disk, offset, length};
}

/* --- physical volumes --- */

static struct member *find_member(const struct planning *planning, const char *path, size_t length)
{
    for (size_t i = 0; i < planning->member_count; i++) {
        struct member *member = &planning->members[i];
        if (strlen(member->path) == length && memcmp(member->path, path, length) == 0)
            return member;
    }
    return NULL;
}

/* Where everything of it is, in bytes of the disk: it must add up, and fit into the device. */
static int place_member(struct planning *planning, struct member *member, const json_t *row,
                        struct error *err)
{
    struct snapshot_plan *plan = planning->plan;
    uint64_t start, size, data, behind;
    if (snapshot_report_number(row, "pe_start", &start, err) != 0 ||
        snapshot_report_number(row, "dev_size", &size, err) != 0)
        return -1;
    if (!checked_mul(member->extents, member->extent_bytes, &data) ||
        !range_is_inside(start, data, size) || member->offset > UINT64_MAX - size)
        return error_set(err, 0, "LVM's report: %s does not add up", member->path);
    behind = size - start - data;
    add_area(&plan->members, member->disk, member->offset, size);
    add_area(&plan->metadata, member->disk, member->offset, start);
    /* A remainder of less than an extent, and perhaps a second copy of the metadata. */
    add_area(&plan->metadata, member->disk, member->offset + start + data, behind);
    if (start > MAX_METADATA_BYTES || behind > MAX_METADATA_BYTES)
        snapshot_plan_obstacle(plan, "%s has %" PRIu64 " bytes outside of its extents",
                               member->path, max_u64(start, behind));
    member->offset += start;
    return 0;
}

static int add_member(struct planning *planning, const char *path, const char *vg,
                      const json_t *row, struct error *err)
{
    struct member member = {.path = path, .vg = vg};
    const struct snapshot_machine *machine = planning->machine;
    if (snapshot_report_number(row, "vg_extent_size", &member.extent_bytes, err) != 0 ||
        snapshot_report_number(row, "pv_pe_count", &member.extents, err) != 0)
        return -1;
    member.found = machine->find(machine->context, path, &member.disk, &member.offset);
    if (member.found > 0 && place_member(planning, &member, row, err) != 0)
        return -1;
    planning->members =
        memory_grow(planning->members, planning->member_count + 1, sizeof(*planning->members));
    planning->members[planning->member_count++] = member;
    return 0;
}

static int add_free(struct planning *planning, const struct member *member, const json_t *row,
                    struct error *err)
{
    uint64_t start, count;
    if (snapshot_report_number(row, "pvseg_start", &start, err) != 0 ||
        snapshot_report_number(row, "pvseg_size", &count, err) != 0)
        return -1;
    if (!range_is_inside(start, count, member->extents))
        return error_set(err, 0, "LVM's report: %s has no extent %" PRIu64, member->path, start);
    add_area(&planning->plan->free, member->disk, member->offset + start * member->extent_bytes,
             count * member->extent_bytes);
    return 0;
}

static int read_segment(struct planning *planning, const json_t *row, struct error *err)
{
    const char *path = snapshot_report_text(row, "pv_name", err);
    const char *vg = path ? snapshot_report_text(row, "vg_name", err) : NULL;
    const char *type = vg ? snapshot_report_text(row, "segtype", err) : NULL;
    if (!type)
        return -1;
    if (!vg[0]) /* of no group: as any partition */
        return 0;
    if (!find_member(planning, path, strlen(path)) && add_member(planning, path, vg, row, err) != 0)
        return -1;
    const struct member *member = find_member(planning, path, strlen(path));
    if (member->found > 0 && strcmp(type, "free") == 0)
        return add_free(planning, member, row, err);
    return 0;
}

/* --- groups --- */

static void note_group(struct planning *planning, const json_t *row, const char *vg)
{
    struct snapshot_group group = {.vg = vg};
    if (snapshot_room_find(planning->groups, planning->group_count, vg) ||
        snapshot_report_number(row, "vg_free_count", &group.free_extents, NULL) != 0)
        return;
    planning->groups =
        memory_grow(planning->groups, planning->group_count + 1, sizeof(*planning->groups));
    planning->groups[planning->group_count++] = group;
}

/* --- volumes --- */

/* "/dev/sda3:0-1279": a path may have colons of its own. False: not understood. */
struct range {
    const struct member *member;
    uint64_t first, count;
};

static bool parse_range(const struct planning *planning, const char *token, struct range *range)
{
    char *end;
    const char *colon = strrchr(token, ':');
    if (!colon)
        return false;
    range->member = find_member(planning, token, (size_t)(colon - token));
    range->first = strtoull(colon + 1, &end, 10);
    if (!range->member || end == colon + 1 || *end != '-')
        return false;
    uint64_t last = strtoull(end + 1, &end, 10);
    range->count = last - range->first + 1;
    return *end == '\0' && last >= range->first &&
           range_is_inside(range->first, range->count, range->member->extents);
}

static unsigned parse_ranges(const struct planning *planning, const char *text,
                             struct range *ranges)
{
    unsigned count = 0;
    char *place = NULL;
    AUTO_FREE char *copy = text_copy(text);
    for (char *token = strtok_r(copy, " ,", &place); token; token = strtok_r(NULL, " ,", &place)) {
        if (count == MAX_STRIPES || !parse_range(planning, token, &ranges[count]))
            return 0;
        count++;
    }
    return count;
}

static void add_part(struct snapshot_plan *plan, const struct snapshot_part *part)
{
    plan->parts = memory_grow(plan->parts, plan->part_count + 1, sizeof(*plan->parts));
    plan->parts[plan->part_count++] = *part;
}

/* One segment of the volume: a run of extents, or one of each stripe. */
static int add_parts(struct planning *planning, const json_t *row, const struct range *ranges,
                     unsigned count, struct error *err)
{
    uint64_t start, size, stripes, stripe_bytes, extent;
    struct snapshot_plan *plan = planning->plan;
    const struct snapshot_volume *volume = &plan->volumes[plan->volume_count - 1];
    if (snapshot_report_number(row, "seg_start", &start, err) != 0 ||
        snapshot_report_number(row, "seg_size", &size, err) != 0 ||
        snapshot_report_number(row, "stripes", &stripes, err) != 0 ||
        snapshot_report_number(row, "stripe_size", &stripe_bytes, err) != 0)
        return -1;
    extent = volume->extent_bytes;
    bool is_sound = stripes == count &&
                    (count == 1 || (stripe_bytes >= 512 && extent % stripe_bytes == 0)) &&
                    range_is_inside(start, size, volume->size_bytes);
    for (unsigned i = 0; is_sound && i < count; i++)
        is_sound = ranges[i].member->extent_bytes == extent &&
                   size / count / extent == ranges[i].count && size % (count * extent) == 0;
    if (!is_sound)
        return error_set(err, 0, "LVM's report: a segment of %s does not add up", volume->name);
    for (unsigned i = 0; i < count; i++) {
        const struct member *member = ranges[i].member;
        if (member->found > 0)
            add_part(plan,
                     &(struct snapshot_part){.volume = plan->volume_count - 1,
                                             .disk = member->disk,
                                             .offset = member->offset + ranges[i].first * extent,
                                             .length = ranges[i].count * extent,
                                             .start = start + i * stripe_bytes,
                                             .stripe_bytes = stripe_bytes,
                                             .stripes = count});
    }
    return 0;
}

static bool is_same_volume(const struct snapshot_plan *plan, const char *vg, const char *name)
{
    const struct snapshot_volume *last =
        plan->volume_count ? &plan->volumes[plan->volume_count - 1] : NULL;
    return last && strcmp(last->vg, vg) == 0 && strcmp(last->name, name) == 0;
}

static int add_volume(struct snapshot_plan *plan, const json_t *row, const char *vg,
                      const char *name, struct error *err)
{
    struct snapshot_volume volume = {0};
    if (strlen(vg) >= sizeof(volume.vg) || strlen(name) >= sizeof(volume.name))
        return error_set(err, 0, "LVM's report: a name of %zu bytes", strlen(name));
    memcpy(volume.vg, vg, strlen(vg));
    memcpy(volume.name, name, strlen(name));
    if (snapshot_report_device(row, &volume.major, &volume.minor, err) != 0 ||
        snapshot_report_number(row, "lv_size", &volume.size_bytes, err) != 0 ||
        snapshot_report_number(row, "vg_extent_size", &volume.extent_bytes, err) != 0)
        return -1;
    if (volume.extent_bytes == 0 || volume.size_bytes == 0)
        return error_set(err, 0, "LVM's report: %s does not add up", name);
    plan->volumes = memory_grow(plan->volumes, plan->volume_count + 1, sizeof(*plan->volumes));
    plan->volumes[plan->volume_count++] = volume;
    return 0;
}

static bool is_open(const json_t *row)
{
    uint64_t is_it;
    return snapshot_report_number(row, "lv_device_open", &is_it, NULL) == 0 && is_it == 1;
}

static bool is_swap(const struct planning *planning, const json_t *row)
{
    unsigned major, minor;
    const struct snapshot_machine *machine = planning->machine;
    return snapshot_report_device(row, &major, &minor, NULL) == 0 &&
           machine->is_swap(machine->context, major, minor);
}

/* What is swapped out is not sent. Of another kind than linear it is, as it always was. */
static void note_swap(struct planning *planning, const json_t *row, const struct range *range)
{
    uint64_t start;
    const struct member *member = range->member;
    if (member->found <= 0 || snapshot_report_number(row, "seg_start", &start, NULL) != 0)
        return;
    uint64_t offset = member->offset + range->first * member->extent_bytes;
    uint64_t length = range->count * member->extent_bytes;
    uint64_t header = start == 0 ? min_u64(SNAPSHOT_SWAP_HEADER, length) : 0;
    add_area(&planning->plan->swap, member->disk, offset + header, length - header);
}

/* Anything of it on the disks that count? */
static bool is_concerned(const struct planning *planning, const char *vg)
{
    for (size_t i = 0; i < planning->member_count; i++) {
        if (planning->members[i].found != 0 && strcmp(planning->members[i].vg, vg) == 0)
            return true;
    }
    return false;
}

static bool is_any_indirect(const struct range *ranges, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (ranges[i].member->found < 0)
            return true;
    }
    return false;
}

/* A row is a segment; those of one volume follow each other. */
static int read_volume(struct planning *planning, const json_t *row, struct error *err)
{
    struct range ranges[MAX_STRIPES];
    struct snapshot_plan *plan = planning->plan;
    const char *vg = snapshot_report_text(row, "vg_name", err);
    const char *name = vg ? snapshot_report_text(row, "lv_name", err) : NULL;
    const char *type = name ? snapshot_report_text(row, "segtype", err) : NULL;
    const char *attributes = type ? snapshot_report_text(row, "lv_attr", err) : NULL;
    const char *places = attributes ? snapshot_report_text(row, "seg_pe_ranges", err) : NULL;
    if (!places)
        return -1;
    if (!is_open(row) || !is_concerned(planning, vg))
        return 0;
    unsigned count = parse_ranges(planning, places, ranges);
    bool is_plain = strcmp(type, "linear") == 0 || strcmp(type, "striped") == 0;
    if (is_swap(planning, row)) {
        if (count == 1 && attributes[0] == '-' && strcmp(type, "linear") == 0)
            note_swap(planning, row, &ranges[0]);
        return 0;
    }
    if (attributes[0] != '-' || !is_plain || count == 0) {
        snapshot_plan_obstacle(
            plan, "%s/%s is a volume of another kind than linear or striped (%s, %.1s)", vg, name,
            type, attributes);
        return 0;
    }
    if (is_any_indirect(ranges, count)) {
        snapshot_plan_obstacle(plan, "%s lies on RAID or encryption", vg);
        return 0;
    }
    note_group(planning, row, vg);
    if (!is_same_volume(plan, vg, name) && add_volume(plan, row, vg, name, err) != 0)
        return -1;
    return add_parts(planning, row, ranges, count, err);
}

/* --- */

/* Nobody changed a group between the two reports. */
static int check_seqno(const json_t *volumes, const json_t *segments, struct error *err)
{
    size_t i, k;
    const json_t *volume, *segment;
    json_array_foreach(volumes, i, volume)
    {
        const char *vg = snapshot_report_text(volume, "vg_name", err);
        const char *seqno = vg ? snapshot_report_text(volume, "vg_seqno", err) : NULL;
        if (!seqno)
            return -1;
        json_array_foreach(segments, k, segment)
        {
            const char *other = json_string_value(json_object_get(segment, "vg_name"));
            const char *its = json_string_value(json_object_get(segment, "vg_seqno"));
            if (!other || strcmp(other, vg) != 0)
                continue;
            if (!its || strcmp(its, seqno) != 0)
                return error_set(err, EAGAIN, "the volume group %s was changed meanwhile", vg);
            break;
        }
    }
    return 0;
}

static int read_rows(struct planning *planning, const json_t *volumes, const json_t *segments,
                     struct error *err)
{
    size_t i;
    const json_t *row;
    json_array_foreach(segments, i, row)
    {
        if (read_segment(planning, row, err) != 0)
            return -1;
    }
    json_array_foreach(volumes, i, row)
    {
        if (read_volume(planning, row, err) != 0)
            return -1;
    }
    snapshot_room_share(planning->plan, planning->groups, planning->group_count);
    return 0;
}

int snapshot_plan_read(struct snapshot_plan *plan, const char *lvs, const char *pvs,
                       const struct snapshot_machine *machine, struct error *err)
{
    struct planning planning = {.plan = plan, .machine = machine};
    *plan = (struct snapshot_plan){0};
    AUTO_JSON volumes = snapshot_report_rows(lvs, "lv", err);
    AUTO_JSON segments = volumes ? snapshot_report_rows(pvs, "pvseg", err) : NULL;
    if (!segments || check_seqno(volumes, segments, err) != 0)
        return -1;
    int result = read_rows(&planning, volumes, segments, err);
    free(planning.members);
    free(planning.groups);
    if (result != 0)
        snapshot_plan_fini(plan);
    else if (plan->volume_count == 0)
        snapshot_plan_obstacle(plan, "no logical volume is in use");
    return result;
}
