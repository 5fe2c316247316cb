/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Three entries everywhere: send, ask first, and with a shell. The first starts by itself.
 */
#include "p2v/media/boot_menus.h"

#include "base/bytes.h"
#include "base/own.h"

#include <string.h>

/*
 * The last console= is where /dev/console leads. A kernel that panics starts the machine anew, and
 * the agent goes on from the last safe point. The kernel's tests of its own ciphers, which the
 * agent does not use, would take a quarter of the time until it is connected.
 */
#define KERNEL_ARGUMENTS "console=ttyS0,115200 console=tty0 loglevel=4 panic=60 cryptomgr.notests"

static const struct {
    const char *id, *title, *arguments;
} entries[] = {
    {"rehost", "Rehost: send this machine", ""},
    {"ask", "Rehost: ask before anything is sent", " rehost.confirm"},
    {"shell", "Rehost: with a shell on the third console", " rehost.shell"},
};

static void add_arguments(struct text *out, const char *command_line, const char *more)
{
    text_addf(out, KERNEL_ARGUMENTS "%s%s%s", *command_line ? " " : "", command_line, more);
}

/* Single quotes: nothing in them means anything to GRUB. */
static void add_grub_entries(struct text *out, const char *kernel, const char *initramfs,
                             const char *command_line)
{
    for (size_t i = 0; i < ARRAY_LENGTH(entries); i++) {
        text_addf(out, "menuentry '%s' --id %s {\n    linux %s ", entries[i].title, entries[i].id,
                  kernel);
        add_arguments(out, command_line, entries[i].arguments);
        text_addf(out, "\n    initrd %s\n}\n", initramfs);
    }
}

/* UEFI's console is on the serial line already where the firmware is told so. */
static void add_grub_head(struct text *out)
{
    text_add(out, "set default=0\n"
                  "set timeout=3\n"
                  "if [ \"$grub_platform\" = pc ]; then\n"
                  "    if serial --unit=0 --speed=115200; then\n"
                  "        terminal_input console serial\n"
                  "        terminal_output console serial\n"
                  "    fi\n"
                  "fi\n");
}

void boot_menus_add_grub(struct text *out, const char *command_line)
{
    add_grub_head(out);
    add_grub_entries(out, "/boot/vmlinuz", "/boot/initrd.img", command_line);
}

/* "http://host/dir" as GRUB writes it, "(http,host)/dir". */
static void add_grub_base(struct text *out, const char *base_url)
{
    const char *host = strstr(base_url, "://");
    if (!host) {
        text_add(out, "$rehost_folder");
        return;
    }
    host += strlen("://");
    size_t length = strcspn(host, "/");
    text_addf(out, "(%.*s,%.*s)%s", (int)strcspn(base_url, ":"), base_url, (int)length, host,
              host + length);
}

void boot_menus_add_grub_net(struct text *out, const char *base_url, const char *command_line)
{
    AUTO(text) base = {0};
    add_grub_head(out);
    /* GRUB forgets the folder of a file that it has read before the menu is shown. */
    if (!base_url)
        text_add(out, "set rehost_folder=\"$config_directory\"\nexport rehost_folder\n");
    add_grub_base(&base, base_url ? base_url : "");
    AUTO_FREE char *kernel = text_format("%s/vmlinuz", text_string(&base));
    AUTO_FREE char *initramfs = text_format("%s/initrd.img", text_string(&base));
    add_grub_entries(out, kernel, initramfs, command_line);
}

void boot_menus_add_pxelinux(struct text *out, const char *base_url, const char *command_line)
{
    const char *base = base_url ? base_url : "", *slash = base_url ? "/" : "";
    text_addf(out, "SERIAL 0 115200\nDEFAULT %s\nPROMPT 1\nTIMEOUT 30\n", entries[0].id);
    for (size_t i = 0; i < ARRAY_LENGTH(entries); i++) {
        text_addf(out, "LABEL %s\n    MENU LABEL %s\n    KERNEL %s%svmlinuz\n", entries[i].id,
                  entries[i].title, base, slash);
        text_addf(out, "    INITRD %s%sinitrd.img\n    APPEND ", base, slash);
        add_arguments(out, command_line, entries[i].arguments);
        text_add(out, "\n");
    }
}

/* The kernel's EFI stub is told by initrd= which file is its initramfs. */
void boot_menus_add_ipxe(struct text *out, const char *base_url, const char *command_line)
{
    const char *base = base_url ? base_url : "", *slash = base_url ? "/" : "";
    text_addf(out, "#!ipxe\nkernel %s%svmlinuz initrd=initrd.img ", base, slash);
    add_arguments(out, command_line, "");
    text_addf(out, "\ninitrd --name initrd.img %s%sinitrd.img\nboot\n", base, slash);
}

int boot_menus_check_url(const char *base_url, struct error *err)
{
    static const char *const schemes[] = {"http://", "https://", "tftp://"};
    const char *rest = NULL;
    for (size_t i = 0; i < ARRAY_LENGTH(schemes); i++) {
        if (text_starts_with(base_url, schemes[i]))
            rest = base_url + strlen(schemes[i]);
    }
    if (!rest || !*rest || *rest == '/')
        return error_set(err, 0, "'%s' is no http://, https:// or tftp:// address", base_url);
    size_t plain = strspn(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "._~:/[]@%+-");
    if (rest[plain])
        return error_set(err, 0, "'%c' cannot stand in a boot loader's address", rest[plain]);
    if (text_ends_with(base_url, "/"))
        return error_set(err, 0, "'%s' ends with a slash", base_url);
    return 0;
}
