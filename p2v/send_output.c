/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a person sees while sending: messages with the disks' lines out of their way. While file
 * systems are frozen a message that went into a file, or through a pipe into somebody's file, could
 * wait for its own thaw: it is kept until then, unless it goes to a terminal.
 */
#include "base/clock.h"
#include "base/own.h"
#include "p2v/send_private.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Of messages that wait; what is beyond is dropped. */
#define MAX_HELD ((size_t)1 << 20)

static void hand_on(struct send *send, enum log_level level, const char *line)
{
    send_progress_clear(&send->progress);
    send->console->log.emit(&send->console->log, level, line);
    send_progress_draw(&send->progress);
}

static void emit(struct log *log, enum log_level level, const char *line)
{
    struct send *send = (struct send *)log;
    pthread_mutex_lock(&send->output);
    if (!send->is_held)
        hand_on(send, level, line);
    else if (send->held.length < MAX_HELD)
        text_addf(&send->held, "%d%s\n", (int)level, line);
    pthread_mutex_unlock(&send->output);
}

void send_output_start(struct send *send)
{
    send->log.emit = emit;
    pthread_mutex_init(&send->output, NULL);
    send->progress.fd = STDERR_FILENO;
    send->progress.mode = progress_mode_for(send->options->progress, STDERR_FILENO);
}

void send_output_show_disks(struct send *send)
{
    pthread_mutex_lock(&send->output);
    for (size_t i = 0; i < send->disk_count; i++)
        snprintf(send->progress.rows[i].name, sizeof(send->progress.rows[i].name), "%s",
                 send->disks[i].name);
    send->progress.count = send->disk_count;
    pthread_mutex_unlock(&send->output);
}

static void hand_on_held(struct send *send)
{
    char *place = NULL;
    AUTO_FREE char *held = text_take(&send->held);
    for (char *line = strtok_r(held, "\n", &place); line; line = strtok_r(NULL, "\n", &place))
        hand_on(send, (enum log_level)(line[0] - '0'), line + 1);
}

void send_output_hold(struct send *send, bool is_held)
{
    pthread_mutex_lock(&send->output);
    send->is_held = is_held && !isatty(STDERR_FILENO);
    if (!send->is_held)
        hand_on_held(send);
    pthread_mutex_unlock(&send->output);
}

void send_output_end(struct send *send)
{
    pthread_mutex_lock(&send->output);
    send_progress_clear(&send->progress);
    send->progress.mode = PROGRESS_NONE;
    hand_on_held(send);
    pthread_mutex_unlock(&send->output);
}

/* Once for each code, whichever disk's progress brings it. */
static bool is_new_code(struct send *send, const struct sender_progress *figures)
{
    if (figures->phase != SENDER_WAITING || !figures->text[0] ||
        strncmp(send->code, figures->text, sizeof(send->code) - 1) == 0)
        return false;
    snprintf(send->code, sizeof(send->code), "%.79s", figures->text);
    return true;
}

void send_show_progress(void *context, size_t disk, const struct sender_progress *figures)
{
    struct send *send = context;
    if (disk >= send->disk_count)
        return;
    pthread_mutex_lock(&send->output);
    bool is_asked = is_new_code(send, figures);
    if (!send->is_held)
        send_progress_update(&send->progress, disk, figures, clock_seconds());
    pthread_mutex_unlock(&send->output);
    if (is_asked)
        log_info(&send->log, "waiting for approval; on the server: rehost approve %s",
                 figures->text);
}

void send_show_stage(void *context, const char *machine, enum wire_stage stage, const char *text)
{
    static const char *const names[] = {"received", "waiting for its turn", "fixing", "describing",
                                        "boot test"};
    struct send *send = context;
    const char *name = stage < WIRE_STAGE_END ? names[stage] : "?";
    pthread_mutex_lock(&send->output);
    send_progress_clear(&send->progress); /* the disks are done */
    send->progress.mode = send->progress.mode == PROGRESS_JSON ? PROGRESS_JSON : PROGRESS_NONE;
    pthread_mutex_unlock(&send->output);
    if (text && text[0] && strcmp(text, machine) != 0)
        log_info(&send->log, "%s: %s: %s", machine, name, text);
    else
        log_info(&send->log, "%s: %s", machine, name);
}
