/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The configuration that an initramfs of initramfs-tools carries in itself: a copy of the guest's,
 * from when it was made. It names the device to resume from.
 */
#ifndef BOOTFIX_INITRAMFS_CONFIG_H
#define BOOTFIX_INITRAMFS_CONFIG_H

#include "base/error.h"
#include "bootfix/initramfs.h"
#include "bootfix/system.h"

#define INITRAMFS_MAX_CONFIG_FILES 64
#define INITRAMFS_MAX_CONFIG_BYTES 65536

struct initramfs_config {
    struct initramfs_entry files[INITRAMFS_MAX_CONFIG_FILES];
    size_t count;
};

/* conf/initramfs.conf and conf/conf.d/…; a file that comes twice is the later one, as at boot. */
int initramfs_config_read(struct initramfs_config *config, const void *data, size_t length,
                          struct error *err);

/*
 * Keeps only the files whose RESUME= names a device that has another name on other hardware, with
 * the lasting name in its place.
 */
void initramfs_config_rename_resume(struct initramfs_config *config, const struct system *system);

void initramfs_config_fini(struct initramfs_config *config);

#endif
