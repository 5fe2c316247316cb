/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The disks of this machine, as the kernel lists them in /sys/block: what is a piece of hardware,
 * and no partition, loop, RAM disk, device mapper, RAID, optical or floppy drive.
 */
#ifndef P2V_AGENT_DISKS_H
#define P2V_AGENT_DISKS_H

#include "base/error.h"
#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct machine_disk {
    char name[65]; /* "sda", "cciss/c0d0" */
    char path[80]; /* "/dev/sda" */
    unsigned major, minor;
    uint64_t size_bytes;
    uint32_t logical_sector_size, physical_sector_size;
    bool is_rotational;
    bool is_read_only;
    bool is_external; /* USB, or the medium can be taken out: sent only when named */
    char bus[16];     /* "sata", "sas", "scsi", "nvme", "virtio", "usb", "mmc", …; "" not known */
    char vendor[65], model[129], serial[65], wwn[129]; /* as the device says; "" not known */
    unsigned address[4]; /* SCSI host, channel, target, LUN; zeroes elsewhere */
};

struct machine_disks {
    struct machine_disk *items;
    size_t count;
};
void machine_disks_fini(struct machine_disks *disks);

/*
 * Lists them all, external ones too, in the machine's order: by kind, then by SCSI address, then by
 * name with numbers counted. A disk that is reached on several paths is listed once. `root` is ""
 * or the folder in which a test keeps sys/, dev/ and run/.
 */
int machine_disks_list(const char *root, struct machine_disks *disks, struct log *log,
                       struct error *err);

/* One block device, of whatever kind, by its number: 1 found, 0 there is none. */
int machine_disk_find(const char *root, unsigned major, unsigned minor, struct machine_disk *disk);

/* True when the block device is a part of a disk. */
bool machine_disk_is_partition(const char *root, unsigned major, unsigned minor);

#endif
