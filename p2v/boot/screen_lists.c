/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The pages that may be longer than a screen: what was found, the disks being sent, how it ended.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "p2v/boot/screen_ui.h"
#include "p2v/progress.h"

#include <stdio.h>
#include <string.h>

static void draw_list(struct screen_ui *ui, const struct screen_model *model,
                      const struct screen_list *list, struct screen_grid *grid, int row, int rows)
{
    int focus = ui->is_following ? screen_ui_focus(ui, model) : -1;
    screen_list_draw(list, grid, row, rows, focus, &ui->scroll);
}

static void add_blank(struct screen_list *list)
{
    screen_list_add(list, SCREEN_PLAIN, -1, "%s", "");
}

/* --- what was found --- */

/* "eno1 192.0.2.17/24 by DHCP, eno2 no cable" */
static void add_network(struct screen_list *list, const struct boot_network_state *network)
{
    AUTO(text) line = {0};
    for (size_t i = 0; i < network->count; i++)
        text_addf(&line, "%s%s %s", i ? ", " : "", network->links[i].name, network->links[i].state);
    screen_list_wrap(list, "  Network: ", line.length ? line.data : "no network card was found");
}

static void add_disk(struct screen_list *list, const struct screen_ui *ui,
                     const struct boot_disk *disk, size_t index, bool is_focused)
{
    const struct machine_disk *device = &disk->device;
    char size[32], used[48], text[32];
    int item = SCREEN_ITEM_DISK + (int)index;
    bool can_go = screen_disk_can_go(disk);
    bytes_format(device->size_bytes, size, sizeof(size));
    snprintf(used, sizeof(used), "%s to copy", bytes_format(disk->used_bytes, text, sizeof(text)));
    screen_list_add(list, is_focused ? SCREEN_REVERSE : SCREEN_PLAIN, can_go ? item : -1,
                    "%c [%c] %-9s %10s  %-24.24s %.24s", is_focused ? '>' : ' ',
                    !can_go                ? '-'
                    : ui->is_chosen[index] ? 'x'
                                           : ' ',
                    device->name, size, device->model[0] ? device->model : device->bus,
                    can_go ? used : "stays here");
    screen_list_add(list, SCREEN_PLAIN, can_go ? item : -1, "      %s%s%.60s", disk->content,
                    disk->why_not[0] ? "   - " : "", disk->why_not);
}

static void add_notices(struct screen_list *list, const struct boot_findings *findings)
{
    static const char *const marks[] = {[BOOT_NOTICE_INFO] = "    ",
                                        [BOOT_NOTICE_WARNING] = "  ! ",
                                        [BOOT_NOTICE_MISSING] = "  ! "};
    static const enum boot_notice_kind order[] = {BOOT_NOTICE_MISSING, BOOT_NOTICE_WARNING,
                                                  BOOT_NOTICE_INFO};
    if (findings->notice_count == 0)
        return;
    add_blank(list);
    screen_list_add(list, SCREEN_BOLD, -1, "  Good to know before:");
    for (size_t k = 0; k < ARRAY_LENGTH(order); k++) {
        for (size_t i = 0; i < findings->notice_count; i++) {
            if (findings->notices[i].kind == order[k])
                screen_list_wrap(list, marks[order[k]], findings->notices[i].text);
        }
    }
}

/* They stand below the disks, perhaps out of sight. */
static void add_warning_count(struct screen_list *list, const struct boot_findings *findings)
{
    int count = 0;
    for (size_t i = 0; i < findings->notice_count; i++)
        count += findings->notices[i].kind != BOOT_NOTICE_INFO;
    if (count > 0)
        screen_list_add(list, SCREEN_BOLD, -1, "  ! %d warning%s: read %s below (PgDn)", count,
                        count == 1 ? "" : "s", count == 1 ? "it" : "them");
}

void screen_draw_review(struct screen_ui *ui, const struct screen_model *model,
                        struct screen_grid *grid, int row, int rows)
{
    AUTO(screen_list) list = {.width = grid->columns - 2};
    const struct boot_findings *findings = &model->findings;
    int focus = screen_ui_focus(ui, model);
    screen_list_wrap(&list, "  Machine: ", findings->machine);
    add_network(&list, &model->network);
    screen_list_wrap(&list, "  Server:  ", model->server);
    if (model->problem[0])
        screen_list_wrap(&list, "  ! ", model->problem);
    add_warning_count(&list, findings);
    add_blank(&list);
    screen_list_add(&list, SCREEN_BOLD, -1, "  Disks: those that are ticked are copied");
    for (size_t i = 0; i < findings->disk_count; i++)
        add_disk(&list, ui, &findings->disks[i], i, focus == SCREEN_ITEM_DISK + (int)i);
    if (findings->disk_count == 0)
        screen_list_add(&list, SCREEN_PLAIN, -1, "    none was found");
    add_notices(&list, findings);
    draw_list(ui, model, &list, grid, row, rows);
}

/* --- sending --- */

static double share(uint64_t done, uint64_t total)
{
    return total == 0 ? 0 : done >= total ? 1 : (double)done / (double)total;
}

/* What is left is rounded down, so that 100 % means all of it. */
static int percent(uint64_t done, uint64_t total)
{
    return (int)(share(done, total) * 100);
}

static void add_bar(struct screen_list *list, const struct screen_disk *disk)
{
    const struct sender_progress *now = &disk->progress;
    bool is_done = now->phase == SENDER_DISK_DONE;
    char bar[SCREEN_MAX_COLUMNS];
    int width = list->width > 58 ? list->width - 48 : 10;
    int full = (int)(share(now->done_bytes, now->total_bytes) * width);
    for (int i = 0; i < width; i++)
        bar[i] = i < full || is_done ? '#' : '.';
    bar[width] = '\0';
    screen_list_add(list, SCREEN_PLAIN, -1, "  %-10.10s [%s] %3d %%   safe to %3d %%", disk->name,
                    bar, is_done ? 100 : percent(now->done_bytes, now->total_bytes),
                    is_done ? 100 : percent(now->safe_bytes, now->total_bytes));
}

/* "118.2 MiB/s, 21:40 left, 118.0 GiB sent as 61.0 GiB" */
static void add_figures(const struct screen_disk *disk, struct text *line)
{
    const struct sender_progress *now = &disk->progress;
    char first[32], second[32];
    if (now->phase == SENDER_SENDING && disk->bytes_per_second >= 1) {
        text_addf(line, "%s/s, %s left", bytes_format((uint64_t)disk->bytes_per_second, first, 32),
                  progress_format_time(disk->seconds_left, second, sizeof(second)));
    }
    if (now->sent_bytes > 0)
        text_addf(line, "%s%s sent as %s", line->length ? ", " : "",
                  bytes_format(now->sent_bytes, first, sizeof(first)),
                  bytes_format(now->wire_bytes, second, sizeof(second)));
    if (now->unreadable_bytes > 0)
        text_addf(line, "%s%s unreadable", line->length ? ", " : "",
                  bytes_format(now->unreadable_bytes, first, sizeof(first)));
}

static void add_phase(const struct screen_disk *disk, struct text *line)
{
    const struct sender_progress *now = &disk->progress;
    switch (now->phase) {
    case SENDER_CONNECTING:
        text_add(line, now->done_bytes ? "connection lost: connecting again" : "connecting");
        break;
    case SENDER_WAITING:
        text_add(line, "waiting for approval on the server");
        break;
    case SENDER_PAUSED:
        text_addf(line, "the server waits: %s", now->text);
        break;
    case SENDER_DISK_DONE:
        text_add(line, "all of it is there");
        break;
    case SENDER_DISK_FAILED:
        text_addf(line, "failed%s%s", now->text[0] ? ": " : "", now->text);
        break;
    case SENDER_SENDING:
        break;
    }
}

static void add_sent_disk(struct screen_list *list, const struct screen_disk *disk)
{
    AUTO(text) line = {0};
    add_bar(list, disk);
    add_phase(disk, &line);
    AUTO(text) figures = {0};
    add_figures(disk, &figures);
    if (figures.length)
        text_addf(&line, "%s%s", line.length ? ", " : "", figures.data);
    screen_list_wrap(list, "             ", text_string(&line));
}

static void add_total(struct screen_list *list, const struct screen_model *model)
{
    uint64_t total = 0, done = 0;
    double left = 0;
    char time_text[32];
    for (size_t i = 0; i < model->disk_count; i++) {
        const struct screen_disk *disk = &model->disks[i];
        total += disk->progress.total_bytes;
        done += disk->progress.done_bytes;
        if (disk->progress.phase != SENDER_DISK_DONE)
            left = disk->seconds_left < 0 || left < 0 ? -1
                   : disk->seconds_left > left        ? disk->seconds_left
                                                      : left;
    }
    if (model->stage[0])
        screen_list_add(list, SCREEN_BOLD, -1, "  %.40s has received everything.", model->server);
    else
        screen_list_add(list, SCREEN_BOLD, -1, "  Copying to %.40s: %d %%, %s left", model->server,
                        percent(done, total),
                        progress_format_time(left, time_text, sizeof(time_text)));
}

static void add_warnings(struct screen_list *list, const struct screen_model *model)
{
    if (model->warning_count == 0)
        return;
    add_blank(list);
    for (size_t i = 0; i < model->warning_count; i++)
        screen_list_wrap(list, "  ! ", model->warnings[i]);
}

void screen_draw_sending(struct screen_ui *ui, const struct screen_model *model,
                         struct screen_grid *grid, int row, int rows)
{
    AUTO(screen_list) list = {.width = grid->columns - 2};
    add_total(&list, model);
    if (model->code[0])
        screen_list_wrap(&list, "  ! ", "This machine has no token. On the server, type:");
    if (model->code[0])
        screen_list_add(&list, SCREEN_BOLD, -1, "        rehost approve %s", model->code);
    if (model->problem[0])
        screen_list_wrap(&list, "  ! ", model->problem);
    add_blank(&list);
    for (size_t i = 0; i < model->disk_count; i++)
        add_sent_disk(&list, &model->disks[i]);
    if (model->stage[0]) {
        add_blank(&list);
        screen_list_wrap(&list, "  The server ", model->stage);
    }
    add_warnings(&list, model);
    draw_list(ui, model, &list, grid, row, rows);
}

/* --- how it ended --- */

static void add_what_comes(struct screen_list *list, const struct screen_model *model)
{
    AUTO(text) line = {0};
    if (model->seconds_to_then >= 0)
        text_addf(&line, "This machine %s in %d seconds. Press any key to stop that.", model->then,
                  model->seconds_to_then);
    else if (model->is_good)
        text_add(&line, "This machine waits. It may be powered off at any time.");
    else
        text_add(&line, "This machine waits, and stays as it is.");
    screen_list_wrap(list, "  ", line.data);
}

void screen_draw_done(struct screen_ui *ui, const struct screen_model *model,
                      struct screen_grid *grid, int row, int rows)
{
    AUTO(screen_list) list = {.width = grid->columns - 2};
    screen_list_add(&list, SCREEN_BOLD, -1, "  %s",
                    model->is_good ? "This machine has been copied." : "It did not work.");
    add_blank(&list);
    screen_list_wrap(&list, "  ", model->result);
    add_warnings(&list, model);
    add_blank(&list);
    add_what_comes(&list, model);
    for (size_t i = 0; i < model->disk_count; i++) {
        if (i == 0)
            add_blank(&list);
        add_sent_disk(&list, &model->disks[i]);
    }
    draw_list(ui, model, &list, grid, row, rows);
}
