/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * From looking at the machine to the last word: sets the session up, goes from step to step, and
 * tells PID 1 what comes next.
 */
#include "p2v/boot/session.h"

#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/boot/init_consoles.h"
#include "p2v/boot/init_private.h"
#include "p2v/boot/session_private.h"
#include "p2v/interrupt.h"
#include "p2v/wire/ask_pin.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_CONSOLES 8

/* --- what every step does --- */

static enum screen_act look_after(struct session *session, enum screen_act act)
{
    if (act == SCREEN_SHELL)
        screens_shell(session->screens);
    if (session->parts->stop && atomic_load(session->parts->stop))
        return SCREEN_POWER_OFF; /* PID 1 ends us; it knows what comes next */
    return act == SCREEN_SHELL ? SCREEN_NOTHING : act;
}

static enum screen_act wait_once(struct session *session, int timeout_ms)
{
    struct screen_model *model = &session->model;
    if (session->network)
        session->parts->network_state(session->network, &model->network);
    session_log_copy_warnings(&session->log, model);
    if (!session->screens) {
        usleep(1000 * (unsigned)timeout_ms);
        return SCREEN_NOTHING;
    }
    screens_show(session->screens, model);
    return screens_wait(session->screens, timeout_ms, &session->answer);
}

enum screen_act session_wait(struct session *session, int timeout_ms)
{
    enum screen_act act = SCREEN_NOTHING;
    for (; timeout_ms > 0 && act == SCREEN_NOTHING; timeout_ms -= session->parts->tick_ms) {
        int tick = timeout_ms < session->parts->tick_ms ? timeout_ms : session->parts->tick_ms;
        act = look_after(session, wait_once(session, tick));
    }
    return act;
}

struct job {
    struct session *session;
    int (*work)(struct session *session);
    atomic_bool has_ended;
};

static void *do_job(void *context)
{
    struct job *job = context;
    job->work(job->session);
    atomic_store(&job->has_ended, true);
    return NULL;
}

enum screen_act session_work(struct session *session, int (*work)(struct session *session))
{
    struct job *job = memory_new(1, sizeof(*job));
    pthread_t thread;
    enum screen_act act = SCREEN_NOTHING;
    *job = (struct job){.session = session, .work = work};
    if (pthread_create(&thread, NULL, do_job, job) != 0) {
        free(job);
        work(session);
        return SCREEN_NOTHING;
    }
    while (!atomic_load(&job->has_ended) && act == SCREEN_NOTHING)
        act = session_wait(session, session->parts->tick_ms);
    session->is_abandoned = act != SCREEN_NOTHING; /* a disk that does not answer may take long */
    if (session->is_abandoned) {
        pthread_detach(thread);
        return act;
    }
    pthread_join(thread, NULL);
    free(job);
    return SCREEN_NOTHING;
}

/* --- setting up --- */

static void say_problem(struct session *session, const struct error *err)
{
    log_warning(&session->log.log, "%s", err->text);
    snprintf(session->model.problem, sizeof(session->model.problem), "%.299s", err->text);
    session->is_attended = true;
}

/* Each list once: a boot menu made for something else may have many. */
static void say_names(struct session *session, const struct boot_names *names, const char *what)
{
    AUTO(text) list = {0};
    for (size_t i = 0; i < names->count; i++) {
        text_add(&list, i ? ", " : "");
        text_add_escaped(&list, names->items[i], strlen(names->items[i]));
    }
    if (names->count > 0)
        log_warning(&session->log.log, "%s %s", what, list.data);
}

static void take_settings(struct session *session)
{
    struct error err = {0};
    struct boot_settings *settings = &session->settings;
    struct screen_form *form = &session->model.form;
    bool is_good = boot_settings_parse(session->parts->command_line, settings, &err) == 0;
    session->is_attended = !is_good || !boot_settings_are_unattended(settings);
    if (!is_good)
        say_problem(session, &err);
    say_names(session, &settings->unknown, "the kernel command line has what is not known here:");
    say_names(session, &settings->not_applied,
              "the kernel command line has what has no meaning here:");
    snprintf(form->server, sizeof(form->server), "%s", settings->server ? settings->server : "");
    snprintf(form->name, sizeof(form->name), "%s", settings->name ? settings->name : "");
    snprintf(form->token, sizeof(form->token), "%s", settings->token ? settings->token : "");
    if (settings->net.count == 1)
        snprintf(form->network, sizeof(form->network), "%s", settings->net.items[0]);
    snprintf(session->pin, sizeof(session->pin), "%s", settings->pin ? settings->pin : "");
    memcpy(session->pinned_server, form->server, sizeof(form->server));
}

static void start_network(struct session *session)
{
    const struct session_parts *parts = session->parts;
    struct boot_net_plan plan = {0};
    struct error err = {0};
    if (boot_network_plan(&session->settings, &plan, &err) != 0) {
        say_problem(session, &err);
        plan = (struct boot_net_plan){0}; /* by DHCP, then */
    }
    session->network = parts->network_start(&plan, parts->root, &session->log.log, &err);
    if (!session->network)
        say_problem(session, &err);
}

static void start_screens(struct session *session)
{
    const struct session_parts *parts = session->parts;
    struct error err = {0};
    session->screens = screens_start(parts->consoles, parts->console_count,
                                     session->settings.has_shell, &session->log.log, &err);
    if (session->screens)
        return;
    session_log_open(&session->log, "/dev/console", O_APPEND);
    log_warning(&session->log.log, "%s", err.text);
    if (session->is_attended)
        log_warning(&session->log.log, "nobody can be asked: rehost.server= and rehost.pin= are "
                                       "needed on the kernel command line");
}

/* --- */

enum session_step session_run(struct session *session)
{
    enum session_step step = SESSION_LOOK;
    session->model.seconds_to_then = -1;
    session->model.can_go_back = true;
    take_settings(session);
    start_screens(session);
    start_network(session);
    while (step < SESSION_POWER_OFF) {
        static enum session_step (*const steps[])(struct session *) = {
            [SESSION_LOOK] = session_look,     [SESSION_FORM] = session_form,
            [SESSION_PIN] = session_ask_pin,   [SESSION_REVIEW] = session_review,
            [SESSION_SEND] = session_send_all, [SESSION_DONE] = session_done,
        };
        step = steps[step](session);
    }
    screens_stop(session->screens);
    if (session->is_abandoned)
        return step;
    if (session->network)
        session->parts->network_stop(session->network);
    boot_settings_fini(&session->settings);
    explicit_bzero(&session->model.form, sizeof(session->model.form));
    return step;
}

/* What is printed by chance may not end up on the screens. */
static void keep_output_off_the_screens(void)
{
    int fd = isatty(STDOUT_FILENO)
                 ? open(INIT_LOG, O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY | O_CLOEXEC, 0600)
                 : -1;
    if (fd < 0)
        return;
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    close(fd);
}

int boot_session(void)
{
    char paths[MAX_CONSOLES][64];
    const char *consoles[MAX_CONSOLES];
    struct error err = {0};
    AUTO_FREE char *line = inventory_text("", "/proc/cmdline");
    struct session_parts parts = {.root = "",
                                  .command_line = line,
                                  .send = send_machine,
                                  .ask_pin = ask_pin,
                                  .network_start = boot_network_start,
                                  .network_state = boot_network_state,
                                  .network_change = boot_network_change,
                                  .network_stop = boot_network_stop,
                                  .consoles = consoles,
                                  .stop = interrupt_flag(),
                                  .tick_ms = 200,
                                  .network_ms = 30000,
                                  .again_ms = 5000,
                                  .goodbye_s = 10,
                                  .attended_goodbye_s = 60,
                                  .retry_s = 30,
                                  .stay_s = 600};
    parts.console_count = boot_consoles_list("", paths, MAX_CONSOLES);
    for (size_t i = 0; i < parts.console_count; i++)
        consoles[i] = paths[i];
    keep_output_off_the_screens();
    struct session *session = memory_new(1, sizeof(*session));
    session->parts = &parts;
    session_log_init(&session->log);
    session_log_open(&session->log, "/proc/self/fd/1", O_APPEND);
    if (interrupt_start(&err) != 0)
        log_warning(&session->log.log, "%s", err.text);
    enum session_step end = session_run(session);
    if (!session->is_abandoned) {
        session_log_fini(&session->log);
        free(session);
    }
    return end == SESSION_RESTART ? BOOT_EXIT_REBOOT : BOOT_EXIT_POWER_OFF;
}
