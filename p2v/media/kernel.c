/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Modules are compressed one by one: they lie in memory for as long as the medium runs, and only a
 * few of them are ever loaded. Several threads compress; each result stands by itself, so the bytes
 * do not depend on who was first.
 */
#include "p2v/media/kernel.h"

#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "bootfix/modules_tree.h"
#include "bootfix/unpack.h"
#include "p2v/media/elf_file.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define MODULE_MAX_BYTES ((size_t)64 << 20)
#define MODULE_LEVEL 9 /* 15 makes them 3 % smaller, and takes five times as long */
#define MAX_WORKERS 8

void kernel_fini(struct kernel *kernel)
{
    for (size_t i = 0; i < kernel->count; i++) {
        free(kernel->modules[i].path);
        free(kernel->modules[i].needs);
        free(kernel->modules[i].data);
    }
    free(kernel->modules);
    free(kernel->image);
    file_tree_fini(&kernel->lists);
    name_list_fini(&kernel->firmware);
    *kernel = (struct kernel){0};
}

/* --- reading the package --- */

struct kernel_visitor {
    struct deb_visitor visitor; /* first */
    struct kernel *kernel;
    char *folder; /* "usr/lib/modules/VERSION/", NULL until a path tells it */
};

/* The version is in every path: usr/lib/modules/VERSION/… and boot/vmlinuz-VERSION. */
static const char *below_modules(struct kernel_visitor *reading, const char *path)
{
    static const char top[] = "usr/lib/modules/";
    if (!text_starts_with(path, top))
        return NULL;
    const char *version = path + strlen(top);
    size_t length = strcspn(version, "/");
    if (!version[length])
        return NULL;
    if (!reading->folder && length < KERNEL_MAX_VERSION) {
        struct kernel *kernel = reading->kernel;
        snprintf(kernel->version, sizeof(kernel->version), "%.*s", (int)length, version);
        reading->folder = text_format("%s%s/", top, kernel->version);
    }
    return reading->folder && text_starts_with(path, reading->folder)
               ? path + strlen(reading->folder)
               : NULL;
}

static bool wants(struct deb_visitor *visitor, const char *path)
{
    struct kernel_visitor *reading = (struct kernel_visitor *)visitor;
    char name[MODULES_MAX_NAME];
    if (text_starts_with(path, "boot/vmlinuz-"))
        return true;
    const char *below = below_modules(reading, path);
    if (!below)
        return false;
    if (text_starts_with(below, "modules."))
        return !strchr(below, '/');
    return module_name_of_path(below, strlen(below), name) &&
           module_path_is_safe(below, strlen(below)) && kernel_wants(below) != KERNEL_NEVER;
}

static void take_entry(void *context, const char *text)
{
    struct kernel_module *module = context;
    if (text_starts_with(text, "depends=") && !module->needs)
        module->needs = text_copy(text + strlen("depends="));
}

/* Modules of later releases come compressed; their data stays as it is. */
static int with_modinfo(const struct kernel_module *module,
                        void (*entry)(void *context, const char *text), void *context,
                        struct error *err)
{
    AUTO_FREE char *unpacked = NULL;
    const char *data = module->data;
    size_t length = module->length;
    if (!text_ends_with(module->path, ".ko")) {
        if (unpack_file(data, length, MODULE_MAX_BYTES, &unpacked, &length, err) != 0)
            return error_wrap(err, "%s", module->path);
        data = unpacked;
    }
    if (!elf_read_modinfo(data, length, entry, context))
        return error_set(err, 0, "%s: not a kernel module", module->path);
    return 0;
}

static int add_module(struct kernel *kernel, const char *path, char **data, size_t length,
                      struct error *err)
{
    struct kernel_module module = {.path = text_copy(path), .length = length};
    module_name_of_path(path, strlen(path), module.name);
    module.data = take_ptr(data);
    int result = with_modinfo(&module, take_entry, &module, err);
    if (!module.needs)
        module.needs = text_copy("");
    kernel->modules = memory_grow(kernel->modules, kernel->count + 1, sizeof(module));
    kernel->modules[kernel->count++] = module;
    return result;
}

static int take(struct deb_visitor *visitor, const char *path, mode_t mode, char **data,
                size_t length, struct error *err)
{
    struct kernel_visitor *reading = (struct kernel_visitor *)visitor;
    struct kernel *kernel = reading->kernel;
    if (!S_ISREG(mode))
        return 0;
    if (text_starts_with(path, "boot/")) {
        free(kernel->image);
        kernel->image = take_ptr(data);
        kernel->image_length = length;
        return 0;
    }
    const char *below = below_modules(reading, path);
    if (!text_starts_with(below, "modules."))
        return add_module(kernel, below, data, length, err);
    file_tree_add(&kernel->lists, below, 0644, take_ptr(data), length);
    return 0;
}

int kernel_read(struct kernel *kernel, const struct deb *deb, const atomic_bool *stop,
                struct error *err)
{
    struct kernel_visitor reading = {.visitor = {wants, take, stop}, .kernel = kernel};
    *kernel = (struct kernel){0};
    int result = deb_visit(deb, &reading.visitor, err);
    free(reading.folder);
    if (result != 0)
        return -1;
    if (!kernel->image || !kernel->count || !kernel_version_is_safe(kernel->version))
        return error_set(err, 0, "%s: no kernel and modules in it", deb->path);
    return 0;
}

/* --- compressing --- */

struct compressing {
    struct kernel *kernel;
    const atomic_bool *stop;
    atomic_size_t next;
    atomic_bool has_failed;
};

/* "ahci.ko" becomes "ahci.ko.zst"; kmod tells by the name. */
static bool compress_module(struct kernel_module *module)
{
    size_t room = ZSTD_compressBound(module->length);
    AUTO_FREE char *packed = memory_new(1, room);
    size_t length = ZSTD_compress(packed, room, module->data, module->length, MODULE_LEVEL);
    if (ZSTD_isError(length))
        return false;
    free(module->data);
    module->data = memory_grow(take_ptr(&packed), 1, length);
    module->length = length;
    char *path = text_format("%s.zst", module->path);
    free(module->path);
    module->path = path;
    return true;
}

static void *compress_some(void *context)
{
    struct compressing *work = context;
    for (;;) {
        size_t i = atomic_fetch_add(&work->next, 1);
        if (i >= work->kernel->count || work->has_failed || (work->stop && *work->stop))
            return NULL;
        struct kernel_module *module = &work->kernel->modules[i];
        if (module->is_chosen && text_ends_with(module->path, ".ko") && !compress_module(module))
            work->has_failed = true;
    }
}

static int compress_all(struct kernel *kernel, const atomic_bool *stop, struct error *err)
{
    struct compressing work = {.kernel = kernel, .stop = stop};
    pthread_t threads[MAX_WORKERS];
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    size_t wanted = processors < 1 ? 1 : (size_t)processors, started = 0;
    while (started + 1 < wanted && started < MAX_WORKERS &&
           pthread_create(&threads[started], NULL, compress_some, &work) == 0)
        started++;
    compress_some(&work);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (stop && *stop)
        return error_set(err, 0, "stopped");
    return work.has_failed ? error_set(err, 0, "compress the kernel's modules") : 0;
}

/* --- indexes --- */

static int fill_tree(struct modules_tree *disk, const struct kernel *kernel, struct error *err)
{
    for (size_t i = 0; i < kernel->lists.count; i++) {
        const struct file_entry *list = &kernel->lists.entries[i];
        if (modules_tree_add(disk, list->path, list->data, list->length, err) != 0)
            return -1;
    }
    for (size_t i = 0; i < kernel->count; i++) {
        const struct kernel_module *module = &kernel->modules[i];
        if (module->is_chosen &&
            modules_tree_add(disk, module->path, module->data, module->length, err) != 0)
            return -1;
    }
    return 0;
}

/* A depmod that cannot read compressed modules leaves an empty list and no complaint. */
static int check_index(struct modules_tree *disk, size_t chosen, struct error *err)
{
    AUTO_FREE char *dep = NULL;
    size_t length, lines = 0;
    if (modules_tree_read(disk, "modules.dep", &dep, &length, err) != 0)
        return -1;
    for (size_t i = 0; i < length; i++)
        lines += dep[i] == '\n';
    if (lines < chosen)
        return error_set(err, 0, "depmod found %zu of %zu modules: this machine's kmod is too old",
                         lines, chosen);
    return 0;
}

static int add_indexes(struct modules_tree *disk, const struct kernel *kernel,
                       struct file_tree *tree, struct error *err)
{
    char **names = NULL;
    int result = modules_tree_list_indexes(disk, &names, err);
    for (size_t i = 0; names && names[i]; i++) {
        char *data = NULL;
        size_t length;
        /* Nobody asks for a module by a symbol; the order is for depmod alone. */
        bool is_left_out =
            text_starts_with(names[i], "modules.symbols") || strcmp(names[i], "modules.order") == 0;
        if (result == 0 && !is_left_out)
            result = modules_tree_read(disk, names[i], &data, &length, err);
        if (result == 0 && !is_left_out) {
            AUTO_FREE char *path = text_format("usr/lib/modules/%s/%s", kernel->version, names[i]);
            file_tree_add(tree, path, 0644, data, length);
        }
        free(names[i]);
    }
    free(names);
    return result;
}

static int index_modules(const struct kernel *kernel, size_t chosen, struct file_tree *tree,
                         struct error *err)
{
    struct modules_tree disk = {.folder_fd = -1};
    int result = modules_tree_open(&disk, kernel->version, err);
    if (result == 0)
        result = fill_tree(&disk, kernel, err);
    if (result == 0)
        result = modules_tree_index(&disk, err);
    if (result == 0)
        result = check_index(&disk, chosen, err);
    if (result == 0)
        result = add_indexes(&disk, kernel, tree, err);
    modules_tree_close(&disk);
    return result;
}

/* --- all of it --- */

static void take_firmware(void *context, const char *text)
{
    if (text_starts_with(text, "firmware="))
        name_list_add(context, text + strlen("firmware="));
}

static int list_firmware(struct kernel *kernel, struct error *err)
{
    for (size_t i = 0; i < kernel->count; i++) {
        const struct kernel_module *module = &kernel->modules[i];
        if (module->is_chosen && with_modinfo(module, take_firmware, &kernel->firmware, err) != 0)
            return -1;
    }
    return 0;
}

int kernel_add_modules(struct kernel *kernel, struct file_tree *tree, const atomic_bool *stop,
                       struct error *err)
{
    size_t chosen = kernel_choose(kernel);
    if (kernel_check(kernel, err) != 0 || list_firmware(kernel, err) != 0 ||
        compress_all(kernel, stop, err) != 0 || index_modules(kernel, chosen, tree, err) != 0)
        return error_wrap(err, "kernel %s", kernel->version);
    for (size_t i = 0; i < kernel->count; i++) {
        struct kernel_module *module = &kernel->modules[i];
        AUTO_FREE char *path = text_format("usr/lib/modules/%s/%s", kernel->version, module->path);
        if (module->is_chosen)
            file_tree_add(tree, path, 0644, take_ptr(&module->data), module->length);
    }
    return 0;
}
