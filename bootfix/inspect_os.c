/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the mounted guest says about itself: os-release, names, clock, architecture, the tool that
 * makes its initramfs and its boot loader. Absent files leave a member NULL or unknown.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "bootfix/inspect.h"

#include <ctype.h>
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#define INSPECT_MAX_PROGRAM_BYTES ((size_t)16 << 20)

/* An assignment's value without the shell's quotes and backslashes. */
static char *unquote(const char *value, size_t length)
{
    AUTO(text) result = {0};
    char quote = '\0';
    for (size_t i = 0; i < length; i++) {
        char c = value[i];
        if (c == quote) {
            quote = '\0';
        } else if (!quote && (c == '"' || c == '\'')) {
            quote = c;
        } else if (c == '\\' && quote != '\'' && i + 1 < length) {
            text_add_bytes(&result, &value[++i], 1);
        } else {
            text_add_bytes(&result, &c, 1);
        }
    }
    return text_take(&result);
}

char *inspect_assignment(const char *text, const char *key)
{
    size_t key_length = strlen(key);
    for (const char *line = text; *line; line += *line == '\n') {
        size_t length = strcspn(line, "\n");
        if (length > key_length && line[key_length] == '=' && memcmp(line, key, key_length) == 0) {
            const char *value = line + key_length + 1;
            size_t size = length - key_length - 1;
            while (size > 0 && isspace((unsigned char)value[size - 1]))
                size--;
            return unquote(value, size);
        }
        line += length;
    }
    return NULL;
}

/* The first line without blanks at its ends; NULL when there is none. */
static int read_line(struct files *files, const char *path, char **line, struct error *err)
{
    AUTO_FREE char *text = NULL;
    size_t length;
    int found = files_read(files, path, FILES_MAX_CONFIG, &text, &length, err);
    if (found <= 0)
        return found;
    const char *start = text + strspn(text, " \t\r\n");
    size_t size = strcspn(start, "\r\n");
    while (size > 0 && isspace((unsigned char)start[size - 1]))
        size--;
    if (size > 0)
        *line = text_format("%.*s", (int)size, start);
    return 0;
}

static int read_release(struct files *files, struct system *system, struct error *err)
{
    static const char *const paths[] = {"/etc/os-release", "/usr/lib/os-release"};
    AUTO_FREE char *text = NULL;
    size_t length;
    int found = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(paths) && found == 0; i++)
        found = files_read(files, paths[i], FILES_MAX_CONFIG, &text, &length, err);
    if (found < 0)
        return -1;
    if (found > 0) {
        system->distro = inspect_assignment(text, "ID");
        system->version = inspect_assignment(text, "VERSION_ID");
        system->product = inspect_assignment(text, "PRETTY_NAME");
    }
    return 0;
}

/* adjtime(5): the third line is UTC or LOCAL. */
static int read_clock(struct files *files, struct system *system, struct error *err)
{
    AUTO_FREE char *text = NULL;
    size_t length;
    int found = files_read(files, "/etc/adjtime", FILES_MAX_CONFIG, &text, &length, err);
    if (found <= 0)
        return found;
    const char *second = strchr(text, '\n');
    const char *third = second ? strchr(second + 1, '\n') : NULL;
    system->is_clock_localtime = third && text_starts_with(third + 1, "LOCAL");
    return 0;
}

static const char *arch_of_elf(const char *data, size_t length)
{
    static const struct {
        uint16_t machine;
        const char *name;
    } known[] = {
        {EM_X86_64, "x86_64"}, {EM_386, "i686"},   {EM_AARCH64, "aarch64"}, {EM_ARM, "arm"},
        {EM_PPC64, "ppc64"},   {EM_S390, "s390x"}, {EM_RISCV, "riscv64"},
    };
    if (length < sizeof(Elf32_Ehdr) || memcmp(data, ELFMAG, SELFMAG) != 0)
        return NULL;
    bool is_little = data[EI_DATA] == ELFDATA2LSB;
    const char *field = data + offsetof(Elf32_Ehdr, e_machine);
    uint16_t machine = is_little ? load_le16(field) : load_be16(field);
    if (machine == EM_PPC64 && is_little)
        return "ppc64le";
    for (size_t i = 0; i < ARRAY_LENGTH(known); i++)
        if (known[i].machine == machine)
            return known[i].name;
    return NULL;
}

static int read_arch(struct files *files, struct system *system, struct error *err)
{
    static const char *const programs[] = {"/bin/true", "/usr/bin/true", "/bin/sh", "/sbin/init"};
    for (size_t i = 0; i < ARRAY_LENGTH(programs) && !system->arch; i++) {
        AUTO_FREE char *data = NULL;
        size_t length = 0;
        int found = files_read(files, programs[i], INSPECT_MAX_PROGRAM_BYTES, &data, &length, err);
        if (found < 0)
            return -1;
        const char *arch = found ? arch_of_elf(data, length) : NULL;
        if (arch)
            system->arch = text_copy(arch);
    }
    return 0;
}

static bool has_any(struct files *files, const char *one, const char *other)
{
    return files_exist(files, one) || files_exist(files, other);
}

/* mkinitramfs is asked for first: dracut's package brings an update-initramfs of its own. */
static enum system_initramfs find_initramfs(struct files *files)
{
    if (has_any(files, "/usr/sbin/mkinitramfs", "/usr/share/initramfs-tools/init"))
        return SYSTEM_INITRAMFS_TOOLS;
    if (has_any(files, "/usr/bin/dracut", "/sbin/dracut"))
        return SYSTEM_INITRAMFS_DRACUT;
    return SYSTEM_INITRAMFS_UNKNOWN;
}

static void find_loader(struct files *files, struct system *system)
{
    static const char *const configs[] = {"/boot/grub/grub.cfg", "/boot/grub2/grub.cfg"};
    for (size_t i = 0; i < ARRAY_LENGTH(configs); i++) {
        if (files_exist(files, configs[i])) {
            system->loader = SYSTEM_LOADER_GRUB2;
            system->grub_config = text_copy(configs[i]);
            return;
        }
    }
}

int inspect_os(struct files *files, struct system *system, struct error *err)
{
    if (read_release(files, system, err) < 0 ||
        read_line(files, "/etc/hostname", &system->hostname, err) < 0 ||
        read_line(files, "/etc/machine-id", &system->machine_id, err) < 0 ||
        read_clock(files, system, err) < 0 || read_arch(files, system, err) < 0)
        return -1;
    system->type = text_copy("linux");
    if (!system->distro)
        system->distro = text_copy("unknown");
    system->has_systemd = has_any(files, "/usr/lib/systemd/systemd", "/lib/systemd/systemd");
    system->initramfs = find_initramfs(files);
    find_loader(files, system);
    return 0;
}
