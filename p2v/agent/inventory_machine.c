/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a machine is besides its CPUs, disks and network: firmware (UEFI 2.10, 3.3 for the Secure
 * Boot variables), DMI as the kernel shows it, TPM, host name, the hardware clock (hwclock(8),
 * adjtime) and the time zone.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/inventory.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/json.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define EFI_GLOBAL "8be4df61-93ca-11d2-aa0d-00e098032b8c"
#define EFI_ATTRIBUTES 4 /* bytes before the value in efivarfs */

/* 0 or 1; -1 when there is no such variable, or it cannot be read. */
static int efi_flag(const char *root, const char *name)
{
    size_t length = 0;
    AUTO_FREE char *path = inventory_path(root, "/sys/firmware/efi/efivars/%s-" EFI_GLOBAL, name);
    AUTO_FREE char *data = inventory_read(path, &length);
    return data && length == EFI_ATTRIBUTES + 1 ? data[EFI_ATTRIBUTES] == 1 : -1;
}

static json_t *flag_json(int flag)
{
    return flag < 0 ? json_null() : json_boolean(flag);
}

static json_t *firmware_json(const char *root)
{
    json_t *json = json_object();
    bool is_uefi = inventory_has(root, "/sys/firmware/efi");
    json_set_text(json, "type", is_uefi ? "uefi" : "bios");
    json_object_set_new(json, "secure_boot",
                        is_uefi ? flag_json(efi_flag(root, "SecureBoot")) : json_false());
    if (is_uefi) {
        json_object_set_new(json, "setup_mode", flag_json(efi_flag(root, "SetupMode")));
        json_object_set_new(json, "bits",
                            json_integer((json_int_t)inventory_number(
                                root, 64, "/sys/firmware/efi/fw_platform_size")));
    }
    return json;
}

static json_t *dmi_json(const char *root)
{
    static const struct {
        const char *key, *file;
    } fields[] = {
        {"vendor", "sys_vendor"},         {"product", "product_name"},
        {"version", "product_version"},   {"serial", "product_serial"},
        {"uuid", "product_uuid"},         {"board_vendor", "board_vendor"},
        {"board", "board_name"},          {"bios_vendor", "bios_vendor"},
        {"bios_version", "bios_version"}, {"bios_date", "bios_date"},
        {"chassis_type", "chassis_type"},
    };
    json_t *json = json_object();
    for (size_t i = 0; i < ARRAY_LENGTH(fields); i++) {
        AUTO_FREE char *text = inventory_text(root, "/sys/class/dmi/id/%s", fields[i].file);
        json_set_text(json, fields[i].key, text[0] ? text : NULL);
    }
    return json;
}

static json_t *tpm_json(const char *root)
{
    char **names = inventory_names(root, "/sys/class/tpm");
    json_t *json = json_null();
    if (names[0]) {
        AUTO_FREE char *version =
            inventory_text(root, "/sys/class/tpm/%s/tpm_version_major", names[0]);
        json = json_object();
        json_set_text(json, "name", names[0]);
        json_set_text(json, "version", version[0] ? version : NULL);
    }
    inventory_names_free(names);
    return json;
}

/* --- time --- */

/* The third line of adjtime is UTC or LOCAL; without the file it is UTC. */
static const char *clock_of(const char *root)
{
    AUTO_FREE char *text = inventory_text(root, "/etc/adjtime");
    const char *line = text;
    for (int i = 0; i < 2 && line; i++) {
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return line && text_starts_with(line, "LOCAL") ? "localtime" : "utc";
}

/* "Europe/Zurich", from where the link leads, or Debian's file. NULL: not known. Caller frees. */
static char *time_zone(const char *root)
{
    char target[PATH_MAX];
    AUTO_FREE char *path = inventory_path(root, "/etc/localtime");
    ssize_t length = readlink(path, target, sizeof(target) - 1);
    if (length > 0) {
        target[length] = '\0';
        const char *name = strstr(target, "zoneinfo/");
        if (name)
            return text_copy(name + strlen("zoneinfo/"));
    }
    AUTO_FREE char *text = inventory_text(root, "/etc/timezone");
    return text[0] ? text_copy(text) : NULL;
}

/* --- names --- */

static char *host_name(const char *root)
{
    struct utsname names;
    AUTO_FREE char *configured = inventory_text(root, "/etc/hostname");
    if (!root[0] && uname(&names) == 0 && names.nodename[0] &&
        strcmp(names.nodename, "(none)") != 0 && strcmp(names.nodename, "localhost") != 0)
        return text_copy(names.nodename);
    return configured[0] ? text_copy(configured) : NULL;
}

/* The medium's own init makes the mark; its parameters may be none. */
static bool is_boot_medium(const char *root)
{
    if (inventory_has(root, INVENTORY_MEDIUM_MARK))
        return true;
    AUTO_FREE char *command_line = inventory_text(root, "/proc/cmdline");
    return text_starts_with(command_line, "rehost.") || strstr(command_line, " rehost.");
}

/* Started from the boot medium, the host name and the time zone are the medium's: not told. */
void inventory_add_machine(const char *root, json_t *inventory)
{
    bool is_medium = is_boot_medium(root);
    AUTO_FREE char *host = is_medium ? NULL : host_name(root);
    AUTO_FREE char *zone = is_medium ? NULL : time_zone(root);
    AUTO_FREE char *kernel = inventory_text(root, "/proc/sys/kernel/osrelease");
    json_set_text(inventory, "hostname", host);
    json_set_text(inventory, "medium", is_medium ? "boot" : "running");
    json_set_text(inventory, "kernel", kernel[0] ? kernel : NULL);
    json_object_set_new(inventory, "firmware", firmware_json(root));
    inventory_add_processors(root, inventory);
    json_object_set_new(inventory, "dmi", dmi_json(root));
    json_set_text(inventory, "clock", is_medium ? NULL : clock_of(root));
    json_set_text(inventory, "time_zone", zone);
    json_object_set_new(inventory, "tpm", tpm_json(root));
}
