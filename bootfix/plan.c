/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The list of edits to a guest's files, and the guest as it will look after them. How a plan is
 * shown is in plan_format.c.
 */
#include "bootfix/plan.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Every resolution of a path is a few calls into the appliance; folders repeat. */
struct plan_folder {
    char *path, *real; /* real: NULL when it does not resolve */
};

#define PLAN_MAX_FOLDERS 256
#define PLAN_MAX_NAMES 65536
#define PLAN_MAX_COPY ((uint64_t)64 << 20) /* several times any boot loader */

void plan_init(struct plan *plan, struct files *guest)
{
    *plan = (struct plan){.guest = guest};
}

static void edit_fini(struct edit *edit)
{
    free(edit->path);
    free(edit->reason);
    free(edit->before);
    free(edit->after);
}

void plan_fini(struct plan *plan)
{
    for (size_t i = 0; i < plan->edit_count; i++)
        edit_fini(&plan->edits[i]);
    for (size_t i = 0; i < plan->note_count; i++)
        free(plan->notes[i].text);
    for (size_t i = 0; i < plan->folder_count; i++) {
        free(plan->folders[i].path);
        free(plan->folders[i].real);
    }
    free(plan->edits);
    free(plan->notes);
    free(plan->folders);
    *plan = (struct plan){0};
}

__attribute__((format(printf, 4, 0))) static void add_note(struct plan *plan, const char *fixer,
                                                           bool is_warning, const char *format,
                                                           va_list arguments)
{
    char *raw = NULL;
    if (vasprintf(&raw, format, arguments) < 0)
        return;
    AUTO(text) escaped = {0};
    text_add_escaped(&escaped, raw, strlen(raw));
    free(raw);
    for (size_t i = 0; i < plan->note_count; i++) {
        const struct plan_note *note = &plan->notes[i];
        if (strcmp(note->fixer, fixer) == 0 && strcmp(note->text, text_string(&escaped)) == 0)
            return; /* said already */
    }
    plan->notes = memory_grow(plan->notes, plan->note_count + 1, sizeof(*plan->notes));
    plan->notes[plan->note_count++] =
        (struct plan_note){.fixer = fixer, .is_warning = is_warning, .text = text_take(&escaped)};
}

void plan_note(struct plan *plan, const char *fixer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add_note(plan, fixer, false, format, arguments);
    va_end(arguments);
}

void plan_warn(struct plan *plan, const char *fixer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add_note(plan, fixer, true, format, arguments);
    va_end(arguments);
}

/* As files_resolve of a folder, remembered. *real is borrowed from the plan. */
static int resolve_folder(struct plan *plan, const char *path, const char **real, struct error *err)
{
    for (size_t i = 0; i < plan->folder_count; i++) {
        if (strcmp(plan->folders[i].path, path) == 0) {
            *real = plan->folders[i].real;
            return *real != NULL;
        }
    }
    if (plan->folder_count == PLAN_MAX_FOLDERS) { /* a cache: start again */
        for (size_t i = 0; i < plan->folder_count; i++) {
            free(plan->folders[i].path);
            free(plan->folders[i].real);
        }
        plan->folder_count = 0;
    }
    char *resolved = NULL;
    if (files_resolve(plan->guest, path, true, &resolved, err) < 0)
        return -1;
    plan->folders = memory_grow(plan->folders, plan->folder_count + 1, sizeof(*plan->folders));
    plan->folders[plan->folder_count++] =
        (struct plan_folder){.path = text_copy(path), .real = resolved};
    *real = resolved;
    return resolved != NULL;
}

/* The path with its folders resolved; the last component may still be a link. */
static int resolve_parent(struct plan *plan, const char *path, char **real, struct error *err)
{
    *real = NULL;
    const char *slash = strrchr(path, '/');
    assert(path[0] == '/' && slash[1]); /* fixers name absolute paths of files */
    AUTO_FREE char *folder = text_format("%.*s", (int)(slash - path), path);
    const char *real_folder = NULL;
    int found = resolve_folder(plan, folder[0] ? folder : "/", &real_folder, err);
    if (found != 1)
        return found;
    *real = text_format("%s%s", strcmp(real_folder, "/") == 0 ? "" : real_folder, slash);
    return 1;
}

static struct edit *find_edit(struct plan *plan, const char *real)
{
    for (size_t i = 0; i < plan->edit_count; i++)
        if (strcmp(plan->edits[i].path, real) == 0)
            return &plan->edits[i];
    return NULL;
}

/*
 * Where a path leads: to an edit of it (*edit), or else to the file *real of the guest, with a link
 * in its last component followed.
 */
static int locate(struct plan *plan, const char *path, char **real, struct edit **edit,
                  struct error *err)
{
    int found = resolve_parent(plan, path, real, err);
    if (found != 1)
        return found;
    *edit = find_edit(plan, *real);
    if (*edit)
        return 1;
    AUTO_FREE char *target = NULL;
    found = files_readlink(plan->guest, *real, &target, err);
    if (found != 1)
        return found < 0 ? -1 : 1;
    AUTO_FREE char *link = take_ptr(real);
    found = files_resolve(plan->guest, link, true, real, err);
    if (found == 1)
        *edit = find_edit(plan, *real);
    return found;
}

/* Contents of a text file of the guest; 0 with *why (or NULL: not there) when it is none. */
static int read_guest(struct plan *plan, const char *real, char **text, const char **why,
                      struct error *err)
{
    struct files_stat stat;
    *why = NULL;
    int found = files_stat(plan->guest, real, &stat, err);
    if (found != 1)
        return found;
    size_t length;
    if (!S_ISREG(stat.mode))
        *why = "is not a regular file";
    else if (stat.size_bytes > FILES_MAX_CONFIG)
        *why = "is larger than a configuration file can be";
    if (*why)
        return 0;
    found = files_read(plan->guest, real, FILES_MAX_CONFIG, text, &length, err);
    if (found == 1 && strlen(*text) != length) {
        *why = "is not text";
        free(take_ptr(text));
        return 0;
    }
    return found;
}

int plan_read(struct plan *plan, const char *fixer, const char *path, char **text,
              struct error *err)
{
    *text = NULL;
    AUTO_FREE char *real = NULL;
    struct edit *edit = NULL;
    int found = locate(plan, path, &real, &edit, err);
    if (found != 1)
        return found;
    if (edit) {
        if (edit->kind == EDIT_WRITE)
            *text = text_copy(edit->after);
        return *text != NULL;
    }
    const char *why;
    found = read_guest(plan, real, text, &why, err);
    if (why)
        plan_warn(plan, fixer, "%s %s: left alone", path, why);
    return found;
}

bool plan_exists(struct plan *plan, const char *path)
{
    AUTO_FREE char *real = NULL;
    struct edit *edit = NULL;
    struct error ignored = {0};
    if (locate(plan, path, &real, &edit, &ignored) != 1)
        return false;
    return edit ? edit->kind != EDIT_REMOVE : files_exist(plan->guest, real);
}

int plan_readlink(struct plan *plan, const char *path, char **target, struct error *err)
{
    *target = NULL;
    AUTO_FREE char *real = NULL;
    int found = resolve_parent(plan, path, &real, err);
    if (found != 1)
        return found;
    const struct edit *edit = find_edit(plan, real);
    if (!edit)
        return files_readlink(plan->guest, real, target, err);
    if (edit->kind == EDIT_SYMLINK)
        *target = text_copy(edit->after);
    return *target != NULL;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The name of an edit that lies directly in the folder, else NULL. */
static const char *edit_name_in(const struct edit *edit, const char *folder)
{
    size_t length = strcmp(folder, "/") == 0 ? 0 : strlen(folder);
    if (strncmp(edit->path, folder, length) != 0 || edit->path[length] != '/')
        return NULL;
    const char *name = edit->path + length + 1;
    return strchr(name, '/') ? NULL : name;
}

static void update_names(char **names, size_t *count, const char *name, bool is_removed)
{
    for (size_t i = 0; i < *count; i++) {
        if (strcmp(names[i], name) != 0)
            continue;
        if (is_removed) {
            free(names[i]);
            names[i] = names[--*count];
            names[*count] = NULL;
        }
        return;
    }
    if (!is_removed)
        names[(*count)++] = text_copy(name);
}

int plan_list(struct plan *plan, const char *folder, char ***names, struct error *err)
{
    *names = NULL;
    const char *real;
    int found = resolve_folder(plan, folder, &real, err);
    if (found == 1)
        found = files_list(plan->guest, real, names, err);
    if (found < 0 || !real)
        return found;
    size_t count = 0;
    while (*names && (*names)[count])
        count++;
    *names = memory_grow(*names, count + plan->edit_count + 1, sizeof(**names));
    for (size_t i = 0; i < plan->edit_count; i++) {
        const char *name = edit_name_in(&plan->edits[i], real);
        if (name)
            update_names(*names, &count, name, plan->edits[i].kind == EDIT_REMOVE);
    }
    (*names)[count] = NULL;
    qsort(*names, count, sizeof(**names), compare_names);
    if (found == 1 || count)
        return 1;
    files_free_names(take_ptr(names));
    return 0;
}

static void remove_edit(struct plan *plan, struct edit *edit)
{
    size_t index = (size_t)(edit - plan->edits);
    edit_fini(edit);
    memmove(edit, edit + 1, (plan->edit_count - index - 1) * sizeof(*edit));
    plan->edit_count--;
}

static void join_reason(struct edit *edit, const char *reason)
{
    if (strstr(edit->reason, reason))
        return;
    char *joined = text_format("%s; %s", edit->reason, reason);
    free(edit->reason);
    edit->reason = joined;
}

static void set_after(struct edit *edit, enum edit_kind kind, const void *data, size_t length)
{
    char *copy = memory_new(length + 1, 1);
    if (length)
        memcpy(copy, data, length);
    free(edit->after);
    edit->kind = kind;
    edit->after = copy;
    edit->after_length = length;
}

/* A new edit at the end of the list, with what is at `real` now as its `before`. */
static int add_edit(struct plan *plan, const char *fixer, const char *real, const char *reason,
                    struct edit **edit, struct error *err)
{
    char *before = NULL;
    const char *why = NULL;
    int is_link = files_readlink(plan->guest, real, &before, err);
    if (is_link < 0 || (is_link == 0 && read_guest(plan, real, &before, &why, err) < 0))
        return -1;
    plan->edits = memory_grow(plan->edits, plan->edit_count + 1, sizeof(*plan->edits));
    *edit = &plan->edits[plan->edit_count++];
    **edit = (struct edit){
        .fixer = fixer,
        .path = text_copy(real),
        .reason = text_copy(reason),
        .before = before,
        .before_length = before ? strlen(before) : 0,
        .was_link = is_link == 1,
    };
    return 0;
}

/* Finds or makes the edit of a file; 0 with a warning when there cannot be one. */
static int edit_file(struct plan *plan, const char *fixer, const char *path, const char *reason,
                     struct edit **edit, bool *is_new, struct error *err)
{
    AUTO_FREE char *real = NULL;
    struct files_stat stat;
    *edit = NULL;
    *is_new = false;
    int found = locate(plan, path, &real, edit, err);
    if (found < 0)
        return -1;
    if (found == 1 && *edit)
        return 1;
    int exists = found == 1 ? files_stat(plan->guest, real, &stat, err) : 0;
    if (exists < 0)
        return -1;
    if (found == 0 || (exists && !S_ISREG(stat.mode))) {
        plan_warn(plan, fixer, "%s is not a regular file: left alone", path);
        return 0;
    }
    *is_new = true;
    return add_edit(plan, fixer, real, reason, edit, err) < 0 ? -1 : 1;
}

static bool text_equals(const char *text, const char *other)
{
    return text && strcmp(text, other) == 0;
}

int plan_write(struct plan *plan, const char *fixer, const char *path, const char *text,
               mode_t mode, const char *reason, struct error *err)
{
    struct edit *edit;
    bool is_new;
    int found = edit_file(plan, fixer, path, reason, &edit, &is_new, err);
    if (found != 1)
        return found;
    if (!is_new && edit->kind == EDIT_WRITE && text_equals(edit->after, text))
        return 0;
    if (!edit->was_link && text_equals(edit->before, text)) {
        remove_edit(plan, edit); /* as it is already, or again */
        return 0;
    }
    if (!is_new)
        join_reason(edit, reason);
    edit->mode = mode;
    set_after(edit, EDIT_WRITE, text, strlen(text));
    return 0;
}

int plan_append(struct plan *plan, const char *fixer, const char *path, const void *data,
                size_t length, const char *reason, struct error *err)
{
    struct edit *edit;
    bool is_new;
    int found = edit_file(plan, fixer, path, reason, &edit, &is_new, err);
    if (found != 1)
        return found;
    if (!is_new)
        join_reason(edit, reason);
    set_after(edit, EDIT_APPEND, data, length);
    return 0;
}

/* Finds or makes the edit of a name itself, link or not. */
static int edit_name(struct plan *plan, const char *fixer, const char *path, const char *reason,
                     struct edit **edit, struct error *err)
{
    AUTO_FREE char *real = NULL;
    int found = resolve_parent(plan, path, &real, err);
    if (found == 0)
        plan_warn(plan, fixer, "%s does not lead anywhere: left alone", path);
    if (found != 1)
        return found;
    *edit = find_edit(plan, real);
    if (*edit) {
        join_reason(*edit, reason);
        return 1;
    }
    return add_edit(plan, fixer, real, reason, edit, err) < 0 ? -1 : 1;
}

/* 1 when something is there, be it a link that leads nowhere. */
static int is_there(struct plan *plan, const char *path, struct error *err)
{
    AUTO_FREE char *target = NULL;
    int found = plan_readlink(plan, path, &target, err);
    return found ? found : plan_exists(plan, path);
}

int plan_remove(struct plan *plan, const char *fixer, const char *path, const char *reason,
                struct error *err)
{
    struct edit *edit;
    int found = is_there(plan, path, err);
    if (found == 1)
        found = edit_name(plan, fixer, path, reason, &edit, err);
    if (found != 1)
        return found;
    struct files_stat stat;
    bool was_there = edit->was_link || files_stat(plan->guest, edit->path, &stat, err) == 1;
    if (!was_there) {
        remove_edit(plan, edit); /* only planned so far */
        return 0;
    }
    set_after(edit, EDIT_REMOVE, NULL, 0);
    return 0;
}

int plan_symlink(struct plan *plan, const char *fixer, const char *path, const char *target,
                 const char *reason, struct error *err)
{
    AUTO_FREE char *old = NULL;
    int found = plan_readlink(plan, path, &old, err);
    if (found < 0)
        return -1;
    if (text_equals(old, target))
        return 0;
    struct edit *edit;
    found = edit_name(plan, fixer, path, reason, &edit, err);
    if (found != 1)
        return found;
    if (edit->was_link && text_equals(edit->before, target)) {
        remove_edit(plan, edit);
        return 0;
    }
    set_after(edit, EDIT_SYMLINK, target, strlen(target));
    return 0;
}

/* A regular file of the guest, by the path that it really has; 0 with a warning when it is none. */
static int find_source(struct plan *plan, const char *fixer, const char *source, char **real,
                       struct files_stat *stat, struct error *err)
{
    int found = files_resolve(plan->guest, source, true, real, err);
    if (found == 1)
        found = files_stat(plan->guest, *real, stat, err);
    if (found < 0)
        return -1;
    if (found == 1 && S_ISREG(stat->mode) && stat->size_bytes <= PLAN_MAX_COPY)
        return 1;
    plan_warn(plan, fixer, "%s %s: it is not copied", source,
              found == 1 && S_ISREG(stat->mode) ? "is too large" : "is not a regular file");
    return 0;
}

int plan_copy(struct plan *plan, const char *fixer, const char *source, const char *path,
              const char *reason, struct error *err)
{
    AUTO_FREE char *real = NULL;
    struct files_stat stat;
    struct edit *edit;
    bool is_new;
    int found = is_there(plan, path, err);
    if (found != 0)
        return found < 0 ? -1 : 0;
    found = find_source(plan, fixer, source, &real, &stat, err);
    if (found == 1)
        found = edit_file(plan, fixer, path, reason, &edit, &is_new, err);
    if (found != 1)
        return found;
    edit->mode = stat.mode & 07777;
    edit->needed_bytes = stat.size_bytes;
    set_after(edit, EDIT_COPY, real, strlen(real));
    return 0;
}
