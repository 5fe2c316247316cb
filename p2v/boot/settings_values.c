/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the values of parameters may be. They come from PXE menus and from people: each is refused
 * here, by name, and not where it would be used an hour later.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "formats/guest.h"
#include "p2v/boot/settings_private.h"
#include "p2v/options.h"
#include "p2v/server/token_text.h"
#include "p2v/wire/link.h"
#include "p2v/wishes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TEXT 255
#define MAX_NAME 63
#define MAX_INTERFACE 15

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"
#define NAME_CHARACTERS LETTERS DIGITS "._-"

static bool is_made_of(const char *text, const char *characters, size_t limit)
{
    size_t length = strlen(text);
    return length >= 1 && length <= limit && strspn(text, characters) == length;
}

static bool is_plain_name(const char *text, size_t limit)
{
    return is_made_of(text, NAME_CHARACTERS, limit) && strchr(LETTERS DIGITS, text[0]);
}

/* --- single values --- */

int settings_check_text(const char *value, struct error *err)
{
    size_t length = strlen(value);
    for (size_t i = 0; i < length; i++) {
        if (value[i] <= ' ' || value[i] == 0x7f)
            return error_set(err, EINVAL, "'%.80s' has a character that cannot be", value);
    }
    if (length == 0 || length > MAX_TEXT)
        return error_set(err, EINVAL, "it is not 1 to %d characters long", MAX_TEXT);
    return 0;
}

int settings_check_server(const char *value, struct error *err)
{
    struct link_address address;
    return settings_check_text(value, err) == 0 ? link_address_parse(value, &address, err) : -1;
}

int settings_check_pin(const char *value, struct error *err)
{
    uint8_t hash[TLS_IDENTITY_SIZE];
    return tls_pin_parse(value, hash, err);
}

int settings_check_token(const char *value, struct error *err)
{
    uint8_t secret[TOKEN_SECRET_SIZE];
    bool is_token = token_text_decode(value, secret);
    explicit_bzero(secret, sizeof(secret));
    if (!is_token)
        return error_set(err, EINVAL, "it is not %d letters and digits of a token",
                         WIRE_TOKEN_LENGTH);
    return 0;
}

int settings_check_name(const char *value, struct error *err)
{
    if (!is_plain_name(value, MAX_NAME))
        return error_set(err, EINVAL, "'%.80s' is not 1 to %d of A-Z a-z 0-9 . _ -", value,
                         MAX_NAME);
    return 0;
}

int settings_check_compress(const char *value, struct error *err)
{
    static const char *const words[] = {"auto", "none", "1", "3"};
    if (!text_is_one_of(value, words, ARRAY_LENGTH(words)))
        return error_set(err, EINVAL, "'%.80s' is not auto, none, 1 or 3", value);
    return 0;
}

/* --- items of lists --- */

/* As in /dev, also below it: "cciss/c0d0", "disk/by-id/ata-…", "/dev/sda". */
int settings_check_disk(const char *value, struct error *err)
{
    if (!is_made_of(value, NAME_CHARACTERS "/:+@=#\\", MAX_TEXT) || strstr(value, ".."))
        return error_set(err, EINVAL, "'%.80s' is no name of a disk", value);
    return 0;
}

/* "eth0:wired", or "wired" for all others. */
int settings_check_network(const char *value, struct error *err)
{
    const char *colon = strchr(value, ':');
    AUTO_FREE char *interface = colon ? strndup(value, (size_t)(colon - value)) : NULL;
    if ((interface && !is_plain_name(interface, MAX_INTERFACE)) ||
        !is_plain_name(colon ? colon + 1 : value, MAX_NAME))
        return error_set(err, EINVAL, "'%.80s' is not INTERFACE:NETWORK or NETWORK", value);
    return 0;
}

/* --- numbers and words --- */

int settings_read_memory(const char *value, uint64_t *bytes, struct error *err)
{
    *bytes = 0;
    if (value[0] && (!option_parse_size(value, bytes) || *bytes < WISHES_MIN_MEMORY ||
                     *bytes > GUEST_MAX_MEMORY || *bytes % MIB != 0))
        return error_set(err, EINVAL, "'%.80s' is no size of memory (as 2048M or 2G)", value);
    return 0;
}

int settings_read_rate(const char *value, uint64_t *bytes_per_second, struct error *err)
{
    *bytes_per_second = 0;
    if (value[0] && !option_parse_size(value, bytes_per_second))
        return error_set(err, EINVAL, "'%.80s' is no number of bytes a second (as 20M)", value);
    return 0;
}

int settings_read_vcpus(const char *value, unsigned *count, struct error *err)
{
    unsigned long number = is_made_of(value, DIGITS, 5) ? strtoul(value, NULL, 10) : 0;
    if (value[0] && (number == 0 || number > WISHES_MAX_VCPUS))
        return error_set(err, EINVAL, "'%.80s' is not a number of 1 to %u", value,
                         WISHES_MAX_VCPUS);
    *count = (unsigned)number;
    return 0;
}

int settings_read_flag(const char *value, bool *flag, struct error *err)
{
    static const char *const yes[] = {"1", "yes", "y", "true", "on"};
    static const char *const no[] = {"", "0", "no", "n", "false", "off"};
    bool is_yes = text_is_one_of(value, yes, ARRAY_LENGTH(yes));
    if (!is_yes && !text_is_one_of(value, no, ARRAY_LENGTH(no)))
        return error_set(err, EINVAL, "'%.80s' is neither yes nor no", value);
    *flag = is_yes;
    return 0;
}

int settings_read_then(const char *value, enum boot_then *then, struct error *err)
{
    static const char *const words[] = {
        [BOOT_POWER_OFF] = "poweroff", [BOOT_REBOOT] = "reboot", [BOOT_WAIT] = "wait"};
    *then = BOOT_POWER_OFF;
    for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
        if (strcmp(value, words[i]) == 0) {
            *then = (enum boot_then)i;
            return 0;
        }
    }
    if (value[0] == '\0')
        return 0;
    return error_set(err, EINVAL, "'%.80s' is not poweroff, reboot or wait", value);
}

int settings_check_networks(const struct boot_names *networks, struct error *err)
{
    struct wishes wishes = {0};
    for (size_t i = 0; i < networks->count; i++) {
        if (wishes_add_network(&wishes, networks->items[i], err) != 0)
            return -1;
    }
    return 0;
}

/* --- owned texts --- */

void settings_replace(char **place, const char *value)
{
    text_wipe(*place);
    *place = value && value[0] ? text_copy(value) : NULL;
}

int settings_names_add(struct boot_names *names, const char *name, struct error *err)
{
    if (names->count == BOOT_MAX_NAMES)
        return error_set(err, E2BIG, "more than %d", BOOT_MAX_NAMES);
    names->items[names->count++] = text_copy(name);
    return 0;
}

void settings_names_fini(struct boot_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    *names = (struct boot_names){0};
}

int settings_names_split(struct boot_names *names, const char *value, settings_check *check,
                         struct error *err)
{
    settings_names_fini(names);
    while (value[0]) {
        size_t length = strcspn(value, ",");
        AUTO_FREE char *item = strndup(value, length);
        if (!item || check(item, err) != 0 || settings_names_add(names, item, err) != 0)
            return -1;
        if (value[length] == ',' && value[length + 1] == '\0')
            return error_set(err, EINVAL, "nothing behind the last comma");
        value += length + (value[length] == ',');
    }
    return 0;
}
