/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The table of `rehost status`, made for 80 columns:
 *
 *     MACHINE           STATE             USED       SIZE DONE SAFE      RATE     LEFT
 *     web01             receiving     38.2 GiB  931.0 GiB  41%  40%  612 MB/s     3:12
 *       sda                           38.2 GiB  931.0 GiB  41%  40%
 *       sda: 12.0 KiB could not be read
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/own.h"
#include "p2v/progress.h"
#include "p2v/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NAME_WIDTH 17
#define LINE_WIDTH 79
#define INDENT 2

char *status_format_age(int64_t seconds, char *buffer, size_t size)
{
    if (seconds < 0)
        seconds = 0;
    if (seconds < 120)
        snprintf(buffer, size, "%" PRId64 " s", seconds);
    else if (seconds < 2 * 3600)
        snprintf(buffer, size, "%" PRId64 " min", seconds / 60);
    else if (seconds < 2 * 86400)
        snprintf(buffer, size, "%" PRId64 " h", seconds / 3600);
    else
        snprintf(buffer, size, "%" PRId64 " days", seconds / 86400);
    return buffer;
}

char *status_format_percent(uint64_t done, uint64_t total, char *buffer, size_t size)
{
    if (total == 0)
        snprintf(buffer, size, "-");
    else if (done >= total)
        snprintf(buffer, size, "100%%");
    else
        snprintf(buffer, size, "%" PRIu64 "%%",
                 total > UINT64_MAX / 100 ? min_u64(done / (total / 100), 99) : done * 100 / total);
    return buffer;
}

/* --- lines --- */

/* Without what stands empty at the right. */
static void end_line(struct text *out)
{
    while (out->length > 0 && out->data[out->length - 1] == ' ')
        out->data[--out->length] = '\0';
    text_add(out, "\n");
}

/* Broken at spaces, every line indented; words that are longer than a line are left whole. */
static void add_wrapped(struct text *out, const char *words)
{
    size_t column = 0;
    while (*words) {
        size_t length = strcspn(words, " ");
        if (column > 0 && column + 1 + length > LINE_WIDTH) {
            text_add(out, "\n");
            column = 0;
        }
        text_addf(out, "%*s", column == 0 ? INDENT : 1, "");
        text_add_bytes(out, words, length);
        column += length + (column == 0 ? INDENT : 1);
        words += length;
        words += strspn(words, " ");
    }
    end_line(out);
}

static void add_note(struct text *out, const char *prefix, const char *text)
{
    AUTO(text) line = {0};
    text_add(&line, prefix);
    text_add_escaped(&line, text, strlen(text));
    add_wrapped(out, text_string(&line));
}

struct columns {
    int indent;
    const char *name, *state, *rate, *left;
    uint64_t size_bytes, total_bytes, done_bytes, safe_bytes;
};

/* A name that is too long for its column gets a line of its own. */
static void add_row(struct text *out, const struct columns *columns)
{
    char total[16], size[16], done[8], safe[8];
    AUTO(text) name = {0};
    text_addf(&name, "%*s", columns->indent, "");
    text_add_escaped(&name, columns->name, strlen(columns->name));
    if (name.length > NAME_WIDTH) {
        text_addf(out, "%s\n", name.data);
        text_fini(&name);
    }
    bytes_format(columns->total_bytes, total, sizeof(total));
    bytes_format(columns->size_bytes, size, sizeof(size));
    text_addf(out, "%-*s %-11s %10s %10s %4s %4s %9s %8s", NAME_WIDTH, text_string(&name),
              columns->state, columns->size_bytes ? total : "", columns->size_bytes ? size : "",
              status_format_percent(columns->done_bytes, columns->total_bytes, done, sizeof(done)),
              status_format_percent(columns->safe_bytes, columns->total_bytes, safe, sizeof(safe)),
              columns->rate, columns->left);
    end_line(out);
}

/* --- machines --- */

static void add_unreadable(struct text *out, const struct machine_disk_row *disk)
{
    char size[16];
    if (disk->unreadable_bytes == 0)
        return;
    AUTO(text) note = {0};
    text_add_escaped(&note, disk->name, strlen(disk->name));
    text_addf(&note, ": %s could not be read",
              bytes_format(disk->unreadable_bytes, size, sizeof(size)));
    add_wrapped(out, note.data);
}

static void add_disk(struct text *out, const struct machine_disk_row *disk)
{
    char pass[16] = "";
    if (disk->pass > 0)
        snprintf(pass, sizeof(pass), "pass %" PRIu64, (uint64_t)disk->pass + 1);
    add_row(out, &(struct columns){INDENT, disk->name, pass, "", "", disk->size_bytes,
                                   disk->total_bytes, disk->done_bytes, disk->safe_bytes});
}

static void format_rate(uint64_t bytes_per_second, char *buffer, size_t size)
{
    if (bytes_per_second >= 9999500000)
        snprintf(buffer, size, "%.0f GB/s", (double)bytes_per_second / 1e9);
    else if (bytes_per_second >= 1000000)
        snprintf(buffer, size, "%.0f MB/s", (double)bytes_per_second / 1e6);
    else
        snprintf(buffer, size, "%.0f kB/s", (double)bytes_per_second / 1e3);
}

/* Agents choose some of these figures. */
static void add_up(uint64_t *sum, uint64_t bytes)
{
    if (!checked_add(*sum, bytes, sum))
        *sum = UINT64_MAX;
}

static void add_machine_row(struct text *out, const struct status_machine *machine)
{
    char rate[32] = "", left[32] = "";
    struct columns columns = {
        0, machine->row.name, machine_state_name(machine->row.state), rate, left, 0, 0, 0, 0};
    if (machine->row.state == MACHINE_RECEIVING) {
        format_rate(machine->row.bytes_per_second, rate, sizeof(rate));
        progress_format_time((double)machine->row.seconds_left, left, sizeof(left));
    }
    for (size_t i = 0; i < machine->disk_count; i++) {
        add_up(&columns.size_bytes, machine->disks[i].size_bytes);
        add_up(&columns.total_bytes, machine->disks[i].total_bytes);
        add_up(&columns.done_bytes, machine->disks[i].done_bytes);
        add_up(&columns.safe_bytes, machine->disks[i].safe_bytes);
    }
    add_row(out, &columns);
}

/* What a person would ask next. */
static void add_state_note(struct text *out, const struct machine_row *row, int64_t now)
{
    char age[32];
    AUTO_FREE char *prefix = NULL;
    status_format_age(now - row->since, age, sizeof(age));
    switch (row->state) {
    case MACHINE_RECEIVING:
    case MACHINE_FIXING:
    case MACHINE_DESCRIBING:
    case MACHINE_TESTING:
    case MACHINE_RECEIVED:
        if (row->text[0])
            add_note(out, "", row->text);
        return;
    case MACHINE_INTERRUPTED:
        prefix = text_format("the agent is away for %s; the transfer goes on when it is back%s",
                             age, row->text[0] ? ": " : "");
        break;
    case MACHINE_PAUSED:
        prefix =
            text_format("for %s; it goes on when there is room%s", age, row->text[0] ? ": " : "");
        break;
    case MACHINE_FAILED:
        prefix =
            text_format("%s ago, exit code %d%s", age, row->exit_code, row->text[0] ? ": " : "");
        break;
    default:
        prefix = text_format("%s ago%s", age, row->text[0] ? ": " : "");
    }
    add_note(out, prefix, row->text);
}

static void add_machine(struct text *out, const struct status_machine *machine, int64_t now)
{
    const struct machine_row *row = &machine->row;
    add_machine_row(out, machine);
    /* Of eighty machines that are done, one line each is enough. */
    for (size_t i = 0; i < machine->disk_count && !status_has_ended(row->state); i++)
        add_disk(out, &machine->disks[i]);
    for (size_t i = 0; i < machine->disk_count; i++)
        add_unreadable(out, &machine->disks[i]);
    add_state_note(out, row, now);
    if (row->warnings > 0) {
        AUTO_FREE char *count =
            text_format("%u %s", row->warnings, row->warnings == 1 ? "warning" : "warnings");
        add_note(out, "", count);
    }
    if (row->twin[0])
        add_note(out, "has the host name, DMI UUID or serial number of ", row->twin);
}

/* --- who waits --- */

static void add_waiting(struct text *out, const struct status *status, const char *pool,
                        int64_t now)
{
    text_addf(out, "%sWaiting for an approval; compare the code with the agent's screen:\n",
              status->machine_count ? "\n" : "");
    for (size_t i = 0; i < status->waiting_count; i++) {
        char age[32];
        const struct status_waiting *waiting = &status->waiting[i];
        status_format_age(now - waiting->since, age, sizeof(age));
        text_addf(out, "  %s  from ", waiting->code);
        text_add_escaped(out, waiting->address, strlen(waiting->address));
        text_addf(out, ", for %s\n", age);
        if (waiting->machine[0])
            text_addf(out,
                      "    says it is %s,\n    of which a part was received; to go on with that:\n",
                      waiting->machine);
        text_add(out, "    rehost approve --pool ");
        text_add_escaped(out, pool, strlen(pool));
        text_addf(out, "%s%s %s\n", waiting->machine[0] ? " --for " : "", waiting->machine,
                  waiting->code);
    }
}

void status_format(const struct status *status, const char *pool, int64_t now, struct text *out)
{
    if (status->machine_count > 0)
        text_addf(out, "%-*s %-11s %10s %10s %4s %4s %9s %8s\n", NAME_WIDTH, "MACHINE", "STATE",
                  "USED", "SIZE", "DONE", "SAFE", "RATE", "LEFT");
    else if (status->waiting_count == 0)
        text_add(out, "no machines yet (rehost token create lets one in)\n");
    for (size_t i = 0; i < status->machine_count; i++)
        add_machine(out, &status->machines[i], now);
    if (status->waiting_count > 0)
        add_waiting(out, status, pool, now);
}
