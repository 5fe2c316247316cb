/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A temporary tree of kernel modules on this host, in which this host's depmod makes the indexes
 * (modules.*) anew. Nothing of the guest's is run: depmod reads the modules as data.
 */
#ifndef BOOTFIX_MODULES_TREE_H
#define BOOTFIX_MODULES_TREE_H

#include "base/error.h"

#include <stddef.h>

/* {.folder_fd = -1} is a closed tree. */
struct modules_tree {
    char *base;    /* the temporary folder */
    char *version; /* of the kernel */
    int folder_fd; /* BASE/usr/lib/modules/VERSION */
};

int modules_tree_open(struct modules_tree *tree, const char *version, struct error *err);
void modules_tree_close(struct modules_tree *tree); /* removes all of it */

/* `path` has passed module_path_is_safe. A file that is there already is replaced. */
int modules_tree_add(struct modules_tree *tree, const char *path, const void *data, size_t length,
                     struct error *err);

int modules_tree_index(struct modules_tree *tree, struct error *err);

/* The names of the index files that are there now, sorted, NULL-terminated; caller frees. */
int modules_tree_list_indexes(struct modules_tree *tree, char ***names, struct error *err);

/* Caller frees. */
int modules_tree_read(struct modules_tree *tree, const char *path, char **data, size_t *length,
                      struct error *err);

#endif
