/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * udev's rules for names of network interfaces.
 */
#include "bootfix/udev_rule.h"

#include "bootfix/interfaces.h"

#include <string.h>

static bool is_key_start(struct span line, size_t at)
{
    return at == 0 || strchr(" \t,", line.start[at - 1]);
}

bool udev_rule_find(struct span line, const char *key, struct span *value)
{
    size_t key_length = strlen(key);
    for (size_t i = 0; i + key_length < line.length; i++) {
        if (!is_key_start(line, i) || memcmp(line.start + i, key, key_length) != 0)
            continue;
        struct span rest = span_skip(line, i + key_length);
        while (rest.length && (*rest.start == '=' || *rest.start == ':' || *rest.start == ' '))
            rest = span_skip(rest, 1);
        const char *end = rest.length > 1 && *rest.start == '"'
                              ? memchr(rest.start + 1, '"', rest.length - 1)
                              : NULL;
        if (!end)
            continue;
        *value = (struct span){rest.start + 1, (size_t)(end - rest.start - 1)};
        return true;
    }
    return false;
}

bool udev_rule_names(struct span line, const char *name)
{
    struct span value;
    line = span_trim(line);
    return !span_starts_with(line, "#") && udev_rule_find(line, "SUBSYSTEM", &value) &&
           span_is(value, "net") && udev_rule_find(line, "NAME", &value) && span_is(value, name);
}

/* The driver's name and the slot are the old machine's. */
static bool needs_old_hardware(struct span line)
{
    static const char *const keys[] = {"KERNELS", "DEVPATH", "ATTRS{", "ENV{ID_PATH", "DRIVER"};
    struct span value;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (span_contains(line, keys[i]) &&
            !(udev_rule_find(line, "DRIVERS", &value) && span_is(value, "?*") &&
              strcmp(keys[i], "DRIVER") == 0))
            return true;
    return false;
}

bool udev_rule_matches_mac(struct span line, const char *mac)
{
    struct span value;
    char parsed[18];
    bool has_mac = udev_rule_find(line, "ATTR{address}", &value) ||
                   udev_rule_find(line, "SYSFS{address}", &value);
    /* udev compares literally, and the kernel writes lower case */
    return has_mac && !needs_old_hardware(line) &&
           interface_parse_mac(value.start, value.length, parsed) && span_is(value, mac);
}

void udev_rule_add(struct text *out, const char *name, const char *mac)
{
    text_addf(out,
              "SUBSYSTEM==\"net\", ACTION==\"add\", DRIVERS==\"?*\", ATTR{address}==\"%s\", "
              "ATTR{type}==\"1\", NAME=\"%s\"",
              mac, name);
}
