/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What is on the disks, in words, and what somebody should know of it before it is copied.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/own.h"
#include "disk/device.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/boot/findings_private.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TYPE_MICROSOFT_RESERVED "E3C9E316-0B5C-4DB8-817D-F92DF00215AE"
#define MBR_TYPE_ESP 0xef

/* A disk of which the first so many bytes are zero is called empty. */
#define EMPTY_BYTES ((size_t)1 << 20)

struct looking {
    const char *root;
    struct boot_findings *findings;
    struct findings_groups groups;
    bool has_tpm;
};

/* "sda3", "nvme0n1p3", "sda" for all of it. */
static void name_volume(const struct boot_disk *disk, const struct volume *volume, char *name,
                        size_t size)
{
    const char *whole = disk->device.name;
    bool ends_with_digit = isdigit((unsigned char)whole[strlen(whole) - 1]);
    if (volume && volume->partition)
        snprintf(name, size, "%s%s%u", whole, ends_with_digit ? "p" : "",
                 volume->partition->number);
    else
        snprintf(name, size, "%s", whole);
}

/* --- what has to be told --- */

static void tell_luks(struct looking *looking, const struct block_source *source, const char *where)
{
    switch (findings_luks(source)) {
    case FINDINGS_LUKS_TPM_ONLY:
        findings_notice(looking->findings, BOOT_NOTICE_WARNING,
                        "%s: LUKS, opened only by this machine's TPM: boot it and add a passphrase "
                        "first (cryptsetup luksAddKey), or nobody can open the copy",
                        where);
        return;
    case FINDINGS_LUKS_TPM_TOO:
        findings_notice(looking->findings, BOOT_NOTICE_WARNING,
                        "%s: LUKS, opened by this machine's TPM: the copy will ask for its "
                        "passphrase or recovery key",
                        where);
        return;
    case FINDINGS_LUKS_PASSPHRASE:
        findings_notice(looking->findings, BOOT_NOTICE_WARNING,
                        "%s: encrypted (LUKS): copied as it is, all of it; the copy asks for the "
                        "same passphrase",
                        where);
    }
}

static void tell_bitlocker(struct looking *looking, const char *where)
{
    findings_notice(looking->findings, BOOT_NOTICE_WARNING,
                    "%s: BitLocker: copied as it is, all of it; %s", where,
                    looking->has_tpm
                        ? "this machine's TPM may hold its key: the copy will ask for the recovery "
                          "key"
                        : "keep the recovery key at hand");
}

/* ddf, isw, …: the RAID of a BIOS or of a controller whose disks are seen one by one. */
static bool is_firmware_raid(const struct probe *probe)
{
    return strcmp(probe->usage, "raid") == 0 && text_ends_with(probe->type, "_raid_member") &&
           strcmp(probe->type, "linux_raid_member") != 0;
}

static void tell_firmware_raid(struct looking *looking, const struct probe *probe,
                               const char *where)
{
    findings_notice(looking->findings, BOOT_NOTICE_WARNING,
                    "%s: member of a RAID made by the firmware (%.*s): each of its disks is copied "
                    "by itself; better run 'rehost send' on the system that uses it",
                    where, (int)(strlen(probe->type) - strlen("_raid_member")), probe->type);
}

static void tell_volume(struct looking *looking, const struct block_source *source,
                        const struct probe *probe, const char *where)
{
    if (strcmp(probe->type, "crypto_LUKS") == 0)
        tell_luks(looking, source, where);
    else if (strcmp(probe->type, "BitLocker") == 0)
        tell_bitlocker(looking, where);
    else if (is_firmware_raid(probe))
        tell_firmware_raid(looking, probe, where);
    else if (strcmp(probe->type, "swsuspend") == 0)
        findings_notice(looking->findings, BOOT_NOTICE_WARNING,
                        "%s: a hibernated system: start it and shut it down for good first, or the "
                        "copy wakes up on other hardware",
                        where);
    else if (strcmp(probe->type, "ntfs") == 0 && findings_is_ntfs_hibernated(source))
        findings_notice(looking->findings, BOOT_NOTICE_WARNING,
                        "%s: Windows sleeps there (hibernated, or Fast Startup): start it and shut "
                        "it down for good (shutdown /s /t 0), or the copy may not start",
                        where);
    else if (probe->is_ambiguous)
        findings_notice(looking->findings, BOOT_NOTICE_WARNING,
                        "%s: several kinds of content claim it: all of it is copied", where);
}

/* --- words --- */

static const char *word_for_partition(const struct partition *partition)
{
    if (!partition)
        return NULL;
    if (strcmp(partition->type_guid, PARTITION_TYPE_ESP) == 0 ||
        (partition->type_guid[0] == '\0' && partition->mbr_type == MBR_TYPE_ESP))
        return "ESP";
    if (strcmp(partition->type_guid, PARTITION_TYPE_BIOS_BOOT) == 0)
        return "BIOS boot";
    return strcmp(partition->type_guid, TYPE_MICROSOFT_RESERVED) == 0 ? "MSR" : NULL;
}

static const char *word_for_type(const struct probe *probe)
{
    static const struct {
        const char *type, *word;
    } words[] = {{"crypto_LUKS", "LUKS"}, {"swsuspend", "swap (hibernated)"},
                 {"zfs_member", "ZFS"},   {"ntfs", "NTFS"},
                 {"vfat", "FAT"},         {"VMFS_volume_member", "VMFS"}};
    for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
        if (strcmp(probe->type, words[i].type) == 0)
            return words[i].word;
    }
    return probe->is_ambiguous ? "ambiguous" : probe->type[0] ? probe->type : "unknown";
}

static void add_words(struct looking *looking, const struct block_source *source,
                      const struct volume *volume, const char *where, struct text *words)
{
    const struct probe *probe = &volume->probe;
    const char *partition = word_for_partition(volume->partition);
    if (partition) {
        text_add(words, partition);
    } else if (strcmp(probe->type, "linux_raid_member") == 0) {
        findings_add_raid(&looking->groups, source, probe, where, words);
    } else if (strcmp(probe->type, "LVM2_member") == 0) {
        findings_add_lvm(&looking->groups, source, probe, where, words);
    } else {
        text_add(words, is_firmware_raid(probe) ? "firmware RAID member" : word_for_type(probe));
        if (probe->label[0] && strcmp(probe->usage, "filesystem") == 0)
            text_addf(words, " '%.24s'", probe->label);
    }
}

/* As many as there is room for, then how many more there are. */
static void add_content(struct boot_disk *disk, const char *words, size_t left, bool *is_full)
{
    char more[24];
    size_t length = strlen(disk->content), room = sizeof(disk->content) - sizeof(more);
    bool is_first = length == 0 || text_ends_with(disk->content, ": ");
    if (*is_full)
        return;
    if (length + 2 + strlen(words) < room) {
        snprintf(disk->content + length, sizeof(disk->content) - length, "%s%s",
                 is_first ? "" : ", ", words);
        return;
    }
    snprintf(more, sizeof(more), " and %zu more", left);
    snprintf(disk->content + length, sizeof(disk->content) - length, "%s", more);
    *is_full = true;
}

static bool is_empty(const struct block_source *source)
{
    size_t length = (size_t)min_u64(source->size_bytes, EMPTY_BYTES);
    AUTO_FREE char *start = malloc(length ? length : 1);
    return start && block_source_read(source, 0, start, length, NULL) == 0 &&
           bytes_are_zero(start, length);
}

static void look_at_volume(struct looking *looking, const struct block_source *whole,
                           struct boot_disk *disk, const struct volume *volume, struct text *words)
{
    struct block_slice slice;
    char where[80];
    name_volume(disk, volume, where, sizeof(where));
    if (block_slice_init(&slice, whole, volume->offset, volume->length, NULL) != 0)
        return;
    tell_volume(looking, &slice.source, &volume->probe, where);
    add_words(looking, &slice.source, volume, where, words);
}

/* A disk with a table may as a whole belong to something as well. */
static void look_at_whole(struct looking *looking, const struct block_source *whole,
                          const struct layout *layout, struct boot_disk *disk)
{
    struct probe probe;
    if (layout->table.is_doubtful)
        findings_notice(looking->findings, BOOT_NOTICE_WARNING,
                        "%s: its partition table cannot be read for sure: the whole disk is copied",
                        disk->device.name);
    if (layout->table.kind == PARTITION_TABLE_NONE || probe_read(whole, &probe, NULL) != 0)
        return;
    if (is_firmware_raid(&probe))
        tell_firmware_raid(looking, &probe, disk->device.name);
    if (strcmp(probe.type, "linux_raid_member") == 0) {
        AUTO(text) words = {0};
        findings_add_raid(&looking->groups, whole, &probe, disk->device.name, &words);
    }
}

static void look_at_disk(struct looking *looking, const struct block_source *whole,
                         const struct layout *layout, struct boot_disk *disk)
{
    static const char *const starts[] = {"", "MBR: ", "GPT: "};
    bool is_full = false;
    disk->used_bytes = extents_total(&layout->used);
    look_at_whole(looking, whole, layout, disk);
    bool has_table = layout->table.kind != PARTITION_TABLE_NONE;
    if (!has_table && layout->volumes[0].probe.type[0] == '\0' && is_empty(whole)) {
        snprintf(disk->content, sizeof(disk->content), "nothing");
        return;
    }
    snprintf(disk->content, sizeof(disk->content), "%s", starts[layout->table.kind]);
    for (size_t i = 0; i < layout->count; i++) {
        AUTO(text) words = {0};
        look_at_volume(looking, whole, disk, &layout->volumes[i], &words);
        add_content(disk, text_string(&words), layout->count - i, &is_full);
    }
    if (layout->count == 0)
        snprintf(disk->content, sizeof(disk->content), "%s: no partitions",
                 layout->table.kind == PARTITION_TABLE_GPT ? "GPT" : "MBR");
}

static void open_disk(struct looking *looking, struct boot_disk *disk)
{
    struct error err = {0};
    AUTO(layout) layout = {0};
    AUTO_FREE char *path = inventory_path(looking->root, "%s", disk->device.path);
    AUTO_PTR(device) device = device_open(path, &err);
    if (device && device_source(device)->size_bytes > 0 &&
        layout_read(device_source(device), &layout, NULL, &err) == 0) {
        look_at_disk(looking, device_source(device), &layout, disk);
        return;
    }
    disk->used_bytes = disk->device.size_bytes;
    snprintf(disk->content, sizeof(disk->content), "cannot be read");
    findings_notice(looking->findings, BOOT_NOTICE_WARNING, "%s cannot be read: %.140s",
                    disk->device.name, err.text);
}

void findings_read_contents(const char *root, struct boot_findings *findings)
{
    struct looking *looking = memory_new(1, sizeof(*looking));
    char **tpms = inventory_names(root, "/sys/class/tpm");
    looking->root = root;
    looking->findings = findings;
    looking->has_tpm = tpms[0] != NULL;
    inventory_names_free(tpms);
    for (size_t i = 0; i < findings->disk_count; i++) {
        struct boot_disk *disk = &findings->disks[i];
        if (strcmp(disk->why_not, "the boot medium") == 0)
            snprintf(disk->content, sizeof(disk->content), "Rehost");
        else
            open_disk(looking, disk);
    }
    findings_tell_groups(&looking->groups, findings);
    free(looking);
}
