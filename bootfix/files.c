/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest's files, whatever is behind them, and the resolution of symbolic links inside the guest.
 */
#include "bootfix/files.h"

#include "base/own.h"
#include "base/text.h"
#include "bootfix/resolve.h"

#include <stdlib.h>
#include <string.h>

int files_read(struct files *files, const char *path, size_t limit_bytes, char **data,
               size_t *length, struct error *err)
{
    *data = NULL;
    *length = 0;
    return files->ops->read(files, path, limit_bytes, data, length, err);
}

int files_list(struct files *files, const char *folder, char ***names, struct error *err)
{
    *names = NULL;
    return files->ops->list(files, folder, names, err);
}

int files_stat(struct files *files, const char *path, struct files_stat *stat, struct error *err)
{
    *stat = (struct files_stat){0};
    return files->ops->stat(files, path, stat, err);
}

int files_readlink(struct files *files, const char *path, char **target, struct error *err)
{
    *target = NULL;
    return files->ops->readlink(files, path, target, err);
}

bool files_exist(struct files *files, const char *path)
{
    struct files_stat stat;
    struct error ignored = {0};
    return files_stat(files, path, &stat, &ignored) == 1;
}

void files_free_names(char **names)
{
    for (char **name = names; name && *name; name++)
        free(*name);
    free(names);
}

static void pop_component(struct text *done)
{
    while (done->length && done->data[done->length - 1] != '/')
        done->length--;
    if (done->length)
        done->length--;
    if (done->data)
        done->data[done->length] = '\0';
}

/* Continues at a link's target: from the root, or beside the link. */
static void enter_link(struct text *done, char **rest, const char *target, const char *behind)
{
    pop_component(done);
    if (target[0] == '/') {
        done->length = 0;
        done->data[0] = '\0';
    }
    char *joined = text_format("%s/%s", target, behind);
    free(*rest);
    *rest = joined;
}

static bool is_end(const char *path)
{
    return path[strspn(path, "/")] == '\0';
}

int resolve_path(struct files *files, resolve_readlink *read_link, const char *path,
                 bool follow_last, char **real, struct error *err)
{
    AUTO_FREE char *rest = text_copy(path);
    AUTO(text) done = {0};
    unsigned links = 0;
    text_add(&done, "");
    for (const char *at = rest + strspn(rest, "/"); *at; at += strspn(at, "/")) {
        size_t length = strcspn(at, "/");
        const char *component = at;
        at += length;
        if (length == 1 && component[0] == '.')
            continue;
        if (length == 2 && memcmp(component, "..", 2) == 0) {
            pop_component(&done);
            continue;
        }
        text_add(&done, "/");
        text_add_bytes(&done, component, length);
        if (done.length > FILES_MAX_PATH || strlen(at) > FILES_MAX_PATH)
            return 0;
        if (is_end(at) && !follow_last)
            break;
        AUTO_FREE char *target = NULL;
        int found = read_link(files, done.data, &target, err);
        if (found < 0)
            return -1;
        if (found == 0)
            continue;
        if (++links > FILES_MAX_LINKS)
            return 0;
        enter_link(&done, &rest, target, at);
        at = rest;
    }
    if (done.length == 0)
        text_add(&done, "/");
    *real = text_take(&done);
    return 1;
}

int files_resolve(struct files *files, const char *path, bool follow_last, char **real,
                  struct error *err)
{
    *real = NULL;
    return resolve_path(files, files->ops->readlink, path, follow_last, real, err);
}
