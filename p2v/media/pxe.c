/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A folder for a TFTP or HTTP server: kernel, initramfs, and what pxelinux, GRUB and iPXE have to
 * be told.
 */
#include "base/bytes.h"
#include "base/io.h"
#include "base/own.h"
#include "p2v/media/boot_menus.h"
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

static const struct {
    const char *name;
    void (*add)(struct text *out, const char *base_url, const char *command_line);
} snippets[] = {
    {"pxelinux.cfg", boot_menus_add_pxelinux},
    {"grub.cfg", boot_menus_add_grub_net},
    {"rehost.ipxe", boot_menus_add_ipxe},
};

static int write_snippets(int folder_fd, const struct media_options *options, struct error *err)
{
    for (size_t i = 0; i < ARRAY_LENGTH(snippets); i++) {
        AUTO(text) text = {0};
        snippets[i].add(&text, options->base_url, options->command_line);
        int result = io_replace_file(folder_fd, snippets[i].name, text.data, text.length,
                                     options->has_secret ? 0600 : 0644, err);
        OPENSSL_cleanse(text.data, text.length);
        if (result != 0)
            return error_wrap(err, "%s", snippets[i].name);
    }
    return 0;
}

/* The snippets come last: what they name is there when they are. */
static int write_files(int folder_fd, const struct media_options *options,
                       const struct media_parts *parts, struct error *err)
{
    if (io_replace_file(folder_fd, "vmlinuz", parts->kernel, parts->kernel_length, 0644, err) !=
            0 ||
        io_replace_file(folder_fd, "initrd.img", parts->initramfs.data, parts->initramfs.length,
                        0644, err) != 0)
        return -1;
    return write_snippets(folder_fd, options, err);
}

static void remove_made(const char *path)
{
    for (size_t i = 0; i < ARRAY_LENGTH(snippets); i++) {
        AUTO_FREE char *file = text_format("%s/%s", path, snippets[i].name);
        unlink(file);
    }
    AUTO_FREE char *kernel = text_format("%s/vmlinuz", path);
    AUTO_FREE char *initramfs = text_format("%s/initrd.img", path);
    unlink(kernel);
    unlink(initramfs);
    rmdir(path);
}

static int fill_folder(const char *path, const struct media_options *options,
                       const struct media_parts *parts, struct error *err)
{
    AUTO_CLOSE int folder_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0)
        return error_set(err, errno, "open folder %s", path);
    if (write_files(folder_fd, options, parts, err) != 0)
        return error_wrap(err, "%s", path);
    return 0;
}

/* Made aside and renamed; a folder that is there has its files replaced one by one. */
static int make_folder(const char *path, const struct media_options *options,
                       const struct media_parts *parts, struct error *err)
{
    AUTO_FREE char *aside = text_format("%s.partial", path);
    remove_made(aside);
    if (mkdir(aside, 0755) != 0)
        return error_set(err, errno, "make folder %s", aside);
    if (fill_folder(aside, options, parts, err) == 0) {
        if (rename(aside, path) == 0)
            return 0;
        error_set(err, errno, "rename %s to %s", aside, path);
    }
    remove_made(aside);
    return -1;
}

int media_make_pxe(const struct media_options *options, struct media_result *result,
                   struct error *err)
{
    static const struct staging_tool tools[] = {{"depmod", "kmod"}, {NULL, NULL}};
    AUTO(media_parts) parts = {0};
    AUTO_FREE char *path = text_copy(options->output);
    struct stat there;
    for (size_t end = strlen(path); end > 1 && path[end - 1] == '/';)
        path[--end] = '\0';
    bool is_there = lstat(path, &there) == 0;
    if (is_there && !options->is_forced)
        return error_set(err, 0, "%s exists already (--force replaces the files in it)", path);
    if (staging_check_tools(tools, err) != 0 ||
        (options->base_url && boot_menus_check_url(options->base_url, err) != 0) ||
        media_parts_make(&parts, options, result, err) != 0)
        return -1;
    return is_there ? fill_folder(path, options, &parts, err)
                    : make_folder(path, options, &parts, err);
}
