/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * GRUB 2's grub.cfg as grub-mkconfig writes it: the lines that load kernels. The rest of its
 * language is passed through.
 */
#ifndef BOOTFIX_GRUB_CFG_H
#define BOOTFIX_GRUB_CFG_H

#include "bootfix/cmdline.h"

struct grub_cfg_counts {
    unsigned kernels; /* lines that load one */
    unsigned changed;
};

/*
 * The file with root= and resume= by UUID and a serial console on every Linux command line.
 * rules->has_initramfs is set for each line from what follows it.
 */
void grub_cfg_fix(struct cmdline_rules *rules, const char *before, struct text *after,
                  struct grub_cfg_counts *counts);

#endif
