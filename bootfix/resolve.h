/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The walk behind files_resolve, for an implementation of struct files that keeps no links
 * resolved itself (files_memory.c). Everybody else calls files_resolve.
 */
#ifndef BOOTFIX_RESOLVE_H
#define BOOTFIX_RESOLVE_H

#include "bootfix/files.h"

/* One step, of a path whose folders hold no link: as ops->readlink. */
typedef int resolve_readlink(struct files *files, const char *path, char **target,
                             struct error *err);

int resolve_path(struct files *files, resolve_readlink *read_link, const char *path,
                 bool follow_last, char **real, struct error *err);

#endif
