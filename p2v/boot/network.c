/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The thread that watches: several times a second it looks at the links, and makes what is set up
 * agree with the plan and with where the cables are.
 */
#include "p2v/boot/network.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/boot/network_private.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TURN_MS 200
#define FLAP_MS 1000 /* a link that comes back within this time was not unplugged */
#define FIRST_METRIC 100
#define SILENCE_MS 5000 /* nobody answers behind a link */
#define REST_MS 60000   /* then it is left alone for so long, if there is another */
#define FREE_PLACE "-"  /* no interface's name */

struct boot_network {
    /* Of the thread alone. */
    struct network_tools tools;
    char *root, *folder;
    struct boot_net_plan plan; /* the one that is worked on */
    struct network_port ports[BOOT_MAX_LINKS];
    size_t port_count;
    struct network_made made;
    char *resolv_conf; /* as it was written last */

    pthread_t thread;
    pthread_cond_t wake;
    pthread_mutex_t lock; /* guards what is below */
    bool is_stopping;
    struct boot_net_plan next_plan;
    struct boot_network_state state;
};

/* --- which entry a link gets --- */

static const struct boot_net_entry dhcp_entry = {.is_dhcp = true};

static bool is_for_any(const struct boot_net_entry *entry)
{
    return !entry->link[0] && !entry->mac[0];
}

/* Under a VLAN, or in a bond: set up, and without an address of its own. */
static bool carries_another(const struct boot_network *network, const struct network_link *links,
                            size_t count, const struct network_link *link)
{
    for (size_t i = 0; i < network->plan.count; i++) {
        const struct boot_net_entry *entry = &network->plan.entries[i];
        const char *base = entry->link[0] ? entry->link : entry->mac;
        if (entry->vlan > 0 && base[0] && network_link_find(links, count, base) == link)
            return true;
        for (size_t k = 0; k < entry->member_count; k++) {
            if (network_link_find(links, count, entry->members[k]) == link)
                return true;
        }
    }
    return false;
}

static const struct boot_net_entry *named_entry(const struct boot_network *network,
                                                const struct network_link *links, size_t count,
                                                const struct network_link *link)
{
    for (size_t i = 0; i < network->plan.count; i++) {
        char name[NETWORK_INTERFACE_SIZE];
        const struct boot_net_entry *entry = &network->plan.entries[i];
        network_entry_interface(entry, links, count, name);
        if (name[0] && strcmp(name, link->name) == 0)
            return entry;
    }
    return NULL;
}

static bool is_elsewhere(const struct boot_network *network, const struct boot_net_entry *entry,
                         const struct network_port *port)
{
    for (size_t i = 0; i < network->port_count; i++) {
        const struct network_port *other = &network->ports[i];
        if (other != port && other->is_configured && other->has_carrier &&
            memcmp(&other->entry, entry, sizeof(*entry)) == 0)
            return true;
    }
    return false;
}

/* A fixed address goes to one link at a time: the first with a cable. */
static const struct boot_net_entry *free_entry(const struct boot_network *network,
                                               const struct network_port *port)
{
    const struct boot_net_plan *plan = &network->plan;
    for (size_t i = 0; i < plan->count; i++) {
        const struct boot_net_entry *entry = &plan->entries[i];
        if (is_for_any(entry) && (entry->is_dhcp || !is_elsewhere(network, entry, port)))
            return entry;
    }
    return plan->count == 0 ? &dhcp_entry : NULL;
}

static bool has_free_entries(const struct boot_net_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        if (is_for_any(&plan->entries[i]))
            return true;
    }
    return plan->count == 0;
}

/* --- ports --- */

static struct network_port *find_port(struct boot_network *network, const char *name)
{
    for (size_t i = 0; i < network->port_count; i++) {
        if (strcmp(network->ports[i].name, name) == 0)
            return &network->ports[i];
    }
    return NULL;
}

/* The place of one that is gone, or a new one; NULL when there are too many links. */
static struct network_port *add_port(struct boot_network *network, const char *name)
{
    struct network_port *port = find_port(network, FREE_PLACE);
    if (!port && network->port_count == BOOT_MAX_LINKS)
        return NULL;
    if (!port)
        port = &network->ports[network->port_count++];
    *port = (struct network_port){.metric = FIRST_METRIC + (unsigned)(port - network->ports)};
    snprintf(port->name, sizeof(port->name), "%.15s", name);
    return port;
}

static struct network_port *port_of(struct boot_network *network, const char *name)
{
    struct network_port *port = find_port(network, name);
    return port ? port : add_port(network, name);
}

static void set_up(struct network_port *port, const struct network_tools *tools)
{
    const char *const words[] = {"link", "set", "dev", port->name, "up", NULL};
    if (port->is_up || network_ip(tools, words) != 0)
        return;
    port->is_up = true;
    port->up_ms = clock_ms();
}

static void note_carrier(struct network_port *port, const struct network_link *link)
{
    int64_t now_ms = clock_ms();
    if (link->has_carrier)
        port->carrier_ms = now_ms;
    bool has_carrier =
        link->has_carrier || (port->has_carrier && now_ms - port->carrier_ms < FLAP_MS);
    port->has_carrier = has_carrier;
}

static bool has_another_address(const struct boot_network *network, const struct network_port *port)
{
    for (size_t i = 0; i < network->port_count; i++) {
        const struct network_port *other = &network->ports[i];
        if (other != port && other->has_carrier && other->address.address[0])
            return true;
    }
    return false;
}

static void note_silence(struct boot_network *network, struct network_port *port)
{
    int64_t now_ms = clock_ms();
    if (!port->has_carrier)
        port->rest_ms = 0;
    if (!port->address.address[0] ||
        !network_port_is_silent(network->root, port, network->plan.server)) {
        port->silent_ms = 0;
        return;
    }
    if (port->silent_ms == 0)
        port->silent_ms = now_ms;
    if (now_ms - port->silent_ms < SILENCE_MS || !has_another_address(network, port))
        return;
    log_info(network->tools.log, "%s: nobody answers behind it: another link is used", port->name);
    network_port_withdraw(port, &network->tools);
    port->silent_ms = 0;
    port->rest_ms = now_ms + REST_MS;
}

static void agree(struct boot_network *network, struct network_port *port,
                  const struct boot_net_entry *entry)
{
    bool is_other = entry && memcmp(&port->entry, entry, sizeof(*entry)) != 0;
    if (port->is_configured && (!entry || is_other || !port->has_carrier))
        network_port_withdraw(port, &network->tools);
    note_silence(network, port);
    if (!port->is_configured && entry && port->has_carrier && clock_ms() >= port->rest_ms)
        network_port_configure(port, entry, &network->tools);
    network_port_poll(port, &network->tools);
}

static void work_on(struct boot_network *network, const struct network_link *links, size_t count,
                    const struct network_link *link)
{
    bool is_carrier = carries_another(network, links, count, link);
    const struct boot_net_entry *entry = named_entry(network, links, count, link);
    bool is_free = !entry && !is_carrier && link->is_hardware && has_free_entries(&network->plan);
    struct network_port *port = link->is_ready ? port_of(network, link->name) : NULL;
    if (!port)
        return;
    port->is_used = entry || is_free;
    if (port->is_used || is_carrier)
        set_up(port, &network->tools);
    note_carrier(port, link);
    agree(network, port, is_free ? free_entry(network, port) : entry);
}

/* A link that is gone took its address along. */
static void forget_gone(struct boot_network *network, const struct network_link *links,
                        size_t count)
{
    for (size_t i = 0; i < network->port_count; i++) {
        struct network_port *port = &network->ports[i];
        if (network_link_find(links, count, port->name) || strcmp(port->name, FREE_PLACE) == 0)
            continue;
        child_stop(&port->client);
        *port = (struct network_port){.name = FREE_PLACE};
    }
}

/* --- /etc/resolv.conf --- */

static void add_servers(struct text *out, const char dns[NETWORK_MAX_DNS][64], size_t *count)
{
    for (size_t i = 0; i < NETWORK_MAX_DNS && dns[i][0] && *count < NETWORK_MAX_DNS; i++) {
        AUTO_FREE char *line = text_format("nameserver %s\n", dns[i]);
        if (strstr(text_string(out), line))
            continue;
        text_add(out, line);
        (*count)++;
    }
}

static void write_resolv_conf(struct boot_network *network)
{
    AUTO(text) text = {0};
    size_t count = 0;
    for (size_t i = 0; i < network->port_count; i++) {
        const struct network_port *port = &network->ports[i];
        if (!port->is_configured || !port->address.address[0])
            continue;
        add_servers(&text, port->entry.dns, &count);
        add_servers(&text, port->address.dns, &count);
    }
    if (network->resolv_conf && strcmp(network->resolv_conf, text_string(&text)) == 0)
        return;
    AUTO_FREE char *path = inventory_path(network->root, "/etc");
    struct error err = {0};
    AUTO_CLOSE int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0 ||
        io_replace_file(folder, "resolv.conf", text_string(&text), text.length, 0644, &err) != 0)
        log_warning(network->tools.log, "/etc/resolv.conf: %s", folder < 0 ? "no /etc" : err.text);
    free(network->resolv_conf);
    network->resolv_conf = text_take(&text);
}

/* --- what is told --- */

static void describe(const struct boot_network *network, const struct network_port *port,
                     struct boot_link *link)
{
    const struct network_lease *address = &port->address;
    AUTO_FREE char *master =
        inventory_link_name(network->root, "/sys/class/net/%s/master", link->name);
    bool is_dhcp = port->entry.is_dhcp;
    if (master[0])
        snprintf(link->state, sizeof(link->state), "in %.15s", master);
    else if (!port->is_used)
        snprintf(link->state, sizeof(link->state), "not used");
    else if (!port->has_carrier)
        snprintf(link->state, sizeof(link->state), "%s",
                 network_is_new(port, clock_ms()) ? "coming up" : "no cable");
    else if (clock_ms() < port->rest_ms)
        snprintf(link->state, sizeof(link->state), "nobody answers");
    else if (address->address[0])
        snprintf(link->state, sizeof(link->state), "%.50s%s", address->address,
                 is_dhcp ? " by DHCP" : "");
    else if (port->is_configured && clock_ms() - port->asking_ms >= NETWORK_PATIENCE_SECONDS * 1000)
        snprintf(link->state, sizeof(link->state), "no DHCP server answers");
    else
        snprintf(link->state, sizeof(link->state), "asking for an address");
    memcpy(link->address, address->address, sizeof(link->address));
}

static void publish(struct boot_network *network, const struct network_link *links, size_t count)
{
    AUTO_FREE struct boot_network_state *state = memory_new(1, sizeof(*state));
    for (size_t i = 0; i < count && state->count < BOOT_MAX_LINKS; i++) {
        struct network_port *port = links[i].is_ready ? port_of(network, links[i].name) : NULL;
        bool is_shown = port && (links[i].is_hardware || port->is_used);
        if (!is_shown)
            continue;
        struct boot_link *link = &state->links[state->count++];
        snprintf(link->name, sizeof(link->name), "%.15s", links[i].name);
        memcpy(link->mac, links[i].mac, sizeof(link->mac));
        memcpy(link->driver, links[i].driver, sizeof(link->driver));
        link->has_carrier = port->has_carrier;
        link->megabits = links[i].megabits;
        describe(network, port, link);
    }
    network_read_kernel(network->root, state);
    for (size_t i = 0; i < state->count; i++)
        state->is_up = state->is_up || state->links[i].address[0];
    network_explain(&network->plan, network->ports, network->port_count, clock_ms(), state);
    pthread_mutex_lock(&network->lock);
    memcpy(&network->state, state, sizeof(*state));
    pthread_mutex_unlock(&network->lock);
}

/* --- the thread --- */

static void take_turn(struct boot_network *network)
{
    struct network_link links[2 * BOOT_MAX_LINKS];
    size_t count = network_links_read(network->root, links, ARRAY_LENGTH(links));
    network_make(&network->plan, links, count, &network->made, &network->tools);
    forget_gone(network, links, count);
    for (size_t i = 0; i < count; i++)
        work_on(network, links, count, &links[i]);
    write_resolv_conf(network);
    publish(network, links, count);
}

static void *watch(void *context)
{
    struct boot_network *network = context;
    pthread_mutex_lock(&network->lock);
    while (!network->is_stopping) {
        memcpy(&network->plan, &network->next_plan, sizeof(network->plan));
        pthread_mutex_unlock(&network->lock);
        take_turn(network);
        pthread_mutex_lock(&network->lock);
        struct timespec end = clock_deadline(TURN_MS);
        if (!network->is_stopping)
            pthread_cond_timedwait(&network->wake, &network->lock, &end);
    }
    pthread_mutex_unlock(&network->lock);
    for (size_t i = 0; i < network->port_count; i++)
        child_stop(&network->ports[i].client);
    return NULL;
}

/* --- for others --- */

static int make_folder(const char *path, struct error *err)
{
    return mkdir(path, 0755) == 0 || errno == EEXIST ? 0 : error_set(err, errno, "%s", path);
}

/* The name under which udhcpc starts this program; see network_lease.c. */
static int prepare_folder(struct boot_network *network, struct error *err)
{
    AUTO_FREE char *self = inventory_link("", "/proc/self/exe");
    AUTO_FREE char *run = inventory_path(network->root, "/run");
    AUTO_FREE char *script = text_format("%s/" NETWORK_LEASE_NAME, network->folder);
    if (!self[0])
        return error_set(err, ENOENT, "/proc/self/exe");
    if (make_folder(run, err) != 0 || make_folder(network->folder, err) != 0)
        return -1;
    unlink(script);
    return symlink(self, script) == 0 ? 0 : error_set(err, errno, "%s", script);
}

static void network_free(struct boot_network *network)
{
    pthread_cond_destroy(&network->wake);
    pthread_mutex_destroy(&network->lock);
    free(network->resolv_conf);
    free(network->folder);
    free(network->root);
    free(network);
}

struct boot_network *boot_network_start(const struct boot_net_plan *plan, const char *root,
                                        struct log *log, struct error *err)
{
    struct boot_network *network = memory_new(1, sizeof(*network));
    network->root = text_copy(root);
    network->folder = text_format("%s/run/rehost", root);
    network->tools = (struct network_tools){network->root, network->folder, log};
    memcpy(&network->next_plan, plan, sizeof(*plan));
    pthread_mutex_init(&network->lock, NULL);
    clock_condition_init(&network->wake);
    int problem = 0;
    if (prepare_folder(network, err) == 0) {
        problem = pthread_create(&network->thread, NULL, watch, network);
        if (problem == 0)
            return network;
        error_set(err, problem, "start a thread");
    }
    error_wrap(err, "network");
    network_free(network);
    return NULL;
}

void boot_network_state(struct boot_network *network, struct boot_network_state *state)
{
    pthread_mutex_lock(&network->lock);
    memcpy(state, &network->state, sizeof(*state));
    pthread_mutex_unlock(&network->lock);
}

int boot_network_change(struct boot_network *network, const struct boot_net_plan *plan,
                        struct error *err)
{
    if (plan->count > BOOT_MAX_LINKS)
        return error_set(err, EINVAL, "a plan of %zu links", plan->count);
    pthread_mutex_lock(&network->lock);
    memcpy(&network->next_plan, plan, sizeof(*plan));
    pthread_cond_signal(&network->wake);
    pthread_mutex_unlock(&network->lock);
    return 0;
}

void boot_network_stop(struct boot_network *network)
{
    if (!network)
        return;
    pthread_mutex_lock(&network->lock);
    network->is_stopping = true;
    pthread_cond_signal(&network->wake);
    pthread_mutex_unlock(&network->lock);
    pthread_join(network->thread, NULL);
    network_free(network);
}
