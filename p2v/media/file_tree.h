/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A tree of files in memory: what an initramfs is made of. Sorted by path, so that the same files
 * give the same archive in whatever order they were added.
 */
#ifndef P2V_MEDIA_FILE_TREE_H
#define P2V_MEDIA_FILE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct file_entry {
    char *path; /* "usr/bin/busybox" */
    mode_t mode;
    char *data; /* of a file; the target of a link */
    size_t length;
};

/* {0} is empty. */
struct file_tree {
    struct file_entry *entries; /* a folder stands before what is in it */
    size_t count, capacity;
};

void file_tree_fini(struct file_tree *tree);

/*
 * Adds a file, whose malloced data it takes; folders above it are made. What is there under that
 * path is replaced.
 */
void file_tree_add(struct file_tree *tree, const char *path, mode_t mode, char *data,
                   size_t length);
void file_tree_add_text(struct file_tree *tree, const char *path, const char *text);
void file_tree_add_link(struct file_tree *tree, const char *path, const char *target);
void file_tree_add_folder(struct file_tree *tree, const char *path);

/* NULL when it is not there; valid until something is added. */
const struct file_entry *file_tree_find(const struct file_tree *tree, const char *path);

#endif
