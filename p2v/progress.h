/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * How far a long step is, on stderr: a bar for people, one JSON object per line for programs.
 */
#ifndef P2V_PROGRESS_H
#define P2V_PROGRESS_H

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

enum progress_mode { PROGRESS_NONE, PROGRESS_BAR, PROGRESS_JSON };

/* The words of --progress, NULL-terminated. */
extern const char *const progress_words[];

/* NULL is "auto": a bar when `fd` is a terminal. */
enum progress_mode progress_mode_for(const char *word, int fd);

struct progress {
    enum progress_mode mode;
    int fd;
    char what[64];         /* "disk0" */
    char action[16];       /* "copy", "verify" */
    uint64_t total_bytes;  /* of the work: what is used */
    uint64_t size_bytes;   /* of the disk */
    double started, shown; /* seconds, monotonic */
    bool is_line_open;     /* a bar stands on the current line */
};

void progress_start(struct progress *progress, const char *action, const char *what,
                    uint64_t total_bytes, uint64_t size_bytes);

/* Shows it when enough time has passed since the last time; `stored_bytes` 0: not compressed. */
void progress_update(struct progress *progress, uint64_t done_bytes, uint64_t data_bytes,
                     uint64_t stored_bytes);

/* Takes the bar away, so that a message can be written. */
void progress_clear(struct progress *progress);

/* What is shown, without colour or cursor movement; tests call it too. */
struct progress_figures {
    uint64_t done_bytes, data_bytes, stored_bytes;
    double seconds; /* since the start */
};
void progress_format_bar(const struct progress *progress, const struct progress_figures *figures,
                         struct text *out);
void progress_format_json(const struct progress *progress, const struct progress_figures *figures,
                          struct text *out);

/* "3:12", "1:02:07", "-:--" for what is not known (negative). Caller's buffer. */
char *progress_format_time(double seconds, char *buffer, size_t size);

#endif
