/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The kernel command line in words, and the tables of what each word does. The words are taken
 * apart as the kernel does it (Documentation/admin-guide/kernel-parameters): blanks separate,
 * double quotes keep blanks together. virt-p2v's names are those of its manual, old and new.
 */
#include "p2v/boot/settings.h"

#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/boot/settings_private.h"
#include "p2v/wire/link.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SHOWN_NAME 64 /* of a parameter that nobody knows */
#define SSH_PORT "22"     /* virt-p2v's port, which cannot be ours */

struct parser {
    struct boot_settings *settings;
    char p2v_port[8];
    bool is_topology_kept;
};

enum kind {
    TEXT, /* char *, checked */
    LIST, /* struct boot_names: items separated by commas, each checked */
    NETWORKS,
    REPEAT, /* struct boot_names: one item each time, checked */
    FLAG,   /* bool: the name alone means yes */
    MEMORY,
    RATE,
    VCPUS,
    THEN,
    P2V_PORT,
    P2V_TOPOLOGY,
    P2V_POST,
    NOTHING, /* named in not_applied */
};

struct parameter {
    const char *name; /* "p2v.output.*": all that begin so */
    enum kind kind;
    size_t offset;
    settings_check *check;
};

#define PARAMETER(name, kind, field, check)                                                        \
    {                                                                                              \
        name, kind, offsetof(struct boot_settings, field), check                                   \
    }

static const struct parameter own_parameters[] = {
    PARAMETER("rehost.server", TEXT, server, settings_check_server),
    PARAMETER("rehost.pin", TEXT, pin, settings_check_pin),
    PARAMETER("rehost.token", TEXT, token, settings_check_token),
    PARAMETER("rehost.name", TEXT, name, settings_check_name),
    PARAMETER("rehost.compress", TEXT, compress, settings_check_compress),
    PARAMETER("rehost.limit", RATE, limit_bytes_per_second, NULL),
    PARAMETER("rehost.disks", LIST, disks, settings_check_disk),
    PARAMETER("rehost.external", FLAG, has_external, NULL),
    PARAMETER("rehost.networks", NETWORKS, networks, settings_check_network),
    PARAMETER("rehost.memory", MEMORY, memory_bytes, NULL),
    PARAMETER("rehost.vcpus", VCPUS, vcpus, NULL),
    PARAMETER("rehost.net", REPEAT, net, settings_check_text),
    PARAMETER("rehost.confirm", FLAG, must_confirm, NULL),
    PARAMETER("rehost.shell", FLAG, has_shell, NULL),
    PARAMETER("rehost.then", THEN, then, NULL),
    PARAMETER("ip", REPEAT, ip, settings_check_text),
};

static const struct parameter p2v_parameters[] = {
    PARAMETER("p2v.server", TEXT, server, settings_check_server),
    PARAMETER("p2v.remote.server", TEXT, server, settings_check_server),
    {"p2v.port", P2V_PORT, 0, NULL},
    {"p2v.remote.port", P2V_PORT, 0, NULL},
    PARAMETER("p2v.name", TEXT, name, settings_check_name),
    PARAMETER("p2v.guestname", TEXT, name, settings_check_name),
    PARAMETER("p2v.vcpus", VCPUS, vcpus, NULL),
    PARAMETER("p2v.vcpu.cores", VCPUS, vcpus, NULL),
    {"p2v.vcpu.phys_topo", P2V_TOPOLOGY, 0, NULL},
    PARAMETER("p2v.memory", MEMORY, memory_bytes, NULL),
    PARAMETER("p2v.disks", LIST, disks, settings_check_disk),
    PARAMETER("p2v.network", NETWORKS, networks, settings_check_network),
    PARAMETER("p2v.network_map", NETWORKS, networks, settings_check_network),
    {"p2v.post", P2V_POST, 0, NULL},
    /* The way there is another one, and the machine's own hardware is known from its inventory. */
    {"p2v.username", NOTHING, 0, NULL},
    {"p2v.password", NOTHING, 0, NULL},
    {"p2v.identity", NOTHING, 0, NULL},
    {"p2v.sudo", NOTHING, 0, NULL},
    {"p2v.auth.*", NOTHING, 0, NULL},
    {"p2v.cpu.*", NOTHING, 0, NULL},
    {"p2v.rtc.*", NOTHING, 0, NULL},
    {"p2v.removable", NOTHING, 0, NULL},
    {"p2v.interfaces", NOTHING, 0, NULL},
    {"p2v.o", NOTHING, 0, NULL},
    {"p2v.oa", NOTHING, 0, NULL},
    {"p2v.oc", NOTHING, 0, NULL},
    {"p2v.of", NOTHING, 0, NULL},
    {"p2v.oo", NOTHING, 0, NULL},
    {"p2v.os", NOTHING, 0, NULL},
    {"p2v.output.*", NOTHING, 0, NULL},
    {"p2v.pre", NOTHING, 0, NULL},
    {"p2v.fail", NOTHING, 0, NULL},
    {"p2v.debug", NOTHING, 0, NULL},
    {"p2v.skip_test_connection", NOTHING, 0, NULL},
    {"p2v.dump_config_and_exit", NOTHING, 0, NULL},
};

/* --- names that are told --- */

/* Once, escaped and cut; what is beyond the list's room says nothing more to anybody. */
static void tell(struct boot_names *names, const char *name)
{
    AUTO(text) shown = {0};
    text_add_escaped(&shown, name, strnlen(name, MAX_SHOWN_NAME));
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->items[i], text_string(&shown)) == 0)
            return;
    }
    settings_names_add(names, text_string(&shown), NULL);
}

/* --- one parameter --- */

static int set_port(struct parser *parser, const char *value, struct error *err)
{
    AUTO_FREE char *address = text_format("host:%s", value);
    struct link_address parsed;
    if (value[0] && link_address_parse(address, &parsed, NULL) != 0)
        return error_set(err, EINVAL, "'%.80s' is not a port of 1 to 65535", value);
    snprintf(parser->p2v_port, sizeof(parser->p2v_port), "%s", value);
    return 0;
}

/* A command of virt-p2v's shell; those that mean what we do anyway are known. */
static void set_post(struct parser *parser, const char *value)
{
    size_t length = strcspn(value, " \t");
    while (length > 0 && memchr(value, '/', length)) {
        value++;
        length--;
    }
    if (length == 0)
        parser->settings->then = BOOT_WAIT;
    else if (length == 6 && strncmp(value, "reboot", length) == 0)
        parser->settings->then = BOOT_REBOOT;
    else if (length == 8 && strncmp(value, "poweroff", length) == 0)
        parser->settings->then = BOOT_POWER_OFF;
    else
        tell(&parser->settings->not_applied, "p2v.post");
}

static int set_text(const struct parameter *parameter, char **place, const char *value,
                    struct error *err)
{
    if (value[0] && parameter->check(value, err) != 0)
        return -1;
    settings_replace(place, value);
    return 0;
}

static int add_item(const struct parameter *parameter, struct boot_names *names, const char *value,
                    struct error *err)
{
    if (value[0] == '\0')
        return 0;
    return parameter->check(value, err) == 0 ? settings_names_add(names, value, err) : -1;
}

static int set(struct parser *parser, const struct parameter *parameter, const char *name,
               const char *value, struct error *err)
{
    void *place = (char *)parser->settings + parameter->offset;
    switch (parameter->kind) {
    case TEXT:
        return set_text(parameter, place, value, err);
    case LIST:
        return settings_names_split(place, value, parameter->check, err);
    case NETWORKS:
        return settings_names_split(place, value, parameter->check, err) == 0
                   ? settings_check_networks(place, err)
                   : -1;
    case REPEAT:
        return add_item(parameter, place, value, err);
    case FLAG:
        return settings_read_flag(value, place, err);
    case MEMORY:
        return settings_read_memory(value, place, err);
    case RATE:
        return settings_read_rate(value, place, err);
    case VCPUS:
        return settings_read_vcpus(value, place, err);
    case THEN:
        return settings_read_then(value, place, err);
    case P2V_PORT:
        return set_port(parser, value, err);
    case P2V_TOPOLOGY: /* virt-p2v: yes with an empty value too */
        return settings_read_flag(value[0] ? value : "1", &parser->is_topology_kept, err);
    case P2V_POST:
        set_post(parser, value);
        return 0;
    case NOTHING:
        tell(&parser->settings->not_applied, name);
        return 0;
    }
    return 0;
}

static bool is_called(const struct parameter *parameter, const char *name)
{
    size_t length = strlen(parameter->name);
    return parameter->name[length - 1] == '*' ? strncmp(name, parameter->name, length - 1) == 0
                                              : strcmp(name, parameter->name) == 0;
}

/* The last but flags need a value. */
static int set_named(struct parser *parser, const struct parameter *table, size_t count,
                     const char *name, const char *value, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_called(&table[i], name))
            continue;
        enum kind kind = table[i].kind;
        if (!value && kind != FLAG && kind != P2V_TOPOLOGY && kind != NOTHING)
            return error_set(err, EINVAL, "%s needs a value", name);
        const char *meant = value ? value : kind == FLAG ? "1" : "";
        if (set(parser, &table[i], name, meant, err) != 0)
            return error_wrap(err, "%s", name);
        return 0;
    }
    if (text_starts_with(name, "rehost.") || text_starts_with(name, "p2v."))
        tell(&parser->settings->unknown, name);
    return 0;
}

/* --- words --- */

/*
 * Takes the next word off *at, which is changed in place: name and value (NULL without '='). Quotes
 * around the whole word or around its value go, as in the kernel's next_arg().
 */
static bool next_word(char **at, char **name, char **value)
{
    char *start = *at + strspn(*at, " \t\r\n\v\f");
    char *end = start;
    bool is_quoted = false;
    for (; *end && (is_quoted || !isspace((unsigned char)*end)); end++)
        is_quoted = is_quoted != (*end == '"');
    *at = *end ? end + 1 : end;
    if (end == start)
        return false;
    *end = '\0';
    if (*start == '"') {
        start++;
        if (end > start && end[-1] == '"')
            *--end = '\0';
    }
    *name = start;
    *value = strchr(start, '=');
    if (!*value)
        return true;
    *(*value)++ = '\0';
    if (**value == '"') {
        (*value)++;
        if (end > *value && end[-1] == '"')
            end[-1] = '\0';
    }
    return true;
}

/* One of the two families of names. */
static int read_words(struct parser *parser, const char *command_line, bool is_p2v,
                      struct error *err)
{
    char *copy = text_copy(command_line);
    char *at = copy, *name, *value;
    int result = 0;
    while (result == 0 && next_word(&at, &name, &value)) {
        if (text_starts_with(name, "p2v.") != is_p2v)
            continue;
        result =
            is_p2v
                ? set_named(parser, p2v_parameters, ARRAY_LENGTH(p2v_parameters), name, value, err)
                : set_named(parser, own_parameters, ARRAY_LENGTH(own_parameters), name, value, err);
    }
    explicit_bzero(copy, strlen(command_line));
    free(copy);
    return result;
}

/* virt-p2v has the port by itself. 22 is SSH's, and stands in many a menu. */
static void join_port(struct parser *parser)
{
    struct boot_settings *settings = parser->settings;
    struct link_address address;
    if (strcmp(parser->p2v_port, SSH_PORT) == 0) {
        tell(&settings->not_applied, "p2v.port");
        return;
    }
    if (!settings->server || !parser->p2v_port[0] ||
        link_address_parse(settings->server, &address, NULL) != 0)
        return;
    AUTO_FREE char *joined = text_format(strchr(address.host, ':') ? "[%s]:%s" : "%s:%s",
                                         address.host, parser->p2v_port);
    settings_replace(&settings->server, joined);
}

int boot_settings_parse(const char *command_line, struct boot_settings *settings, struct error *err)
{
    struct parser parser = {.settings = settings};
    *settings = (struct boot_settings){0};
    if (read_words(&parser, command_line, true, err) != 0)
        return -1;
    join_port(&parser);
    if (parser.is_topology_kept)
        settings->vcpus = 0;
    return read_words(&parser, command_line, false, err);
}

void boot_settings_fini(struct boot_settings *settings)
{
    char **texts[] = {&settings->server, &settings->pin, &settings->token, &settings->name,
                      &settings->compress};
    struct boot_names *lists[] = {&settings->disks, &settings->networks, &settings->net,
                                  &settings->ip,    &settings->unknown,  &settings->not_applied};
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++)
        settings_replace(texts[i], NULL);
    for (size_t i = 0; i < ARRAY_LENGTH(lists); i++)
        settings_names_fini(lists[i]);
    *settings = (struct boot_settings){0};
}

bool boot_settings_are_unattended(const struct boot_settings *settings)
{
    return settings->server && settings->pin && !settings->must_confirm;
}
