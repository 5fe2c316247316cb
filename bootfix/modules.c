/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * modules.dep and modules.builtin. depmod writes the whole closure of each module into its line, so
 * one look-up gives all that a module needs; the last one on the line must be loaded first.
 */
#include "bootfix/modules.h"

#include "base/own.h"
#include "base/text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define MODULES_MAX_PATH 255

static bool is_plain(char c)
{
    return isalnum((unsigned char)c) || strchr("._+-~", c) != NULL;
}

bool module_path_is_safe(const char *path, size_t length)
{
    size_t component = 0; /* bytes of the current one */
    if (length == 0 || length > MODULES_MAX_PATH) {
        return false;
    }
    for (size_t i = 0; i <= length; i++) {
        if (i < length && path[i] != '/') {
            if (path[i] == '\0' || !is_plain(path[i])) {
                return false;
            }
            component++;
            continue;
        }
        const char *start = path + i - component;
        if (component == 0 || (component == 1 && start[0] == '.') ||
            (component == 2 && start[0] == '.' && start[1] == '.')) {
            return false;
        }
        component = 0;
    }
    return true;
}

bool kernel_version_is_safe(const char *version)
{
    size_t length = strlen(version);
    return length < 128 && isdigit((unsigned char)version[0]) &&
           memchr(version, '/', length) == NULL && module_path_is_safe(version, length);
}

static bool is_module_suffix(const char *suffix, size_t length)
{
    static const char *const known[] = {".ko", ".ko.gz", ".ko.xz", ".ko.zst", ".ko.lzma"};
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        if (strlen(known[i]) == length && memcmp(known[i], suffix, length) == 0) {
            return true;
        }
    }
    return false;
}

bool module_name_of_path(const char *path, size_t length, char name[MODULES_MAX_NAME])
{
    const char *slash = memrchr(path, '/', length);
    const char *start = slash ? slash + 1 : path;
    size_t size = length - (size_t)(start - path);
    const char *suffix = memmem(start, size, ".ko", 3);
    if (!suffix || suffix == start || (size_t)(suffix - start) >= MODULES_MAX_NAME ||
        !is_module_suffix(suffix, size - (size_t)(suffix - start))) {
        return false;
    }
    size_t used = 0;
    for (const char *c = start; c < suffix; c++) {
        name[used++] = *c == '-' ? '_' : *c;
    }
    name[used] = '\0';
    return true;
}

static void add_module(struct modules *modules, const char *path, const char *needs,
                       bool is_builtin)
{
    struct module module = {.path = path, .needs = needs, .is_builtin = is_builtin};
    size_t length = strlen(path);
    if (modules->count == MODULES_MAX || !module_path_is_safe(path, length) ||
        !module_name_of_path(path, length, module.name)) {
        return;
    }
    if ((modules->count & (modules->count - 1)) == 0) {
        size_t capacity = modules->count ? modules->count * 2 : 1;
        modules->items = memory_grow(modules->items, capacity, sizeof(*modules->items));
    }
    modules->items[modules->count++] = module;
}

/* "path: needs needs" per line, or just "path" for what is built in. */
static void parse_list(struct modules *modules, char *text, bool is_builtin)
{
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *needs = line + strlen(line);
        char *colon = strchr(line, ':');
        if (colon && !is_builtin) {
            *colon = '\0';
            needs = colon + 1;
        }
        add_module(modules, line, needs, is_builtin);
    }
}

/* Modules that are files come before built-in ones of the same name: they can be copied. */
static int by_name(const void *a, const void *b)
{
    const struct module *one = a, *other = b;
    int order = strcmp(one->name, other->name);
    return order != 0 ? order : (int)one->is_builtin - (int)other->is_builtin;
}

static char *copy_text(const char *text, size_t length)
{
    char *copy = memory_new(length + 1, 1);
    memcpy(copy, text, length);
    return copy;
}

void modules_parse(struct modules *modules, const char *dep, size_t dep_length, const char *builtin,
                   size_t builtin_length)
{
    *modules = (struct modules){0};
    modules->lists[0] = copy_text(dep, dep_length);
    parse_list(modules, modules->lists[0], false);
    if (builtin) {
        modules->lists[1] = copy_text(builtin, builtin_length);
        parse_list(modules, modules->lists[1], true);
    }
    if (modules->count > 0) {
        qsort(modules->items, modules->count, sizeof(*modules->items), by_name);
    }
}

int modules_read(struct modules *modules, struct files *files, const char *folder,
                 struct error *err)
{
    *modules = (struct modules){0};
    AUTO_FREE char *dep_path = text_format("%s/modules.dep", folder);
    AUTO_FREE char *builtin_path = text_format("%s/modules.builtin", folder);
    AUTO_FREE char *dep = NULL;
    AUTO_FREE char *builtin = NULL;
    size_t dep_length = 0, builtin_length = 0;

    int found = files_read(files, dep_path, MODULES_MAX_LIST_BYTES, &dep, &dep_length, err);
    if (found <= 0) {
        return found;
    }
    if (files_read(files, builtin_path, MODULES_MAX_LIST_BYTES, &builtin, &builtin_length, err) <
        0) {
        return -1;
    }
    modules_parse(modules, dep, dep_length, builtin, builtin_length);
    return 1;
}

void modules_fini(struct modules *modules)
{
    free(modules->lists[0]);
    free(modules->lists[1]);
    free(modules->items);
    *modules = (struct modules){0};
}

const struct module *modules_find(const struct modules *modules, const char *name)
{
    size_t low = 0, high = modules->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(modules->items[middle].name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool is_found = low < modules->count && strcmp(modules->items[low].name, name) == 0;
    return is_found ? &modules->items[low] : NULL;
}

static bool add_path(const char *path, const char **paths, size_t capacity, size_t *count)
{
    for (size_t i = 0; i < *count; i++) {
        if (strcmp(paths[i], path) == 0) {
            return true;
        }
    }
    if (*count == capacity) {
        return false;
    }
    paths[(*count)++] = path;
    return true;
}

bool modules_add_closure(const struct modules *modules, const struct module *module,
                         const char **paths, size_t capacity, size_t *count)
{
    if (module->is_builtin) {
        return true;
    }
    /* From the end of the line: what is needed by the others stands last. */
    const char *end = module->needs + strlen(module->needs);
    while (end > module->needs) {
        const char *start = end;
        while (start > module->needs && start[-1] != ' ') {
            start--;
        }
        char name[MODULES_MAX_NAME];
        if (module_name_of_path(start, (size_t)(end - start), name)) {
            const struct module *needed = modules_find(modules, name);
            if (needed && !needed->is_builtin && !add_path(needed->path, paths, capacity, count)) {
                return false;
            }
        }
        end = start > module->needs ? start - 1 : start;
    }
    return add_path(module->path, paths, capacity, count);
}
