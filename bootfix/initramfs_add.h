/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The drivers of a virtual machine for one initramfs: which it lacks, and the archive that brings
 * them, from the guest's own modules.
 */
#ifndef BOOTFIX_INITRAMFS_ADD_H
#define BOOTFIX_INITRAMFS_ADD_H

#include "base/error.h"
#include "base/text.h"
#include "bootfix/files.h"
#include "bootfix/initramfs.h"
#include "bootfix/initramfs_config.h"
#include "bootfix/modules.h"

#include <stdbool.h>
#include <stddef.h>

#define INITRAMFS_ADD_MAX_MODULES 256

/* All borrowed. */
struct initramfs_job {
    struct files *guest;
    const char *version; /* of the kernel */
    const char *folder;  /* its modules, in the guest */
    const struct modules *known;
    const char *data; /* the initramfs as it is */
    size_t length;
    const struct initramfs_modules *has;
};

/* Paths (in job->folder) of what the initramfs lacks of `names` and their needs. */
bool initramfs_find_missing(const struct initramfs_job *job, const char *const *names,
                            size_t name_count, const char *paths[INITRAMFS_ADD_MAX_MODULES],
                            size_t *count);

/*
 * The bytes to append so that the modules (or none) are there and are found, and the files of
 * `config` replaced. 1; 0 with *why when the guest's files do not allow it; -1 when something
 * failed on this host or reading the guest.
 */
int initramfs_add_modules(const struct initramfs_job *job, const char *const *paths, size_t count,
                          const struct initramfs_config *config, struct text *out,
                          struct error *why, struct error *err);

#endif
