/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The volumes of a set of disks: one blkid in the appliance per partition says everything, LVM and
 * md are asked for only when a partition belongs to them.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "bootfix/inspect.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define GPT_TYPE_ESP "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
#define GPT_TYPE_BIOS_BOOT "21686148-6449-6e6f-744e-656564454649"
#define SECTOR_SIZE 512 /* blkid's unit, whatever the disk's is */

struct survey {
    struct session *session;
    struct system *system;
    bool has_esp, has_bios_boot, has_lvm, has_md;
};

static const char *lookup(char *const *pairs, const char *key)
{
    for (size_t i = 0; pairs[i] && pairs[i + 1]; i += 2)
        if (strcmp(pairs[i], key) == 0)
            return pairs[i + 1];
    return NULL;
}

static char *copy_value(char *const *pairs, const char *key)
{
    const char *value = lookup(pairs, key);
    return value && value[0] ? text_copy(value) : NULL;
}

static void note_partition_type(struct survey *survey, char *const *pairs)
{
    const char *type = lookup(pairs, "PART_ENTRY_TYPE");
    if (type && strcasecmp(type, GPT_TYPE_ESP) == 0)
        survey->has_esp = true;
    if (type && strcasecmp(type, GPT_TYPE_BIOS_BOOT) == 0)
        survey->has_bios_boot = true;
}

static uint64_t size_of(struct survey *survey, const char *device, char *const *pairs)
{
    const char *sectors = lookup(pairs, "PART_ENTRY_SIZE");
    uint64_t count = sectors ? strtoull(sectors, NULL, 10) : 0;
    if (count > 0 && count < UINT64_MAX / SECTOR_SIZE)
        return count * SECTOR_SIZE;
    int64_t size = guestfs_blockdev_getsize64(survey->session->handle, device);
    return size < 0 ? 0 : (uint64_t)size;
}

static void note_member(struct survey *survey, const char *device, const char *type)
{
    survey->has_lvm |= strcmp(type, "LVM2_member") == 0;
    survey->has_md |= strcmp(type, "linux_raid_member") == 0;
    if (strcmp(type, "crypto_LUKS") == 0 || strcmp(type, "BitLocker") == 0)
        log_warning(survey->session->log, "%s is encrypted (%s): what is in it was not looked at",
                    device, type);
}

/* Nothing is in an MBR's extended partition but other partitions. */
static bool is_extended(char *const *pairs)
{
    const char *type = lookup(pairs, "PART_ENTRY_TYPE");
    return type &&
           (strcmp(type, "0x5") == 0 || strcmp(type, "0xf") == 0 || strcmp(type, "0x85") == 0);
}

/* A partition without a superblock counts, too: swap with a new key at each boot has none. */
static void add_volume(struct survey *survey, const char *device, unsigned disk, unsigned partition,
                       char *const *pairs)
{
    struct system *system = survey->system;
    const char *type = lookup(pairs, "TYPE");
    if ((!type && (partition == 0 || is_extended(pairs))) ||
        system->volume_count == INSPECT_MAX_VOLUMES)
        return;
    if (type)
        note_member(survey, device, type);

    system->volumes =
        memory_grow(system->volumes, system->volume_count + 1, sizeof(*system->volumes));
    system->volumes[system->volume_count++] = (struct system_volume){
        .device = text_copy(device),
        .disk = disk,
        .partition = partition,
        .type = copy_value(pairs, "TYPE"),
        .uuid = copy_value(pairs, "UUID"),
        .label = copy_value(pairs, "LABEL"),
        .partuuid = copy_value(pairs, "PART_ENTRY_UUID"),
        .size_bytes = size_of(survey, device, pairs),
    };
}

static int probe(struct survey *survey, const char *device, unsigned disk, unsigned partition,
                 struct error *err)
{
    /* blkid finding nothing is an error of libguestfs, and of nobody else. */
    char **pairs = guestfs_blkid(survey->session->handle, device);
    if (!pairs) {
        if (watchdog_has_fired(&survey->session->watchdog))
            return session_fail(survey->session, err, "probe %s", device);
        log_detail(survey->session->log, "%s: nothing known on it", device);
        return 0;
    }
    note_partition_type(survey, pairs);
    add_volume(survey, device, disk, partition, pairs);
    files_free_names(pairs);
    return 0;
}

/* "/dev/sda", "/dev/sda12" to 12; 0 when the second is not a partition of the first. */
static unsigned partition_number(const char *disk, const char *partition)
{
    size_t length = strlen(disk);
    if (strncmp(disk, partition, length) != 0)
        return 0;
    const char *digits = partition + length + (partition[length] == 'p');
    char *end;
    unsigned long number = strtoul(digits, &end, 10);
    return end == digits || *end || number > UINT_MAX ? 0 : (unsigned)number;
}

static int probe_disk(struct survey *survey, const char *disk, unsigned index,
                      char *const *partitions, struct error *err)
{
    bool has_partitions = false;
    for (size_t i = 0; partitions[i]; i++) {
        unsigned number = partition_number(disk, partitions[i]);
        if (number == 0)
            continue;
        has_partitions = true;
        if (probe(survey, partitions[i], index, number, err) < 0)
            return -1;
    }
    return has_partitions ? 0 : probe(survey, disk, index, 0, err);
}

static int probe_all(struct survey *survey, char **devices, struct error *err)
{
    int result = 0;
    for (size_t i = 0; devices && devices[i] && result == 0; i++)
        result = probe(survey, devices[i], UINT_MAX, 0, err);
    if (devices)
        files_free_names(devices);
    return result;
}

static int probe_disks(struct survey *survey, struct error *err)
{
    guestfs_h *handle = survey->session->handle;
    char **disks = guestfs_list_devices(handle);
    char **partitions = disks ? guestfs_list_partitions(handle) : NULL;
    int result = 0;
    if (!partitions)
        result = session_fail(survey->session, err, "list the disks' partitions");
    for (size_t i = 0; result == 0 && disks[i]; i++)
        result = probe_disk(survey, disks[i], (unsigned)i, partitions, err);
    files_free_names(disks);
    files_free_names(partitions);
    return result;
}

int inspect_volumes(struct session *session, struct system *system, struct error *err)
{
    struct survey survey = {.session = session, .system = system};
    if (probe_disks(&survey, err) < 0)
        return -1;
    if (survey.has_md && probe_all(&survey, guestfs_list_md_devices(session->handle), err) < 0)
        return -1;
    if (survey.has_lvm && probe_all(&survey, guestfs_lvs(session->handle), err) < 0)
        return -1;
    /* A disk that the BIOS can start keeps doing so; an ESP alone means UEFI. */
    system->firmware =
        survey.has_esp && !survey.has_bios_boot ? SYSTEM_FIRMWARE_UEFI : SYSTEM_FIRMWARE_BIOS;
    return 0;
}
