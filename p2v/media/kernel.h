/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The kernel of a boot medium, out of its Debian package: the image, and those of its modules that
 * find disks, network and keyboards, with what these need.
 */
#ifndef P2V_MEDIA_KERNEL_H
#define P2V_MEDIA_KERNEL_H

#include "base/error.h"
#include "bootfix/modules.h"
#include "p2v/media/deb.h"
#include "p2v/media/file_tree.h"
#include "p2v/media/packages.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define KERNEL_MAX_VERSION 80

struct kernel_module {
    char *path; /* "kernel/drivers/ata/ahci.ko" */
    char name[MODULES_MAX_NAME];
    char *needs; /* "libahci,libata", as .modinfo has it; "" none */
    char *data;
    size_t length;
    bool is_chosen, is_unusable; /* what it needs is not there */
};

struct kernel {
    char version[KERNEL_MAX_VERSION]; /* "6.1.0-44-amd64" */
    char *image;
    size_t image_length;
    struct kernel_module *modules;
    size_t count;
    struct file_tree lists;    /* modules.builtin and its like, as the package has them */
    struct name_list firmware; /* that the chosen modules ask for: "bnx2/bnx2-mips-09-6.2.1b.fw" */
};

/* {0} is empty. */
void kernel_fini(struct kernel *kernel);

/* Reads the package; modules that no medium wants are left out at once. `stop` may be NULL. */
int kernel_read(struct kernel *kernel, const struct deb *deb, const atomic_bool *stop,
                struct error *err);

/*
 * Compresses the chosen modules, makes their indexes with this machine's depmod, and adds all of it
 * to the tree under usr/lib/modules. `stop` may be NULL.
 */
int kernel_add_modules(struct kernel *kernel, struct file_tree *tree, const atomic_bool *stop,
                       struct error *err);

/* --- pure, for the tests --- */

/* What a module of this path is to a medium: taken, taken when another needs it, or never. */
enum kernel_want { KERNEL_NEVER, KERNEL_WHEN_NEEDED, KERNEL_ALWAYS };
enum kernel_want kernel_wants(const char *module_path);

/*
 * Marks what is always taken and, however deep, what that needs; not what needs something that is
 * not there. Returns how many.
 */
size_t kernel_choose(struct kernel *kernel);

/* After that: the drivers without which a medium is of no use are chosen, or in the kernel. */
int kernel_check(struct kernel *kernel, struct error *err);

#endif
