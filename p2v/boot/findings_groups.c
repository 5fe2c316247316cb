/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Which disks belong to the same RAID or the same LVM group, and how many of them are not there.
 * RAID: the superblocks of Linux md, 0.90 and 1.x (linux/raid/md_p.h). LVM: the label, the headers
 * and the text of LVM2's metadata (lvm2's lib/format_text/layout.h).
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/own.h"
#include "p2v/boot/findings_private.h"

#include <linux/raid/md_p.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct findings_group *find_group(struct findings_groups *groups, const char *id)
{
    for (size_t i = 0; i < groups->count; i++) {
        if (strcmp(groups->items[i].id, id) == 0)
            return &groups->items[i];
    }
    if (groups->count == FINDINGS_MAX_GROUPS)
        return NULL;
    struct findings_group *group = &groups->items[groups->count++];
    snprintf(group->id, sizeof(group->id), "%s", id);
    return group;
}

static void add_member(struct findings_group *group, const char *where)
{
    size_t length = strlen(group->members);
    snprintf(group->members + length, sizeof(group->members) - length, "%s%s", length ? ", " : "",
             where);
}

/* --- md --- */

struct raid {
    char id[FINDINGS_ID], name[128];
    unsigned disks;
    bool is_active; /* no spare, and not thrown out */
};

static void name_raid(struct raid *raid, int32_t level, const char *name, size_t length)
{
    AUTO(text) printable = {0};
    char kind[16] = "linear RAID";
    text_add_escaped(&printable, name, strnlen(name, length));
    if (level >= 0)
        snprintf(kind, sizeof(kind), "RAID%d", (int)level);
    if (printable.length)
        snprintf(raid->name, sizeof(raid->name), "%s '%.64s'", kind, printable.data);
    else
        snprintf(raid->name, sizeof(raid->name), "%s", kind);
}

/* 1.0 near the end, 1.1 at the start, 1.2 at 4 KiB: as super_1_load of the kernel counts it. */
static uint64_t version_1_offset(const struct block_source *volume, const char *version)
{
    if (strcmp(version, "1.0") == 0 && volume->size_bytes > 16 * KIB)
        return align_down(volume->size_bytes - 8 * KIB, 4 * KIB);
    return strcmp(version, "1.1") == 0 ? 0 : 4 * KIB;
}

static bool read_version_1(const struct block_source *volume, const char *version,
                           struct raid *raid)
{
    uint8_t block[4096];
    struct mdp_superblock_1 super;
    if (block_source_read(volume, version_1_offset(volume, version), block, sizeof(block), NULL) !=
        0)
        return false;
    memcpy(&super, block, sizeof(super));
    if (le32toh(super.magic) != MD_SB_MAGIC || le32toh(super.major_version) != 1)
        return false;
    bytes_format_hex(super.set_uuid, sizeof(super.set_uuid), raid->id);
    name_raid(raid, (int32_t)le32toh(super.level), super.set_name, sizeof(super.set_name));
    raid->disks = le32toh(super.raid_disks);
    size_t at = sizeof(super) + (size_t)2 * le32toh(super.dev_number);
    raid->is_active = le32toh(super.dev_number) < le32toh(super.max_dev) &&
                      at + 2 <= sizeof(block) && load_le16(block + at) < raid->disks;
    return true;
}

static bool read_version_0(const struct block_source *volume, struct raid *raid)
{
    uint8_t block[MD_SB_BYTES];
    if (volume->size_bytes < 2 * 64 * KIB)
        return false;
    uint64_t offset = align_down(volume->size_bytes, 64 * KIB) - 64 * KIB;
    if (block_source_read(volume, offset, block, sizeof(block), NULL) != 0)
        return false;
    mdp_super_t super;
    memcpy(&super, block, sizeof(super));
    if (le32toh(super.md_magic) != MD_SB_MAGIC)
        return false;
    snprintf(raid->id, sizeof(raid->id), "%08x%08x%08x%08x", super.set_uuid0, super.set_uuid1,
             super.set_uuid2, super.set_uuid3);
    name_raid(raid, (int32_t)le32toh(super.level), "", 0);
    raid->disks = le32toh(super.raid_disks);
    raid->is_active = le32toh(super.this_disk.raid_disk) < raid->disks &&
                      (le32toh(super.this_disk.state) & (1u << MD_DISK_ACTIVE));
    return true;
}

void findings_add_raid(struct findings_groups *groups, const struct block_source *volume,
                       const struct probe *probe, const char *where, struct text *words)
{
    struct raid raid = {0};
    bool is_known = text_starts_with(probe->version, "1.")
                        ? read_version_1(volume, probe->version, &raid)
                        : read_version_0(volume, &raid);
    text_add(words, is_known ? raid.name : "RAID member");
    struct findings_group *group = is_known ? find_group(groups, raid.id) : NULL;
    if (!group)
        return;
    group->is_raid = true;
    memcpy(group->name, raid.name, sizeof(group->name));
    group->wanted = raid.disks;
    group->found += raid.is_active;
    add_member(group, where);
}

/* --- LVM --- */

#define LVM_LABEL_SECTORS 4
#define LVM_MAX_AREAS 16
#define LVM_MAX_METADATA (4 * MIB)
#define LVM_AREA_MAGIC " LVM2 x[5A%r0N*>"

/* Where the first metadata area begins: behind the lists of data areas. 0: none. */
static uint64_t metadata_area(const uint8_t *sector)
{
    size_t at = (size_t)load_le32(sector + 20) + 40; /* pv_header: UUID (32), size (8), lists */
    for (unsigned lists = 0, areas = 0; areas < LVM_MAX_AREAS && at + 16 <= 512; areas++) {
        uint64_t offset = load_le64(sector + at);
        at += 16;
        if (offset == 0)
            lists++;
        else if (lists == 1)
            return offset;
        if (lists > 1)
            return 0;
    }
    return 0;
}

/* The group's description as text; NULL: this volume has none. Caller frees. */
static char *read_metadata(const struct block_source *volume)
{
    uint8_t sector[512] = {0}, header[512];
    for (uint64_t i = 0; i < LVM_LABEL_SECTORS; i++) {
        if (block_source_read(volume, i * 512, sector, sizeof(sector), NULL) != 0)
            return NULL;
        if (memcmp(sector, "LABELONE", 8) == 0)
            break;
    }
    uint64_t area = memcmp(sector, "LABELONE", 8) == 0 ? metadata_area(sector) : 0;
    if (area == 0 || block_source_read(volume, area, header, sizeof(header), NULL) != 0 ||
        memcmp(header + 4, LVM_AREA_MAGIC, 16) != 0)
        return NULL;
    uint64_t offset = load_le64(header + 40), size = load_le64(header + 48);
    uint64_t area_size = load_le64(header + 32);
    /* It may go on at the area's start: what we look for stands at its beginning. */
    if (offset >= area_size || size == 0 || size > LVM_MAX_METADATA)
        return NULL;
    size = min_u64(size, area_size - offset);
    if (!checked_add(area, offset, &offset))
        return NULL;
    char *text = malloc((size_t)size + 1);
    if (text && block_source_read(volume, offset, text, (size_t)size, NULL) == 0) {
        text[size] = '\0';
        return text;
    }
    free(text);
    return NULL;
}

/* The value of the first `id = "…"` from `text` on, before `end`; the place behind it, or NULL. */
static const char *next_id(const char *text, const char *end, char id[FINDINGS_ID])
{
    const char *at = strstr(text, "id = \"");
    if (!at || at >= end)
        return NULL;
    at += strlen("id = \"");
    size_t length = strcspn(at, "\"\n");
    if (length >= FINDINGS_ID)
        return NULL;
    memcpy(id, at, length);
    id[length] = '\0';
    return at + length;
}

static void list_parts(const char *metadata, struct findings_group *group)
{
    const char *at = strstr(metadata, "physical_volumes {");
    const char *end = at ? strstr(at, "logical_volumes {") : NULL;
    group->wanted = 0;
    end = at && !end ? at + strlen(at) : end;
    while (at && group->wanted < FINDINGS_MAX_PARTS) {
        at = next_id(at, end, group->parts[group->wanted]);
        group->wanted += at != NULL;
    }
}

/* "vg0 {": the name as LVM restricts it; anything else is none. */
static size_t name_length(const char *metadata)
{
    size_t length =
        strspn(metadata, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                         "+_.-");
    return length > 0 && length < 100 && metadata[length] == ' ' ? length : 0;
}

void findings_add_lvm(struct findings_groups *groups, const struct block_source *volume,
                      const struct probe *probe, const char *where, struct text *words)
{
    char id[FINDINGS_ID];
    AUTO_FREE char *metadata = read_metadata(volume);
    size_t length = metadata ? name_length(metadata) : 0;
    if (length == 0 || !next_id(metadata, metadata + strlen(metadata), id)) {
        text_add(words, "LVM");
        return;
    }
    text_addf(words, "LVM (%.*s)", (int)length, metadata);
    struct findings_group *group = find_group(groups, id);
    if (!group)
        return;
    snprintf(group->name, sizeof(group->name), "LVM group %.*s", (int)length, metadata);
    list_parts(metadata, group);
    group->found = 0;
    for (unsigned i = 0; i < group->wanted; i++) {
        group->is_part_found[i] |= strcmp(group->parts[i], probe->uuid) == 0;
        group->found += group->is_part_found[i];
    }
    add_member(group, where);
}

/* --- */

void findings_tell_groups(const struct findings_groups *groups, struct boot_findings *findings)
{
    for (size_t i = 0; i < groups->count; i++) {
        const struct findings_group *group = &groups->items[i];
        if (group->found >= group->wanted)
            findings_notice(findings, BOOT_NOTICE_INFO, "%s: all of it is here (%s)", group->name,
                            group->members);
        else
            findings_notice(findings, BOOT_NOTICE_WARNING,
                            "%s: %u of its %u %s missing; here: %.80s", group->name,
                            group->wanted - group->found, group->wanted,
                            group->is_raid ? "disks" : "volumes", group->members);
    }
}
