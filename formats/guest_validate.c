/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The checks on the values of a guest definition, whether it was read or built in memory. What
 * passes here is safe to be quoted by a target: no text has control characters or broken UTF-8.
 */
#include "base/text.h"
#include "formats/guest_fields.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB_BYTES ((uint64_t)1 << 20)
#define SECTOR_BYTES 512

/* True when every byte is a letter or digit of ASCII, or one of `others`. */
static bool is_made_of(const char *text, const char *others)
{
    for (; *text != 0; text++) {
        unsigned char byte = (unsigned char)*text;

        if (byte >= 0x80 || (!isalnum(byte) && strchr(others, byte) == NULL))
            return false;
    }
    return true;
}

/* Escaping changes nothing but backslashes then; U+FFFE and U+FFFF are what XML has not. */
bool guest_text_is_printable(const char *text)
{
    AUTO(text) escaped = {0};
    size_t backslashes = 0;

    for (const char *at = text; *at != 0; at++)
        backslashes += *at == '\\';
    text_add_escaped(&escaped, text, strlen(text));
    return escaped.length == strlen(text) + backslashes && strstr(text, "\xef\xbf\xbe") == NULL &&
           strstr(text, "\xef\xbf\xbf") == NULL;
}

/* NULL, an absent field, is fine. */
static int check_text(const char *text, size_t limit, const char *where, struct error *err)
{
    if (text == NULL)
        return 0;
    if (*text == 0)
        return error_set(err, 0, "%s: is empty", where);
    if (strlen(text) > limit)
        return error_set(err, 0, "%s: %zu bytes: at most %zu", where, strlen(text), limit);
    if (!guest_text_is_printable(text))
        return error_set(err, 0, "%s: \"%.200s\": has control or invalid characters", where, text);
    return 0;
}

static int check_choice(const char *text, const char *const *choices, const char *where,
                        struct error *err)
{
    if (text == NULL)
        return 0;
    if (check_text(text, GUEST_MAX_TEXT, where, err) < 0)
        return -1;
    if (guest_choice_find(choices, text) < 0)
        return guest_choice_error(choices, where, text, err);
    return 0;
}

static int check_present(const void *value, const char *where, struct error *err)
{
    return value != NULL ? 0 : error_set(err, 0, "%s: missing", where);
}

static int check_enum(unsigned value, const char *const *choices, const char *where,
                      struct error *err)
{
    for (unsigned i = 0; choices[i] != NULL; i++) {
        if (i == value)
            return 0;
    }
    return error_set(err, 0, "%s: %u: no such value", where, value);
}

/* No empty, "." or ".." part: so two different paths are two different places in the folder. */
static bool path_is_plain(const char *path)
{
    const char *part = path;

    for (;;) {
        size_t length = strcspn(part, "/");

        if (length == 0 || (length == 1 && part[0] == '.') ||
            (length == 2 && part[0] == '.' && part[1] == '.'))
            return false;
        if (part[length] == 0)
            return true;
        part += length + 1;
    }
}

static int check_path(const char *path, bool allow_outside, const char *where, struct error *err)
{
    if (path == NULL)
        return 0;
    if (check_text(path, GUEST_MAX_PATH, where, err) < 0)
        return -1;
    if (path[strlen(path) - 1] == '/')
        return error_set(err, 0, "%s: \"%s\": is a folder", where, path);
    if (allow_outside)
        return 0;
    if (path[0] == '/')
        return error_set(err, 0, "%s: \"%s\": must be relative to the definition", where, path);
    if (!path_is_plain(path))
        return error_set(err, 0, "%s: \"%s\": must not have \"..\", \".\" or empty parts", where,
                         path);
    return 0;
}

static int check_name(const char *name, struct error *err)
{
    if (check_present(name, "name", err) < 0)
        return -1;
    if (strlen(name) < 1 || strlen(name) > 63 || !is_made_of(name, "._-") || name[0] == '.' ||
        name[0] == '-')
        return error_set(err, 0,
                         "name: \"%.200s\": must be 1 to 63 letters, digits, '.', '_' or '-', and "
                         "begin with none of '.' and '-'",
                         name);
    return 0;
}

static int check_uuid(const char *uuid, struct error *err)
{
    if (check_present(uuid, "uuid", err) < 0)
        return -1;
    for (size_t i = 0; i < 36; i++) {
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        char c = uuid[i];

        if (is_dash ? c != '-' : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return error_set(err, 0, "uuid: \"%.200s\": must be lower case, 8-4-4-4-12 digits",
                             uuid);
    }
    if (uuid[36] != 0 || strspn(uuid, "0-") == 36)
        return error_set(err, 0, "uuid: \"%.200s\": must be 36 characters, not all zero", uuid);
    return 0;
}

static int check_firmware(const struct guest *guest, bool allow_outside, struct error *err)
{
    if (check_enum(guest->firmware, guest_firmware_names, "firmware.type", err) < 0 ||
        check_path(guest->nvram, allow_outside, "firmware.nvram", err) < 0)
        return -1;
    if (guest->secure_boot && guest->firmware != GUEST_FIRMWARE_UEFI)
        return error_set(err, 0, "firmware.secure_boot: needs firmware.type \"uefi\"");
    if (guest->nvram != NULL && guest->firmware != GUEST_FIRMWARE_UEFI)
        return error_set(err, 0, "firmware.nvram: needs firmware.type \"uefi\"");
    return 0;
}

static int check_count(uint64_t value, uint64_t from, uint64_t to, const char *where,
                       struct error *err)
{
    if (value >= from && value <= to)
        return 0;
    return error_set(err, 0, "%s: %llu: must be %llu to %llu", where, (unsigned long long)value,
                     (unsigned long long)from, (unsigned long long)to);
}

static int check_cpu(const struct guest *guest, struct error *err)
{
    if (check_count(guest->sockets, 1, 512, "cpu.sockets", err) < 0 ||
        check_count(guest->cores, 1, 512, "cpu.cores", err) < 0 ||
        check_count(guest->threads, 1, 512, "cpu.threads", err) < 0)
        return -1;
    if (guest->sockets * guest->cores * guest->threads > GUEST_MAX_CPUS)
        return error_set(err, 0, "cpu: %u CPUs: at most %u",
                         guest->sockets * guest->cores * guest->threads, GUEST_MAX_CPUS);
    if (guest->cpu_model != NULL &&
        (*guest->cpu_model == 0 || strlen(guest->cpu_model) > GUEST_MAX_TEXT ||
         !is_made_of(guest->cpu_model, "._-")))
        return error_set(err, 0, "cpu.model: \"%.200s\": must be letters, digits, '.', '_', '-'",
                         guest->cpu_model);
    return 0;
}

static int check_multiple(uint64_t value, uint64_t unit, uint64_t limit, const char *where,
                          struct error *err)
{
    if (value == 0 || value % unit != 0 || value > limit)
        return error_set(err, 0, "%s: %llu: must be a multiple of %llu, at most %llu", where,
                         (unsigned long long)value, (unsigned long long)unit,
                         (unsigned long long)limit);
    return 0;
}

static int check_limits(const struct guest_limits *limits, struct error *err)
{
    if (check_count(limits->cpu_percent, 0, 100 * GUEST_MAX_CPUS, "limits.cpu_percent", err) < 0 ||
        check_count(limits->net_bytes_per_second, 0, GUEST_MAX_RATE, "limits.net_bytes_per_second",
                    err) < 0 ||
        check_count(limits->disk_bytes_per_second, 0, GUEST_MAX_RATE,
                    "limits.disk_bytes_per_second", err) < 0)
        return -1;
    return check_count(limits->disk_operations_per_second, 0, GUEST_MAX_RATE,
                       "limits.disk_operations_per_second", err);
}

static int check_serial(const char *serial, struct error *err)
{
    if (check_text(serial, GUEST_MAX_SERIAL, "serial", err) < 0)
        return -1;
    for (; serial != NULL && *serial != 0; serial++) {
        if ((unsigned char)*serial >= 0x80)
            return error_set(err, 0, "serial: must be ASCII");
    }
    return 0;
}

static int check_disk(const struct guest_disk *disk, bool allow_outside, struct error *err)
{
    if (check_present(disk->path, "path", err) < 0 ||
        check_path(disk->path, allow_outside, "path", err) < 0 ||
        check_present(disk->format, "format", err) < 0 ||
        check_choice(disk->format, guest_format_names, "format", err) < 0 ||
        check_multiple(disk->size_bytes, SECTOR_BYTES, GUEST_MAX_DISK_SIZE, "size_bytes", err) <
            0 ||
        check_enum(disk->bus, guest_bus_names, "bus", err) < 0 ||
        check_serial(disk->serial, err) < 0 ||
        check_count(disk->boot_order, 0, GUEST_MAX_DISKS, "boot_order", err) < 0 ||
        check_path(disk->backing, allow_outside, "backing", err) < 0)
        return -1;
    if (disk->backing != NULL && strcmp(disk->format, "raw") == 0)
        return error_set(err, 0, "backing: a raw image has none");
    return 0;
}

static bool is_same(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

/*
 * Puts "disks[0]." before the field that an error begins with; error_wrap would put "disks[0]: ",
 * and error_set would escape what is escaped already. Returns -1.
 */
static int item_error(const char *items, size_t index, struct error *err)
{
    AUTO_FREE char *text = NULL;

    if (err == NULL)
        return -1;
    text = text_format("%s[%zu].%s", items, index, err->text);
    snprintf(err->text, sizeof(err->text), "%s", text);
    return -1;
}

/* A disk against all before it. A backing file may be shared, but by no means written to. */
static int check_disk_is_alone(const struct guest *guest, size_t index, struct error *err)
{
    const struct guest_disk *disk = &guest->disks[index];

    if (is_same(disk->path, guest->nvram) || is_same(disk->path, disk->backing))
        return error_set(err, 0, "path: \"%s\": is used twice", disk->path);
    for (size_t i = 0; i < index; i++) {
        const struct guest_disk *other = &guest->disks[i];

        if (is_same(disk->path, other->path) || is_same(disk->path, other->backing))
            return error_set(err, 0, "path: \"%s\": is disks[%zu]'s too", disk->path, i);
        if (is_same(disk->backing, other->path))
            return error_set(err, 0, "backing: \"%s\": is the path of disks[%zu]", disk->backing,
                             i);
        if (disk->boot_order != 0 && disk->boot_order == other->boot_order)
            return error_set(err, 0, "boot_order: %u: is disks[%zu]'s too", disk->boot_order, i);
    }
    return 0;
}

static int check_disks(const struct guest *guest, bool allow_outside, struct error *err)
{
    unsigned ide_count = 0;

    if (guest->disk_count > GUEST_MAX_DISKS)
        return error_set(err, 0, "disks: %zu items: at most %d", guest->disk_count,
                         GUEST_MAX_DISKS);
    for (size_t i = 0; i < guest->disk_count; i++) {
        if (check_disk(&guest->disks[i], allow_outside, err) < 0 ||
            check_disk_is_alone(guest, i, err) < 0)
            return item_error("disks", i, err);
        ide_count += guest->disks[i].bus == GUEST_BUS_IDE;
    }
    if (ide_count > 4)
        return error_set(err, 0, "disks: %u on bus \"ide\": at most 4", ide_count);
    return 0;
}

static int check_address(const char *address, const char *where, struct error *err)
{
    char plain[INET6_ADDRSTRLEN];
    uint8_t binary[16];
    const char *slash;
    char *end;
    unsigned long prefix;
    int bits;

    if (check_text(address, GUEST_MAX_TEXT, where, err) < 0)
        return -1;
    if (strcmp(address, "dhcp") == 0 || strcmp(address, "auto") == 0)
        return 0;
    slash = strchr(address, '/');
    if (slash != NULL && (size_t)(slash - address) < sizeof(plain) &&
        isdigit((unsigned char)slash[1])) {
        memcpy(plain, address, (size_t)(slash - address));
        plain[slash - address] = 0;
        bits = inet_pton(AF_INET, plain, binary) == 1    ? 32
               : inet_pton(AF_INET6, plain, binary) == 1 ? 128
                                                         : -1;
        prefix = strtoul(slash + 1, &end, 10);
        if (bits > 0 && *end == 0 && prefix <= (unsigned long)bits)
            return 0;
    }
    return error_set(err, 0, "%s: \"%s\": must be ADDRESS/PREFIX, \"dhcp\" or \"auto\"", where,
                     address);
}

static int check_mac(const char *mac, struct error *err)
{
    if (check_present(mac, "mac", err) < 0)
        return -1;
    if (!guest_mac_is_valid(mac) || strpbrk(mac, "ABCDEF") != NULL)
        return error_set(
            err, 0, "mac: \"%.200s\": must be six pairs of hex digits, lower case, unicast", mac);
    return 0;
}

static int check_nic(const struct guest_nic *nic, struct error *err)
{
    if (check_mac(nic->mac, err) < 0 ||
        check_enum(nic->model, guest_nic_model_names, "model", err) < 0 ||
        check_text(nic->name, GUEST_MAX_TEXT, "name", err) < 0 ||
        check_text(nic->network, GUEST_MAX_TEXT, "network", err) < 0)
        return -1;
    if (nic->network != NULL && strchr(nic->network, '/') != NULL)
        return error_set(err, 0, "network: \"%s\": must not have '/'", nic->network);
    if (nic->address_count > GUEST_MAX_ADDRESSES)
        return error_set(err, 0, "addresses: %zu items: at most %d", nic->address_count,
                         GUEST_MAX_ADDRESSES);
    for (size_t i = 0; i < nic->address_count; i++) {
        AUTO_FREE char *where = text_format("addresses[%zu]", i);

        if (check_present(nic->addresses[i], where, err) < 0 ||
            check_address(nic->addresses[i], where, err) < 0)
            return -1;
    }
    return 0;
}

static int check_nic_is_alone(const struct guest *guest, size_t index, struct error *err)
{
    const struct guest_nic *nic = &guest->nics[index];

    for (size_t i = 0; i < index; i++) {
        if (is_same(nic->mac, guest->nics[i].mac))
            return error_set(err, 0, "mac: %s: is nics[%zu]'s too", nic->mac, i);
        if (is_same(nic->name, guest->nics[i].name))
            return error_set(err, 0, "name: \"%s\": is nics[%zu]'s too", nic->name, i);
    }
    return 0;
}

static int check_nics(const struct guest *guest, struct error *err)
{
    if (guest->nic_count > GUEST_MAX_NICS)
        return error_set(err, 0, "nics: %zu items: at most %d", guest->nic_count, GUEST_MAX_NICS);
    for (size_t i = 0; i < guest->nic_count; i++) {
        if (check_nic(&guest->nics[i], err) < 0 || check_nic_is_alone(guest, i, err) < 0)
            return item_error("nics", i, err);
    }
    return 0;
}

int guest_validate(const struct guest *guest, bool allow_outside, struct error *err)
{
    if (check_name(guest->name, err) < 0 || check_uuid(guest->uuid, err) < 0 ||
        check_present(guest->arch, "arch", err) < 0 ||
        check_choice(guest->arch, guest_arch_names, "arch", err) < 0 ||
        check_firmware(guest, allow_outside, err) < 0 || check_cpu(guest, err) < 0 ||
        check_multiple(guest->memory_bytes, MIB_BYTES, GUEST_MAX_MEMORY, "memory_bytes", err) < 0 ||
        check_enum(guest->clock, guest_clock_names, "clock", err) < 0 ||
        check_disks(guest, allow_outside, err) < 0 || check_nics(guest, err) < 0 ||
        check_choice(guest->console, guest_console_names, "console", err) < 0 ||
        check_choice(guest->os_type, guest_os_type_names, "os.type", err) < 0 ||
        check_text(guest->os_distro, GUEST_MAX_TEXT, "os.distro", err) < 0 ||
        check_text(guest->os_version, GUEST_MAX_TEXT, "os.version", err) < 0)
        return -1;
    return check_limits(&guest->limits, err);
}
