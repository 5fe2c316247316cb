/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The steps before the sending: looking, and on an attended run the questions. Each shows a page,
 * and what a person does there leads to the next one.
 */
#include "base/own.h"
#include "p2v/boot/session_private.h"

#include <stdio.h>
#include <string.h>

#define FOREVER_MS 1000000000
#define ASK_PIN_MS 10000

static void set_page(struct session *session, enum screen_page page)
{
    session->model.page = page;
}

static void set_stage(struct session *session, const char *text)
{
    snprintf(session->model.stage, sizeof(session->model.stage), "%.199s", text);
}

static void set_problem(struct session *session, const char *text)
{
    bool is_new = text[0] && strncmp(session->model.problem, text, 299) != 0;
    snprintf(session->model.problem, sizeof(session->model.problem), "%.299s", text);
    if (is_new)
        log_info(&session->log.log, "%s", text);
}

enum session_step session_step_for(enum screen_act act, enum session_step otherwise)
{
    return act == SCREEN_POWER_OFF ? SESSION_POWER_OFF
           : act == SCREEN_RESTART ? SESSION_RESTART
                                   : otherwise;
}

/* --- looking --- */

struct look {
    struct boot_findings findings;
    struct error err;
};

/* What was asked for is not there: a person may choose among what is. */
static void read_all_disks(struct session *session, struct boot_findings *findings)
{
    struct boot_settings any = {.has_external = session->settings.has_external};
    boot_findings_read(session->parts->root, &any, findings, NULL, NULL);
}

/* In a thread: the model's findings are not shown meanwhile, but they are copied. */
static int look(struct session *session)
{
    AUTO_FREE struct look *look = memory_new(1, sizeof(*look));
    int result = boot_findings_read(session->parts->root, &session->settings, &look->findings,
                                    &session->log.log, &look->err);
    if (result != 0 && session->is_attended)
        read_all_disks(session, &look->findings);
    session->found = look->findings;
    session->found_error = look->err;
    return result;
}

static bool is_any_chosen(const struct boot_findings *findings)
{
    for (size_t i = 0; i < findings->disk_count; i++) {
        if (findings->disks[i].is_chosen)
            return true;
    }
    return false;
}

static void say_findings(struct session *session)
{
    const struct boot_findings *findings = &session->model.findings;
    struct log *log = &session->log.log;
    log_info(log, "%s", findings->machine);
    for (size_t i = 0; i < findings->disk_count; i++) {
        const struct boot_disk *disk = &findings->disks[i];
        log_info(log, "%s: %s%s%s", disk->device.name, disk->content,
                 disk->is_chosen ? "" : "; stays: ", disk->why_not);
    }
    for (size_t i = 0; i < findings->notice_count; i++) {
        if (findings->notices[i].kind == BOOT_NOTICE_INFO)
            log_info(log, "%s", findings->notices[i].text);
        else
            log_warning(log, "%s", findings->notices[i].text);
    }
}

/* Disks may come late: controllers take their time. */
static enum screen_act look_until_found(struct session *session)
{
    for (;;) {
        enum screen_act act = session_work(session, look);
        if (act != SCREEN_NOTHING)
            return act;
        session->model.findings = session->found;
        bool is_found = !session->found_error.text[0] && is_any_chosen(&session->found);
        if (is_found || session->is_attended) {
            say_findings(session);
            return SCREEN_NOTHING;
        }
        set_problem(session, session->found_error.text[0] ? session->found_error.text
                                                          : "There is no disk to copy (yet).");
        act = session_wait(session, session->parts->again_ms);
        if (act != SCREEN_NOTHING)
            return act;
    }
}

/* Disks have come or gone since they were looked at. */
static bool has_changed(const struct session *session)
{
    AUTO(machine_disks) disks = {0};
    const struct boot_findings *findings = &session->model.findings;
    if (machine_disks_list(session->parts->root, &disks, NULL, NULL) != 0)
        return false;
    for (size_t i = 0; i < findings->disk_count && i < disks.count; i++) {
        if (strcmp(findings->disks[i].device.name, disks.items[i].name) != 0)
            return true;
    }
    return disks.count < BOOT_MAX_DISKS && disks.count != findings->disk_count;
}

/* What the machine is told to be has its addresses in it: so the network is waited for. */
static enum screen_act wait_for_network(struct session *session, int timeout_ms)
{
    enum screen_act act = SCREEN_NOTHING;
    set_page(session, SCREEN_LOOKING);
    set_stage(session, "Waiting for the network.");
    session->model.problem[0] = '\0';
    for (int waited = 0; session->network && waited < timeout_ms && act == SCREEN_NOTHING;
         waited += session->parts->tick_ms) {
        session->parts->network_state(session->network, &session->model.network);
        if (session->model.network.is_up)
            break;
        act = session_wait(session, session->parts->tick_ms);
    }
    return act;
}

enum session_step session_look(struct session *session)
{
    AUTO_FREE char *before = text_copy(session->model.problem);
    set_page(session, SCREEN_LOOKING);
    set_stage(session, "Looking at the disks.");
    enum screen_act act = look_until_found(session);
    if (act != SCREEN_NOTHING)
        return session_step_for(act, SESSION_LOOK);
    snprintf(session->model.server, sizeof(session->model.server), "%s",
             session->model.form.server);
    if (!session->is_attended) {
        act = wait_for_network(session, FOREVER_MS);
        return session_step_for(act, has_changed(session) ? SESSION_LOOK : SESSION_SEND);
    }
    set_problem(session, session->found_error.text[0] ? session->found_error.text : before);
    bool is_all_known = session->settings.server && session->pin[0] && !before[0];
    return is_all_known ? SESSION_REVIEW : SESSION_FORM;
}

/* --- the form --- */

static int change_network(struct session *session, const char *network, struct error *err)
{
    char value[sizeof(session->model.form.network)];
    struct boot_settings wanted = {.server = session->model.form.server};
    struct boot_net_plan plan = {0};
    snprintf(value, sizeof(value), "%s", network);
    if (value[0])
        wanted.net = (struct boot_names){.items = {value}, .count = 1};
    if (boot_network_plan(&wanted, &plan, err) != 0)
        return -1;
    return session->network ? session->parts->network_change(session->network, &plan, err) : 0;
}

static int take_form(struct session *session, struct error *err)
{
    struct screen_form *form = &session->model.form, *typed = &session->answer.form;
    struct link_address address;
    if (link_address_parse(typed->server, &address, err) != 0)
        return error_wrap(err, "Server");
    bool is_network_new = strcmp(form->network, typed->network) != 0;
    *form = *typed;
    if (is_network_new && change_network(session, form->network, err) != 0) {
        form->network[0] = '\x7f'; /* is not in force: a correction is new in any case */
        return error_wrap(err, "Network");
    }
    snprintf(session->model.server, sizeof(session->model.server), "%s", form->server);
    return 0;
}

enum session_step session_form(struct session *session)
{
    set_page(session, SCREEN_FORM);
    for (;;) {
        struct error err = {0};
        enum screen_act act = session_wait(session, FOREVER_MS);
        if (act != SCREEN_SUBMIT)
            return session_step_for(act, SESSION_FORM);
        if (take_form(session, &err) == 0)
            break;
        set_problem(session, err.text);
    }
    session->model.problem[0] = '\0';
    bool is_pin_known =
        session->pin[0] && strcmp(session->pinned_server, session->model.form.server) == 0;
    return is_pin_known ? SESSION_REVIEW : SESSION_PIN;
}

/* --- the pin --- */

static int ask(struct session *session)
{
    struct error err = {0};
    struct link_address address;
    uint8_t pin[TLS_IDENTITY_SIZE];
    char text[TLS_PIN_SIZE] = "";
    AUTO_FREE char *server = text_copy(session->model.form.server);
    int result = link_address_parse(server, &address, &err);
    if (result == 0)
        result = session->parts->ask_pin(&address, ASK_PIN_MS, pin, &err);
    if (result == 0)
        tls_pin_format(pin, text);
    memcpy(session->asked_pin, text, sizeof(text));
    session->found_error = err;
    return result;
}

enum session_step session_ask_pin(struct session *session)
{
    AUTO_FREE char *stage = text_format("Asking %.150s for its key.", session->model.server);
    enum screen_act act = wait_for_network(session, session->parts->network_ms);
    set_stage(session, stage);
    if (act == SCREEN_NOTHING)
        act = session_work(session, ask);
    if (act != SCREEN_NOTHING)
        return session_step_for(act, SESSION_FORM);
    if (!session->asked_pin[0]) {
        set_problem(session, session->found_error.text);
        return SESSION_FORM;
    }
    snprintf(session->model.pin, sizeof(session->model.pin), "%s", session->asked_pin);
    session->model.problem[0] = '\0';
    set_page(session, SCREEN_PIN);
    act = session_wait(session, FOREVER_MS);
    if (act != SCREEN_SUBMIT)
        return session_step_for(act, SESSION_FORM);
    memcpy(session->pin, session->asked_pin, sizeof(session->pin));
    memcpy(session->pinned_server, session->model.form.server, sizeof(session->pinned_server));
    return SESSION_REVIEW;
}

/* --- what goes --- */

enum session_step session_review(struct session *session)
{
    struct boot_findings *findings = &session->model.findings;
    enum screen_act act = SCREEN_NOTHING;
    session->is_attended = true;
    if (has_changed(session)) {
        set_page(session, SCREEN_LOOKING);
        set_stage(session, "Looking at the disks.");
        act = look_until_found(session);
    }
    set_page(session, SCREEN_REVIEW);
    if (act == SCREEN_NOTHING)
        act = session_wait(session, FOREVER_MS);
    session->model.problem[0] = '\0';
    if (act != SCREEN_SUBMIT)
        return session_step_for(act, act == SCREEN_BACK ? SESSION_FORM : SESSION_REVIEW);
    for (size_t i = 0; i < findings->disk_count; i++)
        findings->disks[i].is_chosen = session->answer.is_chosen[i];
    return SESSION_SEND;
}
