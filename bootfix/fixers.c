/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The fixers, in the order in which they plan.
 */
#include "bootfix/fixer.h"

#include <stddef.h>

const struct fixer *const fixers[] = {
    &fix_initramfs, &fix_fstab, &fix_grub, &fix_network, &fix_services, NULL,
};
