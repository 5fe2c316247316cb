/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What inspection found out about the operating system on a set of disks.
 */
#ifndef BOOTFIX_SYSTEM_H
#define BOOTFIX_SYSTEM_H

#include "base/own.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum system_initramfs {
    SYSTEM_INITRAMFS_UNKNOWN,
    SYSTEM_INITRAMFS_TOOLS, /* Debian's initramfs-tools */
    SYSTEM_INITRAMFS_DRACUT,
};

enum system_loader { SYSTEM_LOADER_UNKNOWN, SYSTEM_LOADER_GRUB2 };
enum system_firmware { SYSTEM_FIRMWARE_BIOS, SYSTEM_FIRMWARE_UEFI };

/*
 * A partition (type NULL: it has no superblock), or another block device that has one. All strings
 * owned, NULL when absent, not escaped.
 */
struct system_volume {
    char *device;       /* the appliance's name, which is also the source's when it counted sd*:
                           "/dev/sda1", "/dev/vg/root" */
    unsigned disk;      /* index of the disk; UINT_MAX for what lies on several or none (LVM) */
    unsigned partition; /* number on that disk, 0: the whole disk or not a partition */
    char *type;         /* "ext4", "swap", … */
    char *uuid, *label, *partuuid;
    char *mountpoint; /* in the guest, by its fstab; NULL when not mounted */
    uint64_t size_bytes;
};

struct system_kernel {
    char *version;   /* "6.1.0-18-amd64": the name of its folder in /lib/modules */
    char *image;     /* "/boot/vmlinuz-6.1.0-18-amd64" */
    char *initramfs; /* "/boot/initrd.img-6.1.0-18-amd64"; NULL when it has none */
    char *modules;   /* "/lib/modules/6.1.0-18-amd64" or below /usr */
    bool has_virtio_blk, has_virtio_net, has_virtio_pci, has_virtio_scsi; /* module or built in */
};

/* An interface that the guest's own configuration names. */
struct system_interface {
    char *name;          /* "enp3s0f0" */
    char *mac;           /* where the guest's configuration tells it, else NULL */
    char *addresses[16]; /* "192.0.2.10/24", "dhcp" */
    size_t address_count;
    char *config; /* the file that says so */
};

struct system {
    char *root;    /* the device mounted at /: "/dev/sda2" */
    char *type;    /* "linux", "unknown" */
    char *distro;  /* os-release ID: "debian"; "unknown" */
    char *version; /* os-release VERSION_ID */
    char *product; /* os-release PRETTY_NAME */
    char *hostname;
    char *arch;       /* "x86_64" */
    char *machine_id; /* /etc/machine-id */
    bool has_systemd;
    bool is_clock_localtime; /* /etc/adjtime says LOCAL */
    enum system_firmware firmware;
    enum system_initramfs initramfs;
    enum system_loader loader;
    char *grub_config; /* "/boot/grub/grub.cfg" */
    struct system_volume *volumes;
    size_t volume_count;
    struct system_kernel *kernels; /* newest first */
    size_t kernel_count;
    struct system_interface *interfaces;
    size_t interface_count;
};

/* Leaves it empty. */
void system_interface_fini(struct system_interface *interface);
void system_free(struct system *system);
OWN_DEFINE_PTR(system, system_free)

/*
 * The volume behind a device name of the *source* machine as its files spell it: /dev/sda1, hda1,
 * vda1, nvme0n1p1, cciss/c0d0p1, mmcblk0p1 (the n-th disk of its kind), UUID=…, LABEL=…,
 * PARTUUID=…, /dev/disk/by-uuid/…, by-label, by-partuuid; by-id and by-path when only one volume
 * can be meant; /dev/mapper/VG-LV, /dev/md0 and others by the name of `device`. NULL: none of ours.
 */
const struct system_volume *system_find_volume(const struct system *system, const char *name);

#endif
