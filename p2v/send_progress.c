/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Formats and shows the progress of sending.
 */
#include "p2v/send_progress.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/io.h"
#include "base/own.h"
#include "p2v/json.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DRAW_INTERVAL 0.1 /* seconds */
#define JSON_INTERVAL 1.0
#define RATE_WINDOW 5.0 /* seconds that the shown rate looks back, about */
#define RATE_STEP 0.5
#define DEFAULT_WIDTH 120

/* Less than this is TLS' and the frames' own, not compression. */
#define COMPRESSED_AT 1.05

static const char *phase_name(enum sender_phase phase)
{
    switch (phase) {
    case SENDER_CONNECTING:
        return "connecting";
    case SENDER_WAITING:
        return "waiting";
    case SENDER_SENDING:
        return "sending";
    case SENDER_PAUSED:
        return "paused";
    case SENDER_DISK_DONE:
        return "done";
    case SENDER_DISK_FAILED:
        return "failed";
    }
    return "?";
}

/* --- rate --- */

static void update_rate(struct send_row *row, double now)
{
    uint64_t done = row->now.done_bytes;
    if (row->rate_at == 0 || done < row->rate_bytes) { /* the start, or a new pass */
        row->rate = 0;
        row->rate_at = now;
        row->rate_bytes = done;
        return;
    }
    double seconds = now - row->rate_at;
    if (seconds < RATE_STEP)
        return;
    double recent = (double)(done - row->rate_bytes) / seconds;
    double weight = row->rate > 0 ? seconds / (RATE_WINDOW + seconds) : 1;
    row->rate += weight * (recent - row->rate);
    row->rate_at = now;
    row->rate_bytes = done;
}

/* Negative: not known. */
static double seconds_left(const struct send_row *row)
{
    uint64_t done = min_u64(row->now.done_bytes, row->now.total_bytes);
    return row->rate > 0 ? (double)(row->now.total_bytes - done) / row->rate : -1;
}

/* --- formats --- */

static unsigned percent(uint64_t part, uint64_t whole)
{
    return part >= whole ? 100 : (unsigned)(100.0 * (double)part / (double)whole);
}

static bool is_compressed(const struct sender_progress *now)
{
    return now->wire_bytes > 0 &&
           (double)now->sent_bytes / (double)now->wire_bytes >= COMPRESSED_AT;
}

static void add_figures(const struct send_row *row, struct text *out)
{
    const struct sender_progress *now = &row->now;
    struct progress_figures figures = {.done_bytes = now->done_bytes};
    struct progress bar = {.total_bytes = now->total_bytes, .size_bytes = now->size_bytes};
    if (now->pass == 0)
        snprintf(bar.what, sizeof(bar.what), "%.40s", row->name);
    else
        snprintf(bar.what, sizeof(bar.what), "%.40s pass %u%s", row->name, now->pass + 1,
                 now->is_last_pass ? ", last" : "");
    if (is_compressed(now)) {
        figures.data_bytes = now->sent_bytes;
        figures.stored_bytes = now->wire_bytes;
    }
    if (row->rate > 0)
        figures.seconds = (double)now->done_bytes / row->rate;
    progress_format_bar(&bar, &figures, out);
    text_addf(out, "   safe to %u%%", percent(now->safe_bytes, now->total_bytes));
    if (now->unreadable_bytes) {
        char bytes[32];
        text_addf(out, "  %s unreadable",
                  bytes_format(now->unreadable_bytes, bytes, sizeof(bytes)));
    }
}

static void add_text(const char *text, struct text *out)
{
    if (text[0])
        text_add(out, ": ");
    text_add_escaped(out, text, strlen(text));
}

void send_progress_format_bar(const struct send_row *row, struct text *out)
{
    const struct sender_progress *now = &row->now;
    char read[32], sent[32];
    switch (row->is_known ? now->phase : SENDER_CONNECTING) {
    case SENDER_SENDING:
        add_figures(row, out);
        return;
    case SENDER_WAITING:
        text_addf(out, "%s  waiting for approval", row->name);
        add_text(now->text, out);
        return;
    case SENDER_DISK_DONE:
        text_addf(out, "%s  done: %s of it used, %s sent", row->name,
                  bytes_format(now->total_bytes, read, sizeof(read)),
                  bytes_format(now->wire_bytes, sent, sizeof(sent)));
        return;
    default:
        text_addf(out, "%s  %s", row->name, phase_name(now->phase));
        add_text(now->text, out);
        if (now->safe_bytes)
            text_addf(out, "   safe to %u%%", percent(now->safe_bytes, now->total_bytes));
    }
}

/* The names that --progress=json of other commands has, and more. */
void send_progress_format_json(const struct send_row *row, struct text *out)
{
    const struct sender_progress *now = &row->now;
    double left = seconds_left(row);
    AUTO_JSON json = json_object();
    json_set_text(json, "action", "send");
    json_set_text(json, "disk", row->name);
    json_set_text(json, "phase", phase_name(now->phase));
    json_object_set_new(json, "pass", json_integer(now->pass));
    json_set_bool(json, "is_last_pass", now->is_last_pass);
    json_set_bytes(json, "done_bytes", now->done_bytes);
    json_set_bytes(json, "total_bytes", now->total_bytes);
    json_set_bytes(json, "size_bytes", now->size_bytes);
    json_set_bytes(json, "safe_bytes", now->safe_bytes);
    json_set_bytes(json, "sent_bytes", now->sent_bytes);
    json_set_bytes(json, "wire_bytes", now->wire_bytes);
    json_set_bytes(json, "unreadable_bytes", now->unreadable_bytes);
    json_set_bytes(json, "bytes_per_second", (uint64_t)row->rate);
    json_object_set_new(json, "seconds_left",
                        left < 0 ? json_null() : json_integer((json_int_t)(left + 0.5)));
    json_set_text(json, "text", now->text[0] ? now->text : NULL);
    char *line = json_dumps(json, 0);
    text_add(out, line ? line : "{}");
    free(line);
}

/* --- the terminal --- */

/* A line that wraps would take two, and the cursor would come back to the wrong one. */
static size_t terminal_width(int fd)
{
    struct winsize size;
    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col - 1u : DEFAULT_WIDTH;
}

static void add_cut(const struct text *line, size_t width, struct text *out)
{
    size_t length = min_u64(line->length, width);
    while (length < line->length && length > 0 && ((uint8_t)line->data[length] & 0xc0) == 0x80)
        length--; /* not within a character */
    text_add_bytes(out, text_string(line), length);
}

static void add_cursor_up(size_t lines, struct text *out)
{
    text_add(out, "\r");
    if (lines > 0)
        text_addf(out, "\033[%zuA", lines);
}

void send_progress_draw(struct send_progress *progress)
{
    AUTO(text) out = {0};
    size_t width = terminal_width(progress->fd);
    if (progress->mode != PROGRESS_BAR)
        return;
    add_cursor_up(progress->lines_open, &out);
    for (size_t i = 0; i < progress->count; i++) {
        AUTO(text) line = {0};
        send_progress_format_bar(&progress->rows[i], &line);
        add_cut(&line, width, &out);
        text_add(&out, "\033[K\n");
    }
    progress->lines_open = progress->count;
    io_write(progress->fd, out.data, out.length, NULL);
}

void send_progress_clear(struct send_progress *progress)
{
    AUTO(text) out = {0};
    if (!progress->lines_open)
        return;
    add_cursor_up(progress->lines_open, &out);
    text_add(&out, "\033[J");
    progress->lines_open = 0;
    io_write(progress->fd, out.data, out.length, NULL);
}

static void print_json(const struct send_progress *progress, struct send_row *row, double now)
{
    AUTO(text) line = {0};
    send_progress_format_json(row, &line);
    text_add(&line, "\n");
    row->printed = now;
    row->is_printed = true;
    io_write(progress->fd, line.data, line.length, NULL);
}

void send_progress_update(struct send_progress *progress, size_t disk,
                          const struct sender_progress *figures, double now)
{
    struct send_row *row = &progress->rows[disk];
    if (!row->is_known || row->now.phase != figures->phase || row->now.pass != figures->pass)
        row->is_printed = false;
    row->now = *figures;
    row->is_known = true;
    update_rate(row, now);
    bool is_over = figures->phase == SENDER_DISK_DONE || figures->phase == SENDER_DISK_FAILED;
    if (progress->mode == PROGRESS_JSON &&
        (!row->is_printed || (!is_over && now - row->printed >= JSON_INTERVAL)))
        print_json(progress, row, now);
    if (progress->mode == PROGRESS_BAR && now - progress->drawn >= DRAW_INTERVAL) {
        progress->drawn = now;
        send_progress_draw(progress);
    }
}
