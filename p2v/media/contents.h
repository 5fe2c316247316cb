/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What stands in the initramfs beside the kernel's modules: the programs, their libraries, udev's
 * rules, terminfo, and configuration under which nothing is ever assembled, activated or written by
 * itself.
 */
#ifndef P2V_MEDIA_CONTENTS_H
#define P2V_MEDIA_CONTENTS_H

#include "base/error.h"
#include "base/log.h"
#include "p2v/media/file_tree.h"
#include "p2v/media/packages.h"

/* `firmware`: the names that modules ask for; of the firmware packages only these are taken. */
int contents_add(struct file_tree *tree, const struct packages *packages,
                 const struct name_list *firmware, struct error *err);

/* --- libraries.c --- */

/*
 * Adds the libraries that the programs in `tree` need, and those that these need, out of
 * `available`, by the names that they are loaded with. `also` (NULL-terminated) are loaded without
 * being named in a program. One that is nowhere is an error that names who needs it.
 */
int libraries_add(struct file_tree *tree, struct file_tree *available, const char *const *also,
                  struct error *err);

#endif
