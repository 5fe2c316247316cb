/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * How far each disk is that is being sent, on stderr: one line a disk, redrawn in place, or one
 * JSON object per line. Not locked: the caller is.
 */
#ifndef P2V_SEND_PROGRESS_H
#define P2V_SEND_PROGRESS_H

#include "base/text.h"
#include "p2v/agent/sender.h"
#include "p2v/progress.h"

#include <stdbool.h>
#include <stddef.h>

struct send_row {
    char name[65];
    struct sender_progress now;
    bool is_known;       /* `now` was told at least once */
    double rate;         /* bytes read a second, of the last seconds */
    double rate_at;      /* when it was computed; clock_seconds */
    uint64_t rate_bytes; /* done_bytes then */
    double printed;      /* as JSON, last */
    bool is_printed;     /* this phase was */
};

struct send_progress {
    enum progress_mode mode;
    int fd;
    size_t count;
    struct send_row rows[WIRE_MAX_DISKS];
    size_t lines_open; /* standing on the terminal above the cursor */
    double drawn;
};

/* Takes what is told; draws when it is time (`now` is clock_seconds()). */
void send_progress_update(struct send_progress *progress, size_t disk,
                          const struct sender_progress *figures, double now);

/* Takes the lines away, so that a message can be written; they come back with the next draw. */
void send_progress_clear(struct send_progress *progress);
void send_progress_draw(struct send_progress *progress);

/* One line without colour, cursor movement or newline. */
void send_progress_format_bar(const struct send_row *row, struct text *out);
void send_progress_format_json(const struct send_row *row, struct text *out);

#endif
