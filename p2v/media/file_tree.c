/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An array sorted by path. A few thousand entries: inserting by moving what is behind costs nothing
 * that could be measured beside compressing them.
 */
#include "p2v/media/file_tree.h"

#include "base/own.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void file_tree_fini(struct file_tree *tree)
{
    for (size_t i = 0; i < tree->count; i++) {
        free(tree->entries[i].path);
        free(tree->entries[i].data);
    }
    free(tree->entries);
    *tree = (struct file_tree){0};
}

/* Where the path is, or would stand. */
static size_t find_place(const struct file_tree *tree, const char *path)
{
    size_t low = 0, high = tree->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(tree->entries[middle].path, path) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const struct file_tree *tree, size_t place, const char *path)
{
    return place < tree->count && strcmp(tree->entries[place].path, path) == 0;
}

static struct file_entry *insert(struct file_tree *tree, const char *path)
{
    size_t place = find_place(tree, path);
    if (is_at(tree, place, path)) {
        free(take_ptr(&tree->entries[place].data));
        return &tree->entries[place];
    }
    if (tree->count == tree->capacity) {
        tree->capacity = tree->capacity ? tree->capacity * 2 : 256;
        tree->entries = memory_grow(tree->entries, tree->capacity, sizeof(*tree->entries));
    }
    struct file_entry *entry = &tree->entries[place];
    memmove(entry + 1, entry, (tree->count - place) * sizeof(*entry));
    tree->count++;
    *entry = (struct file_entry){.path = text_copy(path)};
    return entry;
}

void file_tree_add_folder(struct file_tree *tree, const char *path)
{
    for (const char *slash = strchr(path, '/');; slash = strchr(slash + 1, '/')) {
        AUTO_FREE char *folder =
            slash ? text_format("%.*s", (int)(slash - path), path) : text_copy(path);
        if (!is_at(tree, find_place(tree, folder), folder))
            insert(tree, folder)->mode = S_IFDIR | 0755;
        if (!slash)
            return;
    }
}

static struct file_entry *insert_with_folders(struct file_tree *tree, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash) {
        AUTO_FREE char *folder = text_format("%.*s", (int)(slash - path), path);
        file_tree_add_folder(tree, folder);
    }
    return insert(tree, path);
}

void file_tree_add(struct file_tree *tree, const char *path, mode_t mode, char *data, size_t length)
{
    struct file_entry *entry = insert_with_folders(tree, path);
    entry->mode = S_IFREG | (mode & 0777);
    entry->data = data;
    entry->length = length;
}

void file_tree_add_text(struct file_tree *tree, const char *path, const char *text)
{
    file_tree_add(tree, path, 0644, text_copy(text), strlen(text));
}

void file_tree_add_link(struct file_tree *tree, const char *path, const char *target)
{
    struct file_entry *entry = insert_with_folders(tree, path);
    entry->mode = S_IFLNK | 0777;
    entry->data = text_copy(target);
    entry->length = strlen(target);
}

const struct file_entry *file_tree_find(const struct file_tree *tree, const char *path)
{
    size_t place = find_place(tree, path);
    return is_at(tree, place, path) ? &tree->entries[place] : NULL;
}
