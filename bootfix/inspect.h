/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Inspection's parts. Those over a session look at devices, those over struct files at the mounted
 * guest; the latter are tested without an appliance.
 */
#ifndef BOOTFIX_INSPECT_H
#define BOOTFIX_INSPECT_H

#include "base/error.h"
#include "bootfix/files.h"
#include "bootfix/session.h"
#include "bootfix/system.h"

#include <stddef.h>

#define INSPECT_MAX_VOLUMES 512
#define INSPECT_MAX_KERNELS 64

/* What each disk's partitions and logical volumes hold, and the firmware that this tells. */
int inspect_volumes(struct session *session, struct system *system, struct error *err);

/*
 * Finds the root file system (or takes the one named) and mounts it and what its fstab puts below
 * it. Sets system->root, NULL when there is none, and each volume's mountpoint.
 */
int inspect_mount(struct session *session, struct system *system, const char *root,
                  struct error *err);

/* Gives each volume its mountpoint by a text as /etc/fstab holds. */
void inspect_fstab(struct system *system, const char *text);

/* Distribution, names, architecture, initramfs and boot loader. */
int inspect_os(struct files *files, struct system *system, struct error *err);

/* Installed kernels, newest first. */
int inspect_kernels(struct files *files, struct system *system, struct error *err);

/* The value of KEY in a text of shell assignments (os-release(5)); caller frees, NULL: not there.
 */
char *inspect_assignment(const char *text, const char *key);

#endif
