/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A disk that others may use, as a block source. The kernel keeps what it reads through the whole
 * disk apart from what file systems read and write through their partitions, so a second look at
 * the disk may be shown the past. Here that memory is dropped, or gone around: while file systems
 * are frozen, and all of theirs is on the disk, it is read directly.
 */
#ifndef P2V_AGENT_LIVE_SOURCE_H
#define P2V_AGENT_LIVE_SOURCE_H

#include "base/error.h"
#include "base/own.h"
#include "base/source.h"

#include <stdbool.h>

struct live_source; /* begins with struct block_source */

/* `buffered` is the same disk read the usual way; borrowed. Opened read-only, as that one. */
struct live_source *live_source_open(const char *path, const struct block_source *buffered,
                                     struct error *err);
const struct block_source *live_source_block(const struct live_source *live);
void live_source_close(struct live_source *live);
OWN_DEFINE_PTR(live_source, live_source_close)

/* From now on around the kernel's memory, or through it. From any thread. */
void live_source_set_direct(struct live_source *live, bool is_direct);

/* Drops what the kernel remembers of the disk and nobody has changed. */
void live_source_drop(const struct live_source *live);

#endif
