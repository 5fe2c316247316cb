/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What of the disk its source has spoken of in this pass. Whatever it leaves out reads as zeroes
 * and counts nothing on either side: equal digests alone do not show that anything is missing.
 *
 * It is kept while the receiver is open, over cuts. Of one that took up what an earlier run left
 * nothing is known until its first pass ends.
 */
#include "base/checked.h"
#include "p2v/server/receiver_private.h"

/* Beyond so many separate ranges it is not kept any more: agents go over a disk in order. */
#define COVER_MAX_RANGES 16384u

void receiver_cover(struct receiver *receiver, uint64_t first, uint64_t count)
{
    struct receiver_cover *cover = &receiver->cover;

    /* One chunk alone may be a repair of a pass whose PASSED was lost. */
    if (cover->is_pass_over && (first > 0 || count == 1))
        return;
    if (cover->is_pass_over) {
        extents_fini(&cover->ranges);
        cover->is_pass_over = cover->is_unknown = false;
    }
    if (cover->is_unknown)
        return;
    if (extents_add(&cover->ranges, first * CHUNK_SIZE, count * CHUNK_SIZE, NULL) == 0 &&
        cover->ranges.count <= COVER_MAX_RANGES)
        return;
    extents_fini(&cover->ranges);
    cover->is_unknown = true;
}

bool receiver_end_pass(struct receiver *receiver)
{
    struct receiver_cover *cover = &receiver->cover;
    bool is_all = cover->is_pass_over || cover->is_unknown ||
                  extents_contain(&cover->ranges, 0, receiver->chunk_count * CHUNK_SIZE);

    cover->is_pass_over = true;
    return is_all;
}
