/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Which disks there are, and which of them go: those that are built in, or exactly those that were
 * named; the boot medium never.
 */
#include "p2v/boot/findings.h"

#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "disk/device.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/boot/findings_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void findings_notice(struct boot_findings *findings, enum boot_notice_kind kind, const char *format,
                     ...)
{
    struct boot_notice notice = {.kind = kind};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(notice.text, sizeof(notice.text), format, arguments);
    va_end(arguments);
    for (size_t i = 0; i < findings->notice_count; i++) {
        if (strcmp(findings->notices[i].text, notice.text) == 0)
            return;
    }
    if (findings->notice_count < BOOT_MAX_NOTICES)
        findings->notices[findings->notice_count++] = notice;
}

/* --- which disks --- */

#define ISO_DESCRIPTOR_OFFSET ((uint64_t)16 * 2048)
#define ISO_VOLUME_ID 40 /* within the descriptor; 32 characters, blanks behind */

/* ECMA-119, 8.4: a volume of ours, as it stands at the start of a CD and of a USB stick. */
static bool is_our_volume(const struct block_source *disk)
{
    static const char label[] = "REHOST";
    uint8_t descriptor[2048];
    return disk->size_bytes >= ISO_DESCRIPTOR_OFFSET + sizeof(descriptor) &&
           block_source_read(disk, ISO_DESCRIPTOR_OFFSET, descriptor, sizeof(descriptor), NULL) ==
               0 &&
           memcmp(descriptor, "\1CD001", 6) == 0 &&
           memcmp(descriptor + ISO_VOLUME_ID, label, strlen(label)) == 0;
}

static bool is_boot_medium(const char *root, const struct machine_disk *disk)
{
    AUTO_FREE char *path = inventory_path(root, "%s", disk->path);
    AUTO_PTR(device) device = device_open(path, NULL);
    return device && is_our_volume(device_source(device));
}

/* By kernel name, path, any link that udev made to it, serial number or world-wide name. */
static bool is_named(const char *root, const struct machine_disk *disk, const char *name)
{
    if (!strcmp(name, disk->name) || !strcmp(name, disk->path))
        return true;
    if ((disk->serial[0] && !strcmp(name, disk->serial)) ||
        (disk->wwn[0] && !strcmp(name, disk->wwn)))
        return true;
    static const char *const folders[] = {"", "/dev/", "/dev/disk/by-id/"};
    for (size_t i = name[0] == '/' ? 0 : 1; i < (name[0] == '/' ? 1 : ARRAY_LENGTH(folders)); i++) {
        AUTO_FREE char *target = inventory_link(root, "%s%s", folders[i], name);
        if (strcmp(target, disk->path) == 0)
            return true;
    }
    return false;
}

static void choose(const char *root, const struct boot_settings *settings, struct boot_disk *disk)
{
    const char *why = "";
    bool is_asked_for = false;
    for (size_t i = 0; i < settings->disks.count; i++)
        is_asked_for = is_asked_for || is_named(root, &disk->device, settings->disks.items[i]);
    if (is_boot_medium(root, &disk->device))
        why = "the boot medium";
    else if (settings->disks.count > 0)
        why = is_asked_for ? "" : "not named by rehost.disks";
    else if (disk->device.is_external && !settings->has_external)
        why = strcmp(disk->device.bus, "usb") == 0 ? "USB" : "it can be taken out";
    snprintf(disk->why_not, sizeof(disk->why_not), "%s", why);
    disk->is_chosen = why[0] == '\0';
}

static int refuse_name(const struct boot_findings *findings, const char *name, struct error *err)
{
    AUTO(text) there = {0};
    char size[32];
    for (size_t i = 0; i < findings->disk_count; i++) {
        const struct machine_disk *disk = &findings->disks[i].device;
        text_addf(&there, "%s%s (%s%s%s)", i ? ", " : "", disk->name,
                  bytes_format(disk->size_bytes, size, sizeof(size)),
                  disk->serial[0] ? ", serial " : "", disk->serial);
    }
    return error_set(err, ENODEV, "rehost.disks: '%s' is not there; there is: %s", name,
                     there.length ? text_string(&there) : "no disk at all");
}

/* Each that was named is there, and is not what we run from. */
static int check_names(const char *root, const struct boot_settings *settings,
                       const struct boot_findings *findings, struct error *err)
{
    for (size_t i = 0; i < settings->disks.count; i++) {
        const char *name = settings->disks.items[i];
        const struct boot_disk *found = NULL;
        for (size_t k = 0; k < findings->disk_count && !found; k++) {
            if (is_named(root, &findings->disks[k].device, name))
                found = &findings->disks[k];
        }
        if (!found)
            return refuse_name(findings, name, err);
        if (!found->is_chosen)
            return error_set(err, 0, "rehost.disks: '%s' is %s", name, found->why_not);
    }
    return 0;
}

static void tell_if_nothing_goes(struct boot_findings *findings)
{
    for (size_t i = 0; i < findings->disk_count; i++) {
        if (findings->disks[i].is_chosen)
            return;
    }
    findings_notice(findings, BOOT_NOTICE_MISSING,
                    "no disk of its own was found: is its controller's driver missing, or is it "
                    "switched off in the BIOS setup?");
}

/* --- */

int boot_findings_read(const char *root, const struct boot_settings *settings,
                       struct boot_findings *findings, struct log *log, struct error *err)
{
    AUTO(machine_disks) disks = {0};
    *findings = (struct boot_findings){0};
    findings_read_machine(root, findings);
    if (machine_disks_list(root, &disks, log, err) != 0)
        return -1;
    for (size_t i = 0; i < disks.count && findings->disk_count < BOOT_MAX_DISKS; i++) {
        struct boot_disk *disk = &findings->disks[findings->disk_count++];
        disk->device = disks.items[i];
        choose(root, settings, disk);
    }
    if (disks.count > BOOT_MAX_DISKS)
        findings_notice(findings, BOOT_NOTICE_WARNING,
                        "%zu disks: only the first %d can go (choose with rehost.disks)",
                        disks.count, BOOT_MAX_DISKS);
    if (check_names(root, settings, findings, err) != 0)
        return -1;
    findings_read_hardware(root, findings);
    findings_read_contents(root, findings);
    tell_if_nothing_goes(findings);
    return 0;
}
