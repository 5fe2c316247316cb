/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The boot loaders' configuration files, for the CD and for PXE. Pure text. Command lines have
 * passed media_command_line, so they stand in all of them as they are.
 */
#ifndef P2V_MEDIA_BOOT_MENUS_H
#define P2V_MEDIA_BOOT_MENUS_H

#include "base/error.h"
#include "base/text.h"

/* GRUB on the medium: kernel and initramfs stand in /boot. */
void boot_menus_add_grub(struct text *out, const char *command_line);

/*
 * For PXE; kernel and initramfs are vmlinuz and initrd.img, at base_url or, when that is NULL,
 * beside the file.
 */
void boot_menus_add_grub_net(struct text *out, const char *base_url, const char *command_line);
void boot_menus_add_pxelinux(struct text *out, const char *base_url, const char *command_line);
void boot_menus_add_ipxe(struct text *out, const char *base_url, const char *command_line);

/* http://, https:// or tftp://, plain characters, no slash at the end. */
int boot_menus_check_url(const char *base_url, struct error *err);

#endif
