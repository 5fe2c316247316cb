/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Network interfaces keep their names: each is pinned to the MAC that the guest's definition gives
 * it, so that addresses, bonds, VLANs and firewalls hold without a change.
 *
 * What names an interface already is brought up to date: a persistent-net rule, which udev obeys
 * first, or a .link file. Otherwise systemd gets /etc/systemd/network/10-rehost-NAME.link (static
 * names hold with net.ifnames=0, too), older systems a rule in 70-persistent-net.rules.
 *
 * Names of the kernel's own (eth0) can be pinned this way only while no other card is born with
 * the name: udev does not swap. Cards are born in the order of the definition, so pinning holds
 * when that is the order of their names; otherwise a warning says so.
 */
#include "bootfix/fixer.h"
#include "bootfix/interfaces.h"
#include "bootfix/link_file.h"
#include "bootfix/udev_rule.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define NAME "network"
#define LINKS "/etc/systemd/network"
#define RULES "/etc/udev/rules.d"
#define OWN_RULES RULES "/70-persistent-net.rules"
#define SYSTEMD_WITH_LINK_TYPES 245
#define MAX_FILES 128

/* "libsystemd-shared-252.so", "libsystemd-shared-247.3-7.so": 252, 247. */
static unsigned version_of_library(const char *name)
{
    static const char prefix[] = "libsystemd-shared-";
    unsigned version;
    if (!text_starts_with(name, prefix))
        return 0;
    const char *digits = name + strlen(prefix);
    struct span number = {digits, strspn(digits, "0123456789")};
    return span_number(number, &version) ? version : 0;
}

/* 0 when it cannot be told. */
static int systemd_version(struct fix_context *context, unsigned *version, struct error *err)
{
    static const char *const folders[] = {
        "/usr/lib/x86_64-linux-gnu/systemd",
        "/usr/lib/systemd",
        "/lib/systemd",
        "/usr/lib64/systemd",
    };
    *version = 0;
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]) && *version == 0; i++) {
        char **names = NULL;
        if (plan_list(context->plan, folders[i], &names, err) < 0)
            return -1;
        for (size_t k = 0; names && names[k] && *version == 0; k++)
            *version = version_of_library(names[k]);
        files_free_names(names);
    }
    return 0;
}

/* The files of a folder with that suffix, called one by one with their texts. */
typedef int each_file(struct fix_context *context, const char *path, const char *text, void *data,
                      struct error *err);

static int for_each_file(struct fix_context *context, const char *folder, const char *suffix,
                         each_file *call, void *data, struct error *err)
{
    char **names = NULL;
    int result = plan_list(context->plan, folder, &names, err);
    for (size_t i = 0; result >= 0 && names && names[i] && i < MAX_FILES; i++) {
        if (!text_ends_with(names[i], suffix))
            continue;
        AUTO_FREE char *path = text_format("%s/%s", folder, names[i]);
        AUTO_FREE char *text = NULL;
        result = plan_read(context->plan, NAME, path, &text, err);
        if (result == 1)
            result = call(context, path, text, data, err);
    }
    files_free_names(names);
    return result < 0 ? -1 : 0;
}

struct pin {
    const struct fix_nic *nic;
    bool is_done;  /* something names the card already, or will */
    bool has_type; /* see link_file_add_match */
};

/* Rules that give the name: one is enough, and it has to hold for the new card. */
static int update_rules(struct fix_context *context, const char *path, const char *text, void *data,
                        struct error *err)
{
    struct pin *pin = data;
    AUTO(text) after = {0};
    struct span line;
    for (const char *position = text; span_next_line(&position, &line);) {
        struct span rest = {line.start + line.length, 0};
        if (!udev_rule_names(line, pin->nic->name)) {
            span_add(&after, line);
        } else if (pin->is_done) {
            text_add(&after, "#"); /* the name is given already */
            span_add(&after, line);
        } else if (udev_rule_matches_mac(line, pin->nic->mac)) {
            span_add(&after, line);
            pin->is_done = true;
        } else {
            udev_rule_add(&after, pin->nic->name, pin->nic->mac);
            pin->is_done = true;
        }
        span_add_line(&after, rest, position);
    }
    AUTO_FREE char *reason =
        text_format("%s is the card with the MAC %s now", pin->nic->name, pin->nic->mac);
    return plan_write(context->plan, NAME, path, text_string(&after), 0644, reason, err);
}

static int update_link(struct fix_context *context, const char *path, const char *text, void *data,
                       struct error *err)
{
    struct pin *pin = data;
    AUTO(text) after = {0};
    if (pin->is_done || !link_file_names(text, pin->nic->name))
        return 0;
    pin->is_done = true;
    if (link_file_matches_mac(text, pin->nic->mac))
        return 0;
    link_file_rematch(text, pin->nic->mac, pin->has_type, &after);
    AUTO_FREE char *reason =
        text_format("%s is the card with the MAC %s now", pin->nic->name, pin->nic->mac);
    return plan_write(context->plan, NAME, path, text_string(&after), 0644, reason, err);
}

/* udev takes the first .link file that matches, by the order of the files' names. */
static int warn_of_link(struct fix_context *context, const char *path, const char *text, void *data,
                        struct error *err)
{
    (void)err;
    const struct pin *pin = data;
    AUTO_FREE char *own = text_format("%s/10-rehost-%s.link", LINKS, pin->nic->name);
    if (strcmp(path, own) < 0 && link_file_may_rename(text, pin->nic->mac))
        plan_warn(context->plan, NAME, "%s may give %s another name, and comes first", path,
                  pin->nic->name);
    return 0;
}

static int write_link(struct fix_context *context, struct pin *pin, struct error *err)
{
    AUTO(text) text = {0};
    if (for_each_file(context, LINKS, ".link", warn_of_link, pin, err) < 0)
        return -1;
    AUTO_FREE char *path = text_format("%s/10-rehost-%s.link", LINKS, pin->nic->name);
    AUTO_FREE char *reason =
        text_format("%s keeps its name on other hardware: it is the card with the MAC %s",
                    pin->nic->name, pin->nic->mac);
    text_add(&text, "# Written by Rehost when this machine became virtual.\n");
    link_file_add_match(&text, pin->nic->mac, pin->has_type);
    text_addf(&text, "\n[Link]\nName=%s\n", pin->nic->name);
    return plan_write(context->plan, NAME, path, text_string(&text), 0644, reason, err);
}

static int write_rule(struct fix_context *context, const struct pin *pin, struct error *err)
{
    AUTO_FREE char *before = NULL;
    AUTO(text) after = {0};
    if (plan_read(context->plan, NAME, OWN_RULES, &before, err) < 0)
        return -1;
    text_add(&after, before ? before : "# Written by Rehost when this machine became virtual.\n");
    if (after.length && after.data[after.length - 1] != '\n')
        text_add(&after, "\n");
    udev_rule_add(&after, pin->nic->name, pin->nic->mac);
    text_add(&after, "\n");
    AUTO_FREE char *reason =
        text_format("%s keeps its name on other hardware: it is the card with the MAC %s",
                    pin->nic->name, pin->nic->mac);
    return plan_write(context->plan, NAME, OWN_RULES, text_string(&after), 0644, reason, err);
}

static int pin_name(struct fix_context *context, struct pin *pin, struct error *err)
{
    if (for_each_file(context, RULES, "-net.rules", update_rules, pin, err) < 0)
        return -1;
    if (pin->is_done)
        return 0;
    if (!context->system->has_systemd)
        return write_rule(context, pin, err);
    if (for_each_file(context, LINKS, ".link", update_link, pin, err) < 0)
        return -1;
    return pin->is_done ? 0 : write_link(context, pin, err);
}

static bool is_usable(struct fix_context *context, const struct fix_nic *nic)
{
    char mac[18];
    if (nic->name && nic->mac && interface_name_is_valid(nic->name) &&
        interface_parse_mac(nic->mac, strlen(nic->mac), mac) && strcmp(mac, nic->mac) == 0)
        return true;
    plan_warn(context->plan, NAME, "%s with the MAC %s cannot be pinned: no valid name or address",
              nic->name ? nic->name : "an interface", nic->mac ? nic->mac : "(none)");
    return false;
}

/* "eth12": 12; -1 for a name that the kernel does not give by itself. */
static int kernel_number(const char *name)
{
    unsigned number;
    if (!text_starts_with(name, "eth") ||
        !span_number((struct span){name + 3, strlen(name + 3)}, &number))
        return -1;
    return (int)number;
}

/* The card at `index` is born as eth<index>, and cannot take a name another was born with. */
static void warn_of_clash(struct fix_context *context, size_t index)
{
    int number = kernel_number(context->nics[index].name);
    if (number >= 0 && (size_t)number != index && (size_t)number < context->nic_count)
        plan_warn(context->plan, NAME,
                  "%s is the definition's network card %zu: the kernel gives that name to another "
                  "card first, so it may not get it; keep the cards in the order of their names",
                  context->nics[index].name, index);
}

/* The address that the guest's configuration knows an interface by, when it is another one now. */
static const char *old_mac(const struct fix_context *context, const struct fix_nic *nic)
{
    const struct system *system = context->system;
    if (!nic->name || !nic->mac)
        return NULL;
    for (size_t i = 0; i < system->interface_count; i++) {
        const struct system_interface *interface = &system->interfaces[i];
        if (interface->mac && strcmp(interface->name, nic->name) == 0)
            return strcmp(interface->mac, nic->mac) == 0 ? NULL : interface->mac;
    }
    return NULL;
}

static const struct fix_nic *find_renumbered(const struct fix_context *context, const char *text)
{
    char mac[18];
    if (!interface_parse_mac(text, strnlen(text, 17), mac))
        return NULL;
    for (size_t i = 0; i < context->nic_count; i++) {
        const char *old = old_mac(context, &context->nics[i]);
        if (old && strcmp(old, mac) == 0)
            return &context->nics[i];
    }
    return NULL;
}

/* Files that match a card by its old address, once through, so that exchanged ones stay apart. */
static int replace_macs(struct fix_context *context, const char *path, const char *text, void *data,
                        struct error *err)
{
    (void)data;
    AUTO(text) after = {0};
    text_add(&after, "");
    for (const char *at = text; *at;) {
        bool is_start = at == text || !isxdigit((unsigned char)at[-1]);
        const struct fix_nic *nic = is_start ? find_renumbered(context, at) : NULL;
        if (nic)
            text_add(&after, nic->mac);
        else
            text_add_bytes(&after, at, 1);
        at += nic ? 17 : 1;
    }
    return plan_write(context->plan, NAME, path, after.data, 0600,
                      "it looks for an interface by its old MAC", err);
}

static int plan_macs(struct fix_context *context, struct error *err)
{
    bool has_changed = false;
    for (size_t i = 0; i < context->nic_count; i++)
        has_changed |= old_mac(context, &context->nics[i]) != NULL;
    if (!has_changed)
        return 0;
    if (for_each_file(context, LINKS, ".network", replace_macs, NULL, err) < 0 ||
        for_each_file(context, "/etc/netplan", ".yaml", replace_macs, NULL, err) < 0)
        return -1;
    return for_each_file(context, "/etc/NetworkManager/system-connections", "", replace_macs, NULL,
                         err);
}

static int plan_network(struct fix_context *context, struct error *err)
{
    unsigned version;
    if (systemd_version(context, &version, err) < 0)
        return -1;
    for (size_t i = 0; i < context->nic_count; i++) {
        struct pin pin = {
            .nic = &context->nics[i],
            .has_type = version >= SYSTEMD_WITH_LINK_TYPES,
        };
        if (!is_usable(context, pin.nic))
            continue;
        warn_of_clash(context, i);
        if (pin_name(context, &pin, err) < 0)
            return -1;
    }
    return plan_macs(context, err);
}

static bool applies(const struct system *system)
{
    return strcmp(system->type ? system->type : "", "linux") == 0;
}

const struct fixer fix_network = {
    .name = NAME,
    .description = "network interfaces pinned to the MACs of the definition, so that they keep "
                   "their names",
    .applies = applies,
    .plan = plan_network,
};
