/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Fixers: one rule each, one file each (fix_NAME.c), collected in fixers[] in the order in which
 * they plan. A fixer reads the guest through the plan and adds edits to it; it changes nothing.
 * Run on its own result it plans nothing.
 */
#ifndef BOOTFIX_FIXER_H
#define BOOTFIX_FIXER_H

#include "base/error.h"
#include "base/log.h"
#include "bootfix/plan.h"
#include "bootfix/system.h"

#include <stdbool.h>

/* An interface as the definition will have it. */
struct fix_nic {
    const char *name; /* inside the guest */
    const char *mac;  /* lower case */
};

struct fix_context {
    const struct system *system;
    const struct fix_nic *nics;
    size_t nic_count;
    struct plan *plan;
    struct log *log;
};

struct fixer {
    const char *name;        /* as `rehost fixers` lists it */
    const char *description; /* one line: what it changes, and why a converted machine needs it */
    bool (*applies)(const struct system *system); /* NULL: always */
    /* What cannot be fixed is plan_warn'ed; -1 only when reading the guest failed. */
    int (*plan)(struct fix_context *context, struct error *err);
};

/* Ends with NULL. */
extern const struct fixer *const fixers[];

extern const struct fixer fix_initramfs, fix_fstab, fix_grub, fix_network, fix_services, fix_uefi;

#endif
