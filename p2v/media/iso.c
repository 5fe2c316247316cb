/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The hybrid ISO. Four ways lead to one menu:
 *
 *   BIOS, CD    El Torito: GRUB's core image, with all it needs inside
 *   BIOS, USB   the same core image, started by GRUB's boot_hybrid.img in the first sector
 *   UEFI, CD    El Torito: a FAT image with Debian's signed shim and GRUB
 *   UEFI, USB   the same FAT image, which the partition table shows as an EFI system partition
 *
 * Shim and GRUB are signed for Secure Boot, as the kernel is: nothing here is built for UEFI.
 */
#include "base/bytes.h"
#include "base/io.h"
#include "base/own.h"
#include "formats/digest.h"
#include "p2v/media/boot_menus.h"
#include "p2v/media/file_tree.h"
#include "p2v/media/parts.h"
#include "p2v/media/staging.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ESP_MIB 8

static const char bios_folder[] = "usr/lib/grub/i386-pc/";
static const char shim_path[] = "usr/lib/shim/shimx64.efi.signed";
static const char grub_path[] = "usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed";

/* --- GRUB's files, out of the packages --- */

static bool wants_loader(struct deb_visitor *visitor, const char *path)
{
    (void)visitor;
    return text_starts_with(path, bios_folder) || strcmp(path, shim_path) == 0 ||
           strcmp(path, grub_path) == 0;
}

struct loader_visitor {
    struct deb_visitor visitor; /* first */
    struct file_tree *tree;
};

static int take_loader(struct deb_visitor *visitor, const char *path, mode_t mode, char **data,
                       size_t length, struct error *err)
{
    (void)err;
    if (S_ISREG(mode))
        file_tree_add(((struct loader_visitor *)visitor)->tree, path, 0644, take_ptr(data), length);
    return 0;
}

static int read_loaders(const struct packages *packages, struct file_tree *tree, struct error *err)
{
    static const char *const names[] = {"grub-pc-bin", "grub-efi-amd64-signed", "shim-signed"};
    static const char *const needed[] = {shim_path, grub_path, "usr/lib/grub/i386-pc/cdboot.img",
                                         "usr/lib/grub/i386-pc/boot_hybrid.img"};
    struct loader_visitor reading = {{.wants = wants_loader, .take = take_loader}, tree};
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        if (deb_visit(packages_find(packages, names[i]), &reading.visitor, err) != 0)
            return -1;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(needed); i++) {
        if (!file_tree_find(tree, needed[i]))
            return error_set(err, 0, "the packages of GRUB have no %s", needed[i]);
    }
    return 0;
}

static int write_bios_modules(const struct staging *staging, const struct file_tree *loaders,
                              struct error *err)
{
    for (size_t i = 0; i < loaders->count; i++) {
        const struct file_entry *file = &loaders->entries[i];
        if (!S_ISREG(file->mode) || !text_starts_with(file->path, bios_folder))
            continue;
        AUTO_FREE char *name = text_format("i386-pc/%s", file->path + strlen(bios_folder));
        if (staging_write(staging, name, file->data, file->length, err) != 0)
            return -1;
    }
    return 0;
}

static int write_entry(const struct staging *staging, const struct file_tree *tree,
                       const char *path, const char *name, struct error *err)
{
    const struct file_entry *entry = file_tree_find(tree, path);
    return staging_write(staging, name, entry->data, entry->length, err);
}

/* --- BIOS --- */

/* The medium is found by a file of its own: other ISOs may be in the machine. */
static void add_search(struct text *out, const char *id)
{
    text_addf(out,
              "search --no-floppy --file --set=root /boot/rehost-%s\n"
              "set prefix=($root)/boot/grub\n",
              id);
}

static int make_core(const struct staging *staging, const char *id, struct error *err)
{
    AUTO(text) early = {0};
    add_search(&early, id);
    if (staging_write(staging, "early.cfg", early.data, early.length, err) != 0)
        return -1;
    AUTO_FREE char *modules = staging_path(staging, "i386-pc");
    AUTO_FREE char *config = staging_path(staging, "early.cfg");
    AUTO_FREE char *out = staging_path(staging, "iso/boot/grub/eltorito.img");
    const char *const argv[] = {"grub-mkimage",
                                "-O",
                                "i386-pc-eltorito",
                                "-d",
                                modules,
                                "-c",
                                config,
                                "-p",
                                "/boot/grub",
                                "-o",
                                out,
                                "biosdisk",
                                "iso9660",
                                "part_msdos",
                                "part_gpt",
                                "search",
                                "search_fs_file",
                                "configfile",
                                "normal",
                                "linux",
                                "echo",
                                "test",
                                "true",
                                "serial",
                                "terminal",
                                "terminfo",
                                "minicmd",
                                "ls",
                                "cat",
                                "reboot",
                                "halt",
                                "sleep",
                                "boot",
                                NULL};
    return staging_run(staging, argv, "grub-common", err);
}

/* --- UEFI --- */

static int copy_into_esp(const struct staging *staging, const char *esp, const char *from,
                         const char *to, struct error *err)
{
    AUTO_FREE char *path = staging_path(staging, from);
    const char *const argv[] = {"mcopy", "-m", "-i", esp, path, to, NULL};
    return staging_run(staging, argv, "mtools", err);
}

/* Shim starts grubx64.efi beside it; this GRUB looks for its configuration in /boot/grub there. */
static int make_esp(const struct staging *staging, const struct file_tree *loaders, const char *id,
                    struct error *err)
{
    AUTO(text) config = {0};
    add_search(&config, id);
    text_add(&config, "configfile ($root)/boot/grub/grub.cfg\n");
    if (write_entry(staging, loaders, shim_path, "bootx64.efi", err) != 0 ||
        write_entry(staging, loaders, grub_path, "grubx64.efi", err) != 0 ||
        staging_write(staging, "esp.cfg", config.data, config.length, err) != 0 ||
        staging_write(staging, "efi.img", "", 0, err) != 0)
        return -1;
    AUTO_FREE char *esp = staging_path(staging, "efi.img");
    if (truncate(esp, ESP_MIB << 20) != 0)
        return error_set(err, errno, "%s", esp);
    /* The same number on each medium: nobody looks for it. */
    const char *const format[] = {"mkfs.fat", "--invariant", "-i", "52454853",
                                  "-n",       "REHOST_EFI",  esp,  NULL};
    const char *const folders[] = {"mmd",     "-i",           esp, "::/EFI", "::/EFI/BOOT",
                                   "::/boot", "::/boot/grub", NULL};
    if (staging_run(staging, format, "dosfstools", err) != 0 ||
        staging_run(staging, folders, "mtools", err) != 0 ||
        copy_into_esp(staging, esp, "bootx64.efi", "::/EFI/BOOT/BOOTX64.EFI", err) != 0 ||
        copy_into_esp(staging, esp, "grubx64.efi", "::/EFI/BOOT/grubx64.efi", err) != 0)
        return -1;
    return copy_into_esp(staging, esp, "esp.cfg", "::/boot/grub/grub.cfg", err);
}

/* --- the ISO --- */

static void hash_parts(const struct media_parts *parts, const struct text *menu, char id[33])
{
    uint8_t hash[DIGEST_SIZE];
    AUTO(digest) digest;
    digest_init(&digest);
    digest_add(&digest, parts->kernel, parts->kernel_length);
    digest_add(&digest, parts->initramfs.data, parts->initramfs.length);
    digest_add(&digest, menu->data, menu->length);
    digest_finish(&digest, hash);
    bytes_format_hex(hash, 16, id);
}

static int fill_iso(const struct staging *staging, const struct media_parts *parts,
                    const struct text *menu, const char *id, struct error *err)
{
    static const char info[] = "Rehost agent " REHOST_VERSION "\n";
    AUTO_FREE char *mark = text_format("iso/boot/rehost-%s", id);
    if (staging_write(staging, "iso/boot/vmlinuz", parts->kernel, parts->kernel_length, err) != 0 ||
        staging_write(staging, "iso/boot/initrd.img", parts->initramfs.data,
                      parts->initramfs.length, err) != 0 ||
        staging_write(staging, "iso/boot/grub/grub.cfg", menu->data, menu->length, err) != 0 ||
        staging_write(staging, "iso/.disk/info", info, strlen(info), err) != 0)
        return -1;
    return staging_write(staging, mark, "", 0, err);
}

static int run_xorriso(const struct staging *staging, const char *output, struct error *err)
{
    AUTO_FREE char *mbr = staging_path(staging, "i386-pc/boot_hybrid.img");
    AUTO_FREE char *esp = staging_path(staging, "efi.img");
    AUTO_FREE char *iso = staging_path(staging, "iso");
    AUTO_FREE char *date = text_format("=%llu", (unsigned long long)staging->date);
    const char *const argv[] = {"xorriso", "-as", "mkisofs", "-quiet", "-o", output, "-V",
                                MEDIA_VOLUME_ID, "-r", "-J", "--set_all_file_dates", date,
                                /* BIOS */
                                "--grub2-mbr", mbr, "-partition_offset", "16", "-b",
                                "boot/grub/eltorito.img", "-no-emul-boot", "-boot-load-size", "4",
                                "-boot-info-table", "--grub2-boot-info", "-c", "boot/boot.cat",
                                /* UEFI */
                                "-append_partition", "2", "0xef", esp, "-eltorito-alt-boot", "-e",
                                "--interval:appended_partition_2:all::", "-no-emul-boot", iso,
                                NULL};
    return staging_run(staging, argv, "xorriso", err);
}

static int build_iso(const struct media_options *options, const struct media_parts *parts,
                     const char *output, struct error *err)
{
    AUTO(staging) staging = {0};
    AUTO(file_tree) loaders = {0};
    AUTO(text) menu = {0};
    char id[33];
    boot_menus_add_grub(&menu, options->command_line);
    hash_parts(parts, &menu, id);
    if (staging_open(&staging, parts->date, err) != 0 ||
        read_loaders(&parts->packages, &loaders, err) != 0 ||
        fill_iso(&staging, parts, &menu, id, err) != 0 ||
        write_bios_modules(&staging, &loaders, err) != 0 || make_core(&staging, id, err) != 0 ||
        make_esp(&staging, &loaders, id, err) != 0)
        return -1;
    OPENSSL_cleanse(menu.data, menu.length);
    return run_xorriso(&staging, output, err);
}

/* --- the file --- */

static int open_output(const struct media_options *options, struct new_file *file, char **folder,
                       struct error *err)
{
    const char *slash = strrchr(options->output, '/');
    const char *name = slash ? slash + 1 : options->output;
    *folder = slash == options->output ? text_copy("/")
              : slash ? text_format("%.*s", (int)(slash - options->output), options->output)
                      : text_copy(".");
    struct stat there;
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return error_set(err, 0, "%s is no name for a file", options->output);
    if (lstat(options->output, &there) == 0 && !options->is_forced)
        return error_set(err, 0, "%s exists already (--force replaces it)", options->output);
    AUTO_CLOSE int folder_fd = open(*folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0)
        return error_set(err, errno, "open folder %s", *folder);
    if (new_file_open(file, folder_fd, name, options->has_secret ? 0600 : 0644, err) != 0)
        return -1;
    /* A left-over of an earlier try may have had another mode. */
    if (options->has_secret && fchmod(file->fd, 0600) != 0)
        return error_set(err, errno, "%s", options->output);
    return 0;
}

int media_make_iso(const struct media_options *options, struct media_result *result,
                   struct error *err)
{
    static const struct staging_tool tools[] = {
        {"xorriso", "xorriso"},     {"grub-mkimage", "grub-common"},
        {"mkfs.fat", "dosfstools"}, {"mcopy", "mtools"},
        {"depmod", "kmod"},         {NULL, NULL}};
    AUTO(new_file) file = {.fd = -1, .folder_fd = -1};
    AUTO(media_parts) parts = {0};
    AUTO_FREE char *folder = NULL;
    if (staging_check_tools(tools, err) != 0 || open_output(options, &file, &folder, err) != 0 ||
        media_parts_make(&parts, options, result, err) != 0)
        return -1;
    AUTO_FREE char *path = text_format("%s/%s", folder, file.temporary);
    log_info(options->log, "writing %s", options->output);
    if (build_iso(options, &parts, path, err) != 0 ||
        io_size(file.fd, &result->iso_bytes, err) != 0)
        return -1;
    return new_file_commit(&file, err);
}
