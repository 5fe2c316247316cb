/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Names of block devices, as a guest's files spell them, and the volumes behind them.
 */
#include "bootfix/spec.h"

#include "base/bytes.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* "12" at *at, moving behind it. At most three digits: no machine has more. */
static bool take_number(const char **at, unsigned *number)
{
    size_t digits = strspn(*at, "0123456789");
    if (!span_number((struct span){*at, digits}, number) || digits > 3)
        return false;
    *at += digits;
    return true;
}

/* "a" is 0, "z" 25, "aa" 26: as the kernel counts. */
static bool take_letters(const char **at, unsigned *index)
{
    unsigned value = 0;
    size_t count = 0;
    for (; islower((unsigned char)**at) && count < 3; count++, (*at)++)
        value = value * 26 + (unsigned)(**at - 'a') + 1;
    *index = value - 1;
    return count > 0;
}

/* "", or a partition number behind the separator that its driver uses. */
static bool take_partition(const char **at, const char *separator, unsigned *partition)
{
    *partition = 0;
    if (**at == '\0')
        return true;
    if (!text_starts_with(*at, separator))
        return false;
    *at += strlen(separator);
    return take_number(at, partition) && **at == '\0' && *partition > 0;
}

/* sda1, hdb, vdc2, xvda1 */
static bool parse_lettered(const char *name, struct spec *spec)
{
    static const char *const prefixes[] = {"sd", "hd", "vd", "xvd"};
    for (size_t i = 0; i < ARRAY_LENGTH(prefixes); i++) {
        if (!text_starts_with(name, prefixes[i]))
            continue;
        const char *at = name + strlen(prefixes[i]);
        return take_letters(&at, &spec->disk) && take_partition(&at, "", &spec->partition);
    }
    return false;
}

/* nvme0n1p2: a second name space of a controller is a disk that cannot be counted from here. */
static bool parse_nvme(const char *name, struct spec *spec)
{
    unsigned space;
    if (!text_starts_with(name, "nvme"))
        return false;
    const char *at = name + strlen("nvme");
    if (!take_number(&at, &spec->disk) || *at++ != 'n' || !take_number(&at, &space))
        return false;
    if (space != 1)
        spec->disk = UINT_MAX;
    return take_partition(&at, "p", &spec->partition);
}

static bool parse_mmc(const char *name, struct spec *spec)
{
    if (!text_starts_with(name, "mmcblk"))
        return false;
    const char *at = name + strlen("mmcblk");
    return take_number(&at, &spec->disk) && take_partition(&at, "p", &spec->partition);
}

/* cciss/c0d1p2 and its relations: only the first controller's disks can be counted. */
static bool parse_controller(const char *name, struct spec *spec)
{
    static const char *const folders[] = {"cciss/c", "ida/c", "rd/c"};
    for (size_t i = 0; i < ARRAY_LENGTH(folders); i++) {
        unsigned controller;
        if (!text_starts_with(name, folders[i]))
            continue;
        const char *at = name + strlen(folders[i]);
        if (!take_number(&at, &controller) || *at++ != 'd' || !take_number(&at, &spec->disk))
            return false;
        if (controller != 0)
            spec->disk = UINT_MAX;
        return take_partition(&at, "p", &spec->partition);
    }
    return false;
}

/* by-id and by-path: only the partition's number can be told from the name. */
static bool parse_hardware(const char *name, struct spec *spec)
{
    static const char *const stable[] = {"dm-", "md-", "lvm-"};
    bool is_id = text_starts_with(name, "disk/by-id/");
    if (!is_id && !text_starts_with(name, "disk/by-path/"))
        return false;
    const char *id = strrchr(name, '/') + 1;
    for (size_t i = 0; is_id && i < ARRAY_LENGTH(stable); i++)
        if (text_starts_with(id, stable[i]))
            return false;
    const char *last = NULL;
    for (const char *at = id; (at = strstr(at, "-part")); at++)
        last = at;
    spec->partition = 0;
    if (last && !take_partition(&last, "-part", &spec->partition))
        spec->partition = 0;
    return true;
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, tolower((unsigned char)c)) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* A byte at *at: \040 as fstab escapes, \x20 as udev does, or as it is. */
static char take_byte(const char **at, const char *end)
{
    const char *from = *at;
    if (end - from >= 4 && from[0] == '\\') {
        int high = hex_digit(from[2]), low = hex_digit(from[3]);
        if (from[1] == 'x' && high >= 0 && low >= 0) {
            *at += 4;
            return (char)(high << 4 | low);
        }
        if (from[1] >= '0' && from[1] <= '3' && high >= 0 && high < 8 && low >= 0 && low < 8) {
            *at += 4;
            return (char)((from[1] - '0') << 6 | high << 3 | low);
        }
    }
    ++*at;
    return *from;
}

static void set_value(struct spec *spec, struct span raw)
{
    if (raw.length >= 2 && (*raw.start == '"' || *raw.start == '\'') &&
        raw.start[raw.length - 1] == *raw.start)
        raw = (struct span){raw.start + 1, raw.length - 2};
    size_t length = 0;
    for (const char *at = raw.start, *end = at + raw.length; at < end;)
        spec->value[length++] = take_byte(&at, end);
    spec->value[length] = '\0';
}

static bool parse_tag(struct span text, struct spec *spec)
{
    static const struct {
        const char *prefix;
        enum spec_kind kind;
    } tags[] = {
        {"UUID=", SPEC_UUID},
        {"LABEL=", SPEC_LABEL},
        {"PARTUUID=", SPEC_PARTUUID},
        {"PARTLABEL=", SPEC_PARTLABEL},
        {"/dev/disk/by-uuid/", SPEC_UUID},
        {"/dev/disk/by-label/", SPEC_LABEL},
        {"/dev/disk/by-partuuid/", SPEC_PARTUUID},
        {"/dev/disk/by-partlabel/", SPEC_PARTLABEL},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(tags); i++) {
        if (!span_starts_with(text, tags[i].prefix))
            continue;
        spec->kind = tags[i].kind;
        set_value(spec, span_skip(text, strlen(tags[i].prefix)));
        return true;
    }
    return false;
}

void spec_parse(struct span text, struct spec *spec)
{
    *spec = (struct spec){.kind = SPEC_OTHER, .disk = UINT_MAX};
    if (text.length >= SPEC_VALUE_SIZE || parse_tag(text, spec) || !span_starts_with(text, "/dev/"))
        return;
    char name[SPEC_VALUE_SIZE];
    struct span behind = span_skip(text, strlen("/dev/"));
    snprintf(name, sizeof(name), "%.*s", (int)behind.length, behind.start);
    if (parse_lettered(name, spec) || parse_nvme(name, spec) || parse_mmc(name, spec) ||
        parse_controller(name, spec))
        spec->kind = SPEC_KERNEL;
    else if (parse_hardware(name, spec))
        spec->kind = SPEC_UDEV;
}

bool spec_is_unstable(const struct spec *spec)
{
    return spec->kind == SPEC_KERNEL || spec->kind == SPEC_UDEV;
}

/* Types that mount each other's file systems belong together. */
static const char *type_family(const char *type)
{
    if (strncmp(type, "ext", 3) == 0 && strlen(type) == 4)
        return "ext";
    if (strncmp(type, "ntfs", 4) == 0)
        return "ntfs";
    return strcmp(type, "msdos") == 0 ? "vfat" : type;
}

static bool type_fits(const struct system_volume *volume, const char *type)
{
    if (!type || strcmp(type, "auto") == 0)
        return true;
    return volume->type && strcmp(type_family(volume->type), type_family(type)) == 0;
}

static bool strings_match(const char *a, const char *b)
{
    return a && strcasecmp(a, b) == 0;
}

static bool volume_matches(const struct system_volume *volume, const struct spec *spec)
{
    switch (spec->kind) {
    case SPEC_KERNEL:
        return volume->disk != UINT_MAX && volume->disk == spec->disk &&
               volume->partition == spec->partition;
    case SPEC_UDEV:
        return volume->disk != UINT_MAX && volume->partition == spec->partition;
    case SPEC_UUID:
        return strings_match(volume->uuid, spec->value);
    case SPEC_LABEL:
        return volume->label && strcmp(volume->label, spec->value) == 0;
    case SPEC_PARTUUID:
        return strings_match(volume->partuuid, spec->value);
    case SPEC_OTHER:
    case SPEC_PARTLABEL:
        break;
    }
    return false;
}

const struct system_volume *spec_find_volume(const struct system *system, const struct spec *spec,
                                             const char *type)
{
    const struct system_volume *found = NULL;
    for (size_t i = 0; i < system->volume_count; i++) {
        const struct system_volume *volume = &system->volumes[i];
        if (!volume_matches(volume, spec) || !type_fits(volume, type))
            continue;
        if (found && spec->kind == SPEC_UDEV)
            return NULL; /* any of several disks may be meant */
        if (!found)
            found = volume;
    }
    return found;
}

/* A superblock is not to be trusted with what is written into a file. */
static bool is_identifier(const char *text)
{
    size_t length = text ? strlen(text) : 0;
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)text[i]) && text[i] != '-')
            return false;
    return length > 0 && length <= 64;
}

/* The parts of a btrfs share its UUID, and mounting any of them mounts all. */
static bool uuid_is_unique(const struct system *system, const struct system_volume *volume)
{
    for (size_t i = 0; i < system->volume_count; i++) {
        const struct system_volume *other = &system->volumes[i];
        if (other != volume && strings_match(other->uuid, volume->uuid) &&
            !(other->type && strcmp(other->type, "btrfs") == 0))
            return false;
    }
    return true;
}

bool spec_partuuid_name(const struct system *system, const struct system_volume *volume,
                        char name[SPEC_NAME_SIZE])
{
    if (!is_identifier(volume->partuuid))
        return false;
    for (size_t i = 0; i < system->volume_count; i++)
        if (&system->volumes[i] != volume &&
            strings_match(system->volumes[i].partuuid, volume->partuuid))
            return false;
    snprintf(name, SPEC_NAME_SIZE, "PARTUUID=%s", volume->partuuid);
    return true;
}

bool spec_stable_name(const struct system *system, const struct system_volume *volume,
                      char name[SPEC_NAME_SIZE])
{
    if (!is_identifier(volume->uuid) || !uuid_is_unique(system, volume))
        return spec_partuuid_name(system, volume, name);
    snprintf(name, SPEC_NAME_SIZE, "UUID=%s", volume->uuid);
    return true;
}
