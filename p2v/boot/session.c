/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * From looking at the machine to the last word: settings, network, what there is, sending, and how
 * it ended. Unattended, in plain lines.
 */
#include "p2v/boot/session.h"

#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/boot/findings.h"
#include "p2v/boot/network.h"
#include "p2v/boot/settings.h"
#include "p2v/cli.h"
#include "p2v/interrupt.h"
#include "p2v/send.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NETWORK_POLL_SECONDS 1
#define RETRY_SECONDS 30

struct session {
    struct console console;
    struct boot_settings settings;
    struct boot_network *network;
    struct boot_findings findings;
};

static void wait_for_network(struct session *session)
{
    char said[200] = "";
    while (!interrupt_is_requested()) {
        struct boot_network_state state;
        boot_network_state(session->network, &state);
        if (state.is_up)
            return;
        if (state.problem[0] && strcmp(said, state.problem) != 0)
            log_info(&session->console.log, "%s", state.problem);
        snprintf(said, sizeof(said), "%s", state.problem);
        sleep(NETWORK_POLL_SECONDS);
    }
}

static void say_findings(struct session *session)
{
    const struct boot_findings *findings = &session->findings;
    struct log *log = &session->console.log;
    log_info(log, "%s", findings->machine);
    for (size_t i = 0; i < findings->disk_count; i++) {
        const struct boot_disk *disk = &findings->disks[i];
        log_info(log, "%s: %s%s%s", disk->device.name, disk->content,
                 disk->is_chosen ? "" : " - stays: ", disk->why_not);
    }
    for (size_t i = 0; i < findings->notice_count; i++)
        log_info(log, "%s", findings->notices[i].text);
}

/* A descriptor's name for the token: it is never written to a file. -1: none. */
static int open_token(const char *token)
{
    int fd = token ? memfd_create("token", MFD_CLOEXEC) : -1;
    if (fd >= 0)
        dprintf(fd, "%s\n", token);
    return fd;
}

static int send_disks(struct session *session, struct error *err)
{
    const struct boot_settings *settings = &session->settings;
    const char *paths[BOOT_MAX_DISKS];
    struct option_list operands = {.items = paths};
    char token[64] = "";
    for (size_t i = 0; i < session->findings.disk_count; i++) {
        if (session->findings.disks[i].is_chosen)
            paths[operands.count++] = session->findings.disks[i].device.path;
    }
    if (operands.count == 0)
        return error_set(err, 0, "no disk to send");
    AUTO_CLOSE int fd = open_token(settings->token);
    snprintf(token, sizeof(token), "/proc/self/fd/%d", fd);
    struct send_options options = {.server = settings->server,
                                   .pin = settings->pin,
                                   .token_file = fd >= 0 ? token : NULL,
                                   .name = settings->name,
                                   .compress = settings->compress,
                                   .limit_bytes_per_second = settings->limit_bytes_per_second};
    return send_machine(&session->console, &options, &operands, err);
}

static int run(struct session *session, struct error *err)
{
    AUTO_FREE char *line = inventory_text("", "/proc/cmdline");
    struct boot_net_plan plan = {0};
    if (boot_settings_parse(line, &session->settings, err) != 0 ||
        boot_network_plan(&session->settings, &plan, err) != 0)
        return -1;
    session->network = boot_network_start(&plan, "", &session->console.log, err);
    if (!session->network)
        return -1;
    if (boot_findings_read("", &session->settings, &session->findings, &session->console.log,
                           err) != 0)
        return -1;
    say_findings(session);
    if (!boot_settings_are_unattended(&session->settings))
        return error_set(err, 0, "rehost.server and rehost.pin are missing");
    wait_for_network(session);
    return send_disks(session, err);
}

int boot_session(void)
{
    struct session *session = memory_new(1, sizeof(*session));
    struct error err = {0};
    console_init(&session->console);
    int code = interrupt_start(&err) == 0 ? run(session, &err) : -1;
    while (code != CLI_DONE && code != CLI_WARNINGS && !interrupt_is_requested()) {
        console_error(&session->console, err.text);
        sleep(RETRY_SECONDS);
        if (session->findings.disk_count > 0 && session->settings.server)
            code = send_disks(session, &err);
    }
    while (session->settings.then == BOOT_WAIT && !interrupt_is_requested())
        pause();
    bool is_reboot = session->settings.then == BOOT_REBOOT;
    boot_network_stop(session->network);
    boot_settings_fini(&session->settings);
    console_fini(&session->console);
    free(session);
    return is_reboot ? BOOT_EXIT_REBOOT : BOOT_EXIT_POWER_OFF;
}
