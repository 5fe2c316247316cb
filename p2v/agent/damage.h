/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What unreadable ranges of a disk hit: the partition, its file system, and in ext2, ext3 and ext4
 * the files or structures.
 */
#ifndef P2V_AGENT_DAMAGE_H
#define P2V_AGENT_DAMAGE_H

#include "base/extents.h"
#include "base/source.h"
#include "disk/layout.h"

#include <jansson.h>

/*
 * `json` is an array with an object for each of the first ranges: adds "partition", "type" and
 * "hits" (texts, escaped: "/var/lib/db", "the journal") to them.
 */
void damage_describe(const struct block_source *disk, const struct layout *layout,
                     const struct extents *ranges, json_t *json);

#endif
