/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * As ldd, but without running the loader or anything else: the names come from the files, and are
 * looked for among the packages' libraries.
 */
#include "base/own.h"
#include "base/text.h"
#include "p2v/media/contents.h"
#include "p2v/media/elf_file.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_LINKS 8

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static const struct file_entry *find_library(const struct file_tree *available, const char *name)
{
    for (size_t i = 0; i < available->count; i++) {
        const struct file_entry *entry = &available->entries[i];
        if (!S_ISDIR(entry->mode) && strcmp(base_name(entry->path), name) == 0)
            return entry;
    }
    return NULL;
}

/* libaio.so.1 is a link to libaio.so.1.0.1: it is put there under the name it is loaded with. */
static const struct file_entry *follow_links(const struct file_tree *available,
                                             const struct file_entry *entry)
{
    for (int i = 0; i < MAX_LINKS && entry && S_ISLNK(entry->mode); i++)
        entry = find_library(available, base_name(entry->data));
    return entry && S_ISREG(entry->mode) ? entry : NULL;
}

static int add_library(struct file_tree *tree, struct file_tree *available, struct name_list *names,
                       const char *name, const char *who, struct error *err)
{
    const struct file_entry *link = find_library(available, name);
    const struct file_entry *entry = link ? follow_links(available, link) : NULL;
    if (!entry)
        return error_set(err, 0, "%s needs %s, which is in none of the packages", who, name);
    char *data = memory_new(1, entry->length + 1);
    memcpy(data, entry->data, entry->length);
    file_tree_add(tree, link->path, 0755, data, entry->length);
    name_list_add(names, name);
    return 0;
}

static int add_needed(struct file_tree *tree, struct file_tree *available, struct name_list *names,
                      const char *path, const char *data, size_t length, struct error *err)
{
    struct elf_needed needed;
    if (!elf_read_needed(data, length, &needed))
        return error_set(err, 0, "%s: a damaged program", path);
    for (size_t i = 0; i < needed.count; i++) {
        if (!name_list_has(names, needed.names[i]) &&
            add_library(tree, available, names, needed.names[i], path, err) != 0)
            return -1;
    }
    return 0;
}

/* Adding moves the entries, so the path and the data are what is held on to. */
static int add_of_programs(struct file_tree *tree, struct file_tree *available,
                           struct name_list *names, struct error *err)
{
    AUTO(name_list) programs = {0};
    for (size_t i = 0; i < tree->count; i++) {
        const struct file_entry *entry = &tree->entries[i];
        if (S_ISREG(entry->mode) && elf_detect(entry->data, entry->length))
            name_list_add(&programs, entry->path);
    }
    for (size_t i = 0; i < programs.count; i++) {
        const struct file_entry *entry = file_tree_find(tree, programs.items[i]);
        if (add_needed(tree, available, names, programs.items[i], entry->data, entry->length,
                       err) != 0)
            return -1;
    }
    return 0;
}

int libraries_add(struct file_tree *tree, struct file_tree *available, const char *const *also,
                  struct error *err)
{
    AUTO(name_list) names = {0};
    for (size_t i = 0; also && also[i]; i++) {
        if (add_library(tree, available, &names, also[i], "the image", err) != 0)
            return -1;
    }
    if (add_of_programs(tree, available, &names, err) != 0)
        return -1;
    for (size_t i = 0; i < names.count; i++) {
        const struct file_entry *link = find_library(available, names.items[i]);
        const struct file_entry *entry = follow_links(available, link);
        if (add_needed(tree, available, &names, names.items[i], entry->data, entry->length, err) !=
            0)
            return -1;
    }
    return 0;
}
