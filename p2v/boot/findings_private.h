/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The parts of looking at a machine from the boot medium. Private to findings*.c.
 */
#ifndef P2V_BOOT_FINDINGS_PRIVATE_H
#define P2V_BOOT_FINDINGS_PRIVATE_H

#include "base/source.h"
#include "base/text.h"
#include "disk/layout.h"
#include "p2v/boot/findings.h"

/* What is beyond BOOT_MAX_NOTICES is dropped; the same text is said once. */
void findings_notice(struct boot_findings *findings, enum boot_notice_kind kind, const char *format,
                     ...) __attribute__((format(printf, 3, 4)));

/* "Dell Inc. PowerEdge R720, serial 4XK2, BIOS, 16 CPUs, 32 GiB". */
void findings_read_machine(const char *root, struct boot_findings *findings);

/* --- findings_content.c --- */

/* Looks into every disk but the boot medium: content, used_bytes, notices. */
void findings_read_contents(const char *root, struct boot_findings *findings);

/* --- findings_groups.c: volumes that belong together, RAID and LVM --- */

#define FINDINGS_MAX_GROUPS 64
#define FINDINGS_MAX_PARTS 64
#define FINDINGS_ID 64

struct findings_group {
    bool is_raid;
    char id[FINDINGS_ID]; /* RAID: the set's UUID; LVM: the group's */
    char name[128];       /* "RAID1 'web:0'", "LVM group vg0"; printable */
    unsigned wanted;      /* disks or volumes that it has when whole */
    unsigned found;
    char members[160]; /* "sda2, sdb2" */
    /* LVM: those that it has, and what was found (more than one may tell). */
    char parts[FINDINGS_MAX_PARTS][FINDINGS_ID];
    bool is_part_found[FINDINGS_MAX_PARTS];
};
struct findings_groups {
    struct findings_group items[FINDINGS_MAX_GROUPS];
    size_t count;
};

/* The volume is a member of something: words for it ("LVM (vg0)", "RAID1 'web:0'"). */
void findings_add_raid(struct findings_groups *groups, const struct block_source *volume,
                       const struct probe *probe, const char *where, struct text *words);
void findings_add_lvm(struct findings_groups *groups, const struct block_source *volume,
                      const struct probe *probe, const char *where, struct text *words);

/* One line for each: whole, or what is missing. */
void findings_tell_groups(const struct findings_groups *groups, struct boot_findings *findings);

/* --- findings_luks.c --- */

enum findings_luks {
    FINDINGS_LUKS_PASSPHRASE, /* or not known */
    FINDINGS_LUKS_TPM_TOO,    /* the TPM opens it, and a passphrase does */
    FINDINGS_LUKS_TPM_ONLY,
};
enum findings_luks findings_luks(const struct block_source *volume);

/* --- findings_ntfs.c --- */

/* A Windows sleeps on it, as after every shutdown with Fast Startup. */
bool findings_is_ntfs_hibernated(const struct block_source *volume);

/* --- findings_hardware.c --- */

/* Controllers and network cards that nothing drives, and disks that firmware hides. */
void findings_read_hardware(const char *root, struct boot_findings *findings);

#endif
