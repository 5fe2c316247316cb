/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A tree of files as an initramfs: a cpio archive (newc) compressed with zstd. The same tree and
 * date give the same bytes.
 */
#ifndef P2V_MEDIA_ARCHIVE_WRITE_H
#define P2V_MEDIA_ARCHIVE_WRITE_H

#include "base/error.h"
#include "base/text.h"
#include "p2v/media/file_tree.h"

#include <stdatomic.h>
#include <stdint.h>

/* Everything belongs to root and is from `date` (seconds since 1970). */
int archive_write_cpio(const struct file_tree *tree, uint64_t date, struct text *out,
                       struct error *err);

/* As the kernel takes it: one frame, a window that it has room for. `stop` may be NULL. */
int archive_compress(const struct text *in, struct text *out, const atomic_bool *stop,
                     struct error *err);

#endif
