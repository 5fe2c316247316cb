/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Walking an initramfs as the kernel does (init/initramfs.c): plain archives start at a multiple of
 * four, zeroes are skipped, a compressed stream ends where its decoder says. What the kernel would
 * stumble over is an error here, because it would not reach an archive behind it.
 */
#include "bootfix/initramfs.h"

#include "base/own.h"
#include "bootfix/modules.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INITRAMFS_MAX_FILE_BYTES ((uint64_t)128 << 20)
#define INITRAMFS_MAX_EXTRACT_BYTES ((uint64_t)1 << 30)

/* --- the walk ------------------------------------------------------------------------------ */

struct cpio_sink {
    struct unpack_sink sink;
    struct cpio_reader *reader;
};

/* A compressed stream may hold several archives with zeroes between. */
static int feed_unpacked(struct unpack_sink *sink, const void *data, size_t length,
                         struct error *err)
{
    struct cpio_reader *reader = ((struct cpio_sink *)sink)->reader;
    const char *bytes = data;
    while (length > 0) {
        size_t consumed = 1;
        if (reader->state == CPIO_BETWEEN && *bytes != '\0' && *bytes != '0')
            return error_set(err, 0, "junk behind a cpio archive");
        if ((reader->state != CPIO_BETWEEN || *bytes != '\0') &&
            cpio_reader_feed(reader, bytes, length, &consumed, err) < 0)
            return -1;
        bytes += consumed;
        length -= consumed;
    }
    return 0;
}

static int scan_segment(struct cpio_reader *reader, const char *data, size_t length,
                        enum unpack_kind *kind, size_t *consumed, struct error *err)
{
    *kind = unpack_detect(data, length);
    if (*kind == UNPACK_UNKNOWN && !cpio_detect(data, length))
        return error_set(err, 0, "neither a cpio archive nor a known compression");
    if (*kind == UNPACK_UNKNOWN) {
        if (cpio_reader_feed(reader, data, length, consumed, err) < 0)
            return -1;
    } else {
        struct cpio_sink sink = {.sink.write = feed_unpacked, .reader = reader};
        if (unpack_stream(*kind, data, length, consumed, &sink.sink, err) < 0)
            return -1;
    }
    if (reader->state != CPIO_BETWEEN)
        return error_set(err, 0, "a cpio archive without its end");
    return 0;
}

int initramfs_scan(const void *data, size_t length, struct cpio_visitor *visitor,
                   enum unpack_kind *last, struct error *err)
{
    const char *bytes = data;
    AUTO_FREE struct cpio_reader *reader = memory_new(1, sizeof(*reader));
    *last = UNPACK_UNKNOWN;
    for (size_t offset = 0; offset < length;) {
        size_t consumed = 1;
        if (bytes[offset] != '\0') {
            cpio_reader_init(reader, visitor);
            if (bytes[offset] == '0' && offset % 4 != 0)
                return error_set(err, 0, "archive at offset %zu: not at a multiple of 4", offset);
            if (scan_segment(reader, bytes + offset, length - offset, last, &consumed, err) < 0)
                return error_wrap(err, "archive at offset %zu", offset);
        }
        offset += consumed;
    }
    return 0;
}

/* --- which modules it has ------------------------------------------------------------------ */

struct names {
    char **items;
    size_t count;
};

struct survey {
    struct cpio_visitor visitor;
    const char *version;
    struct initramfs_modules *modules;
    struct names names, folders;
    size_t members;
    bool is_lib_link, has_usr_lib;
};

static void add_name(struct names *names, const char *name)
{
    if ((names->count & (names->count - 1)) == 0) {
        size_t capacity = names->count ? names->count * 2 : 1;
        names->items = memory_grow(names->items, capacity, sizeof(*names->items));
    }
    names->items[names->count++] = text_copy(name);
}

/* What stands behind "[usr/]lib/modules/VERSION" in a path, with its "/"; NULL: it is elsewhere. */
static const char *inside_modules(const char *path, const char *version)
{
    const char *at = path + (text_starts_with(path, "usr/") ? strlen("usr/") : 0);
    if (!text_starts_with(at, "lib/modules/"))
        return NULL;
    at += strlen("lib/modules/");
    if (!text_starts_with(at, version))
        return NULL;
    at += strlen(version);
    return *at == '\0' || *at == '/' ? at : NULL;
}

static void note_module(struct survey *survey, const struct cpio_member *member, const char *rest)
{
    char name[MODULES_MAX_NAME];
    if (!survey->modules->folder)
        survey->modules->folder = text_format("%.*s", (int)(rest - member->path), member->path);
    rest += *rest == '/';
    if (S_ISDIR(member->mode))
        add_name(&survey->folders, rest);
    else if (S_ISREG(member->mode) && module_name_of_path(rest, strlen(rest), name))
        add_name(&survey->names, name);
}

static int survey_member(struct cpio_visitor *visitor, const struct cpio_member *member,
                         bool *is_wanted, struct error *err)
{
    struct survey *survey = (struct survey *)visitor;
    (void)is_wanted;
    if (++survey->members > INITRAMFS_MAX_MEMBERS)
        return error_set(err, 0, "more than %d members", INITRAMFS_MAX_MEMBERS);
    if (strcmp(member->path, "conf/initramfs.conf") == 0 ||
        strcmp(member->path, "scripts/functions") == 0)
        survey->modules->is_initramfs_tools = true;
    if (strcmp(member->path, "lib") == 0)
        survey->is_lib_link = S_ISLNK(member->mode);
    if (strcmp(member->path, "usr/lib") == 0 && S_ISDIR(member->mode))
        survey->has_usr_lib = true;
    const char *rest = inside_modules(member->path, survey->version);
    if (rest)
        note_module(survey, member, rest);
    return 0;
}

static int by_string(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_names(struct names *names, char ***items, size_t *count)
{
    if (names->count > 1)
        qsort(names->items, names->count, sizeof(*names->items), by_string);
    *items = names->items;
    *count = names->count;
}

int initramfs_list_modules(const void *data, size_t length, const char *version,
                           struct initramfs_modules *modules, struct error *err)
{
    *modules = (struct initramfs_modules){0};
    struct survey survey = {.visitor.begin = survey_member, .version = version, .modules = modules};
    int result = initramfs_scan(data, length, &survey.visitor, &modules->last, err);
    sort_names(&survey.names, &modules->names, &modules->name_count);
    sort_names(&survey.folders, &modules->folders, &modules->folder_count);
    if (result < 0) {
        initramfs_modules_fini(modules);
        return -1;
    }
    if (!modules->folder)
        modules->folder = text_format(
            "%slib/modules/%s", survey.is_lib_link && survey.has_usr_lib ? "usr/" : "", version);
    return 0;
}

static void free_names(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

void initramfs_modules_fini(struct initramfs_modules *modules)
{
    free(modules->folder);
    free_names(modules->names, modules->name_count);
    free_names(modules->folders, modules->folder_count);
    *modules = (struct initramfs_modules){0};
}

static bool is_in(char **names, size_t count, const char *name)
{
    return count > 0 && bsearch(&name, names, count, sizeof(*names), by_string) != NULL;
}

bool initramfs_has_module(const struct initramfs_modules *modules, const char *name)
{
    return is_in(modules->names, modules->name_count, name);
}

bool initramfs_has_folder(const struct initramfs_modules *modules, const char *folder)
{
    return is_in(modules->folders, modules->folder_count, folder);
}

/* --- taking them out ----------------------------------------------------------------------- */

struct extraction {
    struct cpio_visitor visitor;
    const struct initramfs_modules *modules;
    struct initramfs_receiver *receiver;
    struct text data;
    char *path;
    uint64_t total;
};

static bool is_index(const char *path)
{
    return text_starts_with(path, "modules.") && !strchr(path, '/');
}

static int extract_begin(struct cpio_visitor *visitor, const struct cpio_member *member,
                         bool *is_wanted, struct error *err)
{
    struct extraction *extraction = (struct extraction *)visitor;
    size_t folder = strlen(extraction->modules->folder);
    char name[MODULES_MAX_NAME];
    if (!S_ISREG(member->mode) || !text_starts_with(member->path, extraction->modules->folder) ||
        member->path[folder] != '/')
        return 0;
    const char *rest = member->path + folder + 1;
    size_t length = strlen(rest);
    if (!module_path_is_safe(rest, length) ||
        !(is_index(rest) || module_name_of_path(rest, length, name)))
        return 0;
    extraction->total += member->size_bytes;
    if (member->size_bytes > INITRAMFS_MAX_FILE_BYTES ||
        extraction->total > INITRAMFS_MAX_EXTRACT_BYTES)
        return error_set(err, 0, "%s: too large", member->path);
    *is_wanted = true;
    extraction->data.length = 0;
    free(extraction->path);
    extraction->path = text_copy(rest);
    return 0;
}

static int extract_data(struct cpio_visitor *visitor, const void *data, size_t length,
                        struct error *err)
{
    (void)err;
    text_add_bytes(&((struct extraction *)visitor)->data, data, length);
    return 0;
}

static int extract_end(struct cpio_visitor *visitor, struct error *err)
{
    struct extraction *extraction = (struct extraction *)visitor;
    return extraction->receiver->file(extraction->receiver, extraction->path,
                                      text_string(&extraction->data), extraction->data.length, err);
}

int initramfs_extract_modules(const void *data, size_t length,
                              const struct initramfs_modules *modules,
                              struct initramfs_receiver *receiver, struct error *err)
{
    struct extraction extraction = {
        .visitor = {extract_begin, extract_data, extract_end},
        .modules = modules,
        .receiver = receiver,
    };
    enum unpack_kind last;
    int result = initramfs_scan(data, length, &extraction.visitor, &last, err);
    text_fini(&extraction.data);
    free(extraction.path);
    return result;
}
