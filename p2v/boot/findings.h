/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the boot medium finds before anything is copied: the disks that are to go, what is on each
 * in words, and what somebody should know first. Opens everything read-only.
 */
#ifndef P2V_BOOT_FINDINGS_H
#define P2V_BOOT_FINDINGS_H

#include "base/error.h"
#include "base/log.h"
#include "p2v/agent/disks.h"
#include "p2v/boot/settings.h"

#include <stdbool.h>
#include <stddef.h>

#define BOOT_MAX_DISKS 64
#define BOOT_MAX_NOTICES 64

struct boot_disk {
    struct machine_disk device;
    uint64_t used_bytes;
    char content[160]; /* "GPT: ESP, ext4 '/', LVM (vg0)"; "nothing" */
    bool is_chosen;    /* goes, unless a person says otherwise */
    char why_not[80];  /* "the boot medium", "USB", "not named by rehost.disks"; "" when chosen */
};

enum boot_notice_kind {
    BOOT_NOTICE_INFO,
    BOOT_NOTICE_WARNING, /* the copy may need work: LUKS, BitLocker, RAID member missing, … */
    BOOT_NOTICE_MISSING, /* hardware that we cannot use: a controller or NIC without a driver */
};
struct boot_notice {
    enum boot_notice_kind kind;
    char text[200]; /* one line, says what to do */
};

struct boot_findings {
    struct boot_disk disks[BOOT_MAX_DISKS]; /* in the machine's order; the boot medium too */
    size_t disk_count;
    struct boot_notice notices[BOOT_MAX_NOTICES];
    size_t notice_count;
    char machine[200]; /* "Dell Inc. PowerEdge R720, serial 4XK2, BIOS, 16 CPUs, 32 GiB" */
};

/* A disk named by the settings and not there is an error. `root` as machine_disks_list. */
int boot_findings_read(const char *root, const struct boot_settings *settings,
                       struct boot_findings *findings, struct log *log, struct error *err);

#endif
