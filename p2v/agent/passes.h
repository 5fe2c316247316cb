/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * How often to go over a running machine's disks, and whether its file systems may be frozen for
 * the last time. Decisions alone. Private to the sender.
 */
#ifndef P2V_AGENT_PASSES_H
#define P2V_AGENT_PASSES_H

#include <stdbool.h>
#include <stdint.h>

#define PASSES_DEFAULT 5u

/* Longest time that services are held up without being asked. */
#define PASSES_FREEZE_SECONDS 30.0

/* Of all live disks together. */
struct pass_sum {
    uint64_t sent_bytes, used_bytes;
    double seconds;
};

/* One more before the last? `before` is NULL after the first; `done` passes are through. */
bool passes_want_more(const struct pass_sum *now, const struct pass_sum *before, unsigned done,
                      unsigned max_passes);

/* The last pass takes about as long as the one before it, NULL when there was none. */
bool passes_may_freeze(const struct pass_sum *before, bool is_final);

#endif
