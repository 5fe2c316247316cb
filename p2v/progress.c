/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Formats and shows progress: the bar in place on a terminal, or JSON lines.
 */
#include "p2v/progress.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/own.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BAR_WIDTH 24
#define BAR_INTERVAL 0.1 /* seconds */
#define JSON_INTERVAL 1.0

/* A rate over less than this says nothing. */
#define RATE_MIN_SECONDS 0.05

const char *const progress_words[] = {"auto", "bar", "json", "none", NULL};

enum progress_mode progress_mode_for(const char *word, int fd)
{
    if (!word || strcmp(word, "auto") == 0)
        return isatty(fd) ? PROGRESS_BAR : PROGRESS_NONE;
    if (strcmp(word, "bar") == 0)
        return PROGRESS_BAR;
    return strcmp(word, "json") == 0 ? PROGRESS_JSON : PROGRESS_NONE;
}

void progress_start(struct progress *progress, const char *action, const char *what,
                    uint64_t total_bytes, uint64_t size_bytes)
{
    snprintf(progress->action, sizeof(progress->action), "%s", action);
    snprintf(progress->what, sizeof(progress->what), "%s", what);
    progress->total_bytes = total_bytes;
    progress->size_bytes = size_bytes;
    progress->started = clock_seconds();
    progress->shown = 0;
}

static double fraction_done(const struct progress *progress, uint64_t done_bytes)
{
    if (progress->total_bytes == 0 || done_bytes >= progress->total_bytes)
        return 1;
    return (double)done_bytes / (double)progress->total_bytes;
}

static double rate_of(const struct progress_figures *figures)
{
    if (figures->seconds < RATE_MIN_SECONDS)
        return 0;
    return (double)figures->done_bytes / figures->seconds;
}

/* Negative when there is no rate yet. */
static double seconds_left(const struct progress *progress, const struct progress_figures *figures)
{
    double rate = rate_of(figures);
    if (rate <= 0)
        return -1;
    uint64_t done = min_u64(figures->done_bytes, progress->total_bytes);
    return (double)(progress->total_bytes - done) / rate;
}

char *progress_format_time(double seconds, char *buffer, size_t size)
{
    if (seconds < 0 || seconds > 359999) {
        snprintf(buffer, size, "-:--");
        return buffer;
    }
    unsigned whole = (unsigned)(seconds + 0.5);
    if (whole >= 3600)
        snprintf(buffer, size, "%u:%02u:%02u", whole / 3600, whole / 60 % 60, whole % 60);
    else
        snprintf(buffer, size, "%u:%02u", whole / 60, whole % 60);
    return buffer;
}

static void add_bar(double fraction, struct text *out)
{
    int filled = (int)(fraction * BAR_WIDTH);
    text_add(out, "[");
    for (int i = 0; i < BAR_WIDTH; i++)
        text_add(out, i < filled ? "=" : i == filled ? ">" : " ");
    text_add(out, "]");
}

/* disk0  37.2 GiB used of 931 GiB  [=====>      ] 41%  612 MB/s  2.1x compressed  eta 3:12 */
void progress_format_bar(const struct progress *progress, const struct progress_figures *figures,
                         struct text *out)
{
    char used[32], size[32], left[32];
    double fraction = fraction_done(progress, figures->done_bytes);
    text_addf(out, "%s  %s used of %s  ", progress->what,
              bytes_format(progress->total_bytes, used, sizeof(used)),
              bytes_format(progress->size_bytes, size, sizeof(size)));
    add_bar(fraction, out);
    text_addf(out, " %d%%  %.0f MB/s", (int)(fraction * 100), rate_of(figures) / 1e6);
    if (figures->stored_bytes > 0)
        text_addf(out, "  %.1fx compressed",
                  (double)figures->data_bytes / (double)figures->stored_bytes);
    text_addf(out, "  eta %s",
              progress_format_time(seconds_left(progress, figures), left, sizeof(left)));
}

void progress_format_json(const struct progress *progress, const struct progress_figures *figures,
                          struct text *out)
{
    double left = seconds_left(progress, figures);
    text_addf(out,
              "{\"action\": \"%s\", \"disk\": \"%s\", \"done_bytes\": %" PRIu64
              ", \"total_bytes\": %" PRIu64 ", \"size_bytes\": %" PRIu64
              ", \"bytes_per_second\": %.0f, ",
              progress->action, progress->what, figures->done_bytes, progress->total_bytes,
              progress->size_bytes, rate_of(figures));
    if (left < 0)
        text_add(out, "\"seconds_left\": null}");
    else
        text_addf(out, "\"seconds_left\": %.0f}", left);
}

static void show(struct progress *progress, const struct progress_figures *figures)
{
    AUTO(text) line = {0};
    if (progress->mode == PROGRESS_JSON) {
        progress_format_json(progress, figures, &line);
        text_add(&line, "\n");
    } else {
        text_add(&line, "\r");
        progress_format_bar(progress, figures, &line);
        text_add(&line, "\033[K");
        progress->is_line_open = true;
    }
    io_write(progress->fd, line.data, line.length, NULL);
}

void progress_update(struct progress *progress, uint64_t done_bytes, uint64_t data_bytes,
                     uint64_t stored_bytes)
{
    double now = clock_seconds();
    double interval = progress->mode == PROGRESS_JSON ? JSON_INTERVAL : BAR_INTERVAL;
    bool is_last = done_bytes >= progress->total_bytes;
    if (progress->mode == PROGRESS_NONE || (!is_last && now - progress->shown < interval))
        return;
    progress->shown = now;
    show(progress,
         &(struct progress_figures){done_bytes, data_bytes, stored_bytes, now - progress->started});
}

void progress_clear(struct progress *progress)
{
    if (!progress->is_line_open)
        return;
    static const char clear[] = "\r\033[K";
    io_write(progress->fd, clear, sizeof(clear) - 1, NULL);
    progress->is_line_open = false;
}
