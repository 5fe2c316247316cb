/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The boot medium's network outside of a boot medium, for tests/integration/boot-network.sh:
 *
 *     nettool ROOT 'COMMAND LINE'
 *
 * ROOT holds sys/, proc/, etc/ and run/. Does what the command line asks for and prints the state
 * as a line of JSON whenever it changes. A line on standard input is another command line.
 */
#include "base/own.h"
#include "p2v/boot/network.h"
#include "p2v/json.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_MS 50

static void emit(struct log *log, enum log_level level, const char *line)
{
    (void)log, (void)level;
    fprintf(stderr, "%s\n", line);
}

static int read_plan(const char *line, struct boot_net_plan *plan, struct error *err)
{
    struct boot_settings settings;
    int result = boot_settings_parse(line, &settings, err);
    if (result == 0)
        result = boot_network_plan(&settings, plan, err);
    boot_settings_fini(&settings);
    return result;
}

/* Caller frees. */
static char *format_state(const struct boot_network_state *state)
{
    AUTO_JSON json = json_pack("{s:b, s:b, s:s, s:{}}", "up", state->is_up, "route",
                               state->has_route, "problem", state->problem, "links");
    for (size_t i = 0; i < state->count; i++) {
        const struct boot_link *link = &state->links[i];
        json_object_set_new(json_object_get(json, "links"), link->name,
                            json_pack("{s:b, s:s, s:s}", "carrier", link->has_carrier, "address",
                                      link->address, "state", link->state));
    }
    return json_dumps(json, JSON_COMPACT);
}

/* False at the end of the input. */
static bool take_line(struct boot_network *network)
{
    struct pollfd input = {.fd = 0, .events = POLLIN};
    struct boot_net_plan plan;
    struct error err = {0};
    char line[1024];
    if (poll(&input, 1, LOOK_MS) <= 0)
        return true;
    if (!fgets(line, sizeof(line), stdin))
        return false;
    if (read_plan(line, &plan, &err) != 0 || boot_network_change(network, &plan, &err) != 0)
        fprintf(stderr, "%s\n", err.text);
    return true;
}

static void watch(struct boot_network *network)
{
    AUTO_FREE char *last = NULL;
    do {
        struct boot_network_state state;
        boot_network_state(network, &state);
        char *now = format_state(&state);
        if (now && (!last || strcmp(last, now) != 0))
            puts(now);
        fflush(stdout);
        free(last);
        last = now;
    } while (take_line(network));
}

int main(int argc, char *argv[])
{
    struct log log = {.emit = emit};
    struct boot_net_plan plan;
    struct error err = {0};
    if (boot_network_is_lease_call(argc, argv))
        return boot_network_write_lease(argv);
    if (argc != 3) {
        fputs("usage: nettool ROOT 'COMMAND LINE'\n", stderr);
        return 2;
    }
    AUTO_PTR(boot_network)
    network = read_plan(argv[2], &plan, &err) == 0 ? boot_network_start(&plan, argv[1], &log, &err)
                                                   : NULL;
    if (network)
        watch(network);
    else
        fprintf(stderr, "%s\n", err.text);
    return network ? 0 : 1;
}
