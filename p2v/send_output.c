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

/* A watcher is told beside the mute console, which keeps the warnings. */
static void hand_on(struct send *send, enum log_level level, const char *line)
{
    const struct send_watch *watch = send->options->watch;
    send_progress_clear(&send->progress);
    send->console->log.emit(&send->console->log, level, line);
    if (watch && watch->message)
        watch->message(watch->context, level, line);
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

void send_output_start(struct send *send, struct console *console)
{
    send->log.emit = emit;
    pthread_mutex_init(&send->output, NULL);
    console_init(&send->mute);
    send->mute.is_quiet = true;
    send->console = send->options->watch ? &send->mute : console;
    send->progress.fd = STDERR_FILENO;
    send->progress.mode = send->options->watch
                              ? PROGRESS_NONE
                              : progress_mode_for(send->options->progress, STDERR_FILENO);
}

void send_output_stop(struct send *send)
{
    console_fini(&send->mute);
    pthread_mutex_destroy(&send->output);
    text_fini(&send->held);
}

static void tell_disks(struct send *send)
{
    const struct send_watch *watch = send->options->watch;
    const char *names[WIRE_MAX_DISKS];
    for (size_t i = 0; i < send->disk_count; i++)
        names[i] = send->disks[i].name;
    if (watch && watch->disks)
        watch->disks(watch->context, names, send->disk_count);
}

void send_output_show_disks(struct send *send)
{
    pthread_mutex_lock(&send->output);
    for (size_t i = 0; i < send->disk_count; i++)
        snprintf(send->progress.rows[i].name, sizeof(send->progress.rows[i].name), "%s",
                 send->disks[i].name);
    send->progress.count = send->disk_count;
    tell_disks(send);
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
    send->is_held = is_held && !send->options->watch && !isatty(STDERR_FILENO);
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
    const struct send_watch *watch = send->options->watch;
    if (disk >= send->disk_count)
        return;
    pthread_mutex_lock(&send->output);
    if (watch && watch->progress)
        watch->progress(watch->context, disk, figures);
    bool is_asked = is_new_code(send, figures);
    if (!send->is_held)
        send_progress_update(&send->progress, disk, figures, clock_seconds());
    pthread_mutex_unlock(&send->output);
    if (is_asked)
        log_info(&send->log, "waiting for approval; on the server: rehost approve %s",
                 figures->text);
}

static void tell_stage(struct send *send, const char *machine, enum wire_stage stage,
                       const char *text)
{
    const struct send_watch *watch = send->options->watch;
    pthread_mutex_lock(&send->output);
    if (watch->stage)
        watch->stage(watch->context, machine, stage, text ? text : "");
    pthread_mutex_unlock(&send->output);
}

void send_show_result(struct send *send, int exit_code)
{
    const struct send_watch *watch = send->options->watch;
    pthread_mutex_lock(&send->output);
    if (watch && watch->result)
        watch->result(watch->context, &send->result, exit_code);
    pthread_mutex_unlock(&send->output);
}

void send_show_stage(void *context, const char *machine, enum wire_stage stage, const char *text)
{
    static const char *const names[] = {"received", "waiting for its turn", "fixing", "describing",
                                        "boot test"};
    struct send *send = context;
    const char *name = stage < WIRE_STAGE_END ? names[stage] : "?";
    if (send->options->watch) {
        tell_stage(send, machine, stage, text);
        return;
    }
    pthread_mutex_lock(&send->output);
    send_progress_clear(&send->progress); /* the disks are done */
    send->progress.mode = send->progress.mode == PROGRESS_JSON ? PROGRESS_JSON : PROGRESS_NONE;
    pthread_mutex_unlock(&send->output);
    if (text && text[0] && strcmp(text, machine) != 0)
        log_info(&send->log, "%s: %s: %s", machine, name, text);
    else
        log_info(&send->log, "%s: %s", machine, name);
}
