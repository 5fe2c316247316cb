/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A pass is small when what it sent would hardly have grown while it was sent.
 */
#include "p2v/agent/passes.h"

#include "base/bytes.h"

#include <stddef.h>

#define SMALL_BYTES (64 * MIB)
#define SMALL_PART 100 /* of what is used */

bool passes_want_more(const struct pass_sum *now, const struct pass_sum *before, unsigned done,
                      unsigned max_passes)
{
    unsigned most = max_passes ? max_passes : PASSES_DEFAULT;
    bool is_small =
        now->sent_bytes < SMALL_BYTES && now->sent_bytes <= now->used_bytes / SMALL_PART;
    bool is_shrinking = !before || now->sent_bytes < before->sent_bytes;
    return done + 1 < most && !is_small && is_shrinking;
}

bool passes_may_freeze(const struct pass_sum *before, bool is_final)
{
    return is_final || (before && before->seconds < PASSES_FREEZE_SECONDS);
}
