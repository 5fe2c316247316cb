/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * How files of a guest name a block device (fstab(5), crypttab(5), root= and resume=), and which of
 * these names survive a change of hardware.
 */
#ifndef BOOTFIX_SPEC_H
#define BOOTFIX_SPEC_H

#include "bootfix/span.h"
#include "bootfix/system.h"

#include <stdbool.h>
#include <stddef.h>

enum spec_kind {
    SPEC_OTHER, /* /dev/mapper/…, /dev/md0, tmpfs, server:/export: stable, or no device of ours */
    SPEC_KERNEL,    /* /dev/sda1 and its like: named by driver and order */
    SPEC_UDEV,      /* /dev/disk/by-id/ata-…, by-path/…: named by hardware */
    SPEC_UUID,      /* UUID= or /dev/disk/by-uuid/ */
    SPEC_LABEL,     /* LABEL= or by-label */
    SPEC_PARTUUID,  /* PARTUUID= or by-partuuid */
    SPEC_PARTLABEL, /* PARTLABEL= or by-partlabel */
};

#define SPEC_VALUE_SIZE 256

struct spec {
    enum spec_kind kind;
    unsigned disk;      /* SPEC_KERNEL: 0 for sda, nvme0n1, …; UINT_MAX when it is none of ours */
    unsigned partition; /* SPEC_KERNEL, SPEC_UDEV: 0 for the whole disk */
    char value[SPEC_VALUE_SIZE]; /* the tags: without prefix, quotes and escapes */
};

/* Understands any text; what is too long for a device is SPEC_OTHER. */
void spec_parse(struct span text, struct spec *spec);

/* True for the names that other hardware changes. */
bool spec_is_unstable(const struct spec *spec);

/*
 * The volume behind a spec, when the file says what it should hold: `type` as in fstab, NULL or
 * "auto" for any. A volume of another type is not the one that was meant: NULL.
 */
const struct system_volume *spec_find_volume(const struct system *system, const struct spec *spec,
                                             const char *type);

/*
 * The name of a volume that holds on any hardware: "UUID=…", or "PARTUUID=…" when it has no UUID
 * or shares it with another volume. False when there is none.
 */
#define SPEC_NAME_SIZE 96
bool spec_stable_name(const struct system *system, const struct system_volume *volume,
                      char name[SPEC_NAME_SIZE]);

/* The same for PARTUUID only: for what has no superblock, and for kernels without initramfs. */
bool spec_partuuid_name(const struct system *system, const struct system_volume *volume,
                        char name[SPEC_NAME_SIZE]);

#endif
