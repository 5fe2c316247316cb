/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What was asked about a guest's files is remembered: in an emulated appliance each question costs
 * milliseconds, and planning asks the same ones again and again. The guest does not change
 * meanwhile. File contents are not kept.
 */
#ifndef BOOTFIX_FILES_CACHE_H
#define BOOTFIX_FILES_CACHE_H

#include "bootfix/files.h"

#define FILES_CACHE_MAX 16384 /* answers; beyond that nothing more is remembered */

struct files_cache;

/* `below` is borrowed and must live longer. */
struct files_cache *files_cache_new(struct files *below);
void files_cache_free(struct files_cache *cache);
struct files *files_cache_files(struct files_cache *cache);

#endif
