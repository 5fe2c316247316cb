/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The fixers, in the order in which they plan: what an initramfs copies from /etc (the swap to
 * resume from, crypttab) is brought up to date before it is looked at.
 */
#include "bootfix/fixer.h"

#include <stddef.h>

const struct fixer *const fixers[] = {
    &fix_fstab, &fix_initramfs, &fix_grub, &fix_uefi, &fix_network, &fix_services, NULL,
};
