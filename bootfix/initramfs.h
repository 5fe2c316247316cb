/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What is in an initramfs: one or more cpio archives, each plain or compressed, with zeroes between
 * (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst). And one more to be put
 * behind them.
 */
#ifndef BOOTFIX_INITRAMFS_H
#define BOOTFIX_INITRAMFS_H

#include "base/error.h"
#include "base/text.h"
#include "bootfix/cpio.h"
#include "bootfix/unpack.h"

#include <stdbool.h>
#include <stddef.h>

#define INITRAMFS_MAX_BYTES ((size_t)512 << 20)
#define INITRAMFS_MAX_MEMBERS 200000

/* Shows every member of every archive to the visitor; *last: how the last one is compressed. */
int initramfs_scan(const void *data, size_t length, struct cpio_visitor *visitor,
                   enum unpack_kind *last, struct error *err);

/* The modules that an initramfs has for one kernel. */
struct initramfs_modules {
    char *folder; /* "usr/lib/modules/VERSION", as its members spell it */
    char **names; /* of modules (module_name_of_path), sorted */
    size_t name_count;
    char **folders; /* in and below `folder`, relative to it ("" is itself), sorted */
    size_t folder_count;
    bool is_initramfs_tools; /* made by Debian's initramfs-tools */
    enum unpack_kind last;   /* how its last archive is compressed */
};

/* A folder that is not there yet is named where the others are, beside links and not over them. */
int initramfs_list_modules(const void *data, size_t length, const char *version,
                           struct initramfs_modules *modules, struct error *err);
void initramfs_modules_fini(struct initramfs_modules *modules);
bool initramfs_has_module(const struct initramfs_modules *modules, const char *name);
bool initramfs_has_folder(const struct initramfs_modules *modules, const char *folder);

/* Hands out modules and modules.* files: `path` is safe and relative to modules->folder. */
struct initramfs_receiver {
    int (*file)(struct initramfs_receiver *receiver, const char *path, const void *data,
                size_t length, struct error *err);
};
int initramfs_extract_modules(const void *data, size_t length,
                              const struct initramfs_modules *modules,
                              struct initramfs_receiver *receiver, struct error *err);

/* A member of the archive to be added; folders have no data. */
struct initramfs_entry {
    char *path;
    bool is_folder;
    char *data;
    size_t length;
};

/*
 * The bytes to put behind an initramfs of `length` bytes: padding, and one archive of the entries
 * in their order, the same for the same entries. Behind lz4, whose streams have no end, it is
 * wrapped as lz4.
 */
int initramfs_build_addition(const struct initramfs_entry *entries, size_t count, size_t length,
                             enum unpack_kind last, struct text *out, struct error *err);

#endif
