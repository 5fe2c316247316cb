/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The kernel modules of a guest's /lib/modules/VERSION, as its modules.dep and modules.builtin list
 * them (modules.dep(5)). What is read there is hostile: names and paths that could leave the folder
 * are dropped.
 */
#ifndef BOOTFIX_MODULES_H
#define BOOTFIX_MODULES_H

#include "base/error.h"
#include "bootfix/files.h"

#include <stdbool.h>
#include <stddef.h>

/* Limits: a distribution's largest kernel has about 8,000 modules and 1 MiB of modules.dep. */
#define MODULES_MAX_LIST_BYTES ((size_t)16 << 20)
#define MODULES_MAX 65536
#define MODULES_MAX_NAME 64

struct module {
    char name[MODULES_MAX_NAME]; /* "virtio_blk": the file's name, '-' as '_', no ".ko…" */
    const char *path;            /* "kernel/drivers/block/virtio_blk.ko.xz", borrowed */
    const char *needs;           /* paths of all modules it needs, blanks between, borrowed */
    bool is_builtin;             /* part of the kernel itself: nothing to load */
};

/* {0} is empty. */
struct modules {
    char *lists[2];       /* the texts that path and needs point into */
    struct module *items; /* sorted by name */
    size_t count;
};

void modules_fini(struct modules *modules);

/* 1, or 0 when the folder has no modules.dep, or -1. */
int modules_read(struct modules *modules, struct files *files, const char *folder,
                 struct error *err);

/* From texts (tests, fuzzing); builtin may be NULL. Lines that are not understood are dropped. */
void modules_parse(struct modules *modules, const char *dep, size_t dep_length, const char *builtin,
                   size_t builtin_length);

/* NULL when there is none. */
const struct module *modules_find(const struct modules *modules, const char *name);

/*
 * Adds to `paths` (an array of `capacity`, *count in use) the module's path and those of all it
 * needs, what is needed first and nothing twice. False when the array is too small.
 */
bool modules_add_closure(const struct modules *modules, const struct module *module,
                         const char **paths, size_t capacity, size_t *count);

/* "kernel/x/virtio-rng.ko.xz" to "virtio_rng"; false when it is not a module's file name. */
bool module_name_of_path(const char *path, size_t length, char name[MODULES_MAX_NAME]);

/* Relative, plain characters, no "..", "." or empty component, at most 255 bytes. */
bool module_path_is_safe(const char *path, size_t length);

/* A kernel's version that may stand in a path and an argv: starts with a digit, plain characters.
 */
bool kernel_version_is_safe(const char *version);

#endif
