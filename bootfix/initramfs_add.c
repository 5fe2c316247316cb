/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The union of an initramfs's modules and those that it lacks is laid out in a temporary tree,
 * depmod indexes it, and what is new in the tree becomes an archive. Added modules are stored
 * uncompressed: the initramfs's own tools may be unable to read the guest's compression, because
 * its builder unpacks modules too.
 */
#include "bootfix/initramfs_add.h"

#include "base/bytes.h"
#include "base/own.h"
#include "bootfix/modules_tree.h"

#include <stdlib.h>
#include <string.h>

#define MODULE_MAX_BYTES ((size_t)64 << 20)

struct addition {
    const struct initramfs_job *job;
    struct modules_tree tree;
    struct initramfs_entry *entries;
    size_t count;
};

bool initramfs_find_missing(const struct initramfs_job *job, const char *const *names,
                            size_t name_count, const char *paths[INITRAMFS_ADD_MAX_MODULES],
                            size_t *count)
{
    const char *closure[INITRAMFS_ADD_MAX_MODULES];
    size_t closure_count = 0;
    for (size_t i = 0; i < name_count; i++) {
        const struct module *module = modules_find(job->known, names[i]);
        if (module && !modules_add_closure(job->known, module, closure, INITRAMFS_ADD_MAX_MODULES,
                                           &closure_count))
            return false;
    }
    *count = 0;
    for (size_t i = 0; i < closure_count; i++) {
        char name[MODULES_MAX_NAME];
        if (module_name_of_path(closure[i], strlen(closure[i]), name) &&
            !initramfs_has_module(job->has, name))
            paths[(*count)++] = closure[i];
    }
    return true;
}

/* --- entries ------------------------------------------------------------------------------- */

static struct initramfs_entry *new_entry(struct addition *addition, const char *path)
{
    addition->entries =
        memory_grow(addition->entries, addition->count + 1, sizeof(*addition->entries));
    struct initramfs_entry *entry = &addition->entries[addition->count++];
    const char *folder = addition->job->has->folder;
    *entry = (struct initramfs_entry){.path = path[0] ? text_format("%s/%s", folder, path)
                                                      : text_copy(folder)};
    return entry;
}

static bool has_entry(const struct addition *addition, const char *path)
{
    size_t folder = strlen(addition->job->has->folder);
    for (size_t i = 0; i < addition->count; i++) {
        const char *rest = addition->entries[i].path + folder;
        if (strcmp(rest + (*rest == '/'), path) == 0)
            return true;
    }
    return false;
}

/* Folders that are there are not named again: the kernel would replace a link by a folder. */
static void add_folder(struct addition *addition, const char *path)
{
    if (!initramfs_has_folder(addition->job->has, path) && !has_entry(addition, path))
        new_entry(addition, path)->is_folder = true;
}

static void add_parents(struct addition *addition, const char *path)
{
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        AUTO_FREE char *folder = text_format("%.*s", (int)(slash - path), path);
        add_folder(addition, folder);
    }
}

/* An initramfs without any module lacks the folders above them, too. */
static void add_root_folders(struct addition *addition)
{
    if (initramfs_has_folder(addition->job->has, ""))
        return;
    AUTO_FREE char *modules = text_copy(addition->job->has->folder);
    *strrchr(modules, '/') = '\0';
    addition->entries =
        memory_grow(addition->entries, addition->count + 1, sizeof(*addition->entries));
    addition->entries[addition->count++] =
        (struct initramfs_entry){.path = take_ptr(&modules), .is_folder = true};
    new_entry(addition, "")->is_folder = true;
}

/* --- the tree ------------------------------------------------------------------------------ */

struct to_tree {
    struct initramfs_receiver receiver;
    struct modules_tree *tree;
};

static int put_in_tree(struct initramfs_receiver *receiver, const char *path, const void *data,
                       size_t length, struct error *err)
{
    return modules_tree_add(((struct to_tree *)receiver)->tree, path, data, length, err);
}

static char *without_compression(const char *path)
{
    const char *suffix = strstr(strrchr(path, '/') ? strrchr(path, '/') : path, ".ko");
    return text_format("%.*s.ko", (int)(suffix - path), path);
}

/* The module's bytes as the kernel takes them. 1, or 0 with *why, or -1. */
static int read_module(struct addition *addition, const char *path, char **data, size_t *length,
                       struct error *why, struct error *err)
{
    AUTO_FREE char *source = text_format("%s/%s", addition->job->folder, path);
    AUTO_FREE char *raw = NULL;
    size_t raw_length;
    int found = files_read(addition->job->guest, source, MODULE_MAX_BYTES, &raw, &raw_length, err);
    if (found < 0)
        return -1;
    if (found == 0) {
        error_set(why, 0, "%s is listed in modules.dep, and not there", source);
        return 0;
    }
    if (unpack_detect(raw, raw_length) == UNPACK_UNKNOWN) {
        *data = take_ptr(&raw);
        *length = raw_length;
        return 1;
    }
    if (unpack_file(raw, raw_length, MODULE_MAX_BYTES, data, length, why) < 0) {
        error_wrap(why, "%s", source);
        return 0;
    }
    return 1;
}

static int add_module(struct addition *addition, const char *path, struct error *why,
                      struct error *err)
{
    char *data = NULL;
    size_t length = 0;
    int found = read_module(addition, path, &data, &length, why, err);
    if (found <= 0)
        return found;
    AUTO_FREE char *name = without_compression(path);
    add_parents(addition, name);
    struct initramfs_entry *entry = new_entry(addition, name);
    entry->data = data;
    entry->length = length;
    return modules_tree_add(&addition->tree, name, data, length, err) < 0 ? -1 : 1;
}

/* depmod starts from these, which it does not make. */
static int add_given_indexes(struct addition *addition, struct error *err)
{
    static const char *const given[] = {"modules.order", "modules.builtin",
                                        "modules.builtin.modinfo"};
    for (size_t i = 0; i < ARRAY_LENGTH(given); i++) {
        AUTO_FREE char *source = text_format("%s/%s", addition->job->folder, given[i]);
        AUTO_FREE char *data = NULL;
        size_t length;
        int found =
            files_read(addition->job->guest, source, MODULES_MAX_LIST_BYTES, &data, &length, err);
        if (found < 0 ||
            (found > 0 && modules_tree_add(&addition->tree, given[i], data, length, err) < 0))
            return -1;
    }
    return 0;
}

static int add_indexes(struct addition *addition, struct error *err)
{
    char **names = NULL;
    if (modules_tree_list_indexes(&addition->tree, &names, err) < 0)
        return -1;
    int result = 0;
    for (size_t i = 0; names[i] && result == 0; i++) {
        struct initramfs_entry *entry = new_entry(addition, names[i]);
        result = modules_tree_read(&addition->tree, names[i], &entry->data, &entry->length, err);
    }
    files_free_names(names);
    return result;
}

/* --- all of it ----------------------------------------------------------------------------- */

static int fill(struct addition *addition, const char *const *paths, size_t count,
                struct error *why, struct error *err)
{
    const struct initramfs_job *job = addition->job;
    struct to_tree to_tree = {.receiver.file = put_in_tree, .tree = &addition->tree};
    if (add_given_indexes(addition, err) < 0 ||
        initramfs_extract_modules(job->data, job->length, job->has, &to_tree.receiver, err) < 0)
        return -1;
    add_root_folders(addition);
    for (size_t i = 0; i < count; i++) {
        int found = add_module(addition, paths[i], why, err);
        if (found <= 0)
            return found;
    }
    if (modules_tree_index(&addition->tree, err) < 0 || add_indexes(addition, err) < 0)
        return -1;
    return 1;
}

/* Their folders are there: the files were. */
static void add_config(struct addition *addition, const struct initramfs_config *config)
{
    for (size_t i = 0; i < config->count; i++) {
        const struct initramfs_entry *file = &config->files[i];
        addition->entries =
            memory_grow(addition->entries, addition->count + 1, sizeof(*addition->entries));
        struct initramfs_entry *entry = &addition->entries[addition->count++];
        *entry = (struct initramfs_entry){.path = text_copy(file->path), .length = file->length};
        entry->data = memory_new(file->length + 1, 1);
        memcpy(entry->data, file->data, file->length);
    }
}

static void addition_fini(struct addition *addition)
{
    for (size_t i = 0; i < addition->count; i++) {
        free(addition->entries[i].path);
        free(addition->entries[i].data);
    }
    free(addition->entries);
    modules_tree_close(&addition->tree);
}

int initramfs_add_modules(const struct initramfs_job *job, const char *const *paths, size_t count,
                          const struct initramfs_config *config, struct text *out,
                          struct error *why, struct error *err)
{
    struct addition addition = {.job = job, .tree.folder_fd = -1};
    int result = 1;
    if (count > 0) {
        result = modules_tree_open(&addition.tree, job->version, err);
        if (result == 0)
            result = fill(&addition, paths, count, why, err);
    }
    add_config(&addition, config);
    if (result == 1 && initramfs_build_addition(addition.entries, addition.count, job->length,
                                                job->has->last, out, err) < 0)
        result = -1;
    addition_fini(&addition);
    return result;
}
