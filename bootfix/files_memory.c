/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest's files in memory, for tests and fuzzing: a list of paths, looked through linearly.
 */
#include "base/own.h"
#include "base/text.h"
#include "bootfix/files.h"
#include "bootfix/plan.h"
#include "bootfix/resolve.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct node {
    char *path;
    mode_t mode;
    char *data; /* of a link: its target */
    size_t length;
};

struct files_memory {
    struct files files;
    struct node *nodes;
    size_t count;
};

static struct files_memory *from_files(struct files *files)
{
    return (struct files_memory *)((char *)files - offsetof(struct files_memory, files));
}

static struct node *find_node(struct files_memory *memory, const char *path)
{
    for (size_t i = 0; i < memory->count; i++)
        if (strcmp(memory->nodes[i].path, path) == 0)
            return &memory->nodes[i];
    return NULL;
}

static int raw_readlink(struct files *files, const char *path, char **target, struct error *err)
{
    (void)err;
    struct node *node = find_node(from_files(files), path);
    if (!node || !S_ISLNK(node->mode))
        return 0;
    *target = text_copy(node->data);
    return 1;
}

static struct node *find_resolved(struct files *files, const char *path, bool follow_last)
{
    AUTO_FREE char *real = NULL;
    struct error ignored = {0};
    if (resolve_path(files, raw_readlink, path, follow_last, &real, &ignored) != 1)
        return NULL;
    return find_node(from_files(files), real);
}

static int memory_read(struct files *files, const char *path, size_t limit_bytes, char **data,
                       size_t *length, struct error *err)
{
    struct node *node = find_resolved(files, path, true);
    if (!node || !S_ISREG(node->mode))
        return 0;
    if (node->length > limit_bytes)
        return error_set(err, EFBIG, "read %s", path);
    *data = memory_new(node->length + 1, 1);
    if (node->length)
        memcpy(*data, node->data, node->length);
    *length = node->length;
    return 1;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The name of a node that lies directly in the folder, else NULL. */
static const char *name_in(const struct node *node, const struct node *folder)
{
    size_t length = strcmp(folder->path, "/") == 0 ? 0 : strlen(folder->path);
    if (strncmp(node->path, folder->path, length) != 0 || node->path[length] != '/')
        return NULL;
    const char *name = node->path + length + 1;
    return *name && !strchr(name, '/') ? name : NULL;
}

static int memory_list(struct files *files, const char *path, char ***names, struct error *err)
{
    (void)err;
    struct files_memory *memory = from_files(files);
    struct node *folder = find_resolved(files, path, true);
    if (!folder || !S_ISDIR(folder->mode))
        return 0;
    char **list = memory_new(memory->count + 1, sizeof(*list));
    size_t count = 0;
    for (size_t i = 0; i < memory->count; i++) {
        const char *name = name_in(&memory->nodes[i], folder);
        if (name)
            list[count++] = text_copy(name);
    }
    qsort(list, count, sizeof(*list), compare_names);
    *names = list;
    return 1;
}

static int memory_stat(struct files *files, const char *path, struct files_stat *stat,
                       struct error *err)
{
    (void)err;
    struct node *node = find_resolved(files, path, true);
    if (!node)
        return 0;
    stat->mode = node->mode;
    stat->size_bytes = node->length;
    return 1;
}

static int memory_readlink(struct files *files, const char *path, char **target, struct error *err)
{
    struct node *node = find_resolved(files, path, false);
    return node ? raw_readlink(files, node->path, target, err) : 0;
}

static const struct files_ops memory_ops = {
    .read = memory_read,
    .list = memory_list,
    .stat = memory_stat,
    .readlink = memory_readlink,
};

struct files_memory *files_memory_new(void)
{
    struct files_memory *memory = memory_new(1, sizeof(*memory));
    memory->files.ops = &memory_ops;
    files_memory_add(memory, "/", S_IFDIR | 0755, NULL, 0);
    return memory;
}

void files_memory_free(struct files_memory *memory)
{
    if (!memory)
        return;
    for (size_t i = 0; i < memory->count; i++) {
        free(memory->nodes[i].path);
        free(memory->nodes[i].data);
    }
    free(memory->nodes);
    free(memory);
}

struct files *files_memory_files(struct files_memory *memory)
{
    return &memory->files;
}

static void add_parents(struct files_memory *memory, const char *path)
{
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        AUTO_FREE char *folder = text_format("%.*s", (int)(slash - path), path);
        if (!find_node(memory, folder))
            files_memory_add(memory, folder, S_IFDIR | 0755, NULL, 0);
    }
}

void files_memory_add(struct files_memory *memory, const char *path, mode_t mode, const void *data,
                      size_t length)
{
    add_parents(memory, path);
    struct node *node = find_node(memory, path);
    if (!node) {
        memory->nodes = memory_grow(memory->nodes, memory->count + 1, sizeof(*memory->nodes));
        node = &memory->nodes[memory->count++];
        *node = (struct node){.path = text_copy(path)};
    }
    /* before the old contents go: they may be what is copied */
    char *copy = memory_new(length + 1, 1);
    if (length)
        memcpy(copy, data, length);
    free(node->data);
    node->data = copy;
    node->length = length;
    node->mode = (mode & S_IFMT) ? mode : mode | S_IFREG;
}

void files_memory_add_link(struct files_memory *memory, const char *path, const char *target)
{
    files_memory_add(memory, path, S_IFLNK | 0777, target, strlen(target));
}

static void remove_node(struct files_memory *memory, const char *path)
{
    struct node *node = find_node(memory, path);
    if (!node)
        return;
    free(node->path);
    free(node->data);
    *node = memory->nodes[--memory->count];
}

static void append_node(struct files_memory *memory, const struct edit *edit)
{
    struct node *node = find_node(memory, edit->path);
    AUTO(text) whole = {0};
    if (node)
        text_add_bytes(&whole, node->data, node->length);
    text_add_bytes(&whole, edit->after, edit->after_length);
    files_memory_add(memory, edit->path, node ? node->mode : edit->mode, whole.data, whole.length);
}

static void copy_node(struct files_memory *memory, const struct edit *edit)
{
    const struct node *node = find_node(memory, edit->after);
    AUTO(text) copy = {0};
    if (!node)
        return;
    text_add_bytes(&copy, node->data, node->length); /* adding moves the nodes */
    files_memory_add(memory, edit->path, edit->mode, copy.data, copy.length);
}

void files_memory_apply(struct files_memory *memory, const struct plan *plan)
{
    for (size_t i = 0; i < plan->edit_count; i++) {
        const struct edit *edit = &plan->edits[i];
        struct node *node = find_node(memory, edit->path);
        switch (edit->kind) {
        case EDIT_WRITE:
            files_memory_add(memory, edit->path, node ? node->mode : edit->mode, edit->after,
                             edit->after_length);
            break;
        case EDIT_APPEND:
            append_node(memory, edit);
            break;
        case EDIT_REMOVE:
            remove_node(memory, edit->path);
            break;
        case EDIT_SYMLINK:
            files_memory_add_link(memory, edit->path, edit->after);
            break;
        case EDIT_COPY:
            copy_node(memory, edit);
            break;
        }
    }
}
